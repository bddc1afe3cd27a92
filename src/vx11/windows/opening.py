"""Opens windows: deadline written first, limits read back, readiness measured; failure takes everything back.

What a service needs is opened before it, each in a window of its own that several others may share.
"""

import contextlib
import threading
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from resource import getpagesize
from typing import Protocol

from vx11.catalogue.allowlist import NotAllowed
from vx11.catalogue.compose import Service
from vx11.catalogue.limits import Limits
from vx11.catalogue.service import Condition
from vx11.clock import Clock, Instant
from vx11.engines import ready
from vx11.engines.port import Engine, EngineError, Running, Stamp
from vx11.units import show_duration
from vx11.windows.books import Books
from vx11.windows.closing import Closing
from vx11.windows.dependencies import Dependencies
from vx11.windows.errors import (
    LimitsDiffer,
    LimitsNotApplied,
    OpenFailed,
    ReturningToSoloMadre,
    ServiceNotAllowed,
    TtlTooLong,
    WindowError,
    WindowStuck,
)
from vx11.windows.events import Kind
from vx11.windows.registry import Registry
from vx11.windows.sampler import Sampler
from vx11.windows.slot import ENDED, Slot
from vx11.windows.window import Reason, State, Window

LOOK_AGAIN = 0.1
PROBE_FAST, PROBE_SLOW, FAST_FOR = 0.025, 0.1, 1.0
_CLAIMS = {
    "cpu": "limits.cpu",
    "memory": "limits.memory",
    "pids": "limits.pids",
    "read_iops": "limits.iops",
    "write_iops": "limits.iops",
}


class Services(Protocol):
    """Where services come from, and whether they may be opened."""

    def get(self, name: str) -> Service:
        """The service of this name, when it is in the catalogue and allowed.

        Raises:
            ServiceUnknown, NotAllowed.
        """


@dataclass(frozen=True)
class OpenRequest:
    """What somebody wants to be opened.

    Attributes:
        ttl: seconds, None for the service's own.
        limits: what the caller states; strict.
        min_remaining: seconds; an open window with less left is extended to `ttl`.
        wait: answer when it is ready rather than when it has begun.
        dry_run: check everything, change nothing.
    """

    service: str
    ttl: float | None = None
    hold: bool = False
    limits: Limits = field(default_factory=Limits)
    min_remaining: float | None = None
    wait: bool = True
    dry_run: bool = False


