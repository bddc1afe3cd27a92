"""Opens windows: deadline written first, limits read back, readiness measured; failure takes everything back."""

import contextlib
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from resource import getpagesize
from typing import Protocol

from vx11.catalogue.allowlist import NotAllowed
from vx11.catalogue.compose import Service
from vx11.catalogue.limits import Limits
from vx11.clock import Clock, Instant
from vx11.engines import ready
from vx11.engines.port import Engine, EngineError, Running, Stamp
from vx11.units import show_duration
from vx11.windows.books import Books
from vx11.windows.closing import Closing
from vx11.windows.errors import LimitsDiffer, LimitsNotApplied, OpenFailed, ServiceNotAllowed, TtlTooLong, WindowError
from vx11.windows.registry import Registry
from vx11.windows.slot import Slot
from vx11.windows.window import Reason, State, Window

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
        self._profile = profile
        self._stopping = stopping

    def allowed(self, name: str, actor: str) -> Service:
        """The service, if it and the peers whose addresses it gets may be opened.

        Raises:
            ServiceUnknown, ServiceNotAllowed.
        """
        try:
            service = self._services.get(name)
            for peer in service.entry.vx11.peers:
                self._services.get(peer)
        except NotAllowed as error:
            self._books.record(actor, "open_refused", name, {"code": ServiceNotAllowed.code, "why": str(error)})
            raise ServiceNotAllowed(str(error)) from error
        return service

    def expect_possible(self, service: Service, request: OpenRequest) -> None:
        """Does nothing when the engine can enforce what is stated.

        Raises:
            LimitsNotApplied: it cannot.
        """
        strict = request.limits.over(service.entry.limits())
        self._supported(strict, strict)

    def birth(self, service: Service, ttl: float, request: OpenRequest, actor: str) -> Slot:
        """Writes a new window down, with its deadline, before anything starts.

        Raises:
            EvidenceUnavailable: it cannot be written.
        """
        now = self._clock.now()
        vx11 = service.entry.vx11
        window = Window(
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
            stop_signal=service.entry.stop_signal,
            hold_until=now.plus(vx11.max_hold) if request.hold else None,
            limits=request.limits.over(service.entry.limits()),
        )
        self._books.birth(window, actor, ttl)
        slot = Slot(window)
        self._registry.add(slot)
        return slot

    def bring_up(self, slot: Slot, service: Service) -> Window:
        """Starts a window that is born; answers it when it is ready.

        Raises:
            WindowError: it did not open; everything it started was taken back.
        """
        strict = slot.window.limits
        try:
            running = self._start(slot, service, strict)
            self._check_limits(service, running, strict)
            self._await_ready(slot, service, running)
            window = self._opened(slot, service, running)
        except (EngineError, WindowError) as error:
            raise self._taken_back(slot, error) from error
        except BaseException as error:  # whatever it was, nothing may stay running without an end
            self._taken_back(slot, error)
            raise
        self._registry.deadline_changed()
        return window

    def _start(self, slot: Slot, service: Service, strict: Limits) -> Running:
        self._engine.prepare(service)
        wanted = strict.over(self._profile)
        supported = self._supported(wanted, strict)
        window = slot.window
        stamp = Stamp(self._cell, window.window_id, window.generation, service.name, window.due())
        peers = [self.allowed(peer, "madre") for peer in service.entry.vx11.peers]
        running = self._engine.start(service, stamp, supported, peers)
        # Known from here on, whether it can be written down or not: what follows may fail, and then it has to be ended.
        slot.change(lambda now: replace(now, running=running), self._books.save_quietly)
        in_force = self._engine.limits(running).to_json()
        missing = tuple(sorted(set(wanted.to_json()) - set(in_force)))
        slot.change(lambda now: replace(now, limits=wanted, not_enforced=missing), self._books.save)
        return running

    def _supported(self, wanted: Limits, strict: Limits) -> Limits:
        """What the engine can enforce. What it cannot is refused if it was stated, dropped if a profile wants it."""
        missing = [name for name in wanted.to_json() if _CLAIMS[name] not in self._engine.capabilities]
        stated = [name for name in missing if name in strict.to_json()]
        if stated:
            raise LimitsNotApplied(f"the engine {self._engine.name} cannot limit {', '.join(stated)} here")
        return replace(wanted, **dict.fromkeys(missing))

    def _check_limits(self, service: Service, running: Running, strict: Limits) -> None:
        in_force = self._engine.limits(running).to_json()
        wrong = [
            f"{name} is {in_force.get(name, 'unlimited')} instead of {wanted}"
            for name, wanted in strict.to_json().items()
            if not _about_equal(name, in_force.get(name), wanted)
        ]
        if wrong and self._engine.health(running).alive:
            raise LimitsNotApplied(f"limits of {service.name} did not take effect: {'; '.join(wrong)}")

    def _await_ready(self, slot: Slot, service: Service, running: Running) -> None:
        begun = self._clock.now()
        while not ready.is_ready(self._engine, service, running, slot.window.window_id):
            waited = begun.seconds_until(self._clock.now())
            self._expect_hope(slot, service, running, waited)
            self._stopping.wait(PROBE_FAST if waited < FAST_FOR else PROBE_SLOW)
        _expect_wanted(slot)
        self._expect_alive(service, running)

    def _expect_hope(self, slot: Slot, service: Service, running: Running, waited: float) -> None:
        """Raises when waiting on has no point."""
        _expect_wanted(slot)
        self._expect_alive(service, running)
        if slot.window.is_due(self._clock.now()):
            raise OpenFailed(f"the time of {service.name} ended before it was ready")
        if waited > service.entry.vx11.ready_timeout:
            raise OpenFailed(f"{service.name} was not ready within {show_duration(service.entry.vx11.ready_timeout)}")
        if self._stopping.is_set():
            raise OpenFailed(f"madre ended before {service.name} was ready")

    def _expect_alive(self, service: Service, running: Running) -> None:
        health = self._engine.health(running)
        if not health.alive:
            code = "" if health.exit_code is None else f" with exit code {health.exit_code}"
            raise OpenFailed(f"{service.name} ended{code} before it was ready")

    def _opened(self, slot: Slot, service: Service, running: Running) -> Window:
        now = self._clock.now()
        usage = self._closing.usage(slot.window)
        used = usage.cpu_ns if usage else 0
        endpoints = _endpoints(service, running)

        def as_open(window: Window) -> Window:
            _expect_wanted(slot)  # under the slot's lock, so that no close is lost between the last look and this
            return replace(window, state=State.OPEN, ready=now, cpu_at_ready=used, endpoints=endpoints)

        return slot.change(as_open, self._books.opened)[0]

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
    """An open window as a further open leaves it: extended if it has less than `min_remaining` left, else the same.

    Raises:
        LimitsDiffer, TtlTooLong.
    """
    expect_same_limits(window, request.limits)
    if request.min_remaining is None or window.remaining(now) >= request.min_remaining:
        return window
    return window.extended(max(ttl, request.min_remaining), now)


def _about_equal(name: str, value: float | None, wanted: float) -> bool:
    """Kernels round memory to pages and processors to microseconds of a period; all else is exact."""
    tolerance = {"memory": float(getpagesize()), "cpu": 0.001}.get(name, 0.0)
    return value is not None and abs(value - wanted) <= tolerance


def _endpoints(service: Service, running: Running) -> tuple[str, ...]:
    """URLs of a window; a port is taken for HTTP unless the entry says otherwise."""
    known: Mapping[int, str | None] = {port.target: port.app_protocol for port in service.entry.container_ports()}
    ready_by = service.entry.vx11.ready
    bare = {ready_by.tcp.port} if ready_by and ready_by.tcp else set()
    return tuple(
        f"{known.get(target) or ('tcp' if target in bare else 'http')}://127.0.0.1:{port}"
        for target, port in running.ports.items()
    )
