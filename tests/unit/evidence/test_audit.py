"""Folders of evidence that were tampered with: each manipulation is found and named; retention and export hold."""

import base64
import hashlib
import json
import os
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from vx11.errors import InputError
from vx11.evidence import audit, export, retention, runs
from vx11.evidence.audit import Trust
from vx11.evidence.chain import Chain
from vx11.evidence.keys import PublicKeys, Signer
from vx11.evidence.layout import RunFolder, digest, index, tombstone_of
from vx11.evidence.reading import records
from vx11.evidence.verify import Kind, State
from vx11.evidence.witness import Witness

STARTED = 1_795_242_600 * 10**9
IDS = ("e2e-1", "e2e-2")


@pytest.fixture
def signer() -> Signer:
    return Signer.of()


@pytest.fixture
def root(tmp_path: Path, signer: Signer) -> Path:
    """Two runs that have ended, each with a cell."""
    root = tmp_path / "evidence"
    for number, test_id in enumerate(IDS):
        run = RunFolder(root, test_id, STARTED + number * 10**9, signer)
        run.index(state="running", cases=["TC-001"])
        run.begin()
        about = {"matrix": "matrix.yml", "matrix_sha256": "ab" * 32, "cases": ["TC-001"]}
        run.chain.append("conductor", "run_started", test_id, about)
        folder = run.folder_of("TC-001", 1)
        folder.mkdir(parents=True)
        (folder / "verdict.json").write_text("{}")
        verdict = {"verdict": "passed", "message": "", "attempts": 1}
        run.chain.append("conductor", "verdict", "TC-001", verdict)
        cell = Chain(run.path / "cells" / f"{test_id}-1" / "evidence.jsonl")
        cell.append("madre", "started", f"{test_id}-1")
        cell.close()
        came_to = {"state": "finished", "verdicts": {"passed": 1}}
        run.chain.append("conductor", "run_finished", test_id, came_to)
        run.finish()
        run.index(**came_to, head=run.chain.head)
    return root


def first(root: Path) -> Path:
    return next(path for path in sorted(root.iterdir()) if path.is_dir())


