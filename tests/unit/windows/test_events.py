"""Events of windows: numbered in their order, the last of them kept, and nobody who listens holds anybody up."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from vx11.clock import Instant
from vx11.windows.events import KEPT, Event, Events, Kind
from vx11.windows.window import State, Window

NOW = Instant(10**12, 10**18, "boot-a")
WINDOW = Window(
    cell="t-cell",
    window_id="id-1",
    generation=1,
    service="web",
    state=State.OPEN,
    opened=NOW,
    deadline=NOW.plus(60),
    opened_by="anna",
    max_ttl=3600,
    max_hold=3600,
    grace=5,
)


@pytest.fixture
def events() -> Events:
    return Events()


def publish(events: Events, count: int = 1) -> None:
    for _ in range(count):
        events.publish(Kind.HELD, WINDOW, NOW)


def numbers(told: list[Event]) -> list[int]:
    return [event.number for event in told]


def test_all_who_listen_are_told_in_order(events: Events) -> None:
    first: list[Event] = []
    second: list[Event] = []
    with events.listen(first.append), events.listen(second.append):
        for kind in Kind:
            events.publish(kind, WINDOW, NOW)
    assert first == second == [Event(number, kind, NOW, WINDOW) for number, kind in enumerate(Kind, 1)]


def test_who_has_gone_is_told_nothing_more(events: Events) -> None:
    gone: list[Event] = []
    stays: list[Event] = []
    with events.listen(stays.append):
        with contextlib.suppress(ZeroDivisionError), events.listen(gone.append):
            publish(events)
            raise ZeroDivisionError
        publish(events)
    assert (numbers(gone), numbers(stays)) == ([1], [1, 2])


def test_who_comes_late_is_told_what_comes(events: Events) -> None:
    publish(events, 3)
    told: list[Event] = []
    with events.listen(told.append) as since:
        publish(events)
    assert (since, numbers(told)) == (3, [4])


@pytest.mark.parametrize(
    ("published", "after", "since"),
    [
        (0, 0, 0),
        (5, 0, 0),
        (5, 3, 3),
        (5, 5, 5),
        (5, 6, 5),
        (5, -1, 5),
        (KEPT, 0, 0),
        (KEPT + 1, 0, KEPT + 1),
        (KEPT + 1, 1, 1),
        (KEPT * 3, KEPT * 2, KEPT * 2),
        (KEPT * 3, KEPT * 2 - 1, KEPT * 3),
    ],
)
def test_who_comes_again_misses_nothing_or_is_told_so(events: Events, published: int, after: int, since: int) -> None:
    publish(events, published)
    told: list[Event] = []
    with events.listen(told.append, after) as found:
        publish(events)
    assert found == since
    assert numbers(told) == list(range(since + 1, published + 2))


def test_no_more_is_kept_than_is_said(events: Events) -> None:
    publish(events, KEPT + 50)
    told: list[Event] = []
    with events.listen(told.append, 50):
        assert len(told) == KEPT


def test_many_who_publish_and_come_and_go_lose_nothing(events: Events) -> None:
    start = threading.Barrier(8)

    def listen_for_all(_: int) -> list[int]:
        told: list[Event] = []
        start.wait(5)
        with events.listen(told.append, 0):
            publish(events, 100)
        return numbers(told)

    with ThreadPoolExecutor(8) as pool:
        for told in pool.map(listen_for_all, range(8)):
            assert told == list(range(1, len(told) + 1))
            assert len(told) >= 100
