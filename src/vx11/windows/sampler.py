"""Samples what windows use: one thread for all of them, at a stated rate."""

import logging
import threading
import time

from vx11.clock import Clock
from vx11.engines.port import Engine, EngineError
from vx11.windows.registry import Registry
from vx11.windows.slot import Slot
from vx11.windows.usage import Sample
from vx11.windows.window import State

log = logging.getLogger(__name__)
INTERVAL = 1.0


class Sampler:
    """Reads figures from the engine and keeps the last ones in each window's slot.

    Attributes:
        interval: seconds between two samples of a window.
        spent: processor seconds that sampling has cost until now.
    """

    def __init__(
        self, *, engine: Engine, registry: Registry, clock: Clock, interval: float, stopping: threading.Event
    ) -> None:
        self.interval = interval
        self.spent = 0.0
        self._engine = engine
        self._registry = registry
        self._clock = clock
        self._stopping = stopping
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)

    def start(self) -> None:
        """Begins to sample."""
        self._thread.start()

    def join(self) -> None:
        """Returns when the thread has seen that madre stops."""
        self._thread.join()

    def take(self, slot: Slot) -> Sample | None:
        """One sample now; the last one, or None, where nothing can be measured any more."""
        running = slot.window.running
        try:
            usage = self._engine.usage(running) if running else None
        except EngineError as error:
            log.warning("the usage of %s was not read: %s", slot.window.service, error)
            usage = None
        return slot.sampled(self._clock.now(), usage) if usage else slot.sample

    def _run(self) -> None:
        while not self._stopping.wait(self.interval):
            begun = time.thread_time()
            try:
                self.round()
            except Exception:  # whatever it was, the next round may do better
                log.exception("a round of sampling failed")
            self.spent += time.thread_time() - begun

    def round(self) -> None:
        """Samples every open window once."""
        for slot in self._registry.slots():
            if slot.window.state is State.OPEN:
                self.take(slot)
