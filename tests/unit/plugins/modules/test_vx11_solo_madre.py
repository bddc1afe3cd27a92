"""vx11_solo_madre: enforces, or looks; and names what is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.vx11.power.plugins.modules import vx11_solo_madre

Run = Callable[..., dict[str, Any]]
Make = Callable[..., dict[str, Any]]

PATH = "/api/v1/system/solo_madre"
RUNNING = {"service": "auth-service", "window_id": "0b8f8f0e-0000-4000-8000-000000000001", "what": "process 4711"}
FOREIGN = {"what": "container stray", "id": "c0ffee"}


def report(**differing: Any) -> dict[str, Any]:
    """What madre says of a host on which only the core runs, but for what is given."""
    made: dict[str, Any] = {
        "solo_madre": True,
        "changed": False,
        "dry_run": False,
        "checked_at": "2026-01-02T03:04:06.000000Z",
        "core": ["madre", "tentaculo_link"],
        "running": [],
        "stopped": [],
        "foreign": [],
        "foreign_stopped": [],
        "took_ms": 12.5,
    }
    return {**made, **differing}


def test_enforces(madre: Any, run_module: Run, window: Make) -> None:
    madre.answer(PATH, report(changed=True, running=[RUNNING], stopped=[window(state="closed", reason="solo_madre")]))
    result = run_module(vx11_solo_madre, diff=True)
    assert (result["changed"], result["solo_madre"]) == (True, True)
    assert result["stopped"][0]["reason"] == "solo_madre"
    assert result["took_ms"] == 12.5
    assert result["diff"] == {"before": {"running": ["auth-service"]}, "after": {"running": []}}
    assert madre.requests[0]["body"] == {"dry_run": False}


@pytest.mark.parametrize("options", [{}, {"check": True}, {"state": "checked"}, {"state": "checked", "strict": True}])
def test_changes_nothing_where_only_the_core_runs(madre: Any, run_module: Run, options: dict[str, Any]) -> None:
    madre.answer(PATH, report())
    result = run_module(vx11_solo_madre, diff=True, **options)
    assert (result["changed"], result["solo_madre"]) == (False, True)
    assert result["diff"]["before"] == result["diff"]["after"] == {"running": []}


def test_check_mode_foretells_without_an_effect(madre: Any, run_module: Run) -> None:
    madre.answer(PATH, report(solo_madre=False, changed=True, dry_run=True, running=[RUNNING]))
    result = run_module(vx11_solo_madre, check=True, diff=True)
    assert result["changed"] is True
    assert result["diff"] == {"before": {"running": ["auth-service"]}, "after": {"running": []}}
    assert madre.requests[0]["body"] == {"dry_run": True}


@pytest.mark.parametrize("check", [False, True])
def test_looking_changes_nothing(madre: Any, run_module: Run, check: bool) -> None:
    madre.answer(PATH, report(solo_madre=False, changed=True, dry_run=True, running=[RUNNING]))
    result = run_module(vx11_solo_madre, state="checked", check=check, diff=True)
    assert (result["changed"], result["solo_madre"]) == (False, False)
    assert result["running"] == [RUNNING]
    assert result["diff"]["before"] == result["diff"]["after"] == {"running": ["auth-service"]}
    assert madre.requests[0]["body"] == {"dry_run": True}


def test_strict_looking_fails_and_names_what_runs(madre: Any, run_module: Run) -> None:
    madre.answer(PATH, report(solo_madre=False, changed=True, dry_run=True, running=[RUNNING]))
    result = run_module(vx11_solo_madre, state="checked", strict=True)
    assert result["failed"] is True
    assert result["changed"] is False
    assert "is not in SOLO_MADRE: auth-service runs" in result["msg"]


def test_fails_naming_what_still_runs_and_only_that(madre: Any, run_module: Run, window: Make) -> None:
    stopped = window(state="closed", reason="solo_madre")
    madre.answer(PATH, report(solo_madre=False, changed=True, running=[RUNNING], stopped=[stopped], foreign=[FOREIGN]))
    madre.answer(PATH, report(solo_madre=False, dry_run=True, foreign=[FOREIGN]))
    result = run_module(vx11_solo_madre)
    assert result["failed"] is True
    assert result["changed"] is True
    assert "is not in SOLO_MADRE: container stray runs" in result["msg"]
    assert result["foreign"] == [FOREIGN]
    assert [request["body"]["dry_run"] for request in madre.requests] == [False, True]


def test_a_window_that_closed_a_little_late_is_no_failure(madre: Any, run_module: Run) -> None:
    madre.answer(PATH, report(solo_madre=False, changed=True, running=[RUNNING]))
    madre.answer(PATH, report(dry_run=True))
    result = run_module(vx11_solo_madre)
    assert (result["changed"], result["solo_madre"]) == (True, True)


def test_fails_with_the_problem_of_madre(madre: Any, run_module: Run) -> None:
    madre.refuse(PATH, 403, "scope_missing", "The token lacks the scope system:write.")
    result = run_module(vx11_solo_madre)
    assert result["failed"] is True
    assert result["problem"]["status"] == 403


def test_what_is_foreign_is_stopped_on_request(madre: Any, run_module: Run) -> None:
    madre.answer(PATH, report(changed=True, foreign_stopped=[FOREIGN]))
    result = run_module(vx11_solo_madre, foreign="stop", diff=True)
    assert (result["changed"], result["solo_madre"]) == (True, True)
    assert result["foreign_stopped"] == [FOREIGN]
    assert result["diff"] == {"before": {"running": ["container stray"]}, "after": {"running": []}}
    assert madre.requests[0]["body"] == {"dry_run": False, "foreign": "stop"}


def test_check_mode_tells_that_what_is_foreign_would_be_stopped(madre: Any, run_module: Run) -> None:
    madre.answer(PATH, report(changed=True, dry_run=True, solo_madre=False, foreign=[FOREIGN]))
    result = run_module(vx11_solo_madre, foreign="stop", check=True, diff=True)
    assert result["changed"]
    assert result["diff"] == {"before": {"running": ["container stray"]}, "after": {"running": []}}
    assert madre.requests[0]["body"] == {"dry_run": True, "foreign": "stop"}
