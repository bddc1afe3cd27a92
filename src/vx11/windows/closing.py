"""Closes windows: by the stop signal and grace, or at once; counted closed only when the engine says so.

What needs a window is closed before it, and what it needed after it, unless somebody else needs or wants that.
"""

import contextlib
import logging
from concurrent import futures
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from vx11.clock import Clock, Instant
from vx11.engines.port import Engine, EngineError, Found, Running, mark_of
from vx11.windows.books import Books
from vx11.windows.dependencies import Dependencies
from vx11.windows.events import Kind
from vx11.windows.registry import Registry
from vx11.windows.sampler import Sampler
from vx11.windows.slot import ENDED, SETTLED, Slot, Still, always
from vx11.windows.usage import Sample
from vx11.windows.window import Reason, State, Window

log = logging.getLogger(__name__)
LOG_TAIL = 2000
WAIT_LIMIT = 20.0
RETRY_FIRST, RETRY_MAX, DOUBLINGS = 1.0, 60.0, 10
# Somebody, or time, ended it: then what needs it ends first. What broke leaves the others to their own health.
_WITH_DEPENDENTS = (Reason.EXPIRED, Reason.REQUESTED, Reason.FORCED, Reason.SOLO_MADRE)
_PASSED_ON = (*_WITH_DEPENDENTS, Reason.OPEN_FAILED)


def _tell_failure(done: Future[Window]) -> None:
    if error := done.exception():
        log.error("a close went wrong", exc_info=error)


@dataclass(frozen=True)
class Expiring:
    """A window that has begun to close.

    Attributes:
        sample: what it had used until then.
        asked: whether its service has had the stop signal.
    """

    slot: Slot
    sample: Sample | None
    asked: bool

    def age(self, now: Instant) -> float:
        """Seconds since it began."""
        return (self.slot.window.closing or now).seconds_until(now)


