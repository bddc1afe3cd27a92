"""Removes the bodies of old runs. What stays of each is a signed tombstone, and its head in the chain of heads."""

import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vx11.errors import InputError
from vx11.evidence import audit, layout, verify
from vx11.evidence.audit import Trust
from vx11.evidence.keys import PublicKeys, Signer
from vx11.evidence.layout import (
    CONDUCTOR,
    FINISHED,
    HEADS,
    OF_HEAD,
    PRUNED,
    REMOVING,
    SCHEMA,
    add_head,
    digest,
    signed,
    tombstone_of,
)
from vx11.evidence.reading import records
from vx11.evidence.verify import Kind, State
from vx11.statefiles import held_lock, read_json, write_json

LOCK = ".prune.lock"
DEFAULT_SECONDS = 30 * 24 * 3600.0


@dataclass(frozen=True)
class Pruned:
    """What became of one run that was old enough.

    Attributes:
        size: bytes that its removal freed, or would free.
        kept: why it was kept; empty when it was removed.
    """

    test_id: str
    folder: str
    size: int
    kept: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"test_id": self.test_id, "folder": self.folder, "bytes": self.size, "kept": self.kept or None}


def prune(
    root: Path, signer: Signer, older_than: float = DEFAULT_SECONDS, *, now_ns: int | None = None, dry_run: bool = False
) -> Iterator[Pruned]:
    """Removes what finished longer ago than this; what does not verify is kept, since it may have to be looked into.

    Args:
        older_than: seconds since a run finished.
        now_ns: wall time; that of this machine without.
        dry_run: only say what would be removed.

    Raises:
        BlockingIOError: another process does just that.
        InputError: something is wrong with the chain of heads, which says what is old.
        EvidenceError, OSError: it cannot be written.
    """
    before = (time.time_ns() if now_ns is None else now_ns) - int(older_than * 1e9)
    if not (root / HEADS).is_file():
        return
    with held_lock(root / LOCK):
        _check_heads(root / HEADS, signer)
        found = list(records(root / HEADS))
        pruned = {record["subject"] for record in found if record["action"] == PRUNED}
        for going in () if dry_run else root.glob(f"{REMOVING}*"):
            shutil.rmtree(going)
        for record in found:
            if record["action"] != FINISHED or int(record["wall_ns"]) > before:
                continue
            folder = root / Path(record["data"]["folder"]).name
            if record["subject"] not in pruned:
                yield _prune(folder, record, signer, before, dry_run=dry_run)
            elif folder.is_dir() and not _has_tombstone(folder, record, signer):
                yield Pruned(str(record["subject"]), folder.name, _size(folder), "it has no tombstone of ours")
            elif folder.is_dir() and not dry_run:  # a removal that was broken off
                _remove(folder)


def _check_heads(path: Path, signer: Signer) -> None:
    """Others may seal it too; what is changed or put in may say of a run that it is old."""
    wrong = [one for one in verify.chain(path, PublicKeys([signer.public])).findings if one.kind is not Kind.WRONG_KEY]
    if wrong:
        raise InputError.of(f"nothing is removed, since this does not verify: {wrong[0]}", path)


def _has_tombstone(folder: Path, record: Mapping[str, Any], signer: Signer) -> bool:
    found = read_json(tombstone_of(folder))
    if not isinstance(found, dict) or found.get("test_id") != record["subject"]:
        return False
    about = {name: value for name, value in found.items() if name != "signature"}
    return signer.public.signed(about, str(found.get("signature")))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _prune(folder: Path, record: Mapping[str, Any], signer: Signer, before: int, *, dry_run: bool) -> Pruned:
    test_id, size = str(record["subject"]), _size(folder)
    kept = _why_kept(folder, signer, before)
    if not kept and not dry_run:
        told = {name: record["data"].get(name) for name in OF_HEAD}
        times = {"finished_ns": record["wall_ns"], "pruned_ns": str(time.time_ns())}
        tombstone = tombstone_of(folder)
        tombstone.parent.mkdir(exist_ok=True)
        write_json(tombstone, signed({"schema": SCHEMA, "test_id": test_id, **told, **times, "bytes": size}, signer))
        add_head(folder.parent, PRUNED, test_id, {**told, "tombstone": digest(tombstone)}, signer)
        _remove(folder)
    return Pruned(test_id, folder.name, size, kept)


def _why_kept(folder: Path, signer: Signer, before: int) -> str:
    if not (folder / layout.CHAIN).is_file():
        return "it is gone already, and nothing tells why"
    if (folder / CONDUCTOR).exists():
        return "its books are open"
    report = audit.check(folder, Trust.by(signer))
    if report.state is State.TAMPERED:
        return f"it does not verify: {report.findings[0]}"
    is_old = all(int(record["wall_ns"]) <= before for record in records(folder / layout.CHAIN))
    return "" if is_old else "it has records that are not so old"


def _remove(folder: Path) -> None:
    """At once, for whoever looks: what is broken off is no run any more."""
    going = folder.with_name(f"{REMOVING}{folder.name}")
    folder.rename(going)
    shutil.rmtree(going)
