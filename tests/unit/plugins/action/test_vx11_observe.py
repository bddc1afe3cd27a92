"""vx11_observe: records in a case, and otherwise only says what it would."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.vx11.power.plugins.action import vx11_observe

RunAction = Callable[..., dict[str, Any]]


@pytest.fixture
def case_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VX11_CASE_DIR", str(tmp_path))
    return tmp_path


def test_records_in_a_case(run_action: RunAction, case_dir: Path) -> None:
    result = run_action(
        vx11_observe,
        observations={"window_auto_closed": "True", "concurrent_windows": "3"},
        metrics={"startup_time_ms": {"value": "212.5", "unit": "ms"}},
    )
    assert (result["changed"], result["recorded"]) == (False, True)
    assert result["observations"] == {"window_auto_closed": True, "concurrent_windows": 3}
    assert result["metrics"] == {"startup_time_ms": {"value": 212.5, "unit": "ms"}}
    lines = [json.loads(line) for line in (case_dir / "observations.jsonl").read_text().splitlines()]
    assert [(line["name"], line["value"], line["unit"], line["kind"]) for line in lines] == [
        ("window_auto_closed", True, None, "observation"),
        ("concurrent_windows", 3, None, "observation"),
        ("startup_time_ms", 212.5, "ms", "metric"),
    ]
    assert {line["source"] for line in lines} == {"vx11_observe"}
    assert all(line["ns"].isdigit() for line in lines)


def test_by_hand_it_only_returns(run_action: RunAction, tmp_path: Path) -> None:
    result = run_action(vx11_observe, observations={"seen": 1})
    assert (result["changed"], result["recorded"], result["observations"]) == (False, False, {"seen": 1})


def test_check_mode_records_nothing(run_action: RunAction, case_dir: Path) -> None:
    result = run_action(vx11_observe, check=True, observations={"seen": 1})
    assert result["recorded"] is False
    assert list(case_dir.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"observations": {"no_resource_leaks": True}}, "observed by the conductor itself"),
        ({"observations": {"Seen": True}}, "'Seen' cannot name an observation"),
        ({"observations": {"good": 1, "seen": [1]}}, "The value of seen is neither"),
        ({}, "one of the following is required: observations, metrics"),
        ({"observations": {"seen": 1}, "values": {}}, "Unsupported parameters"),
    ],
)
@pytest.mark.parametrize("check", [False, True])
def test_nothing_is_recorded_unless_all_is_right(
    run_action: RunAction, case_dir: Path, options: dict[str, Any], said: str, check: bool
) -> None:
    with pytest.raises(AnsibleActionFail, match=said):
        run_action(vx11_observe, check=check, **options)
    assert list(case_dir.iterdir()) == []
