"""What happens to windows by itself: they close at their deadline, and what runs is compared with what should.

One thread sleeps until the next deadline; one compares, each second, what the engine runs with what is on record. The
closing itself is done by a pool, so that one slow close delays no other.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from typing import TypeVar

from vx11.clock import Clock, Instant
from vx11.engines.port import Engine, EngineError, Found
from vx11.windows.books import Books
from vx11.windows.closing import Closing, Expiring
from vx11.windows.dependencies import Dependencies
from vx11.windows.events import Kind
from vx11.windows.registry import Registry
from vx11.windows.slot import Slot
from vx11.windows.window import Fault, Reason, State, Window

log = logging.getLogger(__name__)
TICK = 1.0
# With no window open there is less to see: only what an earlier madre began to start may still appear.
IDLE_TICKS = 5
# What carries our mark and has no window may be about to be recorded, or removed, by somebody who is just doing so.
ORPHAN_GRACE = 2.0
# The watchdog acts half a second after the end of a window, and says so when the service has ended.
WATCHDOG_AFTER, MARK_WITHIN, MARK_LOOK = 0.5, 3.0, 0.05
# The ends of some wait for the beginnings of others that are due so many seconds later, but no longer than that.
SOON, PATIENCE = 0.02, 0.1
WARNING, WARNING_SHARE = 30.0, 0.2
T = TypeVar("T")


class Enforcer:
    """Closes what is overdue, gone or stuck, and what should not be there at all."""

    def __init__(
        self,
        *,
        cell: str,
        engine: Engine,
        books: Books,
        registry: Registry,
        clock: Clock,
        closing: Closing,
        dependencies: Dependencies,
        pool: Executor,
        stopping: threading.Event,
    ) -> None:
        self._cell = cell
        self._engine = engine
        self._books = books
        self._registry = registry
        self._clock = clock
        self._closing = closing
        self._dependencies = dependencies
        self._pool = pool
        self._stopping = stopping
        self._orphans: dict[str, Instant] = {}
        self._lost: dict[str, tuple[str, str]] = {}
        self._away = False
        self._expiring: list[Expiring] = []
        self._threads = [
            threading.Thread(target=self._watch_deadlines, name="deadlines", daemon=True),
            threading.Thread(target=self._watch_engine, name="reconcile", daemon=True),
        ]

    def start(self) -> None:
        """Begins to enforce; `take_over` comes first."""
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
                self._registry.deadlines.wait(self._safely(self.look_at_deadlines, TICK))

    def _watch_engine(self) -> None:
        idle = 0
        while not self._stopping.wait(TICK):
            idle = 0 if self._registry.slots() or self._orphans else idle + 1
            if idle % IDLE_TICKS == 0:
                self._safely(self.reconcile, None)

    @staticmethod
    def _safely(work: Callable[[], T], otherwise: T) -> T:
        """Whatever goes wrong in one round, there is a next one: these threads must not end."""
        try:
            return work()
        except Exception:
            log.exception("a round of the enforcer failed")
        return otherwise

    def look_at_deadlines(self) -> float:
        """Ends what is due, warns of what soon will be; answers the seconds until it has to look again."""
        now = self._clock.now()
        pause, plain, others_soon = TICK, [], False
        for slot in self._registry.slots():
            if not slot.wanted:
                continue
            if not slot.window.is_due(now):
                left = slot.window.remaining(now)
                others_soon = others_soon or left <= SOON
                pause = min(pause, left, self._warn(slot, now))
            elif self._is_plain(slot, now):
                plain.append(slot)
            else:
                self._begin_to_expire(slot)
        self._expiring += self._closing.begin_to_expire(plain, self._is_still_due)
        if self._expiring and (not others_soon or self._expiring[0].age(now) >= PATIENCE):
            for begun in self._expiring:
                self._closing.expire(begun)
            self._expiring.clear()
        return pause

    def _is_plain(self, slot: Slot, now: Instant) -> bool:
        """Whether nothing needs it, and it is known at a glance that it runs and that nobody has ended it before."""
        window = slot.window
        if window.state is not State.OPEN or window.running is None or slot.expiring is not None:
            return False
        late = window.due().seconds_until(now) >= WATCHDOG_AFTER
        needed = self._dependencies.dependents(window.service)
        return self._engine.surely_runs(window.running) and not late and not needed

    def _warn(self, slot: Slot, now: Instant) -> float:
        """Tells once that an end is near, each time that it has moved; answers the seconds until it has to."""
        window, due = slot.window, slot.window.due()
        before = min(WARNING, WARNING_SHARE * window.opened.seconds_until(due))
        left = window.remaining(now) - before
        if slot.warned == due or window.state is not State.OPEN or not window.requested:
            return TICK
        if left <= 0:
            slot.warned = due
            self._submit(self._say_warning, window, round(window.remaining(now), 3))
        return max(left, 0.0) or TICK

    def _say_warning(self, window: Window, remaining: float) -> None:
        self._books.happened(Kind.WARNING, window, data={"remaining_s": remaining})
        self._books.tell(Kind.WARNING, window)

    def _begin_to_expire(self, slot: Slot) -> None:
        """Once for each end that it has: each further thread would only wait for the first."""
        due = slot.window.due()
        if slot.expiring != due:
            slot.expiring = due
            self._submit(self._expire, slot)

    def _expire(self, slot: Slot) -> None:
        """The deadline is looked at again: it may have been extended or held in between."""
        try:
            if slot.window.is_due(self._clock.now()):
                reason, actor, detail = self._why_due(slot.window)
                self._closing.end(slot, reason, actor, detail=detail, still=self._is_still_due)
        finally:
            slot.expiring = None

    def _is_still_due(self, window: Window) -> bool:
        return window.is_due(self._clock.now())

    def _why_due(self, window: Window) -> tuple[Reason, str, str]:
        """Its time is over, unless its service has ended before."""
        if self._books.store.closed_by_watchdog(window.window_id):
            return Reason.WATCHDOG, "watchdog", ""
        return self._what_ended(window) or (Reason.EXPIRED, "madre", "")

    def reconcile(self) -> None:
        """Compares what the engine has with what is on record. An engine that does not answer proves nothing."""
        self._books.store.shorten_logs()
        open_before = [slot for slot in self._registry.slots() if slot.window.state is State.OPEN]
        try:
            found = self._engine.inventory(self._cell)
        except EngineError as error:
            self._say_away(error)
            self._retry_stuck()
            return
        back, self._away = self._away, False
        self._retry_stuck(at_once=back)
        self._end_orphans(found)
        self._settle_lost(found)
        alive = [item for item in found if item.alive]
        for slot in open_before:
            if not any(_is_of(item, slot.window) for item in alive):
                self._look_after(slot)

    def _say_away(self, error: EngineError) -> None:
        if not self._away:  # told once, not at every look
            log.error("%s; windows are closed by their processes until it answers", error)
            self._books.record("madre", "engine_away", self._cell, {"why": str(error)})
        self._away = True

    def _retry_stuck(self, *, at_once: bool = False) -> None:
        for slot in self._registry.slots():
            due = slot.next_try and (at_once or self._clock.now().seconds_until(slot.next_try) <= 0)
            if slot.window.state is State.STUCK and due:
                slot.next_try = None
                self._submit(self._retry, slot)

    def _retry(self, slot: Slot) -> None:
        try:
            self._closing.take_back(slot, slot.window.reason or Reason.REQUESTED, "madre")
        finally:
            if slot.window.state is State.STUCK and slot.next_try is None:
                slot.next_try = self._clock.now().plus(TICK)

    def _submit(self, work: Callable[..., object], *arguments: object, **options: object) -> None:
        """Has it done by the pool; what goes wrong is told, and seen again at the next look."""
        self._pool.submit(self._safely, lambda: work(*arguments, **options), None)

    def _end_orphans(self, found: list[Found]) -> None:
        now, seen = self._clock.now(), {}
        for item in found:
            if self._is_orphan(item):
                key = f"{item.window_id} {item.running.container or item.running.pid}"
                seen[key] = self._orphans.get(key, now)
                if seen[key].seconds_until(now) >= ORPHAN_GRACE:
                    seen[key] = now
                    self._submit(self._closing.end_orphan, item)
        self._orphans = seen

    def _is_orphan(self, item: Found) -> bool:
        """Whether it belongs to no window: by id and generation, and as what runs in it, never by name."""
        slot = self._registry.by_id(item.window_id)
        if slot is None:
            return True
        known = slot.window.running
        other = known is not None and known.container != item.running.container
        return other or item.generation not in (0, slot.window.generation)

    def _look_after(self, slot: Slot) -> None:
        """Closes a window whose service has ended by itself."""
        if slot.window.state is State.OPEN:
            self._submit(self._close_if_ended, slot)

    def _close_if_ended(self, slot: Slot) -> None:
        if end := self._what_ended(slot.window):
            reason, actor, detail = end
            self._closing.end(slot, reason, actor, detail=detail)

    def _what_ended(self, window: Window) -> tuple[Reason, str, str] | None:
        """Why a service has ended by itself; None while it runs, or nobody can tell."""
        if window.state is not State.OPEN or window.running is None:
            return None
        try:
            health = self._engine.health(window.running)
        except EngineError as error:
            log.warning("%s", error)
            return None
        return None if health.alive else self._why_ended(window, health.exit_code)

    def _why_ended(self, window: Window, exit_code: int | None) -> tuple[Reason, str, str]:
        if self._was_watchdog(window):
            return Reason.WATCHDOG, "watchdog", ""
        if Fault.KILL in window.faults:
            return Reason.CRASHED, "madre", "a fault killed it"
        if exit_code is None:
            return Reason.LOST, "madre", "what ran is gone"
        if exit_code == 0 and self._dependencies.complete(window.service):
            return Reason.COMPLETED, "madre", "it ran to its end"
        return Reason.CRASHED, "madre", f"it ended by itself with exit code {exit_code}"

    def _was_watchdog(self, window: Window) -> bool:
        """Whether the watchdog closed it; what is overdue may have ended by it just now, before it could say so."""
        store, begun = self._books.store, time.monotonic()
        overdue = window.due().seconds_until(self._clock.now()) >= WATCHDOG_AFTER
        while not store.closed_by_watchdog(window.window_id):
            late = time.monotonic() - begun > MARK_WITHIN
            if not overdue or late or not store.watchdog_is_alive() or self._stopping.wait(MARK_LOOK):
                return False
        return True

    def take_over(self) -> None:
        """Goes on with the windows of an earlier madre; ends what cannot be accounted for.

        Raises:
            EngineError: the engine does not answer.
        """
        windows, broken = self._books.store.load_all()
        open_by_evidence, closed = self._books.lives()
        for window in [window for window in windows if window.window_id in closed]:
            self._books.store.delete(window.window_id)  # madre died between the record and the removal of the file
            windows.remove(window)
        found = self._engine.inventory(self._cell)
        by_id = {item.window_id: item for item in found}
        slots = [self._adopt(window, by_id.get(window.window_id)) for window in windows]
        for slot in slots:  # now that all are known, they can be closed in order
            self._go_on(slot)
        for item in found:
            if self._is_orphan(item):
                self._closing.end_orphan(item)
        known = {window.window_id for window in windows}
        left = {window_id: "no state file was left of it" for window_id in open_by_evidence if window_id not in known}
        self._lost = {
            window_id: (open_by_evidence.get(window_id, ""), detail)
            for window_id, detail in (left | broken).items()
            if window_id not in closed
        }
        if self._lost:
            self._settle_lost(self._engine.inventory(self._cell))
        for slot in self._registry.slots():
            self._look_after(slot)
        for slot in self._dependencies.needless():
            detail = "nothing needs it any more"
            still = self._dependencies.is_needless
            self._submit(self._closing.end, slot, Reason.EXPIRED, "madre", detail=detail, still=still)

    def _settle_lost(self, found: list[Found]) -> None:
        """Closes, in evidence, windows of which nothing is known, once nothing of them runs."""
        alive = {item.window_id for item in found if item.alive}
        for window_id, (service, detail) in list(self._lost.items()):
            if window_id not in alive:
                log.error("the window %s of %s is lost: %s", window_id, service or "a service", detail)
                self._books.lost(window_id, service, detail)
                del self._lost[window_id]

    def _adopt(self, window: Window, found: Found | None) -> Slot:
        slot = Slot(replace(window, running=window.running or (found.running if found else None)))
        self._registry.add(slot)
        self._books.record("madre", "adopted", window.window_id, {"service": window.service, "state": window.state})
        return slot

    def _go_on(self, slot: Slot) -> None:
        """Ends what was half open, and goes on with a close within what is left of its grace."""
        state, reason = slot.window.state, slot.window.reason or Reason.REQUESTED
        if state is State.OPENING:
            detail = "madre ended meanwhile"
            self._submit(self._closing.take_back, slot, Reason.OPEN_FAILED, "madre", detail=detail)
        elif state is State.CLOSING:
            slot.window = replace(slot.window, state=State.OPEN)
            self._submit(self._closing.take_back, slot, reason, "madre", kill=False)
        elif state is State.STUCK:
            slot.next_try = self._clock.now()


def _is_of(item: Found, window: Window) -> bool:
    """Whether something is what a window runs: its container, or its first process, whose end is the service's end."""
    known, seen = window.running, item.running
    if item.window_id != window.window_id or known is None:
        return False
    return known.container == seen.container and seen.pid in (0, known.pid)
