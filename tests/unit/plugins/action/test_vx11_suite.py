"""vx11_suite: runs real pytest files, with the fixtures of VX11."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail, AnsibleActionSkip
from ansible_collections.vx11.power.plugins.action import vx11_suite

RunAction = Callable[..., dict[str, Any]]
URL = "http://127.0.0.1:8000"

MIXED = """
import pytest

def test_good(): pass

class TestToken:
    def test_expiry(self): assert 200 == 401

@pytest.fixture
def window(): raise RuntimeError("no window of auth-service")

def test_needs_a_window(window): pass

@pytest.mark.skip(reason="not today")
def test_later(): pass
"""

SHOWS_ITS_ENVIRONMENT = """
import os, sys

def test_environment():
    assert os.environ["VX11_URL"] == "{url}"
    assert os.environ["VX11_TOKEN"] == "secret-word"
    assert os.environ["VX11_SUITE"] == "{name}"
    assert "secret-word" not in open("/proc/self/cmdline").read()
    assert "vx11.conductor.suite_plugin" in sys.modules
"""


@pytest.fixture
def matrix_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "matrix"
    (folder / "suites").mkdir(parents=True)
    monkeypatch.setenv("VX11_MATRIX_DIR", str(folder))
    return folder


@pytest.fixture
def case_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "case"
    folder.mkdir()
    monkeypatch.setenv("VX11_CASE_DIR", str(folder))
    return folder


def outcomes(result: dict[str, Any]) -> dict[str, str]:
    """The outcome of each test, by its name."""
    return {test["name"]: test["outcome"] for test in result["tests"]}


def steps(case_dir: Path) -> list[dict[str, Any]]:
    """What was written down of each call."""
    return [json.loads(line) for line in (case_dir / "steps.jsonl").read_text().splitlines()]


def recorded(case_dir: Path) -> dict[str, Any]:
    """The last value of each name that was recorded."""
    lines = (case_dir / "observations.jsonl").read_text().splitlines()
    return {line["name"]: line["value"] for line in map(json.loads, lines)}


def test_a_suite_that_passes(run_action: RunAction, matrix_dir: Path, case_dir: Path) -> None:
    (matrix_dir / "suites" / "good.py").write_text("def test_one(): pass\ndef test_two(): print('seen')\n")
    result = run_action(vx11_suite, name="good", url=URL)
    assert (result["failed"], result["changed"], result["suite"]) == (False, False, "good")
    assert (result["passed"], result["expected_failure"], result["interrupted"]) == (True, False, False)
    assert outcomes(result) == {"test_one": "passed", "test_two": "passed"}
    assert result["steps"] == []
    assert result["duration_s"] > 0
    assert result["log"] == str(case_dir / "suites" / "good" / "output.log")
    assert "2 passed" in Path(result["log"]).read_text()
    assert (case_dir / "suites" / "good" / "junit.xml").is_file()
    assert recorded(case_dir) == {"suite_good_passed": True}


def test_a_suite_that_fails_says_which_tests_and_why(run_action: RunAction, matrix_dir: Path, case_dir: Path) -> None:
    (matrix_dir / "suites" / "mixed-up.py").write_text(MIXED)
    result = run_action(vx11_suite, name="mixed-up", url=URL)
    assert result["failed"] is True
    assert outcomes(result) == {
        "test_good": "passed",
        "TestToken::test_expiry": "failed",
        "test_needs_a_window": "error",
        "test_later": "skipped",
    }
    (step,) = steps(case_dir)
    ends = [int(test["ended_ns"]) for test in result["tests"]]
    assert int(step["begun_ns"]) < ends[0] < ends[-1] < int(step["ended_ns"])
    first, *others = result["msg"].splitlines()
    assert first == "The suite mixed-up failed, in 2 of its 4 tests:"
    assert others[0].startswith("- TestToken::test_expiry: assert 200 == 401")
    assert "no window of auth-service" in others[1]
    assert recorded(case_dir) == {"suite_mixed_up_passed": False}


def test_many_failures_are_a_short_list(run_action: RunAction, matrix_dir: Path, case_dir: Path) -> None:
    (matrix_dir / "suites" / "bad.py").write_text(
        "import pytest\n@pytest.mark.parametrize('n', range(14))\ndef test_it(n): assert n < 0\n"
    )
    result = run_action(vx11_suite, name="bad", url=URL)
    assert len(result["msg"].splitlines()) == 12
    assert len(result["tests"]) == 14
    assert result["msg"].endswith("- and 4 more")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "The suite odd holds no tests."),
        ("import pytest\ndef test_it(): pytest.skip('no')\n", "all 1 of its tests were skipped"),
        ("import nothing_of_that_name\n", "The suite odd failed, in 1 of its 1 tests"),
        ("import os\ndef test_it(): os._exit(7)\n", "pytest ended with 7, while test_it was running"),
    ],
)
def test_what_proved_nothing_has_not_passed(
    run_action: RunAction, matrix_dir: Path, case_dir: Path, content: str, said: str
) -> None:
    (matrix_dir / "suites" / "odd.py").write_text(content)
    result = run_action(vx11_suite, name="odd", url=URL)
    assert result["failed"] is True
    assert said in result["msg"]
    assert recorded(case_dir) == {"suite_odd_passed": False}


def test_an_earlier_run_of_the_suite_is_not_taken_for_this_one(
    run_action: RunAction, matrix_dir: Path, case_dir: Path
) -> None:
    suite = matrix_dir / "suites" / "odd.py"
    suite.write_text("def test_it(): pass\n")
    run_action(vx11_suite, name="odd", url=URL)
    suite.write_text("import os\nos._exit(0)\n")
    result = run_action(vx11_suite, name="odd", url=URL)
    assert result["failed"] is True
    assert result["tests"] == []
    assert recorded(case_dir) == {"suite_odd_passed": False}
    assert sorted(path.name for path in (case_dir / "suites").iterdir()) == ["odd", "odd.2"]


@pytest.fixture(params=[signal.SIG_DFL, signal.SIG_IGN], ids=["in front", "in the background"])
def started(request: pytest.FixtureRequest) -> Iterator[None]:
    """How a shell starts what runs the suite: in the background SIGINT is ignored."""
    before = signal.signal(signal.SIGINT, request.param)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("started")
def test_a_suite_that_hangs_is_ended_and_says_where(run_action: RunAction, matrix_dir: Path, case_dir: Path) -> None:
    (matrix_dir / "suites" / "hangs.py").write_text(
        "import signal\ndef test_quick(): pass\ndef test_hangs():\n    signal.pause()\n"
    )
    result = run_action(vx11_suite, name="hangs", url=URL, timeout=8)
    assert result["failed"] is True
    sentence = "The suite hangs was ended at its timeout of 8 s, while test_hangs was running; passed by then: 1."
    assert sentence in result["msg"]
    assert outcomes(result) == {"test_quick": "passed", "test_hangs": "unfinished"}
    assert "hangs.py:4: KeyboardInterrupt" in result["msg"]
    assert recorded(case_dir) == {"suite_hangs_passed": False}


def test_nothing_is_written_beside_the_suite(run_action: RunAction, matrix_dir: Path, case_dir: Path) -> None:
    (matrix_dir / "suites" / "good.py").write_text("def test_it(): open('mine', 'w').close()\n")
    run_action(vx11_suite, name="good", url=URL)
    assert [item.name for item in (matrix_dir / "suites").iterdir()] == ["good.py"]
    assert (case_dir / "suites" / "good" / "mine").is_file()


def test_settings_above_the_suite_do_not_matter_and_those_beside_it_do(
    run_action: RunAction, matrix_dir: Path, case_dir: Path
) -> None:
    (matrix_dir / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (matrix_dir / "conftest.py").write_text("raise RuntimeError('read')\n")
    (matrix_dir / "suites" / "conftest.py").write_text("import pytest\n@pytest.fixture\ndef beside(): return 1\n")
    (matrix_dir / "suites" / "good.py").write_text("def test_it(beside): assert beside == 1\n")
    assert run_action(vx11_suite, name="good", url=URL)["failed"] is False
    (matrix_dir / "suites" / "pytest.ini").write_text("[pytest]\npython_functions = check_*\n")
    assert run_action(vx11_suite, name="good", url=URL)["msg"].startswith("The suite good holds no tests.")


@pytest.mark.parametrize("source", ["option", "host variable", "environment"])
def test_the_suite_gets_url_and_token_by_its_environment(
    run_action: RunAction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    suite = tmp_path / "smoke.py"
    suite.write_text(SHOWS_ITS_ENVIRONMENT.format(url=f"http://{source.replace(' ', '-')}", name="smoke"))
    monkeypatch.setenv("VX11_URL", "http://environment")
    monkeypatch.setenv("VX11_TOKEN", "another" if source == "option" else "secret-word")
    options = {"url": "http://option", "token": "secret-word"} if source == "option" else {}
    variables = {} if source == "environment" else {"vx11_url": "http://host-variable"}
    result = run_action(vx11_suite, path=str(suite), variables=variables, **options)
    assert result["failed"] is False, result["msg"]


def test_by_hand_the_output_is_returned_and_nothing_kept(
    run_action: RunAction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    suite = tmp_path / "smoke.py"
    suite.write_text("def test_it(): pass\n")
    result = run_action(vx11_suite, path=str(suite), url=URL)
    assert result["failed"] is False
    assert result["log"] is None
    assert any("1 passed" in line for line in result["output"])
    assert list(scratch.iterdir()) == []


def test_check_mode_skips(run_action: RunAction, matrix_dir: Path, case_dir: Path) -> None:
    with pytest.raises(AnsibleActionSkip):
        run_action(vx11_suite, check=True, name="good", url=URL)
    assert list(case_dir.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "absent", "url": URL}, r"There is no file .*/suites/absent\.py for the suite absent"),
        ({"name": "../../etc/passwd", "url": URL}, "is not a name for a suite"),
        ({"url": URL}, "one of the following is required: name, path"),
        ({"name": "good"}, "cannot be told where madre is"),
        ({"name": "good", "url": URL, "interrupt": {"service": "web"}}, "There is no token"),
        ({"name": "good", "url": URL, "interrupt": {}}, "missing required arguments: service found in interrupt"),
        ({"name": "good", "url": URL, "steps": ["a"], "after": "b"}, r"mutually exclusive: steps\|after"),
    ],
)
def test_what_cannot_be_run_is_said(
    run_action: RunAction, matrix_dir: Path, case_dir: Path, options: dict[str, str], said: str
) -> None:
    (matrix_dir / "suites" / "good.py").write_text("def test_it(): pass\n")
    with pytest.raises(AnsibleActionFail, match=said):
        run_action(vx11_suite, **options)


def test_without_a_matrix_the_path_is_needed(run_action: RunAction) -> None:
    with pytest.raises(AnsibleActionFail, match="VX11_MATRIX_DIR is not set"):
        run_action(vx11_suite, name="good", url=URL)


STEPS = """
import pytest