def changed(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        path = root / name.replace("RUN", first(root).name)
        text, of_run = path.read_text(), old.replace("RUN", first(root).name)
        assert of_run in text
        path.write_text(text.replace(of_run, new, 1))

    return change


def gone(name: str) -> Callable[[Path], None]:
    def remove(root: Path) -> None:
        path = root / name.replace("RUN", first(root).name)
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return remove


def made(name: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        path = root / name.replace("RUN", first(root).name)
        path.parent.mkdir(exist_ok=True)
        path.write_text("")

    return make


def linked(name: str) -> Callable[[Path], None]:
    """A link to the same content elsewhere, in the place of a file if there is one."""

    def link(root: Path) -> None:
        path, kept = root / name.replace("RUN", first(root).name), root.parent / "kept"
        path.replace(kept) if path.exists() else kept.touch()
        path.symlink_to(kept)

    return link


def piped(name: str) -> Callable[[Path], None]:
    return lambda root: os.mkfifo(root / name.replace("RUN", first(root).name))


def without_last(name: str) -> Callable[[Path], None]:
    """Half the records of a chain are cut off."""

    def cut(root: Path) -> None:
        path = root / name.replace("RUN", first(root).name)
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[: len(lines) // 2]))

    return cut


def sealed_anew(root: Path) -> None:
    """By somebody who has the right key: a run that was shorter."""
    chain = first(root) / "evidence.jsonl"
    lines = chain.read_bytes().splitlines(keepends=True)
    chain.write_bytes(lines[0])
    Chain(chain, Signer.of()).close()


def with_another_manifest(root: Path) -> None:
    """By somebody who has another key."""
    path = first(root) / "manifest.json"
    found = json.loads(path.read_text())
    found["signature"] = found["signature"][::-1]
    path.write_text(json.dumps(found))


MANIPULATIONS: dict[str, tuple[Callable[[Path], None], Kind, str, str]] = {
    "a verdict changed": (
        changed("RUN/cases/TC-001/1/verdict.json", "{}", "[]"),
        Kind.CHANGED,
        "RUN/cases/TC-001/1/verdict.json",
        "its digest is not that of the manifest",
    ),
    "a verdict removed": (
        gone("RUN/cases/TC-001/1/verdict.json"),
        Kind.REMOVED,
        "RUN/cases/TC-001/1/verdict.json",
        "is gone",
    ),
    "a file put in": (made("RUN/cases/more.txt"), Kind.FOREIGN, "RUN/cases/more.txt", "the manifest does not list it"),
    "a record of a run changed": (
        changed("RUN/evidence.jsonl", "passed", "failed"),
        Kind.CHANGED,
        "RUN/evidence.jsonl",
        "does not match its own hash",
    ),
    "a run's tail cut": (
        without_last("RUN/evidence.jsonl"),
        Kind.CUT,
        "RUN/evidence.jsonl",
        "its tail is cut: 2 of 4 records are there",
    ),
    "a run's tail sealed anew": (sealed_anew, Kind.CUT, "RUN/evidence.jsonl", "3 of 4 records are there"),
    "a record of a cell changed": (
        changed("RUN/cells/e2e-1-1/evidence.jsonl", "started", "stopped"),
        Kind.CHANGED,
        "RUN/cells/e2e-1-1/evidence.jsonl",
        "does not match its own hash",
    ),
    "the chain of a cell emptied": (
        without_last("RUN/cells/e2e-1-1/evidence.jsonl"),
        Kind.CHANGED,
        "RUN/cells/e2e-1-1/evidence.jsonl",
        "its digest is not that of the manifest",
    ),
    "a manifest changed": (
        changed("RUN/manifest.json", "verdict.json", "other.json"),
        Kind.BAD_SEAL,
        "RUN/manifest.json",
        "has a signature that is wrong",
    ),
    "a manifest without a canonical form": (
        changed("RUN/manifest.json", '"schema": 1', '"schema": NaN'),
        Kind.BAD_SEAL,
        "RUN/manifest.json",
        "has a signature that is wrong",
    ),
    "a manifest that says two things": (
        changed("RUN/manifest.json", '"files": ', '"files": {}, "files": '),
        Kind.CHANGED,
        "RUN/manifest.json",
        "is not in the form in which it was written",
    ),
    "the heads removed": (gone("heads.jsonl"), Kind.REMOVED, "heads.jsonl", "does not tell that the run e2e-1 has ended"),
    "a manifest of another": (
        with_another_manifest,
        Kind.CHANGED,
        "RUN/manifest.json",
        "is not the one that the chain of heads tells of",
    ),
    "a manifest removed": (
        gone("RUN/manifest.json"),
        Kind.CHANGED,
        "RUN/manifest.json",
        "is not the one that the chain of heads tells of",
    ),
    "a run removed": (gone("RUN"), Kind.REMOVED, "RUN", "the run e2e-1 is gone"),
    "a run put in": (made("20990101T000000Z-e2e-9/evidence.jsonl"), Kind.FOREIGN, "20990101T000000Z-e2e-9", "is no run"),
    "a file put beside": (made("notes.txt"), Kind.FOREIGN, "notes.txt", "is not part of the evidence"),
    "a head removed": (without_last("heads.jsonl"), Kind.REMOVED, "heads.jsonl", "tell that the run e2e-2 has ended"),
    "a head changed": (
        changed("heads.jsonl", '"records":4', '"records":3'),
        Kind.CHANGED,
        "heads.jsonl",
        "does not match its own hash",
    ),
    "the index changed": (changed("index.json", '"head": "', '"head": "0'), Kind.CHANGED, "index.json", "says: head"),
    "a count in the index changed": (
        changed("index.json", '"passed": 1', '"passed": 2'),
        Kind.CHANGED,
        "index.json",
        "does not say of the run e2e-1 what its evidence says: verdicts",
    ),
    "a state in the index changed": (changed("index.json", "finished", "aborted"), Kind.CHANGED, "index.json", ": state"),
    "a run in the index moved": (
        changed("index.json", "-e2e-1", "-e2e-9"),
        Kind.CHANGED,
        "index.json",
        "does not say of the run e2e-1 what its evidence says: folder",
    ),
    "a run taken out of the index": (
        changed("index.json", '"e2e-1"', '"e2e-9"'),
        Kind.CHANGED,
        "index.json",
        "does not list the run e2e-1",
    ),
    "the index removed": (gone("index.json"), Kind.REMOVED, "index.json", "is gone"),
    "a tombstone put in": (
        made("tombstones/20990101T000000Z-e2e-9.json"),
        Kind.FOREIGN,
        "tombstones/20990101T000000Z-e2e-9.json",
        "is not part of the evidence",
    ),
    "a link put in": (linked("RUN/report/index.html"), Kind.FOREIGN, "RUN/report/index.html", "the manifest does not list"),
    "a link instead of a file": (
        linked("RUN/cases/TC-001/1/verdict.json"),
        Kind.CHANGED,
        "RUN/cases/TC-001/1/verdict.json",
        "was changed",
    ),
    "a pipe put in": (piped("RUN/report/pipe"), Kind.FOREIGN, "RUN/report/pipe", "the manifest does not list it"),
}


@pytest.mark.parametrize("name", MANIPULATIONS)
def test_a_manipulation_is_found_and_named(root: Path, signer: Signer, name: str) -> None:
    change, kind, where, message = MANIPULATIONS[name]
    where = where.replace("RUN", first(root).name)
    change(root)
    report = audit.check(root, Trust.by(signer))
    assert report.state is State.TAMPERED
    assert (kind, where) in [(found.kind, found.where) for found in report.findings if message in found.message]


def test_what_is_as_it_was_is_sound(root: Path, signer: Signer) -> None:
    report = audit.check(root, Trust.by(signer))
    assert (report.state, report.findings, report.open) == (State.SOUND, [], [])
    assert {chain.where.rpartition("/")[2] for chain in report.chains} == {"heads.jsonl", "evidence.jsonl"}
    assert len(report.chains) == 1 + 2 * len(IDS)


@pytest.fixture(params=[True, False], ids=["told", "untold"])
def going(root: Path, signer: Signer, request: pytest.FixtureRequest) -> Iterator[RunFolder]:
    """A third run, which goes on; heads that are older do not tell that it began."""
    run = RunFolder(root, "e2e-3", STARTED - 10**9, signer)
    run.index(state="running")
    if request.param:
        run.begin()
    run.chain.append("conductor", "run_started", "e2e-3", {"cases": []})
    yield run
    run.chain.close()


def test_a_run_that_goes_on_is_unsealed(root: Path, signer: Signer, going: RunFolder) -> None:
    report = audit.check(root, Trust.by(signer))
    assert (report.state, report.findings) == (State.UNSEALED, [])
    assert report.open == [
        f"{going.path.name}/evidence.jsonl: unsealed since record 1 of 1: its writer goes on, or crashed"
    ]


def unlisted(root: Path) -> None:
    path = root / "index.json"
    found = json.loads(path.read_text())
    del found["runs"]["e2e-3"]
    path.write_text(json.dumps(found))


def unlisted_and_gone(root: Path) -> None:
    unlisted(root)
    gone("RUN")(root)


@pytest.mark.parametrize("going", [True], indirect=True)
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (unlisted_and_gone, ["index.json: does not list the run e2e-3", "RUN: the run e2e-3, which has not ended, is gone"]),
        (unlisted, ["index.json: does not list the run e2e-3"]),
        (gone("RUN"), ["RUN: the run e2e-3, which has not ended, is gone"]),
        (
            changed("index.json", "RUN", "another"),
            ["index.json: does not say of the run e2e-3 what the chain of heads says: folder"],
        ),
        (changed("index.json", "running", "aborted"), ["heads.jsonl: does not tell that the run e2e-3 has ended"]),
    ],
    ids=["run and entry", "entry", "run", "entry of another", "ended"],
)
def test_a_run_that_has_not_ended_is_not_removed_unseen(
    root: Path, signer: Signer, going: RunFolder, change: Callable[[Path], None], told: list[str]
) -> None:
    assert first(root) == going.path
    change(root)
    findings = audit.check(root, Trust.by(signer)).findings
    assert [str(found) for found in findings] == [text.replace("RUN", going.path.name) for text in told]


def test_runs_that_share_a_root_are_all_told_of(tmp_path: Path, signer: Signer) -> None:
    def conduct(number: int) -> None:
        run = RunFolder(tmp_path, f"e2e-{number}", STARTED, signer)
        run.index(state="running")
        run.begin()
        run.chain.append("conductor", "run_started", run.test_id, {"cases": []})
        run.chain.append("conductor", "run_finished", run.test_id, {"state": "finished", "verdicts": {}})
        run.finish()
        run.index(state="finished", verdicts={}, head=run.chain.head)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(conduct, range(8)))
    report = audit.check(tmp_path, Trust.by(signer))
    assert (report.state, report.findings) == (State.SOUND, [])
    actions = [record["action"] for record in records(tmp_path / "heads.jsonl")]
    assert (actions.count("run_began"), actions.count("run_finished")) == (8, 8)


