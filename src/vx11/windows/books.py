"""What is written down about windows, before anybody is told: state files and evidence; then events."""

import contextlib
import logging
from collections.abc import Collection
from typing import Any, Protocol

from vx11.clock import Clock
from vx11.evidence.appending import EvidenceError
from vx11.windows.errors import EvidenceUnavailable
from vx11.windows.events import Events, Kind
from vx11.windows.store import StateStore
from vx11.windows.window import Fault, Reason, Window

log = logging.getLogger(__name__)


class Evidence(Protocol):
    """Where changes are recorded."""

    def append(
        self, actor: str, action: str, subject: str, data: dict[str, Any] | None = None, *, sync: bool = True
    ) -> None:
        """Adds one record; without `sync` it is on the disk after the next one that is, or after `sync`.

        Raises:
            EvidenceError: it could not be written.
        """

    def sync(self) -> None:
        """Brings to the disk what was added without.

        Raises:
            EvidenceError: it could not be written.
        """

    def last_of(self, actions: Collection[str]) -> dict[str, dict[str, Any]]:
        """Of each subject the last record of one of these actions."""


class Books:
    """State files and evidence of one cell, and the events that follow from them."""

    def __init__(self, store: StateStore, evidence: Evidence, clock: Clock) -> None:
        self.store = store
        self.events = Events()
        self._evidence = evidence
        self._clock = clock

    def record(
        self, actor: str, action: str, subject: str, data: dict[str, Any] | None = None, *, sync: bool = True
    ) -> None:
        """Writes evidence; what must not wait for it, such as closing, goes on without, and the log says so."""
        try:
            self._evidence.append(actor, action, subject, data, sync=sync)
        except (EvidenceError, OSError) as error:
            log.error("%s", error)

    def sync(self) -> None:
        """Brings to the disk what was recorded without; goes on where that cannot be done."""
        try:
            self._evidence.sync()
        except (EvidenceError, OSError) as error:
            log.error("%s", error)

    def happened(
        self,
        kind: Kind,
        window: Window,
        actor: str = "madre",
        data: dict[str, Any] | None = None,
        *,
        sync: bool = True,
    ) -> None:
        """Records what happened to a window."""
        self.record(actor, kind.value, window.window_id, {"service": window.service, **(data or {})}, sync=sync)

    def tell(self, kind: Kind, window: Window) -> None:
        """Tells whoever follows; what happened can be seen by then, so that nobody who asks sees less than was told."""
        self.events.publish(kind, window, self._clock.now())

    def next_generation(self, service: str) -> int:
        """A number that grows with each window of a service.

        Raises:
            EvidenceUnavailable: it cannot be written.
        """
        try:
            return self.store.next_generation(service)
        except OSError as error:
            raise _not_opened(service, error) from error

    def birth(self, window: Window, actor: str) -> None:
        """Writes a window down before anything of it is started.

        Raises:
            EvidenceUnavailable: it cannot be written, so it must not be opened.
        """
        data = {
            "service": window.service,
            "ttl_s": window.opened.seconds_until(window.deadline),
            "hold": window.hold,
            "limits": window.limits.to_json(),
            "requested": window.requested,
            "depends_on": list(window.depends_on),
        }
        try:
            self._evidence.append(actor, Kind.OPENING.value, window.window_id, data)
            self.store.save(window)
        except (EvidenceError, OSError) as error:
            raise _not_opened(window.service, error) from error

    def intend_fault(self, window: Window, actor: str, fault: Fault, *, active: bool) -> None:
        """Writes down what is about to be done to a window, or to be taken back.

        Raises:
            EvidenceUnavailable: it cannot be written, so it must not be done.
        """
        data = {"service": window.service, "fault": fault, "active": active}
        try:
            self._evidence.append(actor, "fault_intended", window.window_id, data)
        except (EvidenceError, OSError) as error:
            what = f"nothing was done to {window.service}, since this cannot be recorded: {error}"
            raise EvidenceUnavailable(what) from error

    def fault(self, action: str, window: Window, actor: str, fault: Fault, **more: Any) -> None:
        """Records what became of a fault that was intended."""
        self.record(actor, action, window.window_id, {"service": window.service, "fault": fault, **more})

    def save(self, window: Window) -> None:
        """Writes a window's state.

        Raises:
            EvidenceUnavailable: the disk is full or gone.
        """
        try:
            self.store.save(window)
        except OSError as error:
            raise EvidenceUnavailable(f"the state of {window.service} cannot be written: {error.strerror}") from error

    def save_quietly(self, window: Window) -> None:
        """Writes a window's state; closing goes on when the disk does not."""
        try:
            self.store.save(window)
        except OSError as error:
            log.error("the state of %s cannot be written: %s", window.window_id, error.strerror)

    def lives(self) -> tuple[dict[str, str], set[str]]:
        """What evidence says of all windows that it knows: service by id of those open, and ids of those closed."""
        last = self._evidence.last_of((Kind.OPENING.value, Kind.CLOSED.value))
        closed = {window_id for window_id, record in last.items() if record["action"] == Kind.CLOSED.value}
        return {
            window_id: str(record["data"].get("service", ""))
            for window_id, record in last.items()
            if window_id not in closed
        }, closed

    def lost(self, window_id: str, service: str, detail: str) -> None:
        """Settles, in evidence, a window of which no more is left than that it was opened."""
        about = {"service": service, "reason": Reason.LOST, "detail": detail}
        self.record("madre", Kind.CLOSED.value, window_id, about)

    def opened(self, window: Window) -> None:
        """A window is open."""
        self.save(window)
        self.happened(Kind.OPENED, window, data={"endpoints": list(window.endpoints)})

    def closed(self, window: Window) -> None:
        """A window is closed: evidence keeps it, its state file goes."""
        for fault in window.faults:
            if fault is not Fault.KILL:
                proof = {f"window {window.window_id}": "is closed"}
                self.fault("fault_reverted", window, "madre", fault)
                self.fault("fault_gone", window, "madre", fault, proof=proof)
        data = {
            "reason": window.reason,
            "detail": window.detail,
            "killed": window.killed,
            "open_s": round(window.open_seconds(window.closed or window.opened), 3),
        }
        self.happened(Kind.CLOSED, window, data=data)
        with contextlib.suppress(OSError):
            self.store.delete(window.window_id)


def _not_opened(service: str, error: Exception) -> EvidenceUnavailable:
    return EvidenceUnavailable(f"{service} was not opened, since this cannot be recorded: {error}")
