"""Looks at intervals for what is not as it has to be, and raises an alert; nothing is repaired."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Gauge

log = logging.getLogger(__name__)
Record = Callable[[str, str, str, dict[str, Any]], None]


@dataclass(frozen=True)
class Watched:
    """What is looked at.

    Attributes:
        look: answers what is wrong, by the name of what it is wrong with.
        interval: seconds between two looks.
        subject, action: of the records.
        metric, about: name and description of the gauge that counts what is wrong now.
        at_once: looked at before anything is served, too.
    """

    look: Callable[[], Mapping[str, str]]
    interval: float
    subject: str
    action: str
    metric: str
    about: str
    at_once: bool = True


class Lookout:
    """Looks, and writes down what is new; each look that was asked for, too.

    Args:
        record: writes evidence.
        registry: where metrics are collected.
    """

    def __init__(self, watched: Watched, record: Record, registry: CollectorRegistry) -> None:
        self._watched = watched
        self._record = record
        self._problems = Gauge(watched.metric, watched.about, registry=registry)
        self._known: Mapping[str, str] = {}
        self._wanted = threading.Event()
        self._ended = False

    def ask(self, *_: object) -> None:
        """Has it look at once; a handler of signals."""
        self._wanted.set()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Looks for as long as the block runs."""
        if self._watched.at_once:
            self._once(asked=False)
        thread = threading.Thread(target=self._run, name=self._watched.action, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended = True
            self._wanted.set()
            thread.join()

    def _run(self) -> None:
        while True:
            asked = self._wanted.wait(self._watched.interval)
            if self._ended:
                return
            self._wanted.clear()
            self._once(asked=asked)

    def _once(self, *, asked: bool) -> None:
        found = self._watched.look()
        self._problems.set(len(found))
        if found != self._known or asked:
            for why in found.values():
                log.error("%s", why)
            data = {"asked": asked, "problems": dict(found)}
            self._record("madre", self._watched.action, self._watched.subject, data)
        self._known = found
