"""JUnit XML: readers take it, and it is what surefire's schema (surefire-test-report.xsd) says."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from junitparser import Error, Failure, JUnitXml, Properties, Skipped, TestCase
from junitparser.xunit2 import FlakyFailure, RerunFailure
from junitparser.xunit2 import TestCase as RetriedCase

from tests.unit.conductor.report import runs
from vx11.conductor import report
from vx11.conductor.judge import CaseResult, Judged, Verdict
from vx11.conductor.observations import Observed

# The order of what a test case may have; the properties are beyond the schema.
CHILDREN = re.compile(
    "(properties )?(failure )*(rerunFailure )*(flakyFailure )*(skipped )?"
    "(error )?(rerunError )*(flakyError )*(system-out )?"
)
TIME = re.compile(r"\d+\.\d{3}")


def write(folder: Path, out: Path) -> Path:
    report.write(report.read(folder), out)
    return out / "junit.xml"


def check_schema(root: ET.Element) -> None:
    """What surefire's schema demands."""
    (suite,) = root
    assert {"name", "time", "tests", "errors", "skipped", "failures"} <= set(suite.attrib)
    assert [child.tag for child in suite] == ["properties", *["testcase"] * int(suite.attrib["tests"])]
    for case in suite.iter("testcase"):
        assert CHILDREN.fullmatch("".join(f"{child.tag} " for child in case))
        assert TIME.fullmatch(case.attrib["time"])
        assert case.attrib["name"]
        for child in case:
            if child.tag.startswith(("rerun", "flaky")):
                assert [item.tag for item in child] == ["stackTrace"]
            if child.tag.endswith(("ailure", "rror")):
                assert child.attrib["type"]
    for found in root.iter("property"):
        assert set(found.attrib) == {"name", "value"}


@pytest.fixture
def junit(make_run: Callable[..., Any], tmp_path: Path) -> Path:
    """Of a run with each verdict."""
    return write(runs.of_every_verdict(make_run), tmp_path / "out")


def test_it_is_what_the_schema_says(junit: Path) -> None:
    check_schema(ET.parse(junit).getroot())


def test_each_verdict_has_its_outcome(junit: Path) -> None:
    (suite,) = JUnitXml.fromfile(str(junit))
    found = {case.name: [(type(item), item.message) for item in case.result] for case in suite}
    assert found == {
        "good": [],
        "bad": [(Failure, "leaves, time 2")],
        "flaky": [(Failure, "passed at try 2; before: too slow")],
        "skipped": [(Skipped, "the engine process cannot do partition here")],
        "aborted": [(Error, "interrupted")],
        "leaked": [(Failure, "no_resource_leaks: left one")],
        "unreached": [(Error, "the run ended before this case had a verdict")],
    }


def test_it_counts(junit: Path) -> None:
    found = JUnitXml.fromfile(str(junit))
    (suite,) = found
    for counted in (found, suite):
        assert (counted.tests, counted.failures, counted.errors) == (7, 3, 2)
    assert suite.skipped == 1


def test_earlier_tries_are_reruns_or_flakes(junit: Path) -> None:
    cases = {case.name: RetriedCase.fromelem(case._elem) for case in next(iter(JUnitXml.fromfile(str(junit))))}
    (rerun,) = cases["bad"].iterchildren(RerunFailure)
    assert rerun.message == "try 1: leaves, time 1"
    assert "leaves: expected < 3, observed 3" in rerun.stack_trace
    (flake,) = cases["flaky"].iterchildren(FlakyFailure)
    assert flake.message == "try 1: too slow"
    for name in ("good", "leaked", "skipped", "aborted"):
        assert not [*cases[name].iterchildren(RerunFailure), *cases[name].iterchildren(FlakyFailure)]


def test_metrics_are_properties_and_files_are_named(junit: Path) -> None:
    case = next(iter(next(iter(JUnitXml.fromfile(str(junit))))))
    assert isinstance(case, TestCase)
    assert (case.name, case.classname, case.time) == ("good", "e2e", 2.5)
    (kept,) = case.iterchildren(Properties)
    assert [(item.name, item.value) for item in kept] == [("startup_time_ms", "41.5 ms")]
    named = re.findall(r"\[\[ATTACHMENT\|(.+)]]", case.system_out)
    assert [Path(name).name for name in named] == ["verdict.json", "playbook.yml", "steps.jsonl", "usage.jsonl"]
    assert all((junit.parent / name).is_file() for name in named)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(min_size=1) | st.sampled_from(["\x1b[31m<boom> & \x00 \uffff ]]>\n", '"/><script>', "]]>"]))
def test_it_is_xml_whatever_a_case_said(make_run: Callable[..., Any], tmp_path: Path, text: str) -> None:
    maker = make_run({"TC-001": text})
    wrong = Judged(text, text, text, holds=False, why=text)
    metrics = {text: Observed(text, text, text)}
    for number in (1, 2):
        maker.attempt(CaseResult("TC-001", Verdict.FAILED, text, 1.0, (wrong,), metrics, attempt=number))
    maker.verdict("TC-001", Verdict.FAILED, text)
    root = ET.parse(write(maker.finish(), tmp_path / "out")).getroot()
    check_schema(root)
    assert len(list(root.iter("testcase"))) == 1


def test_text_survives(make_run: Callable[..., Any], tmp_path: Path) -> None:
    maker = make_run({"TC-001": ""})
    maker.verdict("TC-001", Verdict.ABORTED, "<b> & \"so\" 'on' é\nline \x07")
    root = ET.parse(write(maker.finish(), tmp_path / "out")).getroot()
    (error,) = root.iter("error")
    assert error.attrib["message"] == "<b> & \"so\" 'on' é\nline \N{REPLACEMENT CHARACTER}"
