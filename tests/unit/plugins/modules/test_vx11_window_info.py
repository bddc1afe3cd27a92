"""vx11_window_info: reads, and returns what madre says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.vx11.power.plugins.modules import vx11_window_info

Run = Callable[..., dict[str, Any]]
Make = Callable[..., dict[str, Any]]

STATUS = "/api/v1/windows/status"


@pytest.mark.parametrize("check", [False, True])
def test_returns_what_madre_says(madre: Any, run_module: Run, window: Make, status: Make, check: bool) -> None:
    madre.answer(STATUS, status(window()))
    result = run_module(vx11_window_info, check=check)
    assert result["changed"] is False
    assert result["windows"] == [window()]
    assert (result["solo_madre"], result["cell"]) == (False, "default")
    assert (result["watchdog"], result["gateway"]) == (True, True)
    assert result["engine"]["name"] == "process"
    assert "closed" not in result
    assert madre.asked() == [("GET", STATUS)]


def test_asks_for_one_service_and_for_closed_windows(madre: Any, run_module: Run, window: Make, status: Make) -> None:
    gone = window(state="closed", reason="expired")
    madre.answer(STATUS, status(closed=[gone]))
    result = run_module(vx11_window_info, service="auth-service", closed=True)
    assert result["closed"] == [gone]
    assert madre.asked() == [("GET", f"{STATUS}?service=auth-service&closed=true")]


def test_a_name_cannot_change_the_query(madre: Any, run_module: Run, status: Make) -> None:
    madre.answer(STATUS, status())
    run_module(vx11_window_info, service="a&closed=true")
    assert madre.asked() == [("GET", f"{STATUS}?service=a%26closed%3Dtrue")]


def test_fails_with_the_problem_of_madre(madre: Any, run_module: Run) -> None:
    madre.refuse(STATUS, 403, "scope_missing", "The token lacks the scope power:read.")
    result = run_module(vx11_window_info)
    assert result["failed"] is True
    assert result["problem"]["code"] == "scope_missing"
