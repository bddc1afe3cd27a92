"""Closes windows: by the stop signal and grace, or at once; counted closed only when the engine says so."""

import contextlib
import logging
from dataclasses import replace

from vx11.clock import Clock
from vx11.engines.port import Engine, EngineError, Found, Running, Usage, mark_of
from vx11.windows.books import Books
from vx11.windows.registry import Registry
from vx11.windows.slot import SETTLED, Slot
from vx11.windows.window import Reason, State, Window

log = logging.getLogger(__name__)
LOG_TAIL = 2000
WAIT_LIMIT = 20.0
RETRY_FIRST, RETRY_MAX, DOUBLINGS = 1.0, 60.0, 10


class Closing:
    """Ends windows on an engine."""

    def __init__(self, engine: Engine, books: Books, registry: Registry, clock: Clock) -> None:
        self._engine = engine
        self._books = books
        self._registry = registry
        self._clock = clock

    def end(self, slot: Slot, reason: Reason, actor: str, *, kill: bool = False, detail: str = "") -> Window:
        """Closes a window and waits until it is closed or stuck; joins a close that is under way already.

        A window that is still opening is taken back by whoever opens it; what it has started already is killed here, so
        that its probes end.
        """
        if slot.abandon(reason):
            self.hurry(slot)
            return slot.wait(SETTLED, WAIT_LIMIT)
        return self.take_back(slot, reason, actor, kill=kill, detail=detail)

    def take_back(self, slot: Slot, reason: Reason, actor: str, *, kill: bool = True, detail: str = "") -> Window:
        """Closes a window whatever its state; for those who open it, or found it half open."""
        if not slot.claim_closing(self._books.save_quietly, self._clock.now(), reason):
            return slot.wait(SETTLED, slot.window.grace + WAIT_LIMIT)
        window = slot.window
        self._books.record(actor, "closing", window.window_id, {"service": window.service, "reason": window.reason})
        usage = self.usage(window)
        try:
            if window.running:
                self._stop(window, window.running, kill=kill or reason is Reason.FORCED)
        except EngineError as error:
            return self._stuck(slot, str(error))
        return self._finish(slot, usage, detail)

    def hurry(self, slot: Slot) -> None:
        """Kills what a window runs; whoever opens or closes it then goes on."""
        running = slot.window.running
        if running and slot.window.state in (State.OPENING, State.CLOSING):
            with contextlib.suppress(EngineError):  # whoever closes it sees the same error and retries
                self._engine.kill(running)

    def usage(self, window: Window) -> Usage | None:
        """What a window has used until now, or had when it closed; None where it cannot be measured."""
        if window.usage or not window.running:
            return window.usage
        with contextlib.suppress(EngineError):
            return self._engine.usage(window.running)
        return None

    def end_orphan(self, found: Found) -> None:
        """Ends something that carries the cell's mark but has no record."""
        self._books.record("madre", "orphan", found.window_id, {"service": found.service, "what": found.what})
        try:
            self._engine.kill(found.running)
            self._engine.remove(found.running, found.window_id)
        except EngineError as error:
            log.error("%s without a record could not be ended: %s", mark_of(found.running), error)

    def _stop(self, window: Window, running: Running, *, kill: bool) -> None:
        if kill:
            self._engine.kill(running)
        else:
            self._engine.stop(running, window.stop_signal, window.grace)
        with contextlib.suppress(EngineError):
            self._engine.logs(running, window.window_id, LOG_TAIL)  # the engine keeps what it cannot read later
        self._engine.remove(running, window.window_id)

    def _stuck(self, slot: Slot, why: str) -> Window:
        attempts = slot.window.close_attempts + 1
        pause = min(RETRY_MAX, RETRY_FIRST * 2.0 ** min(attempts - 1, DOUBLINGS))
        slot.next_try = self._clock.now().plus(pause)
        log.error("the window %s could not be closed: %s", slot.window.window_id, why)
        data = {"why": why, "attempts": attempts, "retry_in_s": pause}
        self._books.record("madre", "stuck", slot.window.window_id, data)
        stuck = replace(slot.window, state=State.STUCK, close_attempts=attempts, detail=why)
        return slot.set(stuck, self._books.save_quietly)

    def _finish(self, slot: Slot, usage: Usage | None, detail: str) -> Window:
        known, closing, now = detail or slot.window.detail, slot.window.closing, self._clock.now()
        if earlier := self._books.store.closed_by_watchdog_at(slot.window.window_id):
            closing = now = earlier
        window = replace(slot.window, state=State.CLOSED, closing=closing, closed=now, usage=usage, detail=known)
        slot.set(window, self._books.closed, then=lambda: self._registry.retire(slot))
        self._books.store.keep_logs(self._registry.known())
        return window