def test_a_head_noted_elsewhere_is_looked_for(root: Path, signer: Signer) -> None:
    head = audit.check(root, Trust.by(signer)).chains[0].head
    assert audit.check(root, Trust.by(signer), [head]).state is State.SOUND
    (found,) = audit.check(root, Trust.by(signer), ["0" * 64]).findings
    assert (found.kind, found.message) == (
        Kind.RESEALED,
        f"no chain has the record {'0' * 64}, which was a head once: it was written anew, or cut",
    )


def test_one_run_is_checked_by_itself(root: Path, signer: Signer, tmp_path: Path) -> None:
    away = tmp_path / "elsewhere"
    shutil.copytree(first(root), away)
    assert audit.check(away, Trust.by(signer)).state is State.SOUND


@pytest.mark.parametrize("more", [(), ("report",)])
def test_one_run_without_its_manifest_is_not_sound(root: Path, signer: Signer, more: tuple[str, ...]) -> None:
    for name in ("manifest.json", *more):
        gone(f"RUN/{name}")(root)
    (found,) = audit.check(first(root), Trust.by(signer)).findings
    assert str(found) == "manifest.json: is gone: nothing tells what files the run has"


@pytest.mark.parametrize("is_listed", [True, False])
def test_books_that_are_said_to_be_open_are_not_sound(root: Path, signer: Signer, is_listed: bool) -> None:
    if not is_listed:
        gone("RUN/manifest.json")(root)
    made("RUN/conductor.json")(root)
    report = audit.check(first(root), Trust.by(signer))
    assert report.state is State.UNSEALED
    assert f"{first(root).name}: the run goes on, or has lost its conductor" in report.open