@pytest.mark.step("get_token")
def test_token(): pass

@pytest.mark.step("refresh")
def test_refresh(step):
    with step("ask"): pass

def test_rest(): pass

@pytest.mark.after("force_failure")
def test_survived(): assert {holds}
"""


def test_steps_run_in_the_order_asked_for(run_action: RunAction, matrix_dir: Path, case_dir: Path) -> None:
    (matrix_dir / "suites" / "flow.py").write_text(STEPS.format(holds=True))
    result = run_action(vx11_suite, name="flow", url=URL, steps=["refresh", "get_token"])
    assert result["failed"] is False
    assert [(step["name"], step["outcome"]) for step in result["steps"]] == [
        ("ask", "passed"),
        ("refresh", "passed"),
        ("get_token", "passed"),
    ]
    assert list(outcomes(result)) == ["test_refresh", "test_token"]


def test_a_step_that_the_suite_has_not_fails_with_those_it_has(
    run_action: RunAction, matrix_dir: Path, case_dir: Path
) -> None:
    (matrix_dir / "suites" / "flow.py").write_text(STEPS.format(holds=True))
    result = run_action(vx11_suite, name="flow", url=URL, steps=["fly"])
    assert result["failed"] is True
    assert "the suite has no step fly; it has: get_token, refresh" in result["msg"]
    assert recorded(case_dir) == {"suite_flow_passed": False}


@pytest.mark.parametrize("holds", [True, False])
def test_after_a_fault_its_tests_run_and_are_recorded_by_their_own_name(
    run_action: RunAction, matrix_dir: Path, case_dir: Path, holds: bool
) -> None:
    (matrix_dir / "suites" / "flow.py").write_text(STEPS.format(holds=holds))
    assert "test_survived" not in outcomes(run_action(vx11_suite, name="flow", url=URL))
    result = run_action(vx11_suite, name="flow", url=URL, after="force_failure")
    assert outcomes(result) == {"test_survived": "passed" if holds else "failed"}
    assert result["failed"] is not holds
    assert recorded(case_dir) == {"suite_flow_passed": True, "suite_flow_after_force_failure_passed": holds}


def test_a_suite_without_tests_for_after_a_fault_passes(
    run_action: RunAction, matrix_dir: Path, case_dir: Path
) -> None:
    (matrix_dir / "suites" / "good.py").write_text("def test_it(): pass\n")
    result = run_action(vx11_suite, name="good", url=URL, after="force_failure")
    assert (result["failed"], result["passed"], result["tests"]) == (False, True, [])
    assert not (case_dir / "observations.jsonl").exists()


def test_an_expected_failure_is_what_was_wanted(run_action: RunAction, matrix_dir: Path, case_dir: Path) -> None:
    (matrix_dir / "suites" / "bad.py").write_text("def test_it(): assert 500 == 200\n")
    result = run_action(vx11_suite, name="bad", url=URL, expect_failure=True)
    assert (result["failed"], result["changed"], result["passed"]) == (False, False, False)
    assert result["expected_failure"] is True
    assert "assert 500 == 200" in result["msg"]
    assert recorded(case_dir) == {"suite_bad_passed": False}
    assert [step["result"]["expected_failure"] for step in steps(case_dir)] == [True]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("def test_it(): pass\n", "The suite odd was expected to fail, and passed."),
        ("import os\ndef test_it(): os._exit(1)\n", "pytest ended with 1"),
        ("", "holds no tests"),
        ("import nothing_of_that_name\n", "nothing_of_that_name"),
    ],
)
def test_what_is_no_failure_of_a_test_is_not_the_one_expected(
    run_action: RunAction, matrix_dir: Path, case_dir: Path, content: str, said: str
) -> None:
    (matrix_dir / "suites" / "odd.py").write_text(content)
    result = run_action(vx11_suite, name="odd", url=URL, expect_failure=True)
    assert (result["failed"], result["expected_failure"]) == (True, False)
    assert said in result["msg"]


WORKS = """
def test_upload(mid_operation, madre):
    mid_operation()
    while madre.get("/api/v1/windows/status").json()["windows"]: pass
    assert {outcome}
