"""SOLO_MADRE: only the core runs. Proved by listing what runs, never assumed."""

import logging
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from vx11.clock import Instant
from vx11.engines.port import EngineError, Foreign, Found
from vx11.windows.manager import Windows
from vx11.windows.window import Reason, Window

log = logging.getLogger(__name__)
TIME_LIMIT = 30.0
_MOST_STOPPERS = 1024
_TO_STOP = 15.0
_TO_ANSWER = 11.0
_FOREIGN_GRACE = 10.0


@dataclass(frozen=True)
class Proof:
    """What was found when it was looked at.

    Attributes:
        windows: windows that are not closed.
        unaccounted: what runs and carries the cell's mark but belongs to none of them.
        foreign: what else the engine runs; a named cell judges only its own.
    """

    checked: Instant
    windows: tuple[Window, ...]
    unaccounted: tuple[Found, ...]
    foreign: tuple[Foreign, ...]

    @property
    def solo(self) -> bool:
        """True when nothing runs but the core."""
        return not (self.windows or self.unaccounted or self.foreign)


@dataclass(frozen=True)
class Return:
    """A return to SOLO_MADRE: what ran before, what was stopped, and the proof afterwards."""

    before: Proof
    stopped: tuple[Window, ...]
    after: Proof
    took_ms: float

    @property
    def foreign_stopped(self) -> tuple[Foreign, ...]:
        """What was foreign, and does not run any more."""
        return tuple(item for item in self.before.foreign if item not in self.after.foreign)


def check(windows: Windows) -> Proof:
    """Lists what runs.

    Raises:
        EngineError: the engine did not answer, so nothing is proved.
    """
    before = windows.windows()
    found = [item for item in windows.engine.inventory(windows.cell) if item.alive]
    known = windows.windows()
    ids = {window.window_id for window in (*before, *known)}  # what closed in between was still listed
    unaccounted = tuple(item for item in found if item.window_id not in ids)
    foreign = tuple(windows.engine.foreign(windows.cell))
    return Proof(windows.clock.now(), tuple(known), unaccounted, foreign)


def enforce(windows: Windows, actor: str, *, dry_run: bool = False, stop_foreign: bool = False) -> Return:
    """Stops all windows of the cell, side by side, and proves it.

    Meanwhile nothing is opened. Each window has its grace, in order, as far as that fits into half of the time limit,
    and is killed then. What has not ended in time makes the proof false.

    Args:
        stop_foreign: also stop what is foreign; otherwise it is named and left alone.

    Raises:
        EngineError: the engine did not answer.
    """
    begun = windows.clock.now()
    if dry_run:
        found = check(windows)
        return Return(found, (), found, _ms_since(begun, windows))
    with windows.no_births():
        return _enforce(windows, actor, begun, stop_foreign=stop_foreign)


def _enforce(windows: Windows, actor: str, begun: Instant, *, stop_foreign: bool) -> Return:
    before = check(windows)
    windows.record(actor, "solo_madre_requested", windows.cell, {"windows": len(before.windows)})
    pool = ThreadPoolExecutor(_MOST_STOPPERS, thread_name_prefix="solo")
    until = begun.plus(_TO_STOP)
    ending: list[Future[Any]] = [
        pool.submit(windows.end, window.window_id, Reason.SOLO_MADRE, actor, until=until) for window in before.windows
    ]
    ending += [pool.submit(windows.end_orphan, found) for found in before.unaccounted]
    if stop_foreign:
        ending += [pool.submit(_stop_foreign, windows, item, actor) for item in before.foreign]
    wait(ending, max(0.0, TIME_LIMIT - _TO_ANSWER - begun.seconds_until(windows.clock.now())))
    pool.shutdown(wait=False, cancel_futures=True)
    after = check(windows)
    data = {"solo_madre": after.solo, "foreign": [item.what for item in after.foreign]}
    windows.record("madre", "solo_madre", windows.cell, data)
    return Return(before, _closed_of(windows, before), after, _ms_since(begun, windows))


def _closed_of(windows: Windows, before: Proof) -> tuple[Window, ...]:
    ids = {window.window_id for window in before.windows}
    return tuple(window for window in windows.closed() if window.window_id in ids)


def _stop_foreign(windows: Windows, item: Foreign, actor: str) -> None:
    windows.record(actor, "foreign_stopping", windows.cell, {"what": item.what})
    try:
        windows.engine.stop(item.running, "SIGTERM", _FOREIGN_GRACE)
    except EngineError as error:
        log.error("%s, which is foreign, was not stopped: %s", item.what, error)
        return
    windows.record("madre", "foreign_stopped", windows.cell, {"what": item.what})


def _ms_since(begun: Instant, windows: Windows) -> float:
    return round(begun.seconds_until(windows.clock.now()) * 1000, 3)
