"""One window as a value, and the rules of its time. Pure: the present moment is passed in."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from vx11.catalogue.limits import Limits
from vx11.clock import Instant
from vx11.engines.port import STOP_SIGNAL, Running
from vx11.units import show_duration
from vx11.windows.errors import TtlTooLong
from vx11.windows.usage import Sample

SCHEMA = 3


class State(StrEnum):
    """Where a window is in its life: `opening → open → closing → closed`, and `stuck` when closing failed."""

    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"
    STUCK = "stuck"


class Reason(StrEnum):
    """Why a window closed; `completed` is a service that others needed to run to its end, and that did."""

    EXPIRED = "expired"
    REQUESTED = "requested"
    FORCED = "forced"
    SOLO_MADRE = "solo_madre"
    OPEN_FAILED = "open_failed"
    CRASHED = "crashed"
    COMPLETED = "completed"
    LOST = "lost"
    WATCHDOG = "watchdog"


class Fault(StrEnum):
    """What may be done to an open window to see what becomes of it; `kill` cannot be taken back."""

    NETWORK_PARTITION = "network_partition"
    PAUSE = "pause"
    KILL = "kill"


@dataclass(frozen=True)
class Window:
    """One opening of one service.

    Attributes:
        opened: when the request was accepted; the deadline counts from here.
        deadline: when it closes unless it is held. Of one that nobody asked for it is the latest of those that need it.
        requested: whether somebody asked for it; otherwise it is open for others, and closes with the last of them.
        depends_on: services that it needs, whose windows are open for as long as its own.
        completed: those of them that had to run to their end, and did.
        needed_until: the latest end of those that need it, when somebody asked for it too.
        max_ttl, max_hold: seconds; caps of its whole life and of a hold.
        grace: seconds between the stop signal and the kill.
        hold_until: end of the hold, None when it is not held.
        not_enforced: limits of a profile that did not take effect.
        faults: what was done to it, or is about to be, and was not taken back.
        cpu_at_ready: processor nanoseconds used until it was ready, which the mean leaves out.
        close_by: until when its close is within its grace, with the grace of what has to close before it.
        reason: why it closes or closed; set from `closing` on.
        detail: what more is known about the end, such as an exit code.
        usage: what it had used when it closed.
        killed: it did not end by itself within its grace; None while it has not closed, or ended before.
    """

    cell: str
    window_id: str
    generation: int
    service: str
    state: State
    opened: Instant
    deadline: Instant
    opened_by: str
    max_ttl: float
    max_hold: float
    grace: float
    stop_signal: str = STOP_SIGNAL
    requested: bool = True
    depends_on: tuple[str, ...] = ()
    completed: tuple[str, ...] = ()
    needed_until: Instant | None = None
    hold_until: Instant | None = None
    limits: Limits = field(default_factory=Limits)
    not_enforced: tuple[str, ...] = ()
    running: Running | None = None
    endpoints: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    ready: Instant | None = None
    cpu_at_ready: int = 0
    closing: Instant | None = None
    close_by: Instant | None = None
    close_attempts: int = 0
    closed: Instant | None = None
    reason: Reason | None = None
    detail: str = ""
    usage: Sample | None = None
    killed: bool | None = None

    @property
    def hold(self) -> bool:
        """Whether it is held."""
        return self.hold_until is not None

    def due(self) -> Instant:
        """When it closes by itself: its deadline, or the end of its hold or of what needs it, if that is later."""
        return latest(self.deadline, *filter(None, (self.hold_until, self.needed_until)))

    def needs(self, service: str) -> bool:
        """Whether it cannot go on without a window of this service."""
        return service in self.depends_on and service not in self.completed

    def needed(self, until: Instant) -> "Window":
        """With the end of those that need it."""
        return replace(self, needed_until=until) if self.requested else replace(self, deadline=until)

    def wanted(self, ttl: float, now: Instant) -> "Window":
        """As one that somebody asks for, which until now was open for others alone."""
        return replace(self, requested=True, deadline=now.plus(ttl), needed_until=self.deadline)

    def is_due(self, now: Instant) -> bool:
        """Whether it should have closed by now."""
        return now.seconds_until(self.due()) <= 0

    def remaining(self, now: Instant) -> float:
        """Seconds until it closes by itself, not below zero."""
        return max(0.0, now.seconds_until(self.due()))

    def held(self, on: bool, now: Instant) -> "Window":
        """With its hold set or released; a hold that is set already keeps its end."""
        if on == self.hold:
            return self
        if not on:  # what is released after its deadline is due now, and not since then
            return replace(self, hold_until=None, deadline=latest(self.deadline, now))
        held = self if self.requested else self.wanted(0.0, now)
        return replace(held, hold_until=now.plus(self.max_hold))

    def extended(self, ttl: float, now: Instant) -> "Window":
        """With at least `ttl` seconds left; never with less than before.

        Raises:
            TtlTooLong: its whole life would be longer than `max_ttl`.
        """
        deadline = now.plus(ttl)
        if self.requested and self.deadline.seconds_until(deadline) <= 0:
            return self
        if self.opened.seconds_until(deadline) > self.max_ttl:
            left = max(0.0, now.seconds_until(self.opened.plus(self.max_ttl)))
            raise TtlTooLong(
                f"{self.service} may stay open for {show_duration(self.max_ttl)} in all; "
                f"it can be extended to {show_duration(left)} from now at most"
            )
        return replace(self, deadline=deadline) if self.requested else self.wanted(ttl, now)

    def open_seconds(self, now: Instant) -> float:
        """How long it has been open, or was."""
        return self.opened.seconds_until(self.closed or now)

    def cpu_percent(self, sample: Sample) -> float | None:
        """Mean processor use from its being ready to a sample, in percent of one core."""
        elapsed = self.ready.seconds_until(sample.at) if self.ready else 0.0
        return max(0.0, sample.usage.cpu_ns - self.cpu_at_ready) / 1e7 / elapsed if elapsed > 0 else None

    def to_json(self) -> dict[str, Any]:
        """The form of the state file, schema 3."""
        return {
            "schema": SCHEMA,
            "cell": self.cell,
            "window_id": self.window_id,
            "generation": self.generation,
            "service": self.service,
            "state": self.state.value,
            "opened": self.opened.to_json(),
            "deadline": self.deadline.to_json(),
            "opened_by": self.opened_by,
            "max_ttl_s": self.max_ttl,
            "max_hold_s": self.max_hold,
            "grace_s": self.grace,
            "stop_signal": self.stop_signal,
            "requested": self.requested,
            "depends_on": list(self.depends_on),
            "completed": list(self.completed),
            "needed_until": _moment(self.needed_until),
            "hold_until": _moment(self.hold_until),
            "limits": self.limits.to_json(),
            "not_enforced": list(self.not_enforced),
            "engine": self.running.to_json() if self.running else None,
            "endpoints": list(self.endpoints),
            "faults": [fault.value for fault in self.faults],
            "ready": _moment(self.ready),
            "cpu_at_ready_ns": self.cpu_at_ready,
            "closing": _moment(self.closing),
            "close_by": _moment(self.close_by),
            "close_attempts": self.close_attempts,
            "reason": self.reason.value if self.reason else None,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Window":
        """Reads a state file.

        Raises:
            KeyError, ValueError, TypeError: it is not a state file of schema 1 to 3.
        """
        if data["schema"] not in (1, 2, SCHEMA):
            raise ValueError(f"schema {data['schema']} is not known")
        if data["schema"] == 1:
            data = _ADDED_IN_2 | data
        if data["schema"] < SCHEMA:
            data = _ADDED_IN_3 | data
        return cls(
            cell=data["cell"],
            window_id=data["window_id"],
            generation=data["generation"],
            service=data["service"],
            state=State(data["state"]),
            opened=Instant.from_json(data["opened"]),
            deadline=Instant.from_json(data["deadline"]),
            opened_by=data["opened_by"],
            max_ttl=data["max_ttl_s"],
            max_hold=data["max_hold_s"],
            grace=data["grace_s"],
            stop_signal=data["stop_signal"],
            requested=data["requested"],
            depends_on=tuple(data["depends_on"]),
            completed=tuple(data["completed"]),
            needed_until=_instant(data["needed_until"]),
            hold_until=_instant(data["hold_until"]),
            limits=Limits(**data["limits"]),
            not_enforced=tuple(data["not_enforced"]),
            running=Running.from_json(data["engine"]) if data["engine"] else None,
            endpoints=tuple(data["endpoints"]),
            faults=tuple(Fault(name) for name in data["faults"]),
            ready=_instant(data["ready"]),
            cpu_at_ready=data["cpu_at_ready_ns"],
            closing=_instant(data["closing"]),
            close_by=_instant(data["close_by"]),
            close_attempts=data["close_attempts"],
            reason=Reason(data["reason"]) if data["reason"] else None,
        )


_ADDED_IN_2: dict[str, Any] = {
    "requested": True,
    "depends_on": (),
    "completed": (),
    "needed_until": None,
    "close_by": None,
}
_ADDED_IN_3: dict[str, Any] = {"faults": ()}


def latest(first: Instant, *others: Instant) -> Instant:
    """The latest of some moments, also of different boots."""
    for other in others:
        if first.seconds_until(other) > 0:
            first = other
    return first


def _moment(instant: Instant | None) -> dict[str, Any] | None:
    return instant.to_json() if instant else None


def _instant(data: dict[str, Any] | None) -> Instant | None:
    return Instant.from_json(data) if data else None
