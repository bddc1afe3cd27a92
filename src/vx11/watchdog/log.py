"""What the watchdog says and writes down: complaints to its log, and what it closed to a chain of its own."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vx11.evidence.appending import Appender, EvidenceError
from vx11.evidence.reading import WATCHDOG


class Log:
    """Never a reason to stop: what cannot be written is left out.

    Args:
        evidence: the evidence folder of the cell; without it there is no chain.
    """

    def __init__(self, evidence: Path | None) -> None:
        self._chain: Appender | None = None
        if evidence:
            try:
                self._chain = Appender(evidence / WATCHDOG, _canonical)
            except EvidenceError as error:
                self.say(str(error))

    def say(self, text: str) -> None:
        """To its log."""
        with contextlib.suppress(OSError):  # a full disk, a closed pipe
            os.write(2, f"watchdog: {text}\n".encode())  # unbuffered: a thread that ends with the process holds no lock

    def closed(self, window_id: str, service: str, why: str) -> None:
        """A window that was ended, and why; it is on the disk after `sync`."""
        self.say(f"closed {service} ({window_id}), which was {why}")
        self._record("closed", window_id, {"service": service, "why": why})

    def lives(self, action: str) -> None:
        """That it started, or stopped."""
        self._record(action, "watchdog", {})
        self.sync()

    def _record(self, action: str, subject: str, data: dict[str, Any]) -> None:
        if self._chain:
            with self._complaining():
                self._chain.append("watchdog", action, subject, data, sync=False)

    def sync(self) -> None:
        """Brings to the disk what was written down."""
        if self._chain:
            with self._complaining():
                self._chain.sync()

    @contextlib.contextmanager
    def _complaining(self) -> Iterator[None]:
        try:
            yield
        except (EvidenceError, OSError) as error:
            self.say(str(error))


def _canonical(record: dict[str, Any]) -> bytes:
    """RFC 8785, of records without fractions and without large numbers, as these are."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
