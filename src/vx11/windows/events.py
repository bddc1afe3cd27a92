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
    def listen(self, listener: Callable[[Event], None], after: int | None = None) -> Iterator[None]:
        """Calls `listener` for each event for as long as the block runs; it must return at once.

        Args:
            after: first the kept events with a greater number; None for none of them.
        """
        with self._lock:
            for event in self._kept:
                if after is not None and event.number > after:
                    listener(event)
            self._listeners.append(listener)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(listener)