class Closing:
    """Ends windows on an engine.

    Args:
        pool: threads to close several windows side by side.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        books: Books,
        registry: Registry,
        clock: Clock,
        dependencies: Dependencies,
        sampler: Sampler,
        pool: Executor,
    ) -> None:
        self._engine = engine
        self._books = books
        self._registry = registry
        self._clock = clock
        self._dependencies = dependencies
        self._sampler = sampler
        self._pool = pool
        self._orphans: dict[str, Future[None]] = {}

    def end(
        self,
        slot: Slot,
        reason: Reason,
        actor: str,
        *,
        kill: bool = False,
        detail: str = "",
        until: Instant | None = None,
        still: Still = always,
    ) -> Window:
        """Closes a window and waits until it is closed or stuck; joins a close that is under way already.

        A window that is still opening is taken back by whoever opens it; what it has started already is killed here, so
        that its probes end.

        Args:
            until: when it, and all that needs it, has to have ended; graces are cut to what is left.
            still: whether it still has to close, asked when nobody can change it any more.
        """
        if slot.abandon(reason, still):
            self.hurry(slot)
            self.release(slot.window, reason, actor)
            return slot.wait(SETTLED, WAIT_LIMIT)
        if slot.window.state is State.CLOSING and (kill or until):  # also what closes gracefully already
            left = 0.0 if kill or until is None else max(0.0, self._clock.now().seconds_until(until))
            if slot.wait(ENDED, left).state is State.CLOSING:
                self.hurry(slot)
        return self.take_back(slot, reason, actor, kill=kill, detail=detail, until=until, still=still)

    def take_back(
        self,
        slot: Slot,
        reason: Reason,
        actor: str,
        *,
        kill: bool = True,
        detail: str = "",
        until: Instant | None = None,
        still: Still = always,
    ) -> Window:
        """Closes a window whatever its state; for those who open it, or found it half open."""
        kill = kill or reason is Reason.FORCED
        if not self._begin(slot, reason, actor, kill=kill, until=until, still=still):
            if slot.wanted:  # it need not close any more
                return slot.window
            now = self._clock.now()
            return slot.wait(SETTLED, max(0.0, now.seconds_until(slot.window.close_by or now)) + WAIT_LIMIT)
        return self._carry_out(slot, reason, actor, kill=kill, detail=detail, until=until)

    def begin_to_expire(self, slots: list[Slot], still: Still) -> list[Expiring]:
        """Begins to close windows whose time is over and which nothing needs: on record, and with the stop signal sent.

        Each is to be passed to `expire`. Whoever begins all that are due before doing so keeps the ends of the first
        from taking the processors from the beginnings of the rest.

        Args:
            still: as for `end`.
        """
        begun = [slot for slot in slots if self._begin(slot, Reason.EXPIRED, "madre", still=still, sync=False)]
        if begun:
            self._books.sync()
        return [self._ask(slot) for slot in begun]

    def _ask(self, slot: Slot) -> Expiring:
        """Sends a service its stop signal, if that is quickly done."""
        sample, running, asked = self._sampler.take(slot), slot.window.running, False
        try:
            asked = running is not None and self._engine.ask(running, slot.window.stop_signal)
        except EngineError as error:
            log.warning("%s", error)
        return Expiring(slot, sample, asked)

    def expire(self, begun: Expiring) -> None:
        """Goes on with a close that has begun; does not wait for its end."""
        slot = begun.slot
        self._books.tell(Kind.CLOSING, slot.window)
        ended = self._pool.submit(
            self._carry_out, slot, Reason.EXPIRED, "madre", sample=begun.sample, asked=begun.asked
        )
        ended.add_done_callback(_tell_failure)

    def _begin(
        self,
        slot: Slot,
        reason: Reason,
        actor: str,
        *,
        kill: bool = False,
        until: Instant | None = None,
        still: Still = always,
        sync: bool = True,
    ) -> bool:
        """Says, on record, that a window closes; False when somebody else does it, or it need not close any more."""
        now = self._clock.now()
        close_by = now.plus((0.0 if kill else slot.window.grace) + self._dependencies.grace_before(slot.window))
        if until and until.seconds_until(close_by) > 0:
            close_by = until

        def begin(window: Window) -> None:
            self._books.save_quietly(window)
            self._books.happened(Kind.CLOSING, window, actor, {"reason": window.reason}, sync=sync)

        tell = partial(self._books.tell, Kind.CLOSING) if sync else None
        return slot.claim_closing(begin, now, close_by, reason, tell, still)

    def _carry_out(
        self,
        slot: Slot,
        reason: Reason,
        actor: str,
        *,
        kill: bool = False,
        detail: str = "",
        until: Instant | None = None,
        sample: Sample | None = None,
        asked: bool = False,
    ) -> Window:
        """Ends what needs a window, then what it runs.

        Args:
            sample: what it had used when it was asked to end.
        """
        window, killed = slot.window, None
        try:
            first = self._dependencies.dependents(window.service)
            if reason not in _WITH_DEPENDENTS:  # those that go on are left to their own health
                first = [other for other in first if other.window.state is State.CLOSING]
            why = f"it needs {window.service}, which closes"
            self._end_all(first, reason, actor, kill=kill and reason in _WITH_DEPENDENTS, detail=why, until=until)
            if not asked:
                sample = self._sampler.take(slot)
            if window.running:
                killed = self._stop(window, window.running, kill=kill, asked=asked)
        except Exception as error:  # noqa: BLE001 - whatever it was, it has to be tried again
            return self._stuck(slot, str(error) or repr(error))
        return self._finish(slot, sample, actor, detail, killed)

    def release(self, window: Window, reason: Reason, actor: str) -> None:
        """Closes what a window needed, where nobody else needs it or asked for it.

        Its reason is that of the window, unless that broke: then its time is over, since nothing needs it any more.
        """
        needless = self._dependencies.settle(window)
        reason = reason if reason in _PASSED_ON else Reason.EXPIRED
        why = f"{window.service}, which needed it, has closed"
        self._end_all(needless, reason, actor, kill=False, detail=why, still=self._dependencies.is_needless)

    def _end_all(self, slots: list[Slot], reason: Reason, actor: str, **how: Any) -> None:
        """Closes several side by side; goes on after their graces, whether they could be closed or not."""
        ending = [self._pool.submit(self.end, slot, reason, actor, **how) for slot in slots]
        limit = max((slot.window.grace + self._dependencies.grace_before(slot.window) for slot in slots), default=0.0)
        futures.wait(ending, limit + WAIT_LIMIT)

    def hurry(self, slot: Slot) -> None:
        """Kills what a window runs; whoever opens or closes it then goes on."""
        running = slot.window.running
        if running and slot.window.state in (State.OPENING, State.CLOSING):
            with contextlib.suppress(EngineError):  # whoever closes it sees the same error and retries
                self._engine.kill(running)

    def end_orphan(self, found: Found) -> None:
        """Ends something that carries the cell's mark and belongs to no window; waits for whoever does so already."""
        mine: Future[None] = Future()
        other = self._orphans.setdefault(f"{found.window_id} {mark_of(found.running)}", mine)
        if other is not mine:
            futures.wait([other], WAIT_LIMIT)
            return
        try:
            self._end_orphan(found)
        finally:
            del self._orphans[f"{found.window_id} {mark_of(found.running)}"]
            mine.set_result(None)

    def _end_orphan(self, found: Found) -> None:
        about = {"service": found.service, "what": found.what, "generation": found.generation, "ran": found.alive}
        self._books.record("madre", "orphan", found.window_id, about)
        try:
            if found.alive:
                self._engine.kill(found.running)
            self._engine.remove(found.running, found.window_id)
        except EngineError as error:
            log.error("%s, which belongs to no window, could not be ended: %s", mark_of(found.running), error)

    def _stop(self, window: Window, running: Running, *, kill: bool, asked: bool) -> bool:
        """Ends it; answers whether it had to be killed."""
        left = self._clock.now().seconds_until(window.close_by) if window.close_by else window.grace
        killed = kill or left <= 0
        if killed:
            self._engine.kill(running)
        else:
            grace = min(window.grace, left)
            killed = not self._engine.stop(running, window.stop_signal, grace, asked=asked)
        with contextlib.suppress(EngineError):
            self._engine.logs(running, window.window_id, LOG_TAIL)  # the engine keeps what it cannot read later
        try:
            self._engine.remove(running, window.window_id)
        except EngineError as error:  # it has ended; what is left of it is found at the next look
            log.warning("%s has ended, and is not removed yet: %s", mark_of(running), error)
        return killed

    def _stuck(self, slot: Slot, why: str) -> Window:
        attempts = slot.window.close_attempts + 1
        pause = min(RETRY_MAX, RETRY_FIRST * 2.0 ** min(attempts - 1, DOUBLINGS))
        slot.next_try = self._clock.now().plus(pause)
        log.error("the window %s could not be closed: %s", slot.window.window_id, why)

        def save(window: Window) -> None:
            self._books.save_quietly(window)
            self._books.happened(Kind.STUCK, window, data={"why": why, "attempts": attempts, "retry_in_s": pause})

        stuck = replace(slot.window, state=State.STUCK, close_attempts=attempts, detail=why)
        return slot.set(stuck, save, partial(self._books.tell, Kind.STUCK))

    def _finish(self, slot: Slot, sample: Sample | None, actor: str, detail: str, killed: bool | None) -> Window:
        known, closing, now = detail or slot.window.detail, slot.window.closing, self._clock.now()
        if earlier := self._books.store.closed_by_watchdog_at(slot.window.window_id):
            closing = now = earlier
        window = replace(
            slot.window, state=State.CLOSED, closing=closing, closed=now, usage=sample, detail=known, killed=killed
        )

        def retire(closed: Window) -> None:
            self._registry.retire(slot)
            self._books.tell(Kind.CLOSED, closed)

        slot.set(window, self._books.closed, retire)
        self._books.store.keep_logs(self._registry.known())
        self.release(window, window.reason or Reason.REQUESTED, actor)
        return window
