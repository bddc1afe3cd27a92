"""One window among many threads: saved before it is seen, closed by one of them alone."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from vx11.windows.slot import SETTLED, Slot
from vx11.windows.window import Reason, State, Window


@pytest.fixture
def slot(idle_room: Any) -> Slot:
    return Slot(idle_room.on_file())


def forget(window: Window) -> None:
    """A save that keeps nothing."""


def test_a_change_is_saved_before_anyone_sees_it(slot: Slot) -> None:
    before = slot.window
    seen: list[Window] = []
    after, changed = slot.change(lambda now: replace(now, grace=9.0), lambda window: seen.append(slot.window))
    assert changed
    assert seen == [before]
    assert slot.window is after
    assert after.grace == 9.0


def test_what_cannot_be_saved_does_not_happen(slot: Slot) -> None:
    before = slot.window

    def full(window: Window) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        slot.change(lambda now: replace(now, grace=9.0), full)
    assert slot.window is before


def test_no_change_is_not_saved(slot: Slot) -> None:
    saved: list[Window] = []
    assert slot.change(replace, saved.append) == (slot.window, False)
    assert saved == []


def test_changes_of_many_threads_are_all_kept(slot: Slot) -> None:
    def add_one(_: int) -> None:
        slot.change(lambda now: replace(now, close_attempts=now.close_attempts + 1), forget)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(add_one, range(500)))
    assert slot.window.close_attempts == 500


def test_one_of_many_closes_it(slot: Slot) -> None:
    start = threading.Barrier(16)

    def claim(number: int) -> bool:
        start.wait(5)
        return slot.claim_closing(forget, slot.window.opened.plus(number), slot.window.opened, Reason.REQUESTED, forget)

    with ThreadPoolExecutor(16) as pool:
        claims = list(pool.map(claim, range(16)))
    assert claims.count(True) == 1
    assert slot.window.state is State.CLOSING
    assert slot.window.closing == slot.window.opened.plus(claims.index(True))


@pytest.mark.parametrize(
    ("state", "claimed"),
    [
        (State.OPENING, True),
        (State.OPEN, True),
        (State.STUCK, True),
        (State.CLOSING, False),
        (State.CLOSED, False),
    ],
)
def test_what_closes_or_is_closed_cannot_be_claimed(slot: Slot, state: State, *, claimed: bool) -> None:
    slot.window = replace(slot.window, state=state)
    assert slot.claim_closing(forget, slot.window.opened, slot.window.opened, Reason.EXPIRED, forget) is claimed


def test_the_first_reason_stands(slot: Slot) -> None:
    slot.claim_closing(forget, slot.window.opened, slot.window.opened, Reason.EXPIRED, forget)
    slot.window = replace(slot.window, state=State.STUCK)
    slot.claim_closing(forget, slot.window.opened, slot.window.opened, Reason.FORCED, forget)
    assert slot.window.reason is Reason.EXPIRED


def test_only_an_opening_window_can_be_abandoned_and_the_first_reason_stands(slot: Slot) -> None:
    assert not slot.abandon(Reason.REQUESTED)
    assert slot.give_up is None
    slot.window = replace(slot.window, state=State.OPENING)
    assert slot.abandon(Reason.REQUESTED)
    assert slot.abandon(Reason.SOLO_MADRE)
    assert slot.give_up is Reason.REQUESTED


def test_who_waits_sees_the_state_after_what_follows_it(slot: Slot) -> None:
    slot.window = replace(slot.window, state=State.CLOSING)
    order: list[str] = []
    waits = threading.Event()

    def wait() -> None:
        waits.set()
        order.append(slot.wait(SETTLED, 5).state)

    thread = threading.Thread(target=wait)
    thread.start()
    waits.wait(5)
    slot.set(replace(slot.window, state=State.CLOSED), forget, then=lambda _: order.append("retired"))
    thread.join(5)
    assert order == ["retired", "closed"]


def test_a_wait_ends_with_its_time(slot: Slot) -> None:
    assert slot.wait(frozenset({State.CLOSED}), timeout=0.01).state is State.OPEN
