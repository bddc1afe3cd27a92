"""Windows of one cell, as callers see them: open, close, hold, extend, and what is known of each."""

import contextlib
import threading
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

from vx11.catalogue.limits import Limits
from vx11.clock import Clock, Instant
from vx11.engines.port import Engine, Found
from vx11.windows.books import Books, Evidence
from vx11.windows.closing import Closing
from vx11.windows.dependencies import Dependencies
from vx11.windows.enforcer import Enforcer
from vx11.windows.errors import NoWindow, OpenFailed, ReturningToSoloMadre, WindowStuck
from vx11.windows.events import Kind
from vx11.windows.faults import Faults, Proven
from vx11.windows.opening import Opening, OpenRequest, Services, reused, ttl_of
from vx11.windows.registry import Registry
from vx11.windows.sampler import INTERVAL, Sampler
from vx11.windows.slot import BEGUN, ENDED, SETTLED, Slot
from vx11.windows.store import StateStore
from vx11.windows.usage import Sample
from vx11.windows.window import Fault, Reason, State, Window

# One closer and one opener a window at most: nothing that closes or opens ever waits for a thread.
CLOSERS, OPENERS = 1024, 1024
CLOSE_MARGIN = 25.0
BEGIN_LIMIT = 1.0


@dataclass(frozen=True)
class Outcome:
    """A window, and whether the call changed anything. In a dry run the window may not exist (None)."""

    window: Window | None
    changed: bool


