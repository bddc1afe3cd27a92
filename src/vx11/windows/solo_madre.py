"""SOLO_MADRE: only the core runs. Proved by listing what runs, never assumed."""

from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from vx11.clock import Instant
from vx11.engines.port import Found
from vx11.windows.manager import Windows
from vx11.windows.window import Reason, Window

TIME_LIMIT = 30.0
_STOPPERS = 64
_TO_ANSWER = 3.0


@dataclass(frozen=True)
class Proof:
    """What was found when it was looked at.

    Attributes:
        windows: windows that are not closed.
        unaccounted: what carries the cell's mark but belongs to none of them.
        foreign: what else the engine runs; a named cell judges only its own.
    """

    checked: Instant
    windows: tuple[Window, ...]
    unaccounted: tuple[Found, ...]
    foreign: tuple[str, ...]

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


def check(windows: Windows) -> Proof:
    """Lists what runs.

    Raises:
        EngineError: the engine did not answer, so nothing is proved.
    """
    before = windows.windows()
    found = windows.engine.inventory(windows.cell)
    known = windows.windows()
    ids = {window.window_id for window in (*before, *known)}  # what closed in between was still listed
    unaccounted = tuple(item for item in found if item.window_id not in ids)
    foreign = tuple(windows.engine.foreign(windows.cell))
    return Proof(windows.clock.now(), tuple(known), unaccounted, foreign)


def enforce(windows: Windows, actor: str, *, dry_run: bool = False) -> Return:
    """Stops all windows of the cell, side by side, and proves it.

    A window whose grace does not fit into the time limit is killed. What has not ended by then makes the proof false.
    What is foreign is named and left alone.

    Raises:
        EngineError: the engine did not answer.
    """
    begun = windows.clock.now()
    before = check(windows)
    if dry_run:
        return Return(before, (), before, _ms_since(begun, windows))
    windows.record(actor, "solo_madre_requested", windows.cell, {"windows": len(before.windows)})
    pool = ThreadPoolExecutor(_STOPPERS, thread_name_prefix="solo")
    ending: list[Future[Any]] = [pool.submit(_stop, windows, window, actor) for window in before.windows]
    ending += [pool.submit(windows.end_orphan, found) for found in before.unaccounted]
    wait(ending, TIME_LIMIT - _TO_ANSWER)
    pool.shutdown(wait=False, cancel_futures=True)
    after = check(windows)
    windows.record("madre", "solo_madre", windows.cell, {"solo_madre": after.solo, "foreign": list(after.foreign)})
    return Return(before, _closed_of(windows, before), after, _ms_since(begun, windows))


def _closed_of(windows: Windows, before: Proof) -> tuple[Window, ...]:
    ids = {window.window_id for window in before.windows}
    return tuple(window for window in windows.closed() if window.window_id in ids)


def _stop(windows: Windows, window: Window, actor: str) -> Window:
    return windows.end(window.window_id, Reason.SOLO_MADRE, actor, kill=window.grace > TIME_LIMIT / 2)


def _ms_since(begun: Instant, windows: Windows) -> float:
    return round(begun.seconds_until(windows.clock.now()) * 1000, 3)
