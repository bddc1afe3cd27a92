"""A mistake in the conductor itself takes one case: it has a verdict, and the others go on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.chains import whole
from vx11.conductor import run
from vx11.conductor.attempt import Attempt
from vx11.conductor.progress import Plain
from vx11.conductor.seen import Cleaned
from vx11.errors import EnvironmentProblem

OPEN = {"vx11.power.vx11_window": {"service": "web", "ttl": "5m"}}


@pytest.fixture
def run_with(
    make_bundle: Callable[..., Path],
    write_matrix: Callable[..., Path],
    web: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    left_of: Callable[[Path], list[str]],
) -> Callable[[BaseException], run.RunResult]:
    """`run_with(error)` runs three cases in one cell; the first raises this error after its playbook was played."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    bundle = write_matrix(make_bundle({"web": web}), {name: ([OPEN], {}) for name in ("first", "second", "third")})

    def go(error: BaseException) -> run.RunResult:
        clean_up = Attempt._clean_up

        def failing(self: Attempt, before: set[str], leftovers: int, ended: float) -> Cleaned:
            if self._case.id == "first":
                raise error
            return clean_up(self, before, leftovers, ended)

        monkeypatch.setattr(Attempt, "_clean_up", failing)
        options = run.Options(bundle, evidence=tmp_path / "evidence", cells=1)
        try:
            return run.run(options, Plain(Console(quiet=True)))
        finally:
            assert left_of(temporary) == []

    return go


def test_what_nobody_expected_aborts_its_case_alone(run_with: Callable[[BaseException], run.RunResult]) -> None:
    done = run_with(ZeroDivisionError("a mistake"))
    assert {result.case: result.verdict.value for result in done.results} == {
        "first": "aborted",
        "second": "passed",
        "third": "passed",
    }
    message = done.results[0].message
    assert "the conductor failed: ZeroDivisionError('a mistake')" in message
    assert "ZeroDivisionError: a mistake" in Path(message.rpartition("see ")[2]).read_text()
    assert (list(done.left), done.problem, done.passed) == ([], "", False)
    assert whole(done.folder / "evidence.jsonl")


def test_what_this_machine_cannot_do_aborts_the_rest(run_with: Callable[[BaseException], run.RunResult]) -> None:
    done = run_with(EnvironmentProblem("the engine is gone"))
    assert {(result.verdict.value, result.message) for result in done.results} == {("aborted", "the engine is gone")}
    assert len(done.results) == 3
    assert (list(done.left), done.problem) == ([], "the engine is gone")


def test_even_what_ends_the_program_closes_the_books_first(
    run_with: Callable[[BaseException], run.RunResult], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        run_with(SystemExit(7))
    (entry,) = json.loads((tmp_path / "evidence" / "index.json").read_text())["runs"].values()
    assert (entry["state"], entry["verdicts"]) == ("aborted", {"aborted": 3})
