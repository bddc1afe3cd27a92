"""The summary: a table, a line, and plain data."""

import io
import json

import pytest
from rich.console import Console

from vx11.conductor import report
from vx11.conductor.judge import CaseResult, Judged, Verdict
from vx11.conductor.observations import Observed

PASSED = CaseResult(
    "TC-001",
    Verdict.PASSED,
    duration=12.3456,
    asserts=(Judged("window_auto_closed", "true", "true", holds=True),),
    metrics={"startup_time_ms": Observed(41.5, "ms", "test")},
)
FAILED = CaseResult("TC-002", Verdict.FAILED, "a: not observed", 1.0, (Judged("a", "true", None, holds=False),))


def results(*verdicts: Verdict) -> list[CaseResult]:
    return [CaseResult(f"TC-{number}", verdict, verdict.value) for number, verdict in enumerate(verdicts)]


def table(*found: CaseResult) -> str:
    console = Console(file=io.StringIO(), width=200)
    report.print_table(console, found)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("verdicts", "text"),
    [
        ([], "0 passed, 0 failed"),
        ([Verdict.PASSED, Verdict.PASSED], "2 passed, 0 failed"),
        ([Verdict.SKIPPED], "0 passed, 0 failed, 1 skipped"),
        (
            [Verdict.SKIPPED, Verdict.PASSED, Verdict.LEAKED, Verdict.ABORTED, Verdict.FAILED, Verdict.ABORTED],
            "1 passed, 1 failed, 2 aborted, 1 leaked, 1 skipped",
        ),
    ],
)
def test_the_summary(verdicts: list[Verdict], text: str) -> None:
    assert report.summary(results(*verdicts)) == text


def test_the_table_names_what_did_not_hold_and_what_was_not_measured() -> None:
    shown = table(PASSED, FAILED, CaseResult("TC-003", Verdict.PASSED, missing_metrics=("a_ms", "b_ms")))
    first, second = (next(row for row in shown.splitlines() if row.startswith(case)) for case in ("TC-001", "TC-002"))
    assert first.split() == ["TC-001", "1", "passed", "12.3", "s", "1/1", "startup_time_ms", "41.5", "ms"]
    assert second.split() == ["TC-002", "1", "failed", "1.0", "s", "0/1"]
    assert "TC-002: a: not observed" in shown
    assert "TC-003: not measured: a_ms, b_ms" in shown


def test_each_try_is_a_row_and_says_why() -> None:
    earlier = CaseResult("TC-001", Verdict.FAILED, "too slow", 2.0, attempt=1)
    shown = table(CaseResult("TC-001", Verdict.FLAKY, "passed at try 2", 1.0, attempt=2, earlier=(earlier,)))
    rows = [row.split()[:3] for row in shown.splitlines() if row.startswith("TC-001  ")]
    assert rows == [["TC-001", "1", "failed"], ["TC-001", "2", "flaky"]]
    assert "TC-001: too slow" in shown
    assert "TC-001 (try 2): passed at try 2" in shown


@pytest.mark.parametrize("text", ["[/red]", "[bold]", "[link=x]"])
def test_the_table_shows_text_as_it_is(text: str) -> None:
    shown = table(CaseResult("TC-001", Verdict.FAILED, f"said {text}", metrics={"m": Observed(text, None, "x")}))
    assert f"m {text}" in shown
    assert f"TC-001: said {text}" in shown


def test_a_result_as_plain_data() -> None:
    found = json.loads(json.dumps(report.as_json(PASSED)))
    assert (found["case"], found["verdict"], found["duration"]) == ("TC-001", "passed", 12.3456)
    assert found["asserts"][0]["observed"] == "true"
    assert found["metrics"] == {"startup_time_ms": {"value": 41.5, "unit": "ms", "source": "test"}}
