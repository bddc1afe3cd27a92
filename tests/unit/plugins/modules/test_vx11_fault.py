"""vx11_fault: one test a promise, against a madre that answers by script."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.vx11.power.plugins.modules import vx11_fault

Run = Callable[..., dict[str, Any]]
Make = Callable[..., dict[str, Any]]

FAULT = "/api/v1/windows/fault"
STATUS = "/api/v1/windows/status"
PARTITION = "network_partition"
PROOF = {"http://127.0.0.1:40001": "no answer within 1 s"}


@pytest.mark.parametrize(("state", "active"), [("present", True), ("absent", False)])
def test_a_fault_is_put_in_and_taken_away(madre: Any, run_module: Run, window: Make, state: str, active: bool) -> None:
    faults = [PARTITION] if active else []
    madre.answer(FAULT, window(faults=faults, proof=PROOF, changed=True))
    result = run_module(vx11_fault, service="auth-service", kind=PARTITION, state=state)
    assert result["changed"] is True
    assert result["window"] == window(faults=faults, proof=PROOF)
    assert madre.asked() == [("POST", FAULT)]
    assert madre.requests[0]["body"] == {"service": "auth-service", "kind": PARTITION, "active": active}


def test_what_is_so_already_changes_nothing(madre: Any, run_module: Run, window: Make, status: Make) -> None:
    madre.answer(STATUS, status(window(faults=[PARTITION])))
    madre.answer(FAULT, window(faults=[PARTITION], proof=PROOF, changed=False))
    result = run_module(vx11_fault, service="auth-service", kind=PARTITION, diff=True)
    assert result["changed"] is False
    assert result["diff"] == {"before": {"faults": [PARTITION]}, "after": {"faults": [PARTITION]}}


def test_without_a_window_there_is_no_fault_to_take_away(madre: Any, run_module: Run) -> None:
    madre.refuse(FAULT, 404, "no_window", "Nothing of auth-service is open.")
    result = run_module(vx11_fault, service="auth-service", kind="pause", state="absent")
    assert (result["changed"], result["window"]) == (False, None)
    assert run_module(vx11_fault, service="auth-service", kind="pause")["problem"]["code"] == "no_window"


def test_where_faults_are_off_it_fails_and_says_so(madre: Any, run_module: Run) -> None:
    madre.refuse(FAULT, 403, "faults_off", "This madre allows no faults.")
    result = run_module(vx11_fault, service="auth-service", kind="kill")
    assert (result["failed"], result["problem"]["code"]) == (True, "faults_off")
    assert "This madre allows no faults" in result["msg"]


@pytest.mark.parametrize(
    ("has", "options", "changed", "after"),
    [
        ([], {"kind": "pause"}, True, ["pause"]),
        (["pause"], {"kind": "pause"}, False, ["pause"]),
        (["pause"], {"kind": PARTITION}, True, [PARTITION, "pause"]),
        ([PARTITION, "pause"], {"kind": "pause", "state": "absent"}, True, [PARTITION]),
        ([], {"kind": "pause", "state": "absent"}, False, []),
    ],
)
def test_check_mode_looks_and_says_what_would_be(
    madre: Any,
    run_module: Run,
    window: Make,
    status: Make,
    has: list[str],
    options: dict[str, str],
    changed: bool,
    after: list[str],
) -> None:
    madre.answer(STATUS, status(window(faults=has)))
    result = run_module(vx11_fault, service="auth-service", check=True, diff=True, **options)
    assert (result["changed"], result["window"]["faults"]) == (changed, after)
    assert result["diff"] == {"before": {"faults": has}, "after": {"faults": after}}
    assert [method for method, _ in madre.asked()] == ["GET"]


def test_check_mode_without_a_window(madre: Any, run_module: Run, window: Make, status: Make) -> None:
    madre.answer(STATUS, status(window(state="closing")))
    result = run_module(vx11_fault, service="auth-service", kind="kill", check=True)
    assert (result["failed"], result["problem"]["code"]) == (True, "no_window")
    result = run_module(vx11_fault, service="auth-service", kind="pause", state="absent", check=True)
    assert (result["changed"], result["window"]) == (False, None)


def test_several_services_get_it_in_one_task(madre: Any, run_module: Run, window: Make) -> None:
    madre.answer_by(FAULT, lambda body: (200, window(service=body["service"], faults=["kill"], changed=True)))
    result = run_module(vx11_fault, services=["y", "x"], kind="kill")
    assert result["changed"] is True
    assert [each["service"] for each in result["windows"]] == ["y", "x"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "kill"}, "one of the following is required: service, services"),
        ({"kind": "kill", "service": "a", "services": ["a"]}, "mutually exclusive"),
        ({"service": "a"}, "missing required arguments: kind"),
        ({"kind": "flood", "service": "a"}, "flood"),
    ],
)
def test_wrong_options_are_refused_before_any_call(
    madre: Any, run_module: Run, options: dict[str, Any], said: str
) -> None:
    result = run_module(vx11_fault, **options)
    assert result["failed"] is True
    assert said in result["msg"]
    assert madre.asked() == []
