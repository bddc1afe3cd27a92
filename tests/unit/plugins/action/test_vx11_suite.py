"""vx11_suite: runs real pytest files, beside a stand-in for the fixtures of VX11."""

from __future__ import annotations

import json
from collections.abc import Callable
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


@pytest.fixture(autouse=True)
def _suite_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the plugin of the package: what it offers is tested where it lives."""
    package = tmp_path / "stand-in" / "vx11" / "conductor"
    package.mkdir(parents=True)
    for init in (package.parent / "__init__.py", package / "__init__.py", package / "suite_plugin.py"):
        init.touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "stand-in"))


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


def recorded(case_dir: Path) -> dict[str, Any]:
    """The last value of each name that was recorded."""
    lines = (case_dir / "observations.jsonl").read_text().splitlines()
    return {line["name"]: line["value"] for line in map(json.loads, lines)}


def test_a_suite_that_passes(run_action: RunAction, matrix_dir: Path, case_dir: Path) -> None:
    (matrix_dir / "suites" / "good.py").write_text("def test_one(): pass\ndef test_two(): print('seen')\n")
    result = run_action(vx11_suite, name="good", url=URL)
    assert (result["failed"], result["changed"], result["suite"]) == (False, False, "good")
    assert result["tests"] == {"passed": 2, "failed": 0, "errors": 0, "skipped": 0}
    assert result["failures"] == []
    assert result["duration_s"] > 0
    assert result["log"] == str(case_dir / "suites" / "good.log")
    assert "2 passed" in Path(result["log"]).read_text()
    assert (case_dir / "suites" / "good.xml").is_file()
    assert recorded(case_dir) == {"suite_good_passed": True}


def test_a_suite_that_fails_says_which_tests_and_why(run_action: RunAction, matrix_dir: Path, case_dir: Path) -> None:
    (matrix_dir / "suites" / "mixed-up.py").write_text(MIXED)
    result = run_action(vx11_suite, name="mixed-up", url=URL)
    assert result["failed"] is True
    assert result["tests"] == {"passed": 1, "failed": 1, "errors": 1, "skipped": 1}
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
    assert len(result["failures"]) == 11
    assert result["msg"].endswith("- and 4 more")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "The suite odd holds no tests."),
        ("import pytest\ndef test_it(): pytest.skip('no')\n", "all 1 of its tests were skipped"),
        ("import nothing_of_that_name\n", "The suite odd failed, in 1 of its 1 tests"),
        ("import os\ndef test_it(): os._exit(7)\n", "pytest ended with 7"),
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
    assert result["tests"]["passed"] == 0
    assert recorded(case_dir) == {"suite_odd_passed": False}


def test_a_suite_that_hangs_is_ended_and_says_where(run_action: RunAction, matrix_dir: Path, case_dir: Path) -> None:
    (matrix_dir / "suites" / "hangs.py").write_text(
        "import signal\ndef test_quick(): pass\ndef test_hangs():\n    signal.pause()\n"
    )
    result = run_action(vx11_suite, name="hangs", url=URL, timeout=8)
    assert result["failed"] is True
    assert "The suite hangs was ended at its timeout of 8 s; passed by then: 1." in result["msg"]
    assert "hangs.py:4: KeyboardInterrupt" in result["msg"]
    assert recorded(case_dir) == {"suite_hangs_passed": False}


def test_nothing_is_written_beside_the_suite(run_action: RunAction, matrix_dir: Path, case_dir: Path) -> None:
    (matrix_dir / "suites" / "good.py").write_text("def test_it(): open('mine', 'w').close()\n")
    run_action(vx11_suite, name="good", url=URL)
    assert [item.name for item in (matrix_dir / "suites").iterdir()] == ["good.py"]
    assert (case_dir / "suites" / "mine").is_file()


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