class Windows:
    """All windows of a cell.

    Args:
        cell: its name.
        services: catalogue and allowlist.
        engine: what runs services.
        store: the state files.
        evidence: the chain of this cell.
        clock: time.
        profile: limits that apply, best effort, where nobody states any.
        usage_interval: seconds between two samples of what a window uses.

    Attributes:
        events: what happens to windows, for whoever follows it.
        sampler: what samples their usage.
    """

    def __init__(
        self,
        *,
        cell: str,
        services: Services,
        engine: Engine,
        store: StateStore,
        evidence: Evidence,
        clock: Clock,
        profile: Limits | None = None,
        usage_interval: float = INTERVAL,
    ) -> None:
        self.cell = cell
        self.engine = engine
        self.clock = clock
        self.store = store
        self._books = Books(store, evidence, clock)
        self.events = self._books.events
        self._registry = Registry()
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(CLOSERS, thread_name_prefix="close")
        # Opens that nobody waits for have threads of their own, so that no close ever waits behind them.
        self._openers = ThreadPoolExecutor(OPENERS, thread_name_prefix="open")
        self._dependencies = Dependencies(self._registry, self._books)
        self.sampler = Sampler(
            engine=engine, registry=self._registry, clock=clock, interval=usage_interval, stopping=self._stopping
        )
        self._closing = Closing(
            engine=engine,
            books=self._books,
            registry=self._registry,
            clock=clock,
            dependencies=self._dependencies,
            sampler=self.sampler,
            pool=self._pool,
        )
        self._faults = Faults(engine=engine, books=self._books, closing=self._closing)
        self._opening = Opening(
            cell=cell,
            services=services,
            engine=engine,
            books=self._books,
            registry=self._registry,
            clock=clock,
            closing=self._closing,
            dependencies=self._dependencies,
            sampler=self.sampler,
            pool=self._openers,
            profile=profile or Limits(),
            stopping=self._stopping,
        )
        self._enforcer = Enforcer(
            cell=cell,
            engine=engine,
            books=self._books,
            registry=self._registry,
            clock=clock,
            closing=self._closing,
            dependencies=self._dependencies,
            pool=self._pool,
            stopping=self._stopping,
        )

    def start(self) -> None:
        """Takes over what an earlier madre of this cell left, then begins to enforce deadlines."""
        self.record("madre", "started", self.cell, {"engine": self.engine.name, "why": self.engine.why})
        self.engine.setup()
        self._enforcer.take_over()
        self._enforcer.start()
        self.sampler.start()

    def stop(self) -> None:
        """Ends the threads. Windows stay as they are: the watchdog, or the next madre, goes on with them."""
        self._stopping.set()
        self._enforcer.join()
        self.sampler.join()
        self._openers.shutdown(wait=True)
        self._pool.shutdown(wait=True)
        self.record("madre", "stopped", self.cell)

    def open(self, request: OpenRequest, actor: str) -> Outcome:
        """Opens a service, or answers the window that is open already.

        Raises:
            WindowError: it was refused or failed; nothing of it is left.
        """
        service = self._opening.allowed(request.service, actor)
        ttl = ttl_of(service, request.ttl)
        while True:
            with self._registry.births:
                slot = self._registry.of_service(service.name)
                if slot is None:
                    self._opening.expect_possible(service, request)
                    if request.dry_run:
                        return Outcome(None, changed=True)
                    slot = self._opening.birth(service, ttl, request, actor)
                    break
            was_opening = slot.window.state is State.OPENING
            window = slot.wait(SETTLED if request.wait else BEGUN)
            if window.state is State.STUCK:
                raise WindowStuck(f"an earlier window of {service.name} could not be closed yet ({window.window_id})")
            if was_opening and window.reason is Reason.COMPLETED:  # another one needed it to run to its end, and it did
                return Outcome(window, changed=False)
            if was_opening and window.state is State.CLOSED and window.ready is None:  # each would fail as this one did
                raise OpenFailed(window.detail or f"{service.name} was closed before it was ready ({window.reason})")
            with contextlib.suppress(NoWindow):  # it began to close just now, so the service gets a new one
                if window.state is not State.CLOSED:
                    return self._reuse(slot, ttl, request, actor)
        if request.wait:
            return Outcome(self._opening.bring_up(slot, service), changed=True)
        self._openers.submit(self._opening.bring_up_unwatched, slot, service)
        return Outcome(slot.window, changed=True)

    def _reuse(self, slot: Slot, ttl: float, request: OpenRequest, actor: str) -> Outcome:
        if request.dry_run:
            after = reused(slot.window, request, ttl, self.clock.now())
            return Outcome(after, changed=after != slot.window)
        kind = Kind.HELD if request.hold and not slot.window.hold else Kind.EXTENDED
        return self._move(
            slot, lambda now: reused(_expect_open(now), request, ttl, self.clock.now()), kind, actor, {"ttl_s": ttl}
        )

    def close(self, name: str, *, force: bool, wait: bool, actor: str) -> Outcome:
        """Closes a window, named by its id or its service; joins a close that is under way.

        Raises:
            NoWindow: nothing is open by that name.
        """
        slot = self._registry.get(name)
        changed = slot.window.state is not State.CLOSING
        self.record(actor, "close_requested", slot.window.window_id, {"force": force})
        if force and not changed:
            self._closing.hurry(slot)
        limit = self.grace_of(slot.window) + CLOSE_MARGIN
        if changed:
            reason = Reason.FORCED if force else Reason.REQUESTED
            closing = self._pool.submit(self._closing.end, slot, reason, actor, kill=force)
            if wait:
                futures.wait([closing], limit)
            else:
                slot.wait(ENDED | {State.CLOSING}, BEGIN_LIMIT)
        elif wait:
            slot.wait(ENDED, limit)
        return Outcome(slot.window, changed)

    def end(self, window_id: str, reason: Reason, actor: str, *, until: Instant) -> Window:
        """Closes a window by its id in the caller's own thread; one that is closed already is answered as it was.

        Its grace, and those of what needs it, are cut to what is left until then.
        """
        slot = next((slot for slot in self._registry.slots() if slot.window.window_id == window_id), None)
        return self._closing.end(slot, reason, actor, until=until) if slot else self._registry.find(window_id)

    def end_orphan(self, found: Found) -> None:
        """Ends something that carries the cell's mark but has no record."""
        self._closing.end_orphan(found)

    def hold(self, name: str, *, on: bool, wait: bool, actor: str) -> Outcome:
        """Sets or releases the hold. Released after its deadline, the window closes at once.

        Raises:
            NoWindow: nothing is open by that name.
        """
        slot = self._registry.get(name)
        kind = Kind.HELD if on else Kind.RELEASED
        moved = self._move(slot, lambda now: _expect_open(now).held(on, self.clock.now()), kind, actor, {"hold": on})
        if moved.window is None or not moved.changed:
            return moved
        window = moved.window
        self._dependencies.settle(window)
        if wait and window.is_due(self.clock.now()):
            window = slot.wait(ENDED, window.grace + CLOSE_MARGIN)
        return Outcome(window, changed=True)

    def extend(self, name: str, ttl: float, actor: str) -> Outcome:
        """Gives a window at least `ttl` seconds from now.

        Raises:
            NoWindow: nothing is open by that name.
            TtlTooLong: its whole life would be longer than its service allows.
        """
        slot = self._registry.get(name)
        return self._move(
            slot, lambda now: _expect_open(now).extended(ttl, self.clock.now()), Kind.EXTENDED, actor, {"ttl_s": ttl}
        )

    def fault(self, name: str, fault: Fault, *, active: bool, actor: str) -> Proven:
        """Injects a fault into an open window, or takes it back; returns when it is proven to bite, or to be gone.

        Raises:
            NoWindow: nothing is open by that name.
            FaultNotPossible, FaultFailed, EvidenceUnavailable: it was not done.
        """
        slot = self._registry.get(name)
        return (self._faults.inject if active else self._faults.revert)(slot, fault, actor)

    def _move(
        self, slot: Slot, decide: Callable[[Window], Window], kind: Kind, actor: str, data: dict[str, Any]
    ) -> Outcome:
        """Changes the time of a window; what happens to it later is recorded and told later, too."""

        def save(window: Window) -> None:
            self._dependencies.save(window)
            self._books.happened(kind, window, actor, data)

        window, changed = slot.change(decide, save, partial(self._books.tell, kind))
        if changed:
            self._registry.deadline_changed()
        return Outcome(window, changed)

    def windows(self) -> list[Window]:
        """All that are not closed, oldest first."""
        return [slot.window for slot in self._registry.slots()]

    def closed(self) -> list[Window]:
        """Those that closed lately, newest first."""
        return self._registry.closed()

    def find(self, name: str) -> Window:
        """A window by id or service; of closed ones the newest.

        Raises:
            NoWindow: there is none.
        """
        return self._registry.find(name)

    def usage(self, window: Window) -> Sample | None:
        """What a window had used at the last sample, or when it closed; None where it cannot be measured."""
        slot = self._registry.by_id(window.window_id)
        return window.usage or (slot.sample if slot else None)

    def no_births(self) -> AbstractContextManager[None]:
        """For as long as the block runs no window is born."""
        return self._registry.no_births()

    def expect_not_returning(self, otherwise: str) -> None:
        """Nothing new begins while everything is being closed.

        Raises:
            ReturningToSoloMadre: that is so just now; begins with `otherwise`.
        """
        if self._registry.returning:
            raise ReturningToSoloMadre(f"{otherwise}, since everything is being closed just now")

    def grace_of(self, window: Window) -> float:
        """Seconds that its close may take, with the grace of what has to close before it."""
        return window.grace + self._dependencies.grace_before(window)

    def needed_by(self, window: Window) -> list[str]:
        """The services that need a window now."""
        return [slot.window.service for slot in self._dependencies.dependents(window.service)]

    def logs(self, window: Window, tail: int) -> list[str]:
        """The last lines of a window's service.

        Raises:
            EngineError: the engine did not answer.
        """
        return self.engine.logs(window.running, window.window_id, tail) if window.running else []

    def record(self, actor: str, action: str, subject: str, data: dict[str, Any] | None = None) -> None:
        """Writes evidence about the cell; goes on without when it cannot."""
        self._books.record(actor, action, subject, data)


def _expect_open(window: Window) -> Window:
    """The window, while its time can still be changed."""
    if window.state not in (State.OPENING, State.OPEN):
        raise NoWindow(f"the window of {window.service} is {window.state} already")
    return window
