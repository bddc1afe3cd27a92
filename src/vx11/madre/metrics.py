"""Prometheus metrics: what is open now, and a count of everything that evidence records."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from vx11.madre.entry import Entry
from vx11.windows.books import Evidence
from vx11.windows.manager import Windows
from vx11.windows.window import State


class CountedEvidence:
    """Evidence that counts what it records: each change has a record, so each count has its evidence."""

    def __init__(self, evidence: Evidence, registry: CollectorRegistry) -> None:
        self._evidence = evidence
        self._actions = Counter("vx11_actions", "What was recorded", ["action"], registry=registry)
        self._closed = Counter("vx11_windows_closed", "Closed windows", ["reason"], registry=registry)
        self._refused = Counter("vx11_opens_refused", "Opens that the allowlist refused", ["reason"], registry=registry)

    def append(
        self, actor: str, action: str, subject: str, data: dict[str, Any] | None = None, *, sync: bool = True
    ) -> None:
        """Records, then counts."""
        self._evidence.append(actor, action, subject, data, sync=sync)
        self._actions.labels(action).inc()
        if action == "closed" and data:
            self._closed.labels(data["reason"]).inc()
        if action == "open_refused" and data:
            self._refused.labels(data["reason"]).inc()

    def sync(self) -> None:
        """As the evidence does."""
        self._evidence.sync()

    def last_of(self, actions: Collection[str]) -> dict[str, dict[str, Any]]:
        """As the evidence says."""
        return self._evidence.last_of(actions)


class WindowCollector(Collector):
    """The present state of windows and of the core around madre, read when somebody asks.

    Args:
        entry: the gateway, where there is one.
    """

    def __init__(self, windows: Windows, entry: Entry | None = None) -> None:
        self._windows = windows
        self._entry = entry

    def collect(self) -> Iterable[Metric]:
        """One family a question."""
        yield from self._states()
        now = self._windows.clock.now()
        remaining = GaugeMetricFamily("vx11_window_remaining_seconds", "Time left", labels=["service"])
        for window in self._windows.windows():
            remaining.add_metric([window.service], window.remaining(now))
        yield remaining
        yield from self._usage()
        alive = float(self._windows.store.watchdog_is_alive())
        yield GaugeMetricFamily("vx11_watchdog_alive", "Whether a second enforcer is alive", value=alive)
        if self._entry:
            answers = float(self._entry.is_alive)
            yield GaugeMetricFamily("vx11_gateway_alive", "Whether the gateway answers madre", value=answers)

    def _usage(self) -> Iterator[Metric]:
        """Of what is open, as it was last sampled."""
        processor = CounterMetricFamily("vx11_window_cpu_seconds", "Processor time since it opened", labels=["service"])
        memory = GaugeMetricFamily("vx11_window_memory_bytes", "Memory in use", labels=["service"])
        for window in self._windows.windows():
            if sample := self._windows.usage(window):
                processor.add_metric([window.service], sample.usage.cpu_ns / 1e9)
                memory.add_metric([window.service], sample.usage.memory)
        yield processor
        yield memory
        spent = self._windows.sampler.spent
        yield CounterMetricFamily("vx11_sampling_cpu_seconds", "Processor time that sampling has cost", value=spent)

    def _states(self) -> Iterator[Metric]:
        family = GaugeMetricFamily("vx11_windows", "Windows by state", labels=["state"])
        present = [window.state for window in self._windows.windows()]
        for state in State:
            if state is not State.CLOSED:
                family.add_metric([state.value], present.count(state))
        yield family
