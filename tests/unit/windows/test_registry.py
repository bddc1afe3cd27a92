"""The windows that a running madre knows."""

import threading
from dataclasses import replace
from typing import Any

import pytest

from vx11.windows.errors import NoWindow
from vx11.windows.registry import KEPT_CLOSED, Registry
from vx11.windows.slot import Slot
from vx11.windows.window import State, Window


@pytest.fixture
def window(idle_room: Any) -> Window:
    kept: Window = idle_room.on_file()
    return kept


def slot_of(window: Window, number: int, service: str = "web") -> Slot:
    return Slot(replace(window, window_id=f"w{number}", service=service))


def close(slot: Slot) -> Slot:
    slot.window = replace(slot.window, state=State.CLOSED)
    return slot


def test_a_window_is_found_by_id_and_by_service(window: Window) -> None:
    registry = Registry()
    web, db = slot_of(window, 1), slot_of(window, 2, "db")
    registry.add(web)
    registry.add(db)
    assert registry.get("w1") is web
    assert registry.get("db") is db
    assert registry.of_service("db") is db
    assert registry.of_service("w2") is None
    assert registry.slots() == [web, db]
    assert registry.find("w2") == db.window


def test_a_closed_one_can_be_found_but_not_used(window: Window) -> None:
    registry = Registry()
    slot = slot_of(window, 1)
    registry.add(slot)
    registry.retire(close(slot))
    assert registry.of_service("web") is None
    assert registry.find("w1").state is State.CLOSED
    for name in ("w1", "web"):
        with pytest.raises(NoWindow, match=f"no window is open by the name {name}"):
            registry.get(name)
    with pytest.raises(NoWindow, match="there is no window w2"):
        registry.find("w2")


def test_what_is_open_is_found_before_what_has_closed_and_the_newest_of_those(window: Window) -> None:
    registry = Registry()
    for number in (1, 2):
        slot = slot_of(window, number)
        registry.add(slot)
        registry.retire(close(slot))
    assert registry.find("web").window_id == "w2"
    assert [item.window_id for item in registry.closed()] == ["w2", "w1"]
    registry.add(slot_of(window, 3))
    assert registry.find("web").window_id == "w3"


def test_only_the_last_closed_ones_are_kept(window: Window) -> None:
    registry = Registry()
    for number in range(KEPT_CLOSED + 5):
        slot = slot_of(window, number)
        registry.add(slot)
        registry.retire(close(slot))
    assert len(registry.closed()) == KEPT_CLOSED
    assert registry.closed()[0].window_id == f"w{KEPT_CLOSED + 4}"
    with pytest.raises(NoWindow):
        registry.find("w0")


def test_who_sleeps_until_the_next_deadline_is_woken(window: Window) -> None:
    registry = Registry()
    slot = slot_of(window, 1)
    registry.add(slot)
    for wake in (registry.deadline_changed, lambda: registry.retire(close(slot))):
        sleeps, woken = threading.Event(), threading.Event()

        def sleep(sleeps: threading.Event = sleeps, woken: threading.Event = woken) -> None:
            with registry.deadlines:
                sleeps.set()
                if registry.deadlines.wait(5):
                    woken.set()

        thread = threading.Thread(target=sleep)
        thread.start()
        sleeps.wait(5)
        wake()
        thread.join(5)
        assert woken.is_set()