class Opening:
    """Starts windows on an engine.

    Args:
        pool: threads for opens that nobody waits for.
        profile: limits that apply, best effort, where nobody states any.
        stopping: set when madre ends; an open in progress is then taken back.
    """

    def __init__(
        self,
        *,
        cell: str,
        services: Services,
        engine: Engine,
        books: Books,
        registry: Registry,
        clock: Clock,
        closing: Closing,
        dependencies: Dependencies,
        sampler: Sampler,
        pool: Executor,
        profile: Limits,
        stopping: threading.Event,
    ) -> None:
        self._cell = cell
        self._services = services
        self._engine = engine
        self._books = books
        self._registry = registry
        self._clock = clock
        self._closing = closing
        self._dependencies = dependencies
        self._sampler = sampler
        self._pool = pool
        self._profile = profile
        self._stopping = stopping

    def allowed(self, name: str, actor: str) -> Service:
        """The service, if it and those whose addresses it gets may be opened, and all that it needs.

        Raises:
            ServiceUnknown, ServiceNotAllowed.
        """
        try:
            service = self._services.get(name)
            for other in self._closure(service):
                for neighbour in other.entry.neighbours():
                    self._services.get(neighbour)
        except NotAllowed as error:
            told = {"code": ServiceNotAllowed.code, "reason": error.reason, "why": str(error), "keys": list(error.keys)}
            self._books.record(actor, "open_refused", name, told)
            raise ServiceNotAllowed(str(error)) from error
        return service

    def _closure(self, service: Service) -> Iterator[Service]:
        """The service and whatever it needs, directly or not; the catalogue has no cycles."""
        yield service
        for name in service.entry.depends_on:
            yield from self._closure(self._services.get(name))

    def expect_possible(self, service: Service, request: OpenRequest) -> None:
        """Does nothing when the engine can enforce what is stated.

        Raises:
            LimitsNotApplied: it cannot.
        """
        for one in self._closure(service):
            stated = request.limits if one is service else Limits()
            strict = stated.over(one.entry.limits())
            self._supported(strict, strict)

    def birth(self, service: Service, ttl: float, request: OpenRequest, actor: str) -> Slot:
        """Writes a new window down, with its deadline, before anything starts.

        Raises:
            EvidenceUnavailable: it cannot be written.
        """
        return self._born(self._new(service, ttl, request, actor), actor)

    def _new(self, service: Service, ttl: float, request: OpenRequest, actor: str) -> Window:
        now = self._clock.now()
        vx11 = service.entry.vx11
        return Window(
            cell=self._cell,
            window_id=str(uuid.uuid4()),
            generation=self._books.next_generation(service.name),
            service=service.name,
            state=State.OPENING,
            opened=now,
            deadline=now.plus(ttl),
            opened_by=actor,
            max_ttl=vx11.max_ttl,
            max_hold=vx11.max_hold,
            grace=service.entry.stop_grace_period,
            depends_on=tuple(service.entry.depends_on),
            hold_until=now.plus(vx11.max_hold) if request.hold else None,
            limits=request.limits.over(service.entry.limits()),
        )

    def _born(self, window: Window, actor: str) -> Slot:
        self._dependencies.expect_no_cycle(window)
        if self._registry.returning:
            raise ReturningToSoloMadre(f"{window.service} was not opened, since everything is being closed just now")
        self._books.birth(window, actor)
        slot = Slot(window)
        self._registry.add(slot)
        self._books.tell(Kind.OPENING, window)
        for other in self._dependencies.dependents(window.service):  # those that went on when an earlier one crashed
            self._dependencies.cover(other.window)
        return slot

    def bring_up(self, slot: Slot, service: Service) -> Window:
        """Starts a window that is born; answers it when it is ready.

        Raises:
            WindowError: it did not open; everything it started was taken back.
        """
        strict = slot.window.limits
        try:
            self._bring_up_needed(slot, service)
            running = self._start(slot, service, strict)
            self._await_ready(slot, service, running)
            window = self._opened(slot, service, running)
        except (EngineError, WindowError) as error:
            raise self._taken_back(slot, error) from error
        except BaseException as error:  # whatever it was, nothing may stay running without an end
            self._taken_back(slot, error)
            raise
        self._registry.deadline_changed()
        return window

    def bring_up_unwatched(self, slot: Slot, service: Service) -> None:
        """The same, for opens whose answer nobody waits for: what went wrong stands in the evidence."""
        with contextlib.suppress(WindowError):
            self.bring_up(slot, service)

    def _bring_up_needed(self, slot: Slot, service: Service) -> None:
        """Opens what a window needs, side by side, and waits until each is as far as it has to be.

        Raises:
            WindowError: one of them did not get so far.
        """
        needs = service.entry.depends_on
        others = {name: self._join(slot, name, need.condition) for name, need in needs.items()}
        for name, other in others.items():
            is_far_enough = partial(_is_far_enough, slot, condition=needs[name].condition)
            while other and not other.wait_for(is_far_enough, LOOK_AGAIN):
                _expect_possible_still(slot, other)
                self._expect_time(slot)

    def _join(self, slot: Slot, name: str, condition: Condition) -> Slot | None:
        """The window of a service that another one needs, opened if it is not; None if it ran to its end already."""
        needed = self._services.get(name)
        while True:
            self._expect_time(slot)
            with self._registry.births:
                if condition is Condition.COMPLETED and self._dependencies.is_completed(name):
                    self._mark_completed(slot, name)
                    return None
                other = self._registry.of_service(name)
                if other is None:
                    return self._bear_for(slot, needed, condition)
            self._dependencies.cover(slot.window)
            if other.wanted:
                return other
            if other.wait(ENDED, LOOK_AGAIN).state is State.STUCK:
                raise WindowStuck(f"{slot.window.service} needs {name}, an earlier window of which could not be closed")

    def _mark_completed(self, slot: Slot, name: str) -> None:
        slot.change(lambda now: replace(now, completed=(*now.completed, name)), self._books.save)

    def _bear_for(self, slot: Slot, needed: Service, condition: Condition) -> Slot:
        """A window that is open for another one alone, and as long as that."""
        actor = slot.window.opened_by
        window = self._new(needed, 0.0, OpenRequest(needed.name), actor)
        other = self._born(replace(window, requested=False, deadline=slot.window.due()), actor)
        bring_up = self._run_to_its_end if condition is Condition.COMPLETED else self.bring_up_unwatched
        self._pool.submit(bring_up, other, needed)
        return other

    def _run_to_its_end(self, slot: Slot, service: Service) -> None:
        """Opens a window whose service has to end by itself, and closes it when it has."""
        try:
            self._bring_up_needed(slot, service)
            running = self._start(slot, service, slot.window.limits)
            while (health := self._engine.health(running)).alive:
                self._expect_time(slot)
                self._stopping.wait(PROBE_SLOW)
            _expect_wanted(slot)
            if health.exit_code != 0:
                raise OpenFailed(f"{service.name} had to run to its end, and ended with exit code {health.exit_code}")
            self._dependencies.complete(service.name)
            self._closing.take_back(slot, Reason.COMPLETED, "madre", kill=False, detail="it ran to its end")
        except Exception as error:  # noqa: BLE001 - whatever it was, nothing may stay running without an end
            self._taken_back(slot, error)

    def _start(self, slot: Slot, service: Service, strict: Limits) -> Running:
        self._engine.prepare(service)
        wanted = strict.over(self._profile)
        supported = self._supported(wanted, strict)
        window = slot.window
        stamp = Stamp(self._cell, window.window_id, window.generation, service.name, window.due())
        peers = [self._services.get(name) for name in service.entry.neighbours()]
        running = self._engine.start(service, stamp, supported, peers)
        # Known from here on, whether it can be written down or not: what follows may fail, and then it has to be ended.
        slot.change(
            lambda now: replace(now, running=running, stop_signal=running.stop_signal), self._books.save_quietly
        )
        in_force = self._engine.limits(running).to_json()
        missing = tuple(sorted(set(wanted.to_json()) - set(in_force)))
        slot.change(lambda now: replace(now, limits=wanted, not_enforced=missing), _saved_when_open)
        self._check_limits(service, running, strict, in_force)
        return running

    def _supported(self, wanted: Limits, strict: Limits) -> Limits:
        """What the engine can enforce. What it cannot is refused if it was stated, dropped if a profile wants it."""
        missing = [name for name in wanted.to_json() if _CLAIMS[name] not in self._engine.capabilities]
        stated = [name for name in missing if name in strict.to_json()]
        if stated:
            raise LimitsNotApplied(f"the engine {self._engine.name} cannot limit {', '.join(stated)} here")
        return replace(wanted, **dict.fromkeys(missing))

    def _check_limits(self, service: Service, running: Running, strict: Limits, in_force: Mapping[str, float]) -> None:
        wrong = [
            f"{name} is {in_force.get(name, 'unlimited')} instead of {wanted}"
            for name, wanted in strict.to_json().items()
            if not _about_equal(name, in_force.get(name), wanted)
        ]
        if wrong and self._engine.health(running).alive:
            raise LimitsNotApplied(f"limits of {service.name} did not take effect: {'; '.join(wrong)}")

    def _await_ready(self, slot: Slot, service: Service, running: Running) -> None:
        begun = self._clock.now()
        while lacks := ready.lacking(self._engine, service, running, slot.window.window_id):
            waited = begun.seconds_until(self._clock.now())
            self._expect_hope(slot, service, running, waited, lacks)
            self._stopping.wait(PROBE_FAST if waited < FAST_FOR else PROBE_SLOW)
        _expect_wanted(slot)
        self._expect_alive(service, running)

    def _expect_hope(self, slot: Slot, service: Service, running: Running, waited: float, lacks: str) -> None:
        """Raises when waiting on has no point; `lacks` is why it is not ready."""
        self._expect_time(slot)
        self._expect_alive(service, running)
        if waited > service.entry.vx11.ready_timeout:
            limit = show_duration(service.entry.vx11.ready_timeout)
            raise OpenFailed(f"{service.name} was not ready within {limit}: {lacks}")

    def _expect_time(self, slot: Slot) -> None:
        """Raises when nobody wants the window any more, or its time or madre has ended."""
        _expect_wanted(slot)
        name = slot.window.service
        if slot.window.is_due(self._clock.now()):
            raise OpenFailed(f"the time of {name} ended before it was ready")
        if self._stopping.is_set():
            raise OpenFailed(f"madre ended before {name} was ready")

    def _expect_alive(self, service: Service, running: Running) -> None:
        health = self._engine.health(running)
        if not health.alive:
            code = "" if health.exit_code is None else f" with exit code {health.exit_code}"
            raise OpenFailed(f"{service.name} ended{code} before it was ready")

    def _opened(self, slot: Slot, service: Service, running: Running) -> Window:
        now = self._clock.now()
        sample = self._sampler.take(slot)
        used = sample.usage.cpu_ns if sample else 0
        endpoints = _endpoints(service, running)

        def as_open(window: Window) -> Window:
            _expect_wanted(slot)  # under the slot's lock, so that no close is lost between the last look and this
            return replace(window, state=State.OPEN, ready=now, cpu_at_ready=used, endpoints=endpoints)

        return slot.change(as_open, self._books.opened, partial(self._books.tell, Kind.OPENED))[0]

    def _taken_back(self, slot: Slot, error: BaseException) -> WindowError:
        """Closes a window that did not open; answers the error for the caller, with the service's last words."""
        window = slot.window
        self._books.record("madre", "open_failed", window.window_id, {"service": window.service, "why": str(error)})
        lines: list[str] = []
        with contextlib.suppress(EngineError):
            lines = self._engine.logs(window.running, window.window_id, 5) if window.running else []
        asked = slot.give_up if slot.give_up is not Reason.EXPIRED else None
        self._closing.take_back(slot, asked or Reason.OPEN_FAILED, "madre", detail=str(error))
        if isinstance(error, WindowError) and not isinstance(error, OpenFailed):
            return error
        said = f"; it last said: {' | '.join(lines)}" if lines else ""
        return OpenFailed(f"{error}{said}")