@pytest.fixture
def cell(tmp_path: Path, signer: Signer) -> Path:
    """What a madre and her watchdog wrote, who are no part of a run."""
    folder = tmp_path / "cell"
    watchdog = Chain(folder / "watchdog.jsonl")
    watchdog.append("watchdog", "started", "watchdog")
    chain = Chain(folder / "evidence.jsonl", signer)
    chain.append("madre", "started", "cell")
    Witness(chain).look()
    chain.close()
    watchdog.close()
    return folder


def test_what_the_watchdog_wrote_is_sound_as_far_as_madre_tells_of_it(cell: Path, signer: Signer) -> None:
    assert audit.check(cell, Trust.by(signer)).state is State.SOUND
    more = Chain(cell / "watchdog.jsonl")
    more.append("watchdog", "closed", "w-1")
    more.close()
    report = audit.check(cell, Trust.by(signer))
    assert (report.state, report.findings) == (State.UNSEALED, [])
    assert report.open == ["watchdog.jsonl: unsealed since record 2 of 2: evidence.jsonl does not tell of them"]


def test_a_head_is_not_looked_for_in_what_is_no_part_of_a_madre(cell: Path, signer: Signer) -> None:
    head = audit.check(cell, Trust.by(signer)).chains[0].head
    kept = cell.with_name("kept")
    shutil.copytree(cell, kept)
    chain = cell / "evidence.jsonl"
    chain.write_bytes(chain.read_bytes().splitlines(keepends=True)[0])
    shutil.copytree(kept, cell / "cells" / "kept")
    (found,) = audit.check(cell, Trust.by(signer), [head]).findings
    assert found.kind is Kind.RESEALED


@pytest.mark.parametrize("name", ["none", "evidence"])
def test_where_no_evidence_is_that_is_told(tmp_path: Path, signer: Signer, name: str) -> None:
    (tmp_path / "evidence").mkdir()
    with pytest.raises(InputError, match="there is no evidence here"):
        audit.check(tmp_path / name, Trust.by(signer))


