"""What the evidence of a run says about it, at each moment of its life."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vx11.evidence import runs
from vx11.evidence.keys import Signer
from vx11.evidence.layout import RunFolder
from vx11.evidence.runs import Run

STARTED = 1_795_242_600 * 10**9
C = "conductor"


def started(root: Path, test_id: str = "e2e-1", *cases: str) -> RunFolder:
    """A run that has begun."""
    run = RunFolder(root, test_id, STARTED, Signer.of())
    run.index(state="running", conductor=7, cases=list(cases or ("one", "two")))
    run.chain.append(C, "run_started", test_id)
    return run


def verdict(run: RunFolder, case: str, word: str, attempts: int = 1, **tried: Any) -> None:
    """A case has its verdict; with `tried` its last try left a file."""
    if tried:
        folder = run.folder_of(case, attempts)
        folder.mkdir(parents=True)
        (folder / "verdict.json").write_text(json.dumps({"schema": 1, "case": case, **tried}), encoding="utf-8")
    run.chain.append(C, "verdict", case, {"verdict": word, "message": f"{case} {word}", "attempts": attempts})


def finish(run: RunFolder, state: str = "finished", *left: str) -> None:
    """It ends as the conductor ends it."""
    run.chain.append(C, "cell_ended", "c", {"left": list(left)})
    run.chain.append(C, "run_finished", run.test_id)
    run.finish()
    run.index(state=state)


def found(root: Path, test_id: str = "e2e-1") -> Run:
    run = runs.find(root, test_id)
    assert run
    return run


def test_a_run_that_goes_on_has_the_verdicts_so_far(tmp_path: Path) -> None:
    run = started(tmp_path)
    verdict(run, "one", "flaky", 2, duration=1.5, asserts=[{"name": "a", "holds": True}], metrics={"m": 3})
    seen = found(tmp_path)
    assert (seen.state, seen.conductor, seen.planned) == ("running", 7, ("one", "two"))
    assert seen.started_ns
    assert seen.ended_ns is None
    (one,) = seen.verdicts
    assert (one.case, one.verdict, one.message, one.attempts) == ("one", "flaky", "one flaky", 2)
    assert (one.duration, one.asserts, one.metrics) == (1.5, ({"name": "a", "holds": True},), {"m": 3})
    run.chain.close()


def test_a_case_that_never_began_was_never_tried(tmp_path: Path) -> None:
    run = started(tmp_path)
    verdict(run, "one", "skipped")
    (one,) = found(tmp_path).verdicts
    assert (one.verdict, one.attempts, one.duration, one.asserts) == ("skipped", 0, None, ())
    run.chain.close()


@pytest.mark.parametrize(
    ("end", "passed"),
    [
        (lambda run: finish(run), True),
        (lambda run: finish(run, "aborted"), False),
        (lambda run: finish(run, "finished", "process 7"), False),
        (lambda run: run.chain.close(), False),
    ],
    ids=["finished", "aborted", "left something", "not ended"],
)
def test_passed_is_what_came_to_its_end_and_left_nothing(
    tmp_path: Path, end: Callable[[RunFolder], None], passed: bool
) -> None:
    run = started(tmp_path)
    verdict(run, "one", "passed")
    verdict(run, "two", "skipped")
    end(run)
    assert found(tmp_path).passed is passed


@pytest.mark.parametrize("word", ["failed", "flaky", "leaked", "aborted"])
def test_one_case_that_did_not_pass_is_enough(tmp_path: Path, word: str) -> None:
    run = started(tmp_path)
    verdict(run, "one", "passed")
    verdict(run, "two", word)
    finish(run)
    assert not found(tmp_path).passed


def test_what_a_run_left_is_told(tmp_path: Path) -> None:
    run = started(tmp_path)
    finish(run, "finished", "process 7", "volume v")
    assert found(tmp_path).left == ("process 7", "volume v")


def test_a_run_is_found_below_the_root_but_not_in_the_evidence_of_another(tmp_path: Path) -> None:
    finish(started(tmp_path, "e2e-1"))
    finish(started(tmp_path / "nightly" / "deep", "e2e-2"))
    finish(started(found(tmp_path).folder / "cases", "e2e-3"))
    assert found(tmp_path, "e2e-2").folder.parent == tmp_path / "nightly" / "deep"
    assert runs.find(tmp_path, "e2e-3") is None
    assert runs.find(tmp_path / "nothing", "e2e-1") is None


def test_half_a_record_is_not_there_yet(tmp_path: Path) -> None:
    run = started(tmp_path)
    verdict(run, "one", "passed")
    run.chain.close()
    with run.chain.path.open("ab") as file:
        file.write(b'{"schema": 1, "act')
    assert [item.case for item in found(tmp_path).verdicts] == ["one"]


def test_a_run_whose_evidence_is_gone_is_still_known(tmp_path: Path) -> None:
    run = started(tmp_path)
    finish(run)
    run.chain.path.unlink()
    seen = found(tmp_path)
    assert (seen.state, seen.started_ns, seen.verdicts) == ("finished", None, ())


@pytest.mark.parametrize("text", ["", "[]", "{}", "not json", '{"runs": [1]}', '{"runs": {"e2e-1": 7, "e2e-2": {}}}'])
def test_an_index_that_cannot_be_read_knows_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "index.json").write_text(text, encoding="utf-8")
    assert runs.listed(tmp_path) == []
    assert runs.find(tmp_path, "e2e-1") is None
