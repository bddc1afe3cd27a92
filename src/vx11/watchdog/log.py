"""What the watchdog says and writes down: complaints to its log, and what it closed to a chain of its own."""

import contextlib
import json
import os
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vx11.evidence.appending import Appender, EvidenceError
from vx11.evidence.reading import WATCHDOG

LAST_WORDS = 2.0
_Entry = tuple[str, str, dict[str, Any]]


class Log:
    """Never a reason to stop, nor to wait: a thread of its own writes, and what cannot be written is left out.

    Args:
        evidence: the evidence folder of the cell; without it there is no chain.
    """

    def __init__(self, evidence: Path | None) -> None:
        self._entries: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._writing: threading.Thread | None = None
        if evidence:
            with self._complaining():
                chain = Appender(evidence / WATCHDOG, _canonical)
                self._writing = threading.Thread(target=self._write, args=(chain,), daemon=True)
                self._writing.start()

    def say(self, text: str) -> None:
        """To its log."""
        with contextlib.suppress(OSError):  # a full disk, a closed pipe
            os.write(2, f"watchdog: {text}\n".encode())  # unbuffered: a thread that ends with the process holds no lock

    def started(self) -> None:
        """It looks after the cell from now on."""
        self._entries.put(("started", "watchdog", {}))

    def closed(self, window_id: str, service: str, why: str) -> None:
        """A window that was ended, and why."""
        self.say(f"closed {service} ({window_id}), which was {why}")
        self._entries.put(("closed", window_id, {"service": service, "why": why}))

    def end(self) -> None:
        """Writes what is still to be written, if the disk lets it."""
        self._entries.put(("stopped", "watchdog", {}))
        self._entries.put(None)
        if self._writing:
            self._writing.join(LAST_WORDS)

    def _write(self, chain: Appender) -> None:
        """What comes at the same time shares a sync."""
        goes_on = True
        while goes_on:
            batch = [self._entries.get()]
            with contextlib.suppress(queue.Empty):
                while True:
                    batch.append(self._entries.get_nowait())
            goes_on = None not in batch
            with self._complaining():
                for action, subject, data in filter(None, batch):
                    chain.append("watchdog", action, subject, data, sync=False)
                chain.sync()

    @contextlib.contextmanager
    def _complaining(self) -> Iterator[None]:
        try:
            yield
        except (EvidenceError, OSError) as error:
            self.say(str(error))


def _canonical(record: dict[str, Any]) -> bytes:
    """RFC 8785, of records without fractions and without large numbers, as these are."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
