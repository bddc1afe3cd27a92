"""Looks again at the files that madre goes by, each 300 seconds (specification §2) and on SIGHUP.

They are looked at before every open and for every token, too; this tells what is wrong with them before anybody asks.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Gauge

log = logging.getLogger(__name__)
INTERVAL = 300.0
ACTION = "files_reread"
Record = Callable[[str, str, str, dict[str, Any]], None]


class Rereading:
    """Looks, and writes down what is new; each look that was asked for, too.

    Args:
        look: answers what is wrong, by the name of what it is wrong with.
        record: writes evidence.
        registry: where metrics are collected.
        interval: seconds between two looks.
    """

    def __init__(
        self,
        look: Callable[[], Mapping[str, str]],
        record: Record,
        registry: CollectorRegistry,
        interval: float = INTERVAL,
    ) -> None:
        self._look = look
        self._record = record
        self._interval = interval
        self._problems = Gauge("vx11_file_problems", "What is wrong with the files madre goes by", registry=registry)
        self._known: Mapping[str, str] = {}
        self._wanted = threading.Event()
        self._ended = False

    def ask(self, *_: object) -> None:
        """Has it look at once; a handler of signals."""
        self._wanted.set()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Looks for as long as the block runs, for the first time before it."""
        self._once(asked=False)
        thread = threading.Thread(target=self._run, name="rereading", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended = True
            self._wanted.set()
            thread.join()

    def _run(self) -> None:
        while True:
            asked = self._wanted.wait(self._interval)
            if self._ended:
                return
            self._wanted.clear()
            self._once(asked=asked)

    def _once(self, *, asked: bool) -> None:
        found = self._look()
        self._problems.set(len(found))
        if found != self._known or asked:
            for why in found.values():
                log.error("%s", why)
            self._record("madre", ACTION, "files", {"asked": asked, "problems": dict(found)})
        self._known = found
