"""Goes by the state files: ends each window that is overdue, those that need another one before it."""

import functools
import queue
from collections.abc import Collection

from vx11.clock import Clock, Instant
from vx11.engines.cgroups import Hierarchy
from vx11.watchdog import dockerapi, ending
from vx11.watchdog.attempts import Attempts
from vx11.watchdog.ending import Target
from vx11.watchdog.log import Log
from vx11.watchdog.record import Record, StateFolder, patience

LONGEST_SLEEP = 0.5


class Windows:
    """Looks after the windows of one cell that have a state file."""

    def __init__(self, folder: StateFolder, clock: Clock, log: Log, hierarchy: Hierarchy | None) -> None:
        self._folder = folder
        self._clock = clock
        self._log = log
        self._hierarchy = hierarchy
        self._ended: dict[str, Instant] = {}  # what ended and could not be marked yet
        self._waiting: dict[str, Instant] = {}  # since when an overdue window waits for those that need it
        self._wakes: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._attempts = Attempts(clock, log.say, lambda: self._wakes.put(False))

    def run(self) -> None:
        """Until `stop` is called."""
        while not self._is_stopped_within(self.round()):
            pass

    def _is_stopped_within(self, pause: float) -> bool:
        """Sleeps so many seconds, or until something has ended."""
        try:
            stopping = self._wakes.get(timeout=pause)
            while not stopping:
                stopping = self._wakes.get_nowait()
        except queue.Empty:
            return False
        return True

    def stop(self) -> None:
        """Ends `run`; may be called by a signal handler."""
        self._wakes.put(True)

    def round(self) -> float:
        """Looks once; answers the seconds until it has to look again."""
        now, pause = self._clock.now(), LONGEST_SLEEP
        records = {record.window_id: record for record in self._folder.records()}
        overdue = []
        for record in records.values():
            left = now.seconds_until(record.due)
            if left > 0:
                pause = min(pause, left)
            elif not self._folder.is_marked(record.window_id):
                overdue.append(record)
        self._forget_others(records, {record.window_id for record in overdue})
        for record in self._in_order(overdue, list(records.values()), now):
            self._attempts.attempt(record.window_id, _name(record), functools.partial(self._close, record.window_id))
        return pause

    def _forget_others(self, known: Collection[str], overdue: Collection[str]) -> None:
        self._attempts.keep(overdue)
        self._ended = {window: at for window, at in self._ended.items() if window in known}
        self._waiting = {window: since for window, since in self._waiting.items() if window in overdue}

    def _in_order(self, overdue: list[Record], records: list[Record], now: Instant) -> list[Record]:
        """Those that may end now: nothing that needs them is about to end, or it has been waited for long enough."""
        ending_now = {record.window_id for record in overdue}
        living = [
            record
            for record in records
            if record.window_id not in self._ended
            and (record.window_id in ending_now or (record.closing and now.seconds_until(record.due) > 0))
        ]
        return [record for record in overdue if not self._has_to_wait(record, living, now)]

    def _has_to_wait(self, record: Record, living: list[Record], now: Instant) -> bool:
        if record.window_id in self._ended or not any(record.service in other.depends_on for other in living):
            return False
        since = self._waiting.setdefault(record.window_id, now)
        return since.seconds_until(now) < patience(record, living)

    def _close(self, window_id: str) -> None:
        """Reads the file again: it may have been held or extended, and madre may have closed it."""
        record = self._folder.record(window_id)
        if record is None or self._clock.now().seconds_until(record.due) > 0:
            return
        if window_id not in self._ended:
            self._end(record)
            self._ended[window_id] = self._clock.now()
            self._log.closed(window_id, record.service, "overdue")
        try:
            self._folder.mark(window_id, self._ended[window_id])
        except OSError as error:
            raise ending.EndError(f"it has ended, but that cannot be written down: {error}") from error
        self._ended.pop(window_id, None)

    def _end(self, record: Record) -> None:
        grace = 0.0 if record.closing else record.grace
        for target in [record.target] if record.target else self._started_for(record.window_id):
            ending.end(target, grace, self._hierarchy)

    def _started_for(self, window_id: str) -> list[Target]:
        """madre died between starting something and writing down what it had started: the marks tell."""
        wanted = {"vx11.cell": self._folder.cell, "vx11.window": window_id}
        group = f"{self._folder.cell}/{window_id}" if self._hierarchy else ""
        found = [Target(window_id, container=item["Id"]) for item in dockerapi.containers(wanted)]
        return [Target(window_id, cgroup=group), *found]


def _name(record: Record) -> str:
    return f"{record.service} ({record.window_id})"
