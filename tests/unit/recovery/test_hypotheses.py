"""Each rule: from which signs it suspects what, and how much."""

from collections.abc import Callable
from typing import Any

import pytest

from vx11.recovery import hypotheses
from vx11.recovery.failure import Assert, Call, CleanUp, FailedTest, Failure
from vx11.recovery.hypotheses import Cause, Kind
from vx11.units import MIB

MakeFailure = Callable[..., Failure]
LIMITED = {"resources": {"memory": 64 * MIB}}
SLOW = "web was not ready within 3.0 s"


def window(service: str = "web", **more: Any) -> dict[str, Any]:
    return {"service": service, "endpoints": ["http://127.0.0.1:41234"], "resources": {}, "usage": None} | more


def refusal(code: str, module: str = "vx11_window") -> Call:
    problem = {"code": code, "detail": SLOW}
    return Call(module, {"service": "web"}, 1, 2, failed=True, message="refused", result={"problem": problem})


def missed(expected: str, observed: str | None, name: str = "hop_ms") -> Assert:
    return Assert(name, expected, observed, holds=False, why="it does not hold")


def killed(**more: Any) -> dict[str, Any]:
    return window(reason="crashed", detail="it ended by itself with exit code 137", **more)


def peak(mib: float) -> dict[str, Any]:
    return {"usage": {"memory_peak_bytes": int(mib * MIB)}}


TWO = [window("web", endpoints=["http://127.0.0.1:41234"]), window("cache", endpoints=["http://127.0.0.1:41235"])]
NO_ANSWER = FailedTest("flow", "test_it", "httpx.ConnectError: [Errno 111] Connection refused")
RULES: dict[str, tuple[dict[str, Any], tuple[str, Kind, str, int]]] = {
    "crashed": (
        {"windows": [window(reason="crashed", detail="it ended by itself with exit code 1")]},
        ("crashed", Kind.SERVICE, "web", 85),
    ),
    "lost": ({"windows": [window(reason="lost")]}, ("crashed", Kind.SERVICE, "web", 85)),
    "killed without a limit": ({"windows": [killed()]}, ("crashed", Kind.SERVICE, "web", 85)),
    "killed at its limit": ({"windows": [killed(**LIMITED, **peak(63))]}, ("memory", Kind.LIMITS, "web", 90)),
    "killed below its limit": ({"windows": [killed(**LIMITED, **peak(20))]}, ("memory", Kind.LIMITS, "web", 60)),
    "killed by a signal": (
        {"windows": [window(reason="crashed", detail="it ended by itself with exit code -9", **LIMITED, **peak(64))]},
        ("memory", Kind.LIMITS, "web", 90),
    ),
    "not ready": ({"windows": [window(reason="open_failed", detail=SLOW)]}, ("not_ready", Kind.SERVICE, "web", 70)),
    "not ready, by the call": ({"calls": [refusal("open_failed")]}, ("not_ready", Kind.SERVICE, "web", 70)),
    "did not start": (
        {"windows": [window(reason="open_failed", detail="web ended with exit code 2")]},
        ("not_ready", Kind.SERVICE, "web", 85),
    ),
    "not allowed": ({"calls": [refusal("service_not_allowed")]}, ("refused", Kind.ALLOWLIST, "web", 85)),
    "limits": ({"calls": [refusal("limits_not_applied")]}, ("refused", Kind.ENVIRONMENT, "web", 80)),
    "another refusal": ({"calls": [refusal("faults_off", "vx11_fault")]}, ("refused", Kind.REQUEST, "web", 60)),
    "an answer at its address": (
        {"windows": TWO, "tests": [FailedTest("flow", "test_it", "http://127.0.0.1:41235/x answered 500")]},
        ("answered", Kind.SERVICE, "cache", 75),
    ),
    "an answer by its name": (
        {"windows": TWO, "tests": [FailedTest("flow", "test_it", "wrong sum", "window('cache').http.get('/x')")]},
        ("answered", Kind.SERVICE, "cache", 65),
    ),
    "several are named": (
        {"windows": TWO, "tests": [FailedTest("flow", "test_it", "web is not like cache")]},
        ("answered", Kind.SERVICE, "web", 45),
    ),
    "no answer of the only one": ({"windows": [window()], "tests": [NO_ANSWER]}, ("answered", Kind.SERVICE, "web", 60)),
    "no answer of one of two": ({"windows": TWO, "tests": [NO_ANSWER]}, ("answered", Kind.SERVICE, "web", 30)),
    "missed slightly": (
        {"windows": [window()], "asserts": [missed("< 100", "104.2 ms")]},
        ("missed", Kind.MATRIX, "hop_ms", 55),
    ),
    "missed by far": (
        {"windows": [window()], "asserts": [missed("< 100", "240 ms")]},
        ("missed", Kind.SERVICE, "web", 65),
    ),
    "missed by far, one of two": (
        {"windows": TWO, "asserts": [missed("< 100", "240 ms")]},
        ("missed", Kind.SERVICE, "web", 40),
    ),
    "untrue": (
        {"windows": [window()], "asserts": [missed("true", "false", "migration_complete")]},
        ("untrue", Kind.SERVICE, "web", 50),
    ),
    "unobserved": ({"asserts": [missed("true", None, "seen")]}, ("unobserved", Kind.SUITE, "seen", 70)),
    "a task": ({"play_failure": "task 'x': as planned"}, ("playbook", Kind.PLAYBOOK, "TC-011", 60)),
    "hung": (
        {"windows": [window()], "play_failure": "it was not done after 2.0 s; it was at the task 'x'"},
        ("hung", Kind.SERVICE, "web", 45),
    ),
    "hung without a window": (
        {"play_failure": "it was not done after 2.0 s; it was at the task 'x'"},
        ("hung", Kind.PLAYBOOK, "TC-011", 40),
    ),
    "leak": (
        {"asserts": [missed("true", "false", "no_resource_leaks")], "clean_up": CleanUp(True, True, ["a process"])},
        ("core", Kind.PLAYBOOK, "TC-011", 65),
    ),
    "no way back": (
        {"asserts": [missed("true", "false", "system_returns_to_solo_madre")]},
        ("core", Kind.CORE, "madre", 65),
    ),
    "nothing is known": ({}, ("always", Kind.MATRIX, "TC-011", 15)),
}


