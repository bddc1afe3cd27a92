"""What the folder of a run says, also when the run was killed or its files hold anything."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.conductor.report import runs
from tests.unit.conductor.report.conftest import START, Window
from vx11.conductor import report
from vx11.conductor.judge import CaseResult, Verdict
from vx11.errors import InputError

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["ns", "windows", "usage"]), inner),
    max_leaves=8,
)


def test_every_planned_case_has_its_verdict_and_its_tries(make_run: Callable[..., Any]) -> None:
    run = report.read(runs.of_every_verdict(make_run))
    cases = {case.id: case for case in run.cases()}
    assert list(cases) == list(runs.CASES)
    assert [case.verdict.value for case in cases.values()] == runs.VERDICTS
    assert [len(case.tries) for case in cases.values()] == [1, 2, 2, 0, 1, 1, 0]
    assert cases["good"].result.metrics == runs.METRICS
    assert cases["unreached"].message == "the run ended before this case had a verdict"


def test_a_result_has_the_verdict_of_the_case_and_the_tries_before(make_run: Callable[..., Any]) -> None:
    (flaky,) = (case for case in report.read(runs.of_every_verdict(make_run)).cases() if case.id == "flaky")
    result = flaky.result
    assert (result.verdict, result.attempt, result.message) == (Verdict.FLAKY, 2, "passed at try 2; before: too slow")
    assert [(item.verdict, item.message) for item in result.earlier] == [(Verdict.FAILED, "too slow")]


def test_a_try_that_was_never_judged_has_the_verdict_of_its_case(make_run: Callable[..., Any]) -> None:
    cases = {case.id: case for case in report.read(runs.of_every_verdict(make_run)).cases()}
    (only,) = cases["aborted"].tries
    assert (only.result.verdict, only.result.message, only.result.asserts) == (Verdict.ABORTED, "interrupted", ())


def test_it_knows_what_the_run_was(make_run: Callable[..., Any]) -> None:
    run = report.read(runs.of_every_verdict(make_run))
    assert (run.name, run.test_id, run.profile, run.version) == ("e2e", "e2e-0", "low_power", "0.1.0")
    assert (run.engine, run.places, run.left) == ("process (asked for)", ["c-1", "c-2"], ["container abc"])
    assert (run.state, run.time_scale) == ("aborted", 1.0)
    assert START < run.begun_ns < run.ended_ns


def test_a_try_on_a_host_says_so_in_every_report(make_run: Callable[..., Any], tmp_path: Path) -> None:
    maker = make_run({"TC-001": ""})
    about = {"url": "http://h", "version": "0.1.0", "engine": {"name": "docker", "why": "a daemon answers"}}
    maker.folder.chain.append("conductor", "host_asked", "berlin", about)
    opened = Window("web", [(0.1, "opening", {"ttl_s": 60})])
    maker.attempt(CaseResult("TC-001", Verdict.PASSED, duration=1.0, host="berlin"), windows=[opened])
    maker.verdict("TC-001", Verdict.PASSED)
    maker.folder.chain.append("conductor", "host_ended", "berlin", {"left": ["windows on the host berlin"]})
    run = report.read(maker.finish())
    ((only,),) = [case.tries for case in run.cases()]
    assert (run.engine, run.places) == ("berlin: docker (a daemon answers)", ["berlin"])
    assert (only.result.host, run.left, run.records(only)) == ("berlin", ["windows on the host berlin"], [])
    report.write(run, tmp_path)
    for name in report.FILES:
        assert "berlin" in (tmp_path / name).read_text(encoding="utf-8").partition("TC-001")[2], name


def test_a_run_that_was_killed_is_read_up_to_there(make_run: Callable[..., Any]) -> None:
    maker = make_run({"TC-001": "", "TC-002": ""})
    maker.attempt(CaseResult("TC-001", Verdict.PASSED, duration=1.0))
    maker.verdict("TC-001", Verdict.PASSED)
    with (maker.folder.path / "evidence.jsonl").open("ab") as file:
        file.write(b'{"action":"verdict","subject":"TC-002","da')
    run = report.read(maker.folder.path)
    assert run.state == "running"
    assert run.verdicts() == [Verdict.PASSED, Verdict.ABORTED]


@pytest.mark.parametrize("content", [None, "", "no json\n", '{"action":"verdict"}\n', "[]\n"])
def test_what_is_no_run_is_an_error_of_input(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "evidence.jsonl").write_text(content)
    with pytest.raises(InputError, match=str(tmp_path)):
        report.read(tmp_path)


def gone_on(chain: Path) -> None:
    """Its last two records are behind a crash, in a further file."""
    *before, last_but_one, last = chain.read_bytes().splitlines(keepends=True)
    chain.write_bytes(b"".join(before) + last_but_one[:20])
    chain.with_name("evidence-2.jsonl").write_bytes(last_but_one + last)


@pytest.mark.parametrize("has_crashed", [False, True])
def test_each_try_has_the_records_of_its_own_time(make_run: Callable[..., Any], *, has_crashed: bool) -> None:
    maker = make_run({"TC-001": "", "TC-002": ""})
    for number, case in enumerate(("TC-001", "TC-002"), 1):
        life = [(1.0, "opening", {}), (2.0, "opened", {}), (3.0, "closed", {})]
        maker.attempt(CaseResult(case, Verdict.PASSED, duration=4.0), windows=[Window("web", life, id=str(number))])
        maker.clock.passes(1.0)
    folder = maker.finish()
    if has_crashed:
        (chain,) = folder.glob("cells/*/evidence.jsonl")
        gone_on(chain)
    run = report.read(folder)
    found = [[(r["subject"], r["action"]) for r in run.records(item)] for case in run.cases() for item in case.tries]
    assert found[0][-3:] == [("1", "opening"), ("1", "opened"), ("1", "closed")]
    assert found[1] == [("2", "opening"), ("2", "opened"), ("2", "closed")]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(ANYTHING, max_size=5))
def test_whatever_a_suite_leaves_the_reports_are_made(
    make_run: Callable[..., Any], tmp_path: Path, lines: list[Any]
) -> None:
    maker = make_run({"TC-001": ""})
    folder = maker.attempt(CaseResult("TC-001", Verdict.PASSED, duration=1.0))
    for name in ("usage.jsonl", "steps.jsonl"):
        (folder / name).write_text("".join(f"{json.dumps(line)}\n" for line in lines) + "\x00{")
    (folder / "verdict.json").write_text(json.dumps(lines))
    report.write(report.read(maker.finish()), tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(report.FILES)