def test_which_key_is_used_is_told(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Trust.of(root, [])
    assert own.why.startswith("by the key of this machine")
    monkeypatch.setenv("VX11_EVIDENCE_KEY", str(tmp_path / "none.key"))
    beside = Trust.of(root, [])
    assert "that proves consistency only" in beside.why
    assert str(beside.keys) == str(own.keys) != ""
    assert Trust.of(root, [root / "evidence.pub"]).why == "by the given key"
    bare = Trust.of(tmp_path, [])
    assert (bool(bare.keys), bare.why) == (False, "without a key: seals were not checked; name one with --key")


@pytest.fixture
def intent(root: Path, signer: Signer) -> Path:
    """A patch intent of a third run, whose evidence has a copy."""
    folder = root.parent / "patch_intents" / "PI-1"
    folder.mkdir(parents=True)
    (folder / "PATCH_INTENT.md").write_text("# why")
    (folder / "intent.json").write_text("{}")
    run = RunFolder(root, "e2e-3", STARTED + 9 * 10**9, signer)
    run.chain.append("conductor", "run_started", "e2e-3", {"cases": ["TC-001"]})
    shutil.copytree(folder, run.folder_of("TC-001", 1) / "intent")
    told = {"written": True, "folder": str(folder), "sha256": {path.name: digest(path) for path in folder.iterdir()}}
    run.chain.append("conductor", "patch_intent", "TC-001", told)
    run.chain.append("conductor", "patch_intent", "TC-001", {"written": False, "why": "no room"})
    run.finish()
    return folder


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda folder: (folder / "PATCH_INTENT.md").write_text("# so"), "PATCH_INTENT.md was changed"),
        (lambda folder: (folder / "intent.json").unlink(), "intent.json is gone"),
        (lambda folder: shutil.rmtree(folder), "PATCH_INTENT.md is gone, intent.json is gone"),
        (lambda folder: (folder / "signed-off.txt").touch(), None),
        (lambda folder: shutil.rmtree(folder.parent), None),
    ],
    ids=["changed", "file gone", "gone", "more", "elsewhere"],
)
def test_an_intent_that_is_not_as_it_was_written_is_told(
    root: Path, signer: Signer, intent: Path, change: Callable[[Path], object], told: str | None
) -> None:
    """The evidence has its own, so that nothing is wrong with it."""
    (run,) = root.glob("*-e2e-3")
    assert audit.check(run, Trust.by(signer)).notes == []
    change(intent)
    report = audit.check(run, Trust.by(signer))
    expected = [f"evidence.jsonl: the patch intent {intent} is not as it was: {told}"] if told else []
    assert (report.state, report.notes) == (State.SOUND, expected)


@pytest.mark.parametrize("is_archived", [False, True])
def test_an_intent_in_the_evidence_is_part_of_it(
    root: Path, signer: Signer, intent: Path, tmp_path: Path, is_archived: bool
) -> None:
    (run,) = root.glob("*-e2e-3")
    name = "cases/TC-001/1/intent/PATCH_INTENT.md"
    if is_archived:
        export.export(run, tmp_path / "run.tar.gz", signer)
        with tarfile.open(tmp_path / "run.tar.gz") as archive:
            assert f"{run.name}/{name}" in archive.getnames()
        assert audit.check(tmp_path / "run.tar.gz", Trust.by(signer)).state is State.SOUND
    (run / name).write_text("# so")
    (found,) = audit.check(run, Trust.by(signer)).findings
    assert (found.kind, found.where) == (Kind.CHANGED, name)


def later(days: float) -> int:
    return time.time_ns() + int(days * 86400 * 1e9)


