"""Signs that no seeded fault shows: from what they come, about what they are, and where they stand."""

from collections.abc import Callable
from typing import Any

import pytest

from vx11.recovery import signs
from vx11.recovery.failure import Assert, Call, CleanUp, FailedTest, Failure, Past, Request
from vx11.recovery.service_signs import exit_code
from vx11.recovery.sign import MEANINGS

MakeFailure = Callable[..., Failure]
MakeWindow = Callable[..., dict[str, Any]]
AT = 1_764_000_000_000_000_000
TWO = [{"service": "web"}, {"service": "cache", "endpoints": ["http://127.0.0.1:40099"]}]
Seen = tuple[str, str, float]


@pytest.fixture
def seen(make_failure: MakeFailure, make_window: MakeWindow) -> Callable[..., list[Seen]]:
    """`seen(windows=[…], **about)`: name, subject and share of each sign of a failure."""

    def look(windows: list[dict[str, Any]] | None = None, **about: Any) -> list[Seen]:
        known = [make_window(**window) for window in windows or [{}]]
        found = signs.of(make_failure(windows=known, **about))
        assert {sign.name for sign in found} <= MEANINGS.keys()
        return [(sign.name, sign.about, sign.share) for sign in found]

    return look


@pytest.mark.parametrize(
    ("detail", "code"), [("exit code 3", 3), ("exit code -9", 137), ("exit code 137", 137), ("a fault killed it", None)]
)
def test_exit_codes_are_counted_as_a_shell_does(detail: str, code: int | None) -> None:
    assert exit_code(detail) == code


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("AssertionError: http://127.0.0.1:40003 answered 403", "says_unauthorised"),
        ("AssertionError: http://127.0.0.1:40003 answered 503", "says_5xx"),
        ("AssertionError: http://127.0.0.1:40003 answered 404", "says_4xx"),
        ("httpx.ConnectError: [Errno 111] Connection refused", "refuses_connections"),
        ("ConnectionResetError: [Errno 104] Connection reset by peer", "cuts_off"),
        ("http.client.RemoteDisconnected: Remote end closed connection", "cuts_off"),
        ("TimeoutError: timed out", "does_not_answer"),
        ("AssertionError: assert 4 == 3", "answers_wrong"),
    ],
)
def test_what_a_test_saw_of_a_service(seen: Callable[..., list[Seen]], message: str, name: str) -> None:
    assert (name, "web", 1.0) in seen(tests=[FailedTest("flow", "test_it", message, ended_ns=AT)])


@pytest.mark.parametrize(
    "message",
    [
        "NameError: name 'anwser' is not defined",
        "TypeError: 'NoneType' object is not subscriptable",
        "failed on setup with \"KeyError: 'HOME'\"",
        "collection failure",
        "ModuleNotFoundError: No module named 'helpers'",
    ],
)
def test_what_a_test_did_wrong_itself(seen: Callable[..., list[Seen]], message: str) -> None:
    found = seen(tests=[FailedTest("flow", "test_it", message)])
    assert ("suite_mistake", "flow", 1.0) in found
    assert not {name for name, about, _ in found if about == "web"} & {"answers_wrong", "does_not_answer"}


def test_the_service_is_named_by_message_then_request_then_traceback(seen: Callable[..., list[Seen]]) -> None:
    asked = [Request("flow", "http://127.0.0.1:40099/x", 200, "", AT - 1, "suites/flow/requests.jsonl:1")]

    def blamed(message: str, traceback: str = "", **about: Any) -> list[Seen]:
        test = FailedTest("flow", "test_it", message, traceback, AT)
        return [one for one in seen(TWO, tests=[test], **about) if one[0] == "answers_wrong"]

    assert blamed("web says 4", "window('cache')", requests=asked) == [("answers_wrong", "web", 1.0)]
    assert blamed("assert 4 == 3", "window('web')", requests=asked) == [("answers_wrong", "cache", 1.0)]
    assert blamed("assert 4 == 3", "window('cache')") == [("answers_wrong", "cache", 1.0)]
    assert blamed("assert 4 == 3") == [("answers_wrong", "web", 0.5), ("answers_wrong", "cache", 0.5)]


def test_what_harms_one_service_first_is_told_of_the_others(seen: Callable[..., list[Seen]]) -> None:
    records = [
        {"action": "closed", "subject": f"id-of-{name}", "data": {}, "wall_ns": str(AT + at), "seq": at}
        for at, name in ((1, "cache"), (2, "web"))
    ]
    ended = {"reason": "crashed", "detail": "it ended by itself with exit code 1"}
    found = seen([{"service": "web", **ended}, {"service": "cache", **ended}], records=records)
    assert ("other_harmed", "web", 1.0) in found
    assert ("other_harmed", "cache", 1.0) not in found
    assert ("service_harmed", "TC-011", 1.0) in found


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({"windows": [{"reason": "lost"}]}, ("vanished", "web")),
        (
            {"windows": [{"reason": "open_failed", "detail": "web needs db, which did not open: x"}]},
            ("was_needed", "db"),
        ),
        (
            {"windows": [{"reason": "open_failed", "detail": "the time of web ended before it was ready"}]},
            ("expired_in_use", "web"),
        ),
        ({"play_failure": "ansible-playbook ended with 4 and said nothing"}, ("unplayable", "TC-011")),
        ({"clean_up": CleanUp(False, True)}, ("not_solo", "madre")),
        ({"clean_up": CleanUp(True, False)}, ("entry_silent", "madre")),
        ({"asserts": [Assert("a", "true", None, holds=False)], "play_failure": "task 'x'"}, ("failed_before", "a")),
        ({"asserts": [Assert("a", "true", "false", holds=False)]}, ("untrue", "web")),
        (
            {"asserts": [Assert("a", "< 5", "9", holds=False)], "past": Past(3, {"a": [4.0, 9.5, 4.0]})},
            ("within_past", "web"),
        ),
        (
            {
                "calls": [
                    Call("vx11_window", {"service": "web"}, 1, 2, True, "POST x failed: [Errno 111] Connection refused")
                ]
            },
            ("madre_silent", "madre"),
        ),
    ],
)
def test_each_is_about_what_it_shows(
    seen: Callable[..., list[Seen]], about: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert expected in [(name, subject) for name, subject, _ in seen(**about)]


def test_two_figures_of_the_past_are_too_few(seen: Callable[..., list[Seen]]) -> None:
    wrong = [Assert("a", "< 5", "9", holds=False)]
    assert "beyond_past" not in [name for name, _, _ in seen(asserts=wrong, past=Past(2, {"a": [4.0, 4.0]}))]