def sign(cause: Cause) -> tuple[str, Kind, str, int]:
    return cause.rule, cause.kind, cause.suspect, cause.confidence


@pytest.mark.parametrize("name", RULES)
def test_the_primary_suspect(make_failure: MakeFailure, name: str) -> None:
    about, expected = RULES[name]
    assert sign(hypotheses.causes(make_failure(**about))[0]) == expected


@pytest.mark.parametrize("name", RULES)
def test_there_are_always_others_less_likely_and_each_says_what_it_goes_by(
    make_failure: MakeFailure, name: str
) -> None:
    found = hypotheses.causes(make_failure(**RULES[name][0]))
    assert len(found) > 1
    assert [cause.confidence for cause in found] == sorted((cause.confidence for cause in found), reverse=True)
    assert all(cause.derived and cause.claim and 0 < cause.confidence < 100 for cause in found)


def test_every_rule_is_in_the_table() -> None:
    rules = {function.__name__ for function in hypotheses._RULES}
    assert {rule for _, (rule, *_) in RULES.values()} | {"hung"} == rules | {"hung", "always"}


def test_what_follows_from_an_earlier_failure_is_little_suspected(make_failure: MakeFailure) -> None:
    failure = make_failure(windows=[window()], tests=[NO_ANSWER], asserts=[missed("true", None, "seen")])
    assert ("unobserved", Kind.SUITE, "seen", 15) in map(sign, hypotheses.causes(failure))


def test_a_late_service_may_have_too_little_time(make_failure: MakeFailure) -> None:
    failure = make_failure(windows=[window(reason="open_failed", detail=SLOW)], calls=[refusal("open_failed")])
    found = [sign(cause) for cause in hypotheses.causes(failure)]
    assert found.count(("not_ready", Kind.LIMITS, "web", 25)) == 1
    assert found.count(("not_ready", Kind.SERVICE, "web", 70)) == 1
