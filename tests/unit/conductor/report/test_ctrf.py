"""CTRF: it is what the specification says (ctrf.io, 0.0.0), and says what the run came to."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from tests.unit.conductor.report import runs
from tests.unit.conductor.report.conftest import Window
from vx11.conductor import report
from vx11.conductor.judge import CaseResult, Verdict

INT, TEXT, BOOL, EXTRA = {"type": "integer", "minimum": 0}, {"type": "string"}, {"type": "boolean"}, {"type": "object"}
STATUS = {"enum": ["passed", "failed", "skipped", "pending", "other"]}
UUID = {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}


def a_map(required: str, **properties: Any) -> dict[str, Any]:
    """Nothing but these; the format has an `extra` everywhere for all else."""
    known = {**properties, "extra": EXTRA}
    return {"type": "object", "properties": known, "required": required.split(), "additionalProperties": False}


def many(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


ATTACHMENT = a_map("name contentType path", name=TEXT, contentType=TEXT, path=TEXT)
ATTEMPT = a_map(
    "attempt status",
    attempt={"type": "integer", "minimum": 1},
    status=STATUS,
    duration=INT,
    message=TEXT,
    start=INT,
    stop=INT,
    attachments=many(ATTACHMENT),
)
TEST = a_map(
    "name status duration",
    id=UUID,
    name={"type": "string", "minLength": 1},
    status=STATUS,
    duration=INT,
    start=INT,
    stop=INT,
    suite={**many(TEXT), "minItems": 1},
    message=TEXT,
    rawStatus=TEXT,
    type=TEXT,
    retries=INT,
    retryAttempts=many(ATTEMPT),
    flaky=BOOL,
    attachments=many(ATTACHMENT),
    steps=many(a_map("name status", name=TEXT, status=STATUS)),
)
COUNTS = "tests passed failed skipped pending other start stop"
SUMMARY = a_map(COUNTS, **dict.fromkeys([*COUNTS.split(), "flaky", "suites", "duration"], INT))
RESULTS = a_map(
    "tool summary tests",
    tool=a_map("name", name={"type": "string", "minLength": 1}, version=TEXT),
    summary=SUMMARY,
    environment=a_map("", reportName=TEXT, buildId=TEXT),
    tests=many(TEST),
)
SCHEMA = a_map(
    "results reportFormat specVersion",
    reportFormat={"const": "CTRF"},
    specVersion={"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
    reportId=UUID,
    timestamp={"type": "string", "format": "date-time"},
    generatedBy=TEXT,
    results=RESULTS,
)


def write(folder: Path, out: Path) -> dict[str, Any]:
    """What it says; checked against the schema."""
    report.write(report.read(folder), out)
    found: dict[str, Any] = json.loads((out / "ctrf.json").read_text(encoding="utf-8"))
    Draft202012Validator(SCHEMA, format_checker=FormatChecker()).validate(found)
    return found


@pytest.fixture
def ctrf(make_run: Callable[..., Any], tmp_path: Path) -> dict[str, Any]:
    """Of a run with each verdict."""
    return write(runs.of_every_verdict(make_run), tmp_path / "out")


def test_each_verdict_has_its_status(ctrf: dict[str, Any]) -> None:
    found = [(test["name"], test["status"], test["rawStatus"], test["flaky"]) for test in ctrf["results"]["tests"]]
    assert found == [
        ("good", "passed", "passed", False),
        ("bad", "failed", "failed", False),
        ("flaky", "passed", "flaky", True),
        ("skipped", "skipped", "skipped", False),
        ("aborted", "other", "aborted", False),
        ("leaked", "failed", "leaked", False),
        ("unreached", "other", "aborted", False),
    ]


def test_it_counts(ctrf: dict[str, Any]) -> None:
    summary = ctrf["results"]["summary"]
    counted = {name: summary[name] for name in ("tests", "passed", "failed", "skipped", "pending", "other", "flaky")}
    assert counted == {"tests": 7, "passed": 2, "failed": 2, "skipped": 1, "pending": 0, "other": 2, "flaky": 1}
    assert summary["duration"] == summary["stop"] - summary["start"] == 10_500


def test_every_try_is_there_once(ctrf: dict[str, Any]) -> None:
    tests = {test["name"]: test for test in ctrf["results"]["tests"]}
    earlier = {
        name: [(item["attempt"], item["status"]) for item in test["retryAttempts"]] for name, test in tests.items()
    }
    assert {name: found for name, found in earlier.items() if found} == {
        "bad": [(1, "failed")],
        "flaky": [(1, "failed")],
    }
    assert all(test["retries"] == len(test["retryAttempts"]) for test in tests.values())
    assert tests["flaky"]["retryAttempts"][0]["message"] == "too slow"


def test_it_has_asserts_metrics_and_steps(make_run: Callable[..., Any], tmp_path: Path) -> None:
    maker = make_run({"TC-001": "One window"})
    result = CaseResult("TC-001", Verdict.FAILED, "x", 4.0, (runs.BROKEN,), runs.METRICS, ("lost_ms",))
    opened = {"module": "vx11_window", "at": (1, 2), "args": {"state": "open", "service": "web"}}
    asked = {"module": "vx11_window_info", "at": (2, 3), "args": {}, "more": {"failed": True, "msg": "no"}}
    maker.attempt(result, windows=[Window("web", [])], calls=[opened, asked])
    maker.verdict("TC-001", Verdict.FAILED, "x")
    (test,) = write(maker.finish(), tmp_path / "out")["results"]["tests"]
    assert test["extra"]["description"] == "One window"
    assert test["extra"]["asserts"][0]["why"] == "expected < 3, observed 3"
    assert test["extra"]["metrics"] == {"startup_time_ms": {"value": 41.5, "unit": "ms", "source": "conductor"}}
    assert test["extra"]["missing_metrics"] == ["lost_ms"]
    assert test["steps"] == [
        {"name": "vx11_window open web", "status": "passed"},
        {"name": "vx11_window_info", "status": "failed"},
    ]


def test_the_attachments_are_there(ctrf: dict[str, Any], tmp_path: Path) -> None:
    named = [item["path"] for test in ctrf["results"]["tests"] for item in test["attachments"]]
    assert named
    assert all((tmp_path / "out" / name).is_file() for name in named)


@pytest.mark.parametrize("cases", [{}, {"TC-001": ""}])
def test_runs_without_a_verdict_are_valid_too(
    make_run: Callable[..., Any], tmp_path: Path, cases: dict[str, str]
) -> None:
    found = write(make_run(cases).finish(), tmp_path / "out")
    assert len(found["results"]["tests"]) == len(cases)
