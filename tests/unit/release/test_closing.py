"""An audit is evidence: it verifies, tells what it came to, and has no token in it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from vx11.evidence import audit, export, runs
from vx11.evidence.appending import EvidenceError
from vx11.evidence.keys import Signer
from vx11.evidence.verify import State
from vx11.release import closing
from vx11.release.closing import Audit
from vx11.release.config import Release
from vx11.release.gates import GATES

MakeRelease = Callable[..., Release]
MakeDatabase = Callable[..., Path]
TOKEN = "a-token-of-somebody"


def state_of(path: Path) -> State:
    return audit.check(path, audit.Trust.by(Signer.of())).state


def test_gates_and_their_evidence(tmp_path: Path, release: MakeRelease, database: MakeDatabase) -> None:
    told: list[int] = []
    root = tmp_path / "audit"
    chosen = (GATES[0], GATES[1], GATES[2])
    asked = release(databases=(str(database()),))
    path, results, closed = closing.look(root, asked, TOKEN, chosen, lambda one: told.append(one.number))
    assert [one.outcome for one in results] == ["passed", "failed", "not_applicable"]
    assert (told, closed) == ([1, 2, 3], None)
    assert path.parent == root
    assert json.loads((path / "gates/2.json").read_text(encoding="utf-8"))["outcome"] == "failed"
    found = runs.of_folder(path)
    assert {one.case: one.verdict for one in found.verdicts} == {
        "gate-1": "passed",
        "gate-2": "failed",
        "gate-3": "skipped",
    }
    assert [one.state for one in runs.listed(root)] == ["finished"]
    assert export.statement(path)["predicate"]["failedTests"] == ["gate-2"]


def test_it_verifies_until_it_is_changed(tmp_path: Path, release: MakeRelease) -> None:
    path, _ = closing.freeze(tmp_path / "audit", release(), TOKEN)
    assert state_of(path) is state_of(path.parent) is State.SOUND
    file = path / "baseline.json"
    file.write_text(file.read_text(encoding="utf-8").replace("false", "true"), encoding="utf-8")
    assert state_of(path) is state_of(path.parent) is State.TAMPERED


def test_a_baseline_tells_what_there_is(tmp_path: Path, release: MakeRelease, database: MakeDatabase) -> None:
    path = database()
    folder, _ = closing.freeze(tmp_path / "audit", release(databases=(str(path),)), TOKEN)
    found = json.loads((folder / "baseline.json").read_text(encoding="utf-8"))
    (told,) = found["databases"]
    assert (told["path"], told["tables"], told["rows"]) == (str(path), 2, {"parent": 2, "child": 200})
    assert told["sound"]
    assert (found["git"], found["running"]["answers"], found["running"]["told"]) == (None, False, None)


def test_what_breaks_off_is_told(tmp_path: Path) -> None:
    audited = Audit(tmp_path / "audit", "gates", ["gate-1"], TOKEN)
    with pytest.raises(KeyboardInterrupt), audited.open("http://127.0.0.1:8000"):
        raise KeyboardInterrupt
    assert state_of(tmp_path / "audit") is State.SOUND
    assert [one.state for one in runs.listed(tmp_path / "audit")] == ["aborted"]


def test_no_token_is_in_it(tmp_path: Path) -> None:
    audited = Audit(tmp_path / "audit", "gates", ["gate-1"], TOKEN)
    with audited.open("http://127.0.0.1:8000"):
        audited.keep("gates/1.json", {"detail": f"it said {TOKEN}"})
        audited.verdict("gate-1", "failed", f"it said {TOKEN}")
    files = [path for path in (tmp_path / "audit").rglob("*") if path.is_file()]
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("a file", encoding="utf-8")
    with pytest.raises(EvidenceError, match="--audit"):
        Audit(tmp_path / "audit", "gates", [], TOKEN)
