"""What fails is tried again: with pauses that grow, without noise, and for ever."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from vx11.watchdog.attempts import REPEAT_AFTER, Attempts

Eventually = Callable[..., Any]
Room = Any  # tests/unit/watchdog/conftest.py


class Desk:
    """Attempts on a clock of ours, and work that fails for as long as it is told to."""

    def __init__(self, room: Room, until: Eventually) -> None:
        self.clock, self.said, self.until = room.clock, room.said, until
        self.error: Exception | None = RuntimeError("no")
        self.tries = 0
        self.successes = 0
        self.attempts = Attempts(self.clock, self.said.append, self._succeeded)

    def _succeeded(self) -> None:
        self.successes += 1

    def _work(self) -> None:
        self.tries += 1
        if self.error:
            raise self.error

    def at(self, seconds: float) -> bool:
        """Asks for an attempt at this time; answers whether one was made, once it is over."""
        self.clock.put(seconds)
        before = self.tries
        self.attempts.attempt("w1", "web (w1)", self._work)
        self.until(lambda: all(item.next_try is not None for item in self.attempts._known.values()))
        return self.tries > before


@pytest.fixture
def desk(room: Room, eventually: Eventually) -> Desk:
    return Desk(room, eventually)


def test_the_pause_doubles_to_half_a_minute(desk: Desk) -> None:
    at = 0.0
    for pause in (1, 2, 4, 8, 16, 30, 30, 30):
        assert desk.at(at)
        assert not desk.at(at + pause - 0.01)
        at += pause
    assert desk.at(at)


def test_what_succeeded_begins_anew(desk: Desk) -> None:
    assert desk.at(0)
    desk.error = None
    assert desk.at(1)
    assert desk.successes == 1
    desk.error = RuntimeError("no")
    assert desk.at(1)
    assert desk.at(2)  # a second later, not two


def test_a_complaint_is_said_when_it_is_new_has_changed_or_a_minute_passed(desk: Desk) -> None:
    no, other = (f"could not close web (w1): {error}; trying again" for error in ("no", "neither"))
    for at in (0, 1, 3, 7):
        assert desk.at(at)
    assert desk.said == [no]
    desk.error = ValueError("neither")
    assert desk.at(15)
    assert desk.said == [no, other]
    for at in (31, 61):
        assert desk.at(at)
    assert desk.said == [no, other]
    assert desk.at(15 + REPEAT_AFTER + 16)
    assert desk.said == [no, other, other]


def test_what_is_under_way_is_not_begun_twice(room: Room, eventually: Eventually) -> None:
    attempts = Attempts(room.clock, room.said.append, lambda: None)
    go, begun = threading.Event(), []

    def work() -> None:
        begun.append(1)
        go.wait(10)

    for _ in range(3):
        attempts.attempt("w1", "web (w1)", work)
        attempts.keep(())
    other: list[int] = []
    attempts.attempt("w2", "api (w2)", lambda: other.append(1))
    eventually(lambda: other)  # none waits for another
    assert begun == [1]
    go.set()
    eventually(lambda: not attempts._known)


def test_what_is_there_no_more_is_forgotten(desk: Desk) -> None:
    assert desk.at(0)
    desk.attempts.keep(["w1"])
    assert not desk.at(0.5)
    desk.attempts.keep([])
    assert desk.at(0.5)


def test_a_machine_without_a_thread_left_is_one_more_failure(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert not desk.at(0)
    assert desk.said == ["could not close web (w1): can't start new thread; trying again"]
    assert desk.at(1)
