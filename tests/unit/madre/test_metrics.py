"""Metrics: what is open now, and a count of everything that evidence records."""

from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from vx11.clock import NS, Instant
from vx11.engines.port import Usage
from vx11.evidence.appending import EvidenceError
from vx11.madre.metrics import CountedEvidence, WindowCollector
from vx11.windows.usage import Sample
from vx11.windows.window import Reason, State, Window

NOW = Instant(1000 * NS, 5000 * NS, "boot-a")


def window(service: str, state: State, left: float) -> Window:
    return Window(
        cell="default",
        window_id=f"id-{service}",
        generation=1,
        service=service,
        state=state,
        opened=NOW,
        deadline=NOW.plus(left),
        opened_by="anna",
        max_ttl=600,
        max_hold=600,
        grace=1,
    )


def test_present_windows_are_shown_by_state_with_the_time_they_have() -> None:
    present = [
        window("web", State.OPEN, 30),
        window("db", State.OPEN, 45.5),
        window("cache", State.STUCK, -10),
    ]
    windows: Any = SimpleNamespace(
        windows=lambda: present,
        usage=lambda item: (
            Sample(NOW, Usage(cpu_ns=1_500_000_000, memory=10, memory_peak=20)) if item is present[0] else None
        ),
        sampler=SimpleNamespace(spent=0.25),
        clock=SimpleNamespace(now=lambda: NOW),
        store=SimpleNamespace(watchdog_is_alive=lambda: True),
    )
    registry = CollectorRegistry()
    registry.register(WindowCollector(windows))
    lines = generate_latest(registry).decode().splitlines()
    assert {line for line in lines if line.startswith("vx11_windows{")} == {
        'vx11_windows{state="opening"} 0.0',
        'vx11_windows{state="open"} 2.0',
        'vx11_windows{state="closing"} 0.0',
        'vx11_windows{state="stuck"} 1.0',
    }
    assert 'vx11_window_remaining_seconds{service="db"} 45.5' in lines
    assert [line for line in lines if line.startswith("vx11_window_cpu_seconds_total")] == [
        'vx11_window_cpu_seconds_total{service="web"} 1.5'
    ]
    assert 'vx11_window_memory_bytes{service="web"} 10.0' in lines
    assert "vx11_sampling_cpu_seconds_total 0.25" in lines
    assert 'vx11_window_remaining_seconds{service="cache"} 0.0' in lines
    assert "vx11_watchdog_alive 1.0" in lines
    assert not any("vx11_gateway_alive" in line for line in lines)
    present.clear()
    assert 'vx11_windows{state="open"} 0.0' in generate_latest(registry).decode()


class Evidence:
    """Evidence that a test may break."""

    def __init__(self) -> None:
        self.records: list[str] = []
        self.broken = False

    def append(
        self, actor: str, action: str, subject: str, data: dict[str, Any] | None = None, *, sync: bool = True
    ) -> None:
        if self.broken:
            raise EvidenceError("no space left")
        self.records.append(action)

    def sync(self) -> None:
        pass

    def last_of(self, actions: Collection[str]) -> dict[str, dict[str, Any]]:
        return {}


def test_each_record_is_counted_and_each_close_by_its_reason() -> None:
    evidence, registry = Evidence(), CollectorRegistry()
    counted = CountedEvidence(evidence, registry)
    counted.append("anna", "opened", "w1")
    counted.append("anna", "opened", "w2")
    counted.append("madre", "closed", "w1", {"reason": Reason.EXPIRED})
    counted.append("anna", "open_refused", "web", {"reason": "changed", "keys": ["image"]})
    assert evidence.records == ["opened", "opened", "closed", "open_refused"]
    text = generate_latest(registry).decode()
    assert 'vx11_actions_total{action="opened"} 2.0' in text
    assert 'vx11_windows_closed_total{reason="expired"} 1.0' in text
    assert 'vx11_opens_refused_total{reason="changed"} 1.0' in text


def test_what_was_not_recorded_is_not_counted() -> None:
    evidence, registry = Evidence(), CollectorRegistry()
    counted = CountedEvidence(evidence, registry)
    evidence.broken = True
    with pytest.raises(EvidenceError):
        counted.append("anna", "opened", "w1")
    assert 'action="opened"' not in generate_latest(registry).decode()
