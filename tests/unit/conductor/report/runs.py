"""A run with one case for each verdict."""

from collections.abc import Callable
from pathlib import Path

from vx11.conductor.judge import CaseResult, Judged, Verdict
from vx11.conductor.observations import Observed

BROKEN = Judged("leaves", "< 3", "3", holds=False, why="expected < 3, observed 3")
HELD = Judged("ready", "true", "true", holds=True)
METRICS = {"startup_time_ms": Observed(41.5, "ms", "conductor")}
CASES = {
    "good": "All is well",
    "bad": "Fails twice",
    "flaky": "Passes at its second try",
    "skipped": "Cannot be done",
    "aborted": "Was interrupted",
    "leaked": "Leaves something",
    "unreached": "Never got a verdict",
}
VERDICTS = ["passed", "failed", "flaky", "skipped", "aborted", "leaked", "aborted"]


def of_every_verdict(make_run: Callable[..., object]) -> Path:
    """Its folder."""
    run = make_run(CASES)
    run.attempt(CaseResult("good", Verdict.PASSED, duration=2.5, asserts=(HELD,), metrics=METRICS))
    run.verdict("good", Verdict.PASSED)
    for number in (1, 2):
        run.attempt(CaseResult("bad", Verdict.FAILED, f"leaves, time {number}", 1.0, (BROKEN, HELD), attempt=number))
    run.verdict("bad", Verdict.FAILED, "leaves, time 2")
    run.attempt(CaseResult("flaky", Verdict.FAILED, "too slow", 3.0, (BROKEN,)), cell="c-2")
    run.attempt(CaseResult("flaky", Verdict.PASSED, "", 1.0, (HELD,), METRICS, attempt=2), cell="c-2")
    run.verdict("flaky", Verdict.FLAKY, "passed at try 2; before: too slow")
    run.verdict("skipped", Verdict.SKIPPED, "the engine process cannot do partition here")
    folder = run.attempt(CaseResult("aborted", Verdict.ABORTED, "interrupted", 1.0))
    (folder / "verdict.json").unlink()
    run.verdict("aborted", Verdict.ABORTED, "interrupted")
    run.attempt(CaseResult("leaked", Verdict.LEAKED, "no_resource_leaks: left one", 1.0))
    run.verdict("leaked", Verdict.LEAKED, "no_resource_leaks: left one")
    return run.finish(left=["container abc"], state="aborted")