def test_old_runs_go_and_leave_tombstones(root: Path, signer: Signer) -> None:
    assert list(retention.prune(root, signer, now_ns=later(29))) == []
    folder = first(root)
    planned = list(retention.prune(root, signer, now_ns=later(31), dry_run=True))
    assert [item.test_id for item in planned] == list(IDS)
    assert folder.is_dir()
    assert list(retention.prune(root, signer, now_ns=later(31))) == planned
    assert not folder.exists()
    told = json.loads(tombstone_of(folder).read_text())
    assert (told["test_id"], told["folder"], told["records"]) == ("e2e-1", folder.name, 4)
    report = audit.check(root, Trust.by(signer))
    assert (report.state, report.findings) == (State.SOUND, [])
    assert [run.state for run in runs.listed(root)] == ["removed", "removed"]
    assert list(retention.prune(root, signer, now_ns=later(31))) == []


def test_what_does_not_verify_is_kept(root: Path, signer: Signer) -> None:
    changed("RUN/cases/TC-001/1/verdict.json", "{}", "[]")(root)
    kept, removed = retention.prune(root, signer, now_ns=later(31))
    assert kept.kept.startswith("it does not verify: ")
    assert removed.kept == ""
    assert first(root).name.endswith("e2e-1")


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda path: path.write_text(path.read_text().replace("e2e-1", "e2e-7")), Kind.BAD_SEAL, "signature"),
        (lambda path: path.write_text("{}"), Kind.CHANGED, "does not say of the run what"),
        (lambda path: path.write_text(path.read_text() + " "), Kind.CHANGED, "is not the one that was made"),
        (lambda path: path.write_text("no"), Kind.CHANGED, "is not a tombstone"),
        (lambda path: path.unlink(), Kind.REMOVED, "is gone"),
    ],
)
def test_a_tombstone_that_was_tampered_with_is_found(
    root: Path, signer: Signer, change: Callable[[Path], None], kind: Kind, message: str
) -> None:
    tombstone = tombstone_of(first(root))
    list(retention.prune(root, signer, now_ns=later(31)))
    change(tombstone)
    report = audit.check(root, Trust.by(signer))
    assert (kind, f"tombstones/{tombstone.name}") in [
        (found.kind, found.where) for found in report.findings if message in found.message
    ]


def test_a_removal_that_was_broken_off_is_no_tampering_and_is_finished(root: Path, signer: Signer) -> None:
    folder, kept = first(root), root.parent / "kept"
    shutil.copytree(folder, kept)
    list(retention.prune(root, signer, now_ns=later(31)))
    shutil.copytree(kept, folder)
    shutil.copytree(kept, root / f".removing-{folder.name}")
    assert audit.check(root, Trust.by(signer)).findings == []
    list(retention.prune(root, signer, now_ns=later(31)))
    assert not folder.exists()
    assert not (root / f".removing-{folder.name}").exists()


def forged_head(root: Path, action: str, subject: str, wall_ns: str) -> None:
    """A record behind the last one, as somebody may add it who has no key; it fits."""
    path = root / "heads.jsonl"
    last = [json.loads(line) for line in path.read_bytes().splitlines()][-1]
    data = {"folder": first(root).name}
    about = last | {"action": action, "subject": subject, "wall_ns": wall_ns, "data": data, "actor": "conductor"}
    about |= {"seq": last["seq"] + 1, "prev": last["hash"]}
    del about["hash"]
    path.write_bytes(path.read_bytes() + rfc8785.dumps(about | {"hash": hashlib.sha256(rfc8785.dumps(about)).hexdigest()}) + b"\n")


def test_nobody_without_the_key_has_a_run_removed(root: Path, signer: Signer) -> None:
    forged_head(root, "run_finished", "e2e-1", "1")
    (kept,) = retention.prune(root, signer)
    assert (kept.test_id, kept.kept) == ("e2e-1", "it has records that are not so old")
    forged_head(root, "run_pruned", "e2e-1", "1")
    kept, *_ = retention.prune(root, signer, now_ns=later(31))
    assert (kept.test_id, kept.kept) == ("e2e-1", "it has no tombstone of ours")
    assert first(root).is_dir()


def test_nothing_is_removed_by_heads_that_do_not_verify(root: Path, signer: Signer) -> None:
    changed("heads.jsonl", '"records":4', '"records":5')(root)
    with pytest.raises(InputError, match="nothing is removed, since this does not verify"):
        list(retention.prune(root, signer, now_ns=later(31)))