def _saved_when_open(window: Window) -> None:
    """A later madre takes back what was not open, whatever its limits were."""


def _is_far_enough(slot: Slot, other: Window, condition: Condition) -> bool:
    """Whether what a window needs allows it to start."""
    if condition is Condition.COMPLETED:
        return other.service in slot.window.completed
    has_started = other.state is State.OPENING and other.running is not None
    return other.state is State.OPEN or (condition is Condition.STARTED and has_started)


def _expect_possible_still(slot: Slot, other: Slot) -> None:
    """Raises when what a window needs has ended without getting as far as it has to be."""
    window = other.window
    if window.state in ENDED:
        why = window.detail or f"was closed ({window.reason})"
        raise OpenFailed(f"{slot.window.service} needs {window.service}, which did not open: {why}")


def _expect_wanted(slot: Slot) -> None:
    if slot.give_up is Reason.EXPIRED:
        raise OpenFailed(f"the time of {slot.window.service} ended before it was ready")
    if slot.give_up:
        raise OpenFailed(f"{slot.window.service} was closed before it was ready ({slot.give_up})")


def ttl_of(service: Service, wanted: float | None) -> float:
    """The seconds a window gets: those wanted, else the service's own.

    Raises:
        TtlTooLong: the service does not allow so many.
    """
    limit = service.entry.vx11.max_ttl
    ttl = min(service.entry.vx11.ttl, limit) if wanted is None else wanted
    if ttl > limit:
        raise TtlTooLong(f"{service.name} may stay open for {show_duration(limit)} at most, not {show_duration(ttl)}")
    return ttl


