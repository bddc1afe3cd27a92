"""What happens to windows, for whoever follows it: numbered events, the last of them kept for those who come late."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from vx11.clock import Instant
from vx11.windows.window import Window

KEPT = 1000


class Kind(StrEnum):
    """What happened."""

    OPENING = "opening"
    OPENED = "opened"
    WARNING = "warning"
    HELD = "held"
    RELEASED = "released"
    EXTENDED = "extended"
    FAULT_INJECTED = "fault_injected"
    FAULT_REVERTED = "fault_reverted"
    CLOSING = "closing"
    CLOSED = "closed"
    STUCK = "stuck"


@dataclass(frozen=True)
class Event:
    """Something that happened to a window.

    Attributes:
        number: counts up from 1 for as long as madre runs.
        window: as it was right after.
    """

    number: int
    kind: Kind
    at: Instant
    window: Window


class Events:
    """Hands events on; never waits for who listens."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number = 0
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._listeners: list[Callable[[Event], None]] = []

    def publish(self, kind: Kind, window: Window, at: Instant) -> None:
        """Tells all who listen, in the order of what happened."""
        with self._lock:
            self._number += 1
            event = Event(self._number, kind, at, window)
            self._kept.append(event)
            for listener in self._listeners:
                listener(event)

    @contextmanager
    def listen(self, listener: Callable[[Event], None], after: int | None = None) -> Iterator[int]:
        """Calls `listener` for each event for as long as the block runs; it must return at once.

        Args:
            after: first the kept events with a greater number, if all of them are still kept; None for none of them.

        Yields:
            The number after which the listener misses nothing: `after`, or that of the newest event if it cannot go on
            from there.
        """
        with self._lock:
            since = after if after is not None and self._can_go_on(after) else self._number
            for event in self._kept:
                if event.number > since:
                    listener(event)
            self._listeners.append(listener)
        try:
            yield since
        finally:
            with self._lock:
                self._listeners.remove(listener)

    def _can_go_on(self, after: int) -> bool:
        """Whether every event with a greater number is still kept."""
        return self._number - len(self._kept) <= after <= self._number