def test_an_archive_proves_itself_elsewhere(root: Path, signer: Signer, tmp_path: Path) -> None:
    archive = tmp_path / "run.tar.gz"
    export.export(first(root), archive, signer)
    shutil.rmtree(root)
    report = audit.check(archive, Trust.by(signer))
    assert (report.state, report.findings) == (State.SOUND, [])
    assert [chain.records for chain in report.chains] == [4, 1]


def test_the_statement_is_in_toto_s_with_the_result_of_the_test(root: Path, signer: Signer) -> None:
    envelope = export.sealed(export.statement(first(root)), signer)
    found = export.opened(envelope, PublicKeys([signer.public]))
    assert found["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert found["predicate"] == {
        "result": "PASSED",
        "configuration": [{"name": "matrix.yml", "digest": {"sha256": "ab" * 32}}],
        "passedTests": ["TC-001"],
        "warnedTests": [],
        "failedTests": [],
    }


@pytest.mark.parametrize(
    ("verdicts", "result", "passed", "warned", "failed"),
    [
        ({"a": "passed", "b": "skipped"}, "PASSED", ["a"], [], []),
        ({"a": "passed", "b": "flaky", "c": "skipped"}, "WARNED", ["a"], ["b"], []),
        ({"a": "passed", "b": "flaky", "c": "leaked"}, "FAILED", ["a"], ["b"], ["c"]),
        ({"a": "skipped", "b": None}, "FAILED", [], [], ["b"]),
    ],
)
def test_what_was_skipped_is_in_no_list_and_what_was_tried_again_passed_with_a_warning(
    tmp_path: Path,
    signer: Signer,
    verdicts: dict[str, str | None],
    result: str,
    passed: list[str],
    warned: list[str],
    failed: list[str],
) -> None:
    run = RunFolder(tmp_path, "e2e-1", STARTED, signer)
    run.chain.append("conductor", "run_started", "e2e-1", {"cases": list(verdicts)})
    for case, verdict in verdicts.items():
        if verdict:
            run.chain.append("conductor", "verdict", case, {"verdict": verdict, "message": "", "attempts": 1})
    run.finish()
    about = export.statement(run.path)["predicate"]
    lists = (about["passedTests"], about["warnedTests"], about["failedTests"])
    assert (about["result"], lists) == (result, (passed, warned, failed))


def test_the_signature_is_that_of_dsse(signer: Signer) -> None:
    """The bytes that are signed, as the specification of DSSE has them."""
    envelope = export.sealed({"_type": export.STATEMENT}, signer)
    body = base64.b64decode(envelope["payload"])
    signed = b"DSSEv1 28 application/vnd.in-toto+json " + str(len(body)).encode() + b" " + body
    assert signer.public.signed_bytes(signed, envelope["signatures"][0]["sig"])


def repacked(archive: Path, change: Callable[[Path], None]) -> None:
    """Unpacks an archive, changes what is in it, and packs it again."""
    scratch = archive.parent / "scratch"
    with tarfile.open(archive) as tar:
        tar.extractall(scratch, filter="data")
    change(scratch)
    with tarfile.open(archive, "w:gz") as tar:
        for path in scratch.iterdir():
            tar.add(path, path.name)


def forged(scratch: Path) -> None:
    path = scratch / export.ATTESTATION
    envelope = json.loads(path.read_text())
    envelope["signatures"][0]["sig"] = "AAAA"
    path.write_text(json.dumps(envelope))


def of_another(scratch: Path) -> None:
    path = scratch / export.ATTESTATION
    statement = export.statement(first(scratch))
    statement["subject"][0]["digest"]["sha256"] = "0" * 64
    path.write_text(json.dumps(export.sealed(statement, Signer.of())))