def expect_same_limits(window: Window, wanted: Limits) -> None:
    """Does nothing when an open window has the limits that are asked for.

    Raises:
        LimitsDiffer: it has others.
    """
    present = window.limits.to_json()
    differing = [name for name, value in wanted.to_json().items() if not _about_equal(name, present.get(name), value)]
    if differing:
        names = ", ".join(sorted(differing))
        raise LimitsDiffer(f"{window.service} is open with other limits than asked for ({names}); close it first")


def reused(window: Window, request: OpenRequest, ttl: float, now: Instant) -> Window:
    """An open window as a further open leaves it: held if that is asked for, and never shortened.

    It is extended only if it has less than `min_remaining` left.

    Raises:
        LimitsDiffer, TtlTooLong.
    """
    expect_same_limits(window, request.limits)
    if not window.requested:
        window = window.wanted(ttl, now)
    elif request.min_remaining is not None and window.remaining(now) < request.min_remaining:
        window = window.extended(max(ttl, request.min_remaining), now)
    return window.held(True, now) if request.hold else window


def _about_equal(name: str, value: float | None, wanted: float) -> bool:
    """Kernels round memory to pages and processors to microseconds of a period; all else is exact."""
    tolerance = {"memory": float(getpagesize()), "cpu": 0.001}.get(name, 0.0)
    return value is not None and abs(value - wanted) <= tolerance


def _endpoints(service: Service, running: Running) -> tuple[str, ...]:
    """URLs of a window, in the order of its ports."""
    spoken = service.spoken()
    return tuple(f"{spoken.get(target, 'http')}://127.0.0.1:{port}" for target, port in running.ports.items())
