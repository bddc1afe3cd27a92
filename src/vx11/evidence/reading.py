"""Chains as they lie on the disk: the segments of one, and what can be read of them.

A chain is one file, unless who wrote it ended in the middle of a line: then what follows is in a further segment,
`evidence-2.jsonl` after `evidence.jsonl`, and nothing that was written is changed.
"""

import glob
import json
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GENESIS = "0" * 64
SEALED, WITNESSED = "sealed", "witnessed"
# What the chain of a run tells of a patch intent, and of a conductor that died.
INTENT, RECOVERED = "patch_intent", "run_recovered"
# What is said, before the reason, of a run whose conductor died and whose secrets nobody knows any more.
LEFT_OUT = "what could not be cleared of secrets was left out"
# The chain of a watchdog, beside that of its madre.
WATCHDOG = "watchdog.jsonl"


def segments(path: Path) -> list[Path]:
    """The files of a chain, in their order; the first may be missing."""
    found = [path]
    while (following := segment(path, len(found) + 1)).exists():
        found.append(following)
    return found


def segment(path: Path, number: int) -> Path:
    """The file of a segment; the first is the chain's own."""
    return path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")


def strays(path: Path) -> list[Path]:
    """What is called as a file of a chain is, and what nothing leads to: one before it is gone."""
    known = segments(path)
    called = path.parent.glob(f"{glob.escape(path.stem)}-*{path.suffix}")
    return sorted(file for file in called if file not in known and file.stem[len(path.stem) + 1 :].isdecimal())


def record_of(line: bytes) -> dict[str, Any] | None:
    """The record that a whole line is; None when it is none."""
    if not line.endswith(b"\n"):
        return None
    try:
        found = json.loads(line)
    except (RecursionError, ValueError):
        return None
    is_record = isinstance(found, dict) and isinstance(found.get("seq"), int) and isinstance(found.get("hash"), str)
    return found if is_record else None


def records(path: Path) -> Iterator[dict[str, Any]]:
    """All records of a chain; what is none is left out, as half a line of a writer that ended.

    Raises:
        FileNotFoundError: there is no such chain.
    """
    for file in segments(path):
        with file.open("rb") as lines:
            for line in lines:
                if record := record_of(line):
                    yield record


def with_hash(body: bytes, digest: str) -> bytes:
    """The canonical form of a record, from that of it without its hash; by the order of keys that stands after `data`."""
    place = body.rindex(b',"mono_ns":"')
    return body[:place] + _hash_field(digest) + body[place:]


def without_hash(line: bytes, digest: str) -> bytes:
    """The canonical form of a record without its hash, from that of it whole."""
    return line.replace(_hash_field(digest), b"", 1)


def _hash_field(digest: str) -> bytes:
    return b',"hash":"' + digest.encode() + b'"'


@dataclass(frozen=True)
class End:
    """Where a chain ends.

    Attributes:
        count: how many records it has.
        head: the hash of the last one.
        size: bytes of its last file.
        is_seal: whether the last record is a seal, and `is_final` whether its writer will add nothing more.
    """

    count: int = 0
    head: str = GENESIS
    size: int = 0
    is_seal: bool = False
    is_final: bool = False


def end(path: Path) -> tuple[End, bytes]:
    """Where the records of one file end, and what stands behind the last of them."""
    size = path.stat().st_size
    if not size:
        return End(), b""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        until = size
        while until:
            begin = content.rfind(b"\n", 0, until - 1) + 1
            if record := record_of(content[begin:until]):
                is_seal = record.get("action") == SEALED
                is_final = is_seal and bool(record["data"].get("final"))
                return End(record["seq"], record["hash"], until, is_seal, is_final), content[until:]
            until = begin
        return End(), content[:]
