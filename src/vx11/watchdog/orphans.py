"""Goes by the marks: ends what carries the mark of the cell, is past its birth deadline, and has no state file."""

import functools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from vx11.clock import Clock, Instant
from vx11.engines.cgroups import Hierarchy
from vx11.watchdog import ending, marks
from vx11.watchdog.attempts import Attempts
from vx11.watchdog.log import Log
from vx11.watchdog.marks import Marked
from vx11.watchdog.record import OVERDUE, StateFolder

LOOK_EVERY = 2.0
SCAN_EVERY = 10.0
CREATION_GRACE = 2.0
ORPHAN_GRACE = 2.0


@dataclass
class _Place:
    """Where marks are looked for.

    Attributes:
        every: seconds between two looks, unless something was found there that has to end.
        next_look: on the clock of time.monotonic.
        since: what has to end → since when that is known.
        trouble: why the last look failed, empty when it did not.
    """

    look: Callable[[], list[Marked]]
    every: float
    next_look: float = 0.0
    since: dict[str, Instant] = field(default_factory=dict)
    trouble: str = ""


class Orphans:
    """Looks after what runs in one cell and has no state file, or one that stays unreadable.

    A state file that can be read always wins, unless the watchdog has marked its window as closed: then what runs was
    started after that.
    """

    def __init__(self, folder: StateFolder, clock: Clock, log: Log, hierarchy: Hierarchy | None) -> None:
        self._folder = folder
        self._clock = clock
        self._log = log
        self._hierarchy = hierarchy
        self._attempts = Attempts(clock, log.say, lambda: None)
        cell, accounted = folder.cell, self._is_accounted_for
        if hierarchy:
            processes = _Place(lambda: marks.groups(cell, hierarchy, accounted), LOOK_EVERY)
        else:
            processes = _Place(lambda: marks.processes(cell, accounted), SCAN_EVERY)
        self._places = (_Place(lambda: marks.containers(cell, accounted), LOOK_EVERY), processes)
        self.stopping = threading.Event()

    def run(self) -> None:
        """Until `stopping` is set."""
        while not self.stopping.wait(LOOK_EVERY):
            self.look()

    def look(self) -> None:
        """Looks once, wherever it is time to."""
        for place in self._places:
            if place.since or time.monotonic() >= place.next_look:
                place.next_look = time.monotonic() + place.every
                self._look_at(place)
        self._attempts.keep({key for place in self._places for key in place.since})

    def _look_at(self, place: _Place) -> None:
        try:
            found = place.look()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next look may succeed; told once
            if place.trouble != str(error):
                place.trouble = str(error)
                self._log.say(f"what has no state file cannot be looked for: {error}")
            return
        place.trouble = ""
        now = self._clock.now()
        overdue = {_key(item): item for item in found if _is_overdue(item, now)}
        place.since = {key: place.since.get(key, now) for key in overdue}
        for key, item in overdue.items():
            if place.since[key].seconds_until(now) >= CREATION_GRACE:
                self._attempts.attempt(key, _name(item), functools.partial(self._end, item))

    def _is_accounted_for(self, window_id: str) -> bool:
        return self._folder.is_recorded(window_id) and not self._folder.is_marked(window_id)

    def _end(self, item: Marked) -> None:
        if not self._is_accounted_for(item.target.window_id):
            ending.end(item.target, ORPHAN_GRACE, self._hierarchy)
            self._log.closed(item.target.window_id, item.service or "a service", "overdue and had no state file")


def _is_overdue(item: Marked, now: Instant) -> bool:
    """Nothing is started without a deadline: where it cannot be read any more it counts as past."""
    return item.deadline is None or item.deadline.seconds_until(now) >= OVERDUE


def _key(item: Marked) -> str:
    return item.target.container or item.target.window_id


def _name(item: Marked) -> str:
    return f"{item.service or 'a service'} ({item.target.window_id})"
