"""What happens to windows by itself: they close at their deadline, and when what they run has ended.

One thread sleeps until the next deadline, one looks each second whether what should run still runs. The closing itself
is done by a pool, so that one slow close delays no other.
"""

import functools
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from vx11.clock import Clock
from vx11.engines.port import Engine, EngineError, Found, Health
from vx11.windows.books import Books
from vx11.windows.closing import Closing
from vx11.windows.registry import Registry
from vx11.windows.slot import Slot
from vx11.windows.window import Reason, State, Window

log = logging.getLogger(__name__)
TICK = 1.0
T = TypeVar("T")


class Enforcer:
    """Closes what is overdue, gone or stuck."""

    def __init__(
        self,
        *,
        cell: str,
        engine: Engine,
        books: Books,
        registry: Registry,
        clock: Clock,
        closing: Closing,
        pool: ThreadPoolExecutor,
        stopping: threading.Event,
    ) -> None:
        self._cell = cell
        self._engine = engine
        self._books = books
        self._registry = registry
        self._clock = clock
        self._closing = closing
        self._pool = pool
        self._stopping = stopping
        self._threads = [
            threading.Thread(target=self._watch_deadlines, name="deadlines", daemon=True),
            threading.Thread(target=self._watch_health, name="health", daemon=True),
        ]

    def start(self) -> None:
        """Takes over what an earlier madre left, then begins."""
        self._take_over()
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Returns when the threads have seen that madre stops."""
        self._registry.deadline_changed()
        for thread in self._threads:
            thread.join()

    def _watch_deadlines(self) -> None:
        """Sleeps no longer than a tick: suspend stops the sleep, but not BOOTTIME."""
        while not self._stopping.is_set():
            with self._registry.deadlines:
                self._registry.deadlines.wait(self._safely(self._until_next, TICK))

    def _until_next(self) -> float:
        """Ends what is due; answers the seconds until the next deadline."""
        now = self._clock.now()
        pause = TICK
        for slot in self._registry.slots():
            if slot.window.state not in (State.OPENING, State.OPEN) or slot.give_up:
                continue
            if slot.window.is_due(now):
                self._pool.submit(self._expire, slot)
            else:
                pause = min(pause, slot.window.remaining(now))
        return pause

    def _expire(self, slot: Slot) -> None:
        """The deadline is looked at again: it may have been extended or held in between."""
        if slot.window.is_due(self._clock.now()):
            by_watchdog = self._books.store.closed_by_watchdog(slot.window.window_id)
            self._closing.end(slot, Reason.WATCHDOG if by_watchdog else Reason.EXPIRED, "madre")

    def _watch_health(self) -> None:
        while not self._stopping.wait(TICK):
            self._safely(self._books.store.shorten_logs, None)
            for slot in self._registry.slots():
                self._safely(functools.partial(self._look_after, slot), None)

    @staticmethod
    def _safely(work: Callable[[], T], otherwise: T) -> T:
        """Whatever goes wrong in one round, there is a next one: these threads must not end."""
        try:
            return work()
        except EngineError as error:
            log.warning("%s", error)
        except Exception:
            log.exception("a round of the enforcer failed")
        return otherwise

    def _look_after(self, slot: Slot) -> None:
        window = slot.window
        if window.state is State.STUCK and slot.next_try and self._clock.now().seconds_until(slot.next_try) <= 0:
            slot.next_try = None
            self._pool.submit(self._closing.take_back, slot, window.reason or Reason.REQUESTED, "madre")
        elif window.state is State.OPEN and window.running:
            health = self._engine.health(window.running)
            if not health.alive:
                reason, actor, detail = self._why_ended(window, health)
                self._pool.submit(self._closing.end, slot, reason, actor, detail=detail)

    def _why_ended(self, window: Window, health: Health) -> tuple[Reason, str, str]:
        if self._books.store.closed_by_watchdog(window.window_id):
            return Reason.WATCHDOG, "watchdog", ""
        if health.exit_code is None:
            return Reason.LOST, "madre", "what ran is gone"
        return Reason.CRASHED, "madre", f"it ended by itself with exit code {health.exit_code}"

    def _take_over(self) -> None:
        """Compares the records of an earlier madre with what runs; ends what cannot be accounted for."""
        windows, broken = self._books.store.load_all()
        for sentence in broken:
            log.error("%s", sentence)
            self._books.record("madre", "state_unreadable", self._cell, {"why": sentence})
        running = self._engine.inventory(self._cell)
        by_id = {found.window_id: found for found in running}
        known = {window.window_id for window in windows}
        for window in windows:
            self._adopt(window, by_id.get(window.window_id))
        for orphan in (found for found in running if found.window_id not in known):
            self._closing.end_orphan(orphan)

    def _adopt(self, window: Window, found: Found | None) -> None:
        slot = Slot(replace(window, running=window.running or (found.running if found else None)))
        self._registry.add(slot)
        self._books.record("madre", "adopted", window.window_id, {"service": window.service, "state": window.state})
        if window.state is State.OPENING:
            self._pool.submit(
                self._closing.take_back, slot, Reason.OPEN_FAILED, "madre", detail="madre ended meanwhile"
            )
        elif window.state is not State.OPEN:
            slot.set(replace(slot.window, state=State.STUCK), self._books.save_quietly)
            slot.next_try = self._clock.now()
