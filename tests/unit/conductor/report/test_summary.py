"""Reports: the summary, JUnit XML that readers take, and plain data."""

import io
import json
from pathlib import Path

import pytest
from junitparser import Error, Failure, JUnitXml, Properties, Skipped, TestCase
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


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        (Verdict.PASSED, None),
        (Verdict.FAILED, Failure),
        (Verdict.LEAKED, Failure),
        (Verdict.FLAKY, Failure),
        (Verdict.ABORTED, Error),
        (Verdict.SKIPPED, Skipped),
    ],
)
def test_each_verdict_has_its_outcome_in_junit(
    tmp_path: Path, verdict: Verdict, outcome: type[Failure | Error | Skipped] | None
) -> None:
    report.write_junit(tmp_path / "junit.xml", "e2e", [CaseResult("TC-001", verdict, "because")])
    (suite,) = JUnitXml.fromfile(str(tmp_path / "junit.xml"))
    (case,) = suite
    assert [type(item) for item in case.result] == ([outcome] if outcome else [])
    assert [item.message for item in case.result] == (["because"] if outcome else [])


def test_junit_counts_and_carries_metrics(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    aborted, skipped = CaseResult("TC-003", Verdict.ABORTED, "x"), CaseResult("TC-004", Verdict.SKIPPED, "y")
    report.write_junit(path, "e2e", [PASSED, FAILED, aborted, skipped])
    found = JUnitXml.fromfile(str(path))
    assert (found.tests, found.failures, found.errors, found.skipped) == (4, 1, 1, 1)
    (suite,) = found
    case = next(iter(suite))
    assert isinstance(case, TestCase)
    assert (case.name, case.classname, case.time) == ("TC-001", "e2e", 12.346)
    (kept,) = case.iterchildren(Properties)
    assert [(item.name, item.value) for item in kept] == [("startup_time_ms", "41.5 ms")]


def test_junit_is_xml_whatever_a_task_said(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    said = "\x1b[31m<boom> & \x00 \ud800 \uffff ]]>\n"
    wild = CaseResult("TC-001", Verdict.FAILED, said, metrics={"m": Observed(said, None, "x")})
    report.write_junit(path, "e2e", [wild])
    (suite,) = JUnitXml.fromfile(str(path))
    (case,) = suite
    assert "<boom> &" in case.result[0].message


def test_the_table_names_what_did_not_hold_and_what_was_not_measured() -> None:
    shown = table(PASSED, FAILED, CaseResult("TC-003", Verdict.PASSED, missing_metrics=("a_ms", "b_ms")))
    first, second = (next(row for row in shown.splitlines() if row.startswith(case)) for case in ("TC-001", "TC-002"))
    assert first.split() == ["TC-001", "passed", "12.3", "s", "1/1", "startup_time_ms", "41.5", "ms"]
    assert second.split() == ["TC-002", "failed", "1.0", "s", "0/1"]
    assert "TC-002: a: not observed" in shown
    assert "TC-003: not measured: a_ms, b_ms" in shown


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
