"""The windows that a running madre knows, and who waits for a change of their deadlines."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from vx11.windows.errors import NoWindow
from vx11.windows.slot import Slot
from vx11.windows.window import Window

KEPT_CLOSED = 200


class Registry:
    """One slot for each window that is not closed, at most one for a service; and the last that closed.

    Attributes:
        births: held while it is decided whether a service gets a new window.
        returning: how many returns to SOLO_MADRE are under way; meanwhile no window is born.
        deadlines: notified whenever a deadline appears, moves or goes.
    """

    def __init__(self) -> None:
        self.births = threading.Lock()
        self.returning = 0
        self.deadlines = threading.Condition()
        self._slots: dict[str, Slot] = {}
        self._closed: deque[Window] = deque(maxlen=KEPT_CLOSED)

    @contextmanager
    def no_births(self) -> Iterator[None]:
        """For as long as the block runs no window is born."""
        with self.births:
            self.returning += 1
        try:
            yield
        finally:
            with self.births:
                self.returning -= 1

    def add(self, slot: Slot) -> None:
        """A window is born, or taken over."""
        self._slots[slot.window.window_id] = slot

    def retire(self, slot: Slot) -> None:
        """A window is closed."""
        self._closed.appendleft(slot.window)
        self._slots.pop(slot.window.window_id, None)
        self.deadline_changed()

    def slots(self) -> list[Slot]:
        """All that are not closed, oldest first."""
        return list(self._slots.values())

    def closed(self) -> list[Window]:
        """Those that closed lately, newest first."""
        return list(self._closed)

    def by_id(self, window_id: str) -> Slot | None:
        """The slot of a window that is not closed."""
        return self._slots.get(window_id)

    def of_service(self, service: str) -> Slot | None:
        """The slot of a service, if it has one."""
        return next((slot for slot in self.slots() if slot.window.service == service), None)

    def get(self, name: str) -> Slot:
        """The slot of a window, by its id or its service.

        Raises:
            NoWindow: nothing is open by that name.
        """
        slot = self._slots.get(name) or self.of_service(name)
        if slot is None:
            raise NoWindow(f"no window is open by the name {name}")
        return slot

    def known(self) -> set[str]:
        """The ids of all windows that are open, or closed lately."""
        return set(self._slots) | {window.window_id for window in self._closed}

    def find(self, name: str) -> Window:
        """A window by id or service; of closed ones the newest.

        Raises:
            NoWindow: there is none.
        """
        for window in (*(slot.window for slot in self.slots()), *self.closed()):
            if name in (window.window_id, window.service):
                return window
        raise NoWindow(f"there is no window {name}")

    def deadline_changed(self) -> None:
        """Wakes whoever sleeps until the next deadline."""
        with self.deadlines:
            self.deadlines.notify_all()
