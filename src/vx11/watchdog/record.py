"""State files as the watchdog reads them, and the time that they give. madre alone writes them."""

import functools
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vx11.clock import Instant
from vx11.statefiles import CLOSED_BY_WATCHDOG, WINDOWS, write_json
from vx11.watchdog.ending import KILL_TIMEOUT, Target

OVERDUE = 0.5
CLOSING_MARGIN = 5.0
ORDER_MARGIN = 5.0
_Version = tuple[int, int, int]


@dataclass(frozen=True)
class Record:
    """What a state file says, of schema 1 to 3, as far as it matters here.

    Attributes:
        due: when the window has to be ended, unless the file changes.
        closing: whether madre has begun to close it.
        grace: seconds between the stop signal and the kill.
        depends_on: services that have to run for as long as this one.
        target: what it runs; None while it is not known what was started.
    """

    window_id: str
    service: str
    due: Instant
    closing: bool
    grace: float
    depends_on: tuple[str, ...]
    target: Target | None

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Record":
        """Reads a state file.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: it is not a state file.
        """
        return cls(
            window_id=data["window_id"],
            service=data["service"],
            due=due(data),
            closing=_is_closing(data),
            grace=float(data["grace_s"]),
            depends_on=tuple(data.get("depends_on", ())),
            target=_target(data),
        )


def _target(data: dict[str, Any]) -> Target | None:
    running, stop_signal = data["engine"], data["stop_signal"]
    if running is None:
        return None
    return Target(
        data["window_id"],
        container=running["container"],
        pid=running["pid"],
        start_time=running["start_time"],
        cgroup=running["cgroup"],
        stop_signal=stop_signal,
    )


def due(data: dict[str, Any]) -> Instant:
    """When a window has to be ended, by its state file.

    Raises:
        KeyError, TypeError: it is not a state file.
    """
    if _is_closing(data):
        if close_by := data.get("close_by"):
            return Instant.from_json(close_by).plus(CLOSING_MARGIN)
        return Instant.from_json(data["closing"]).plus(data["grace_s"] + CLOSING_MARGIN)
    deadline = Instant.from_json(data["deadline"])
    others = [Instant.from_json(moment) for moment in (data["hold_until"], data.get("needed_until")) if moment]
    return functools.reduce(_later, others, deadline).plus(OVERDUE)


def _is_closing(data: dict[str, Any]) -> bool:
    return data["state"] in ("closing", "stuck")


def _later(one: Instant, other: Instant) -> Instant:
    return other if one.seconds_until(other) > 0 else one


def patience(record: Record, living: Collection[Record]) -> float:
    """Seconds that an overdue window may wait for those that need it to end first, and for those that need them."""
    seconds, needed = 0.0, {record.service}
    for _ in living:  # no chain is longer
        dependents = [other for other in living if needed & set(other.depends_on)]
        if not dependents:
            break
        seconds += max(other.grace for other in dependents) + KILL_TIMEOUT + ORDER_MARGIN
        needed = {other.service for other in dependents}
    return seconds


class StateFolder:
    """The state files of one cell, and the marks beside them that say what the watchdog closed.

    Args:
        state: the state folder of the cell, which has its name.
        say: told once about each file that cannot be read.
    """

    def __init__(self, state: Path, say: Callable[[str], None]) -> None:
        self.cell = state.resolve().name
        self._windows = state / WINDOWS
        self._say = say
        self._unreadable: set[Path] = set()
        self._known: dict[Path, tuple[_Version, Record]] = {}

    def records(self) -> list[Record]:
        """All that can be read; a file that did not change is not read again, which halves what an idle round costs."""
        paths = list(self._windows.glob("*.json"))
        self._unreadable &= set(paths)
        self._known = {path: found for path in paths if (found := self._unchanged(path))}
        return [record for _, record in self._known.values()]

    def is_recorded(self, window_id: str) -> bool:
        """Whether a window has a state file that can be read."""
        return self._unchanged(self._windows / f"{window_id}.json") is not None

    def _unchanged(self, path: Path) -> tuple[_Version, Record] | None:
        try:
            status = path.stat()
        except OSError:
            return None
        version, known = (status.st_ino, status.st_mtime_ns, status.st_size), self._known.get(path)
        if known and known[0] == version:
            return known
        record = self._read(path)
        return (version, record) if record else None

    def record(self, window_id: str) -> Record | None:
        """The state of a window, read now; None when there is none, or it cannot be read."""
        return self._read(self._windows / f"{window_id}.json")

    def _read(self, path: Path) -> Record | None:
        try:
            record = Record.from_json(json.loads(path.read_text(encoding="utf-8")))
            if record.window_id != path.stem:
                raise ValueError(f"it is of the window {record.window_id}")
        except FileNotFoundError:
            return None  # madre closed it just now
        except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
            if path not in self._unreadable:  # told once, not at every look
                self._unreadable.add(path)
                self._say(f"{path} cannot be read: {error}")
            return None
        self._unreadable.discard(path)
        return record

    def is_marked(self, window_id: str) -> bool:
        """Whether a window is marked as closed."""
        return self._mark(window_id).exists()

    def mark(self, window_id: str, closed: Instant) -> None:
        """Says that a window was closed, for as long as it has a state file.

        Raises:
            OSError: the disk is full or gone.
        """
        mark = self._mark(window_id)
        try:
            write_json(mark, {"window_id": window_id, "closed": closed.to_json()})
        except FileNotFoundError:
            return  # the cell has gone
        if not (self._windows / f"{window_id}.json").exists():  # madre closed it meanwhile, and looks no more
            mark.unlink(missing_ok=True)

    def _mark(self, window_id: str) -> Path:
        return self._windows / f"{window_id}{CLOSED_BY_WATCHDOG}"
