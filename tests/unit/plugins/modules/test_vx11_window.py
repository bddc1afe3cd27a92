"""vx11_window: one test a promise, against a madre that answers by script."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.vx11.power.plugins.modules import vx11_window

Run = Callable[..., dict[str, Any]]
Make = Callable[..., dict[str, Any]]

OPEN = "/api/v1/windows/open"
CLOSE = "/api/v1/windows/close"
HOLD = "/api/v1/windows/hold"
STATUS = "/api/v1/windows/status"
BEFORE_THE_STATUS = "2026-01-02T03:04:05.999999999Z"


def test_opens_a_window_with_all_that_was_asked_for(madre: Any, run_module: Run, window: Make) -> None:
    madre.answer(OPEN, window(changed=True))
    result = run_module(
        vx11_window,
        service="auth-service",
        ttl="5m",
        hold=False,
        min_remaining="30",
        resources={"cpu": 0.5, "memory": "256MB", "iops": 100, "pids": 20},
    )
    assert result["changed"] is True
    assert result["window"] == window()
    assert result["request_ms"] > 0
    assert madre.asked() == [("POST", OPEN)]
    assert madre.requests[0]["body"] == {
        "service": "auth-service",
        "ttl": "5m",
        "hold": False,
        "min_remaining": 30,
        "resources": {"cpu": 0.5, "memory": "256MB", "iops": 100, "pids": 20},
        "wait": True,
    }
    assert madre.requests[0]["headers"]["Authorization"] == "Bearer token-of-the-test"


@pytest.mark.parametrize(
    ("options", "field", "sent"),
    [
        ({"ttl": "30"}, "ttl", 30),
        ({"ttl": "0.5"}, "ttl", 0.5),
        ({"ttl": "30s"}, "ttl", "30s"),
        ({"ttl": "soon"}, "ttl", "soon"),
        ({"resources": {"memory": "268435456"}}, "resources", {"memory": 268435456}),
        ({"wait": False}, "wait", False),
    ],
)
def test_numbers_are_sent_as_numbers(
    madre: Any, run_module: Run, window: Make, options: dict[str, Any], field: str, sent: object
) -> None:
    madre.answer(OPEN, window(changed=True))
    run_module(vx11_window, service="auth-service", **options)
    assert madre.requests[0]["body"][field] == sent


def test_what_was_not_asked_for_is_left_to_madre(madre: Any, run_module: Run, window: Make) -> None:
    madre.answer(OPEN, window(changed=True))
    run_module(vx11_window, service="auth-service")
    assert madre.requests[0]["body"] == {"service": "auth-service", "wait": True}


@pytest.mark.parametrize("check", [False, True])
def test_an_open_window_is_left_as_it_is(madre: Any, run_module: Run, window: Make, status: Make, check: bool) -> None:
    madre.answer(STATUS, status(window()))
    madre.answer(OPEN, window(changed=False, remaining_s=29.7))
    result = run_module(vx11_window, service="auth-service", hold=False, check=check, diff=True)
    assert result["changed"] is False
    assert result["diff"]["before"] == result["diff"]["after"]
    assert result["diff"]["before"]["state"] == "open"


def test_check_mode_asks_for_a_dry_run_and_nothing_else(
    madre: Any, run_module: Run, window: Make, status: Make
) -> None:
    madre.answer(STATUS, status())
    nothing_yet = dict.fromkeys(window())
    madre.answer(OPEN, {**nothing_yet, "service": "auth-service", "hold": False, "resources": {}, "changed": True})
    result = run_module(vx11_window, service="auth-service", hold=True, resources={"cpu": 0.5}, check=True, diff=True)
    assert result["changed"] is True
    assert result["window"]["window_id"] is None
    assert result["diff"]["before"] == {"state": "closed"}
    assert result["diff"]["after"] == {"state": "open", "hold": True, "resources": {"cpu": 0.5}}
    assert [request["body"].get("dry_run") for request in madre.requests if request["method"] == "POST"] == [True]


def test_an_extension_is_a_change_of_the_deadline_alone(
    madre: Any, run_module: Run, window: Make, status: Make
) -> None:
    madre.answer(STATUS, status(window()))
    madre.answer(OPEN, window(changed=True, remaining_s=600.0, expires_at="2026-01-02T03:14:05.000000Z"))
    result = run_module(vx11_window, service="auth-service", ttl="10m", min_remaining="10m", diff=True)
    before, after = result["diff"]["before"], result["diff"]["after"]
    assert {key for key in before if before[key] != after[key]} == {"expires_at"}


@pytest.mark.parametrize(("was", "asked"), [(False, True), (True, False)])
@pytest.mark.parametrize("check", [False, True])
def test_opening_sees_to_the_hold_of_an_open_window(
    madre: Any, run_module: Run, window: Make, status: Make, was: bool, asked: bool, check: bool
) -> None:
    madre.answer(STATUS, status(window(hold=was)))
    madre.answer(OPEN, window(changed=False, hold=was))
    madre.answer(HOLD, window(changed=True, hold=asked))
    result = run_module(vx11_window, service="auth-service", hold=asked, check=check, diff=True)
    assert result["changed"] is True
    assert result["window"]["hold"] is asked
    before, after = result["diff"]["before"], result["diff"]["after"]
    assert {key for key in before if before[key] != after[key]} == {"hold"}
    holds = [request["body"] for request in madre.requests if request["path"] == HOLD]
    assert holds == ([] if check else [{"window_id": window()["window_id"], "hold": asked, "wait": True}])


def test_opening_without_a_word_on_hold_leaves_the_hold(madre: Any, run_module: Run, window: Make) -> None:
    madre.answer(OPEN, window(changed=False, hold=True))
    result = run_module(vx11_window, service="auth-service")
    assert (result["changed"], result["window"]["hold"]) == (False, True)
    assert madre.asked() == [("POST", OPEN)]


@pytest.mark.parametrize("check", [False, True])
def test_opening_never_closes_a_window_by_releasing_it(
    madre: Any, run_module: Run, window: Make, status: Make, check: bool
) -> None:
    overdue = window(hold=True, expires_at=BEFORE_THE_STATUS)
    madre.answer(OPEN, {**overdue, "changed": False})
    madre.answer(STATUS, status(overdue))
    result = run_module(vx11_window, service="auth-service", hold=False, check=check)
    assert result["failed"] is True
    assert "past its deadline" in result["msg"]
    assert ("POST", HOLD) not in madre.asked()


def test_a_window_that_is_not_open_after_the_wait_is_a_failure(madre: Any, run_module: Run, window: Make) -> None:
    madre.answer(OPEN, window(changed=True, state="closed", reason="crashed"))
    result = run_module(vx11_window, service="auth-service")
    assert result["failed"] is True
    assert "was to be open, but is closed" in result["msg"]
    assert result["window"]["reason"] == "crashed"


def test_without_wait_a_window_may_still_be_opening(madre: Any, run_module: Run, window: Make) -> None:
    madre.answer(OPEN, window(changed=True, state="opening", ready_at=None))
    result = run_module(vx11_window, service="auth-service", wait=False)
    assert result["window"]["state"] == "opening"


@pytest.mark.parametrize("target", [{"service": "auth-service"}, {"window_id": "0b8f8f0e-0000-4000-8000-000000000001"}])
def test_closes_what_is_open(madre: Any, run_module: Run, window: Make, status: Make, target: dict[str, str]) -> None:
    madre.answer(STATUS, status(window()))
    madre.answer(CLOSE, window(changed=True, state="closed", reason="forced"))
    result = run_module(vx11_window, state="closed", force=True, diff=True, **target)
    assert result["changed"] is True
    assert result["window"]["reason"] == "forced"
    assert result["diff"]["after"] == {"state": "closed"}
    assert madre.requests[-1]["body"] == {**target, "force": True, "wait": True}


def test_a_close_that_is_not_confirmed_is_a_failure(madre: Any, run_module: Run, window: Make) -> None:
    madre.answer(CLOSE, window(changed=True, state="stuck"))
    result = run_module(vx11_window, state="closed", service="auth-service")
    assert result["failed"] is True
    assert "was to be closed, but is stuck" in result["msg"]


@pytest.mark.parametrize("state", ["closed", "released"])
@pytest.mark.parametrize("check", [False, True])
def test_nothing_open_is_nothing_to_change(madre: Any, run_module: Run, status: Make, state: str, check: bool) -> None:
    madre.answer(STATUS, status())
    for path in (CLOSE, HOLD):
        madre.refuse(path, 404, "no_window", "Nothing of auth-service is open.")
    result = run_module(vx11_window, state=state, service="auth-service", check=check, diff=True)
    assert result["changed"] is False
    assert result["window"] is None
    assert result["diff"] == {"before": {"state": "closed"}, "after": {"state": "closed"}}


@pytest.mark.parametrize("check", [False, True])
def test_a_hold_needs_an_open_window(madre: Any, run_module: Run, status: Make, check: bool) -> None:
    madre.answer(STATUS, status())
    madre.refuse(HOLD, 404, "no_window", "Nothing of auth-service is open.")
    result = run_module(vx11_window, state="held", service="auth-service", check=check)
    assert result["failed"] is True
    assert "auth-service cannot be held: nothing of it is open" in result["msg"]
    assert result["problem"]["code"] == "no_window"


@pytest.mark.parametrize(
    ("state", "was", "changed"),
    [("held", False, True), ("held", True, False), ("released", True, True), ("released", False, False)],
)
@pytest.mark.parametrize("check", [False, True])
def test_holds_and_releases(
    madre: Any, run_module: Run, window: Make, status: Make, state: str, was: bool, changed: bool, check: bool
) -> None:
    held = state == "held"
    madre.answer(STATUS, status(window(hold=was)))
    madre.answer(HOLD, window(hold=held, changed=changed))
    result = run_module(vx11_window, state=state, service="auth-service", check=check, diff=True)
    assert result["changed"] is changed
    assert result["window"]["hold"] is held
    assert (result["diff"]["before"] != result["diff"]["after"]) is changed
    assert (("POST", HOLD) in madre.asked()) is not check


def test_a_window_that_is_closing_already_cannot_be_held(madre: Any, run_module: Run, window: Make) -> None:
    madre.answer(HOLD, window(changed=True, hold=True, state="closing"))
    result = run_module(vx11_window, state="held", service="auth-service")
    assert result["failed"] is True
    assert "was to be held, but is closing" in result["msg"]


def test_check_mode_foretells_that_a_late_release_closes(
    madre: Any, run_module: Run, window: Make, status: Make
) -> None:
    madre.answer(STATUS, status(window(hold=True, expires_at=BEFORE_THE_STATUS)))
    result = run_module(vx11_window, state="released", service="auth-service", check=True, diff=True)
    assert result["changed"] is True
    assert result["diff"]["after"] == {"state": "closed"}


@pytest.mark.parametrize(("was", "changed"), [("opening", True), ("open", True), ("stuck", True), ("closing", False)])
def test_check_mode_foretells_a_close(
    madre: Any, run_module: Run, window: Make, status: Make, was: str, changed: bool
) -> None:
    madre.answer(STATUS, status(window(state=was)))
    result = run_module(vx11_window, state="closed", service="auth-service", check=True)
    assert result["changed"] is changed
    assert madre.asked() == [("GET", f"{STATUS}?service=auth-service")]


def test_a_window_id_never_means_another_window(madre: Any, run_module: Run, window: Make, status: Make) -> None:
    madre.answer(STATUS, status(window()))
    result = run_module(vx11_window, state="closed", window_id="0b8f8f0e-0000-4000-8000-00000000ffff", check=True)
    assert result["changed"] is False


@pytest.mark.parametrize("check", [False, True])
def test_a_refusal_can_be_judged(madre: Any, run_module: Run, check: bool) -> None:
    errors = [{"field": "resources.memory", "message": "is not a size"}]
    madre.refuse(OPEN, 422, "invalid_request", "The request is not valid.", errors)
    result = run_module(vx11_window, service="auth-service", resources={"memory": "much"}, check=check)
    assert result["failed"] is True
    assert result["problem"] == {
        "status": 422,
        "code": "invalid_request",
        "detail": "The request is not valid.",
        "errors": errors,
    }
    assert result["msg"] == (
        f"POST {madre.url}{OPEN} was refused: The request is not valid; resources.memory: is not a size "
        "(invalid_request, 422)."
    )
    assert result["request_ms"] > 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "one of the following is required: service, services, window_id"),
        ({"service": "a", "window_id": "b", "state": "closed"}, "mutually exclusive"),
        ({"window_id": "b"}, "state is open but any of the following are missing: service, services"),
        ({"services": ["a"], "state": "closed"}, "The option services is for state=open"),
        ({"services": []}, "names no service, or one of them twice"),
        ({"services": ["a", "a"]}, "names no service, or one of them twice"),
        ({"service": "a", "resources": {"gpu": 1}}, "gpu"),
    ],
)
def test_wrong_options_are_refused_before_any_call(
    madre: Any, run_module: Run, options: dict[str, Any], said: str
) -> None:
    result = run_module(vx11_window, **options)
    assert result["failed"] is True
    assert said in result["msg"]
    assert madre.requests == []


@pytest.mark.parametrize("refusal", ["failed", "recorded"])
def test_a_refusal_fails_or_is_recorded(madre: Any, run_module: Run, refusal: str) -> None:
    madre.refuse(OPEN, 403, "service_not_allowed", "blocked is not on the allowlist.")
    result = run_module(vx11_window, service="blocked", refusal=refusal)
    assert result.get("failed", False) is (refusal == "failed")
    assert result["problem"]["code"] == "service_not_allowed"
    assert "blocked is not on the allowlist" in result["msg"]
    assert result["request_ms"] > 0
    if refusal == "recorded":
        assert (result["changed"], result["window"]) == (False, None)


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 502, "body": {"code": "open_failed", "detail": "web did not get ready."}},
        {"status": 404, "body": b"no such page"},
    ],
)
def test_what_is_no_refusal_fails_also_where_refusals_are_recorded(
    madre: Any, run_module: Run, answer: dict[str, Any]
) -> None:
    madre.answer(OPEN, **answer)
    assert run_module(vx11_window, service="web", refusal="recorded")["failed"] is True


def test_nobody_there_is_no_refusal(run_module: Run, dead_url: str) -> None:
    assert run_module(vx11_window, service="web", refusal="recorded", url=dead_url)["failed"] is True


def answers_when_all_have_asked(madre: Any, window: Make, refused: str = "") -> None:
    """madre opens two services, once both were asked for; `refused` is refused."""
    both = threading.Barrier(2, timeout=10)

    def answer(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        both.wait()
        if body["service"] == refused:
            return 403, {"code": "service_not_allowed", "detail": f"{refused} is not on the allowlist."}
        return 200, window(service=body["service"], changed=True)

    madre.answer_by(OPEN, answer)


def test_services_are_opened_at_the_same_time_and_answered_in_order(
    madre: Any, run_module: Run, window: Make, status: Make
) -> None:
    answers_when_all_have_asked(madre, window)
    madre.answer(STATUS, status())
    result = run_module(vx11_window, services=["y", "x"], ttl="40s", diff=True)
    assert result["changed"] is True
    assert [each["service"] for each in result["windows"]] == ["y", "x"]
    assert "window" not in result
    assert {name: each["state"] for name, each in result["diff"]["after"].items()} == {"x": "open", "y": "open"}
    assert {name: each["state"] for name, each in result["diff"]["before"].items()} == {"x": "closed", "y": "closed"}
    bodies = [request["body"] for request in madre.requests if request["path"] == OPEN]
    assert sorted(body["service"] for body in bodies) == ["x", "y"]
    assert {body["ttl"] for body in bodies} == {"40s"}


@pytest.mark.parametrize("refusal", ["failed", "recorded"])
def test_of_several_services_one_that_is_refused_does_not_hide_the_others(
    madre: Any, run_module: Run, window: Make, refusal: str
) -> None:
    answers_when_all_have_asked(madre, window, refused="y")
    result = run_module(vx11_window, services=["x", "y"], refusal=refusal)
    assert result.get("failed", False) is (refusal == "failed")
    assert result["changed"] is True
    assert [each and each["service"] for each in result["windows"]] == ["x", None]
    assert result["problem"]["code"] == "service_not_allowed"
    assert "y is not on the allowlist" in result["msg"]