@pytest.mark.parametrize(
    ("change", "where", "message"),
    [
        (forged, export.ATTESTATION, "has no good signature by"),
        (of_another, export.ATTESTATION, "is about another run"),
        (lambda at: (at / export.ATTESTATION).unlink(), export.ATTESTATION, "is not an in-toto statement"),
        (
            lambda at: (first(at) / "manifest.json").unlink(),
            export.ATTESTATION,
            "is about a run that has no manifest",
        ),
        (lambda at: (first(at) / "evidence.jsonl").unlink(), "RUN/evidence.jsonl", "is gone"),
        (lambda at: (at / "notes.txt").touch(), "notes.txt", "is not part of the archive of a run"),
        (
            lambda at: (first(at) / "cases/TC-001/1/verdict.json").write_text("[]"),
            "RUN/cases/TC-001/1/verdict.json",
            "was changed",
        ),
    ],
)
def test_an_archive_that_was_tampered_with_is_found(
    root: Path, signer: Signer, tmp_path: Path, change: Callable[[Path], None], where: str, message: str
) -> None:
    archive = tmp_path / "run.tar.gz"
    export.export(first(root), archive, signer)
    repacked(archive, change)
    findings = audit.check(archive, Trust.by(signer)).findings
    assert where.replace("RUN", first(root).name) in [found.where for found in findings if message in found.message]


def test_what_is_no_archive_is_told(tmp_path: Path, signer: Signer) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    with pytest.raises(InputError, match="neither a chain nor an archive of a run"):
        audit.check(path, Trust.by(signer))


def test_an_archive_is_never_written_over_and_needs_closed_books(root: Path, signer: Signer, tmp_path: Path) -> None:
    archive = tmp_path / "run.tar.gz"
    archive.touch()
    with pytest.raises(InputError, match="is there already"):
        export.export(first(root), archive, signer)
    (first(root) / "manifest.json").unlink()
    with pytest.raises(InputError, match="only a run whose books are closed"):
        export.export(first(root), tmp_path / "other.tar.gz", signer)
    assert [path.name for path in tmp_path.iterdir() if "tar" in path.name] == ["run.tar.gz"]


def test_a_run_that_ended_without_a_head_is_told(root: Path, signer: Signer) -> None:
    index(root, "e2e-5", folder="20261121T063000Z-e2e-5", state="finished")
    findings = audit.check(root, Trust.by(signer)).findings
    assert [found.message for found in findings] == ["does not tell that the run e2e-5 has ended"]


def as_json(report: audit.Report) -> Any:
    return json.loads(json.dumps(report.to_json()))


def test_a_report_is_plain_data(root: Path, signer: Signer) -> None:
    gone("RUN")(root)
    found = as_json(audit.check(root, Trust.by(signer)))
    assert (found["state"], found["findings"][0]["kind"]) == ("tampered", "removed")


@pytest.mark.parametrize(
    ("content", "why"), [(b"", "empty"), (b'{"action":', "nothing but what is no record")]
)
def test_a_chain_without_a_record_is_not_sound(tmp_path: Path, signer: Signer, content: bytes, why: str) -> None:
    (tmp_path / "evidence.jsonl").write_bytes(content)
    report = audit.check(tmp_path, Trust.by(signer))
    assert (report.state, report.open) == (State.UNSEALED, [f"evidence.jsonl: {why}"])


def test_what_a_writer_leaves_that_was_killed_is_no_tampering(root: Path, signer: Signer) -> None:
    """Half of what is written whole, under the name that it has until then."""
    run = RunFolder(root, "e2e-3", STARTED, signer)
    for path in (run.path / "manifest.json.new", root / "index.json.new"):
        path.write_text("{")
    run.chain.append("conductor", "run_started", "e2e-3", {})
    run.finish()
    run.index(state="finished", head=run.chain.head)
    report = audit.check(root, Trust.by(signer))
    assert (report.state, report.findings) == (State.SOUND, [])


def test_files_of_any_name_and_links_are_part_of_a_run(tmp_path: Path, signer: Signer) -> None:
    run = RunFolder(tmp_path, "e2e-3", STARTED, signer)
    suites = run.folder_of("TC-001", 1) / "suites"
    suites.mkdir(parents=True)
    odd = suites / os.fsdecode(b"caf\xe9.txt")
    odd.touch()
    (suites / "latest").symlink_to("nowhere")
    run.chain.append("conductor", "run_started", "e2e-3", {})
    run.finish()
    assert audit.check(run.path, Trust.by(signer)).state is State.SOUND
    (suites / "latest").unlink()
    (suites / "latest").symlink_to("elsewhere")
    odd.write_text("more")
    assert [found.where for found in audit.check(run.path, Trust.by(signer)).findings] == [
        "//cases/TC-001/1/suites/caf%E9.txt",
        "cases/TC-001/1/suites/latest",
    ]