"""


@pytest.mark.parametrize("outcome", [True, False])
def test_an_interrupted_suite_may_fail(
    run_action: RunAction, matrix_dir: Path, case_dir: Path, madre: Any, window: Any, status: Any, outcome: bool
) -> None:
    (matrix_dir / "suites" / "upload.py").write_text(WORKS.format(outcome=outcome))
    madre.answer("/api/v1/windows/status", status())
    madre.answer("/api/v1/windows/close", window(service="web", state="closed", changed=True))
    result = run_action(vx11_suite, name="upload", url=madre.url, token="t", interrupt={"service": "web"})
    assert (result["failed"], result["interrupted"], result["passed"]) == (False, True, outcome)
    asked = [request["body"] for request in madre.requests if request["path"] == "/api/v1/windows/close"]
    assert asked == [{"service": "web", "force": False, "wait": True}]
    assert result["interruption"]["window"]["state"] == "closed"
    [step] = steps(case_dir)
    marks = [step["begun_ns"], *(step["result"]["interruption"][key] for key in ("begun_ns", "ended_ns"))]
    assert list(map(int, marks)) == sorted(map(int, [*marks]))
    assert recorded(case_dir) == {"suite_upload_passed": outcome}


@pytest.mark.parametrize("content", ["def test_it(): pass\n", "def test_it(): assert 1 == 2\n"])
def test_a_suite_that_never_gets_to_its_middle_fails_the_task(
    run_action: RunAction, matrix_dir: Path, case_dir: Path, madre: Any, content: str
) -> None:
    (matrix_dir / "suites" / "quick.py").write_text(content)
    result = run_action(vx11_suite, name="quick", url=madre.url, token="t", interrupt={"service": "web"})
    assert (result["failed"], result["interrupted"], result["interruption"]) == (True, False, None)
    assert "ended before it said that it was in the middle (mid_operation)" in result["msg"]
    assert ("1 == 2" in result["msg"]) is ("1 == 2" in content)
    assert madre.asked() == []


def test_a_window_that_cannot_be_closed_in_the_middle_fails_the_task(
    run_action: RunAction, matrix_dir: Path, case_dir: Path, madre: Any
) -> None:
    (matrix_dir / "suites" / "upload.py").write_text("def test_upload(mid_operation): mid_operation()\n")
    madre.refuse("/api/v1/windows/close", 404, "no_window", "Nothing of web is open.")
    result = run_action(vx11_suite, name="upload", url=madre.url, token="t", interrupt={"service": "web"})
    assert (result["failed"], result["interrupted"]) == (True, False)
    assert "was in the middle, but the window was not closed" in result["msg"]
    assert "Nothing of web is open" in result["msg"]


def test_the_step_is_written_without_the_token(run_action: RunAction, matrix_dir: Path, case_dir: Path) -> None:
    (matrix_dir / "suites" / "good.py").write_text("def test_it(): pass\n")
    run_action(vx11_suite, name="good", url=URL, token="hushhush")
    with pytest.raises(AnsibleActionFail):
        run_action(vx11_suite, name="absent", url=URL, token="hushhush")
    good, absent = steps(case_dir)
    assert (good["module"], good["args"], good["failed"]) == ("vx11_suite", {"name": "good", "url": URL}, False)
    assert good["result"]["tests"][0]["name"] == "test_it"
    assert absent["failed"] is True
    assert "There is no file" in absent["msg"]
    assert "hushhush" not in (case_dir / "steps.jsonl").read_text()
