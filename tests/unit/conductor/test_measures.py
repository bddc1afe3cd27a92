"""Each thing that the conductor measures: when it holds, what makes it false, and when there is nothing to measure."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from vx11.conductor import matrix, measures, names
from vx11.conductor.collection import find
from vx11.conductor.seen import Call, Cleaned, Seen

ROOT = Path(__file__).parents[3]
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MB = 1024 * 1024


def at(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).isoformat()


def window(service: str = "web", *, opened: float = 0.0, ready: float | None = 0.1, **more: Any) -> dict[str, Any]:
    """A window as madre's API describes it; open unless it says when it closed."""
    closed = more.pop("closed", None)
    return {
        "window_id": f"{service}-{opened:g}",
        "service": service,
        "state": "open" if closed is None else "closed",
        "opened_at": at(opened),
        "ready_at": None if ready is None else at(ready),
        "startup_ms": None if ready is None else 1000 * (ready - opened),
        "expires_at": at(30.0),
        "hold": False,
        "requested": True,
        "depends_on": [],
        "resources": {},
        "endpoints": [f"http://127.0.0.1:{8000 + sum(map(ord, service))}"],
        "usage": {"cpu_percent": 2.0, "memory_peak_bytes": 20 * MB},
        "closed_at": None if closed is None else at(closed),
        "reason": None if closed is None else "requested",
        "open_s": (5.0 if closed is None else closed) - opened,
        "close_ms": None if closed is None else 50.0,
        "killed": None if closed is None else False,
        "grace_s": 2.0,
        **more,
    }


def call(module: str, *, failed: bool = False, took_ms: float = 100.0, result: Any = None, **args: Any) -> Call:
    return Call(f"vx11_{module}", args, 0, int(took_ms * 1e6), failed, "", result or {})


def ended(outcome: str, ms: int) -> dict[str, Any]:
    """A test of a suite that began at 0."""
    return {"outcome": outcome, "seconds": 0.001, "ended_ns": f"{ms}000000"}


def record(action: str, subject: str, **data: Any) -> dict[str, Any]:
    return {"action": action, "subject": subject, "data": data, "wall_ns": "1", "mono_ns": "1"}


def life(item: dict[str, Any], *actions: str) -> list[dict[str, Any]]:
    """Evidence of a window's life; all of it unless actions are given."""
    whole = actions or ("opening", "opened", "closing", "closed")
    return [record(action, item["window_id"], service=item["service"], ttl_s=15.0) for action in whole]


def look(item: dict[str, Any], seconds: float, **more: Any) -> dict[str, Any]:
    return {"ns": "1", "windows": [{**item, "open_s": seconds, "usage": {"sampled_at": at(seconds)}, **more}]}


EXPIRED = window(closed=30.1, reason="expired")
HELD = window(hold=True)
A, B = window("a", ready=0.2, requested=False), window("b", ready=0.5, depends_on=["a"])
LIMITED = window(resources={"cpu": 0.5, "memory": 256 * MB, "write_iops": 100})
BLOCKED = call(
    "window", service="bad", refusal="recorded", failed=False, result={"problem": {"code": "service_not_allowed"}}
)
DONE = Cleaned(
    solo_madre=True, entry_answers=True, intent=Path("/x"), intent_complete=True, recovery_ms=7.0, evidence_bytes=9
)
CLOSED = window(closed=3.0)


def io(first: int, second: int) -> Seen:
    """Two samples, a second apart."""
    usage = [{"sampled_at": at(n), "io_read_ops": 0, "io_write_ops": ops} for n, ops in enumerate((first, second))]
    return Seen(windows=[LIMITED], samples=[{"ns": "1", "windows": [{**LIMITED, "usage": item}]} for item in usage])


CASES: list[tuple[str, Seen, Any]] = [
    ("window_auto_closed", Seen(windows=[EXPIRED]), True),
    ("window_auto_closed", Seen(windows=[EXPIRED, window()]), False),
    ("window_auto_closed", Seen(windows=[window(closed=20.0)]), False),
    ("window_auto_closed", Seen(windows=[window(closed=33.0, reason="expired")]), False),
    ("window_auto_closed", Seen(), None),
    ("startup_time_ms", Seen(windows=[window(), window("db", ready=0.3)]), 300.0),
    ("startup_time_ms", Seen(windows=[window(ready=None)]), None),
    ("service_uptime_s", Seen(windows=[window(closed=5.1), window("db")]), 5.0),
    ("service_uptime_s", Seen(windows=[window()]), None),
    ("cleanup_time_ms", Seen(windows=[CLOSED, window("db", closed=2.0, close_ms=80.0)]), 80.0),
    ("cleanup_time_ms", Seen(windows=[window()]), None),
    ("max_cpu_percent", Seen(windows=[window(), window("db", usage={"cpu_percent": 7.5})]), 7.5),
    ("max_cpu_percent", Seen(windows=[window(usage=None)]), None),
    ("memory_delta_mb", Seen(windows=[window(), window("db", usage={"memory_peak_bytes": 60 * MB})]), 60.0),
    ("concurrent_windows", Seen(windows=[window(), window("b"), window("c")]), 3),
    ("concurrent_windows", Seen(windows=[window(closed=3.0), window("b", opened=2.9, ready=3.0)]), 1),
    ("concurrent_windows", Seen(windows=[window(), window("b", ready=None)]), 1),
    ("concurrent_windows", Seen(), None),
    ("no_port_conflicts", Seen(calls=[call("window", service="web")], windows=[window(), window("db")]), True),
    (
        "no_port_conflicts",
        Seen(calls=[call("window")], windows=[window(), window("db", endpoints=window()["endpoints"])]),
        False,
    ),
    ("no_port_conflicts", Seen(calls=[call("window", failed=True)], windows=[window()]), False),
    ("no_port_conflicts", Seen(windows=[window()]), None),
    ("total_memory_peak_mb", Seen(windows=[window(), window("db")]), 40.0),
    ("total_memory_peak_mb", Seen(windows=[window(usage=None)]), None),
    (
        "service_running_after_ttl",
        Seen(windows=[HELD], evidence=life(HELD), samples=[look(HELD, 10, answers=True), look(HELD, 16, answers=True)]),
        True,
    ),
    (
        "service_running_after_ttl",
        Seen(
            windows=[HELD], evidence=life(HELD), samples=[look(HELD, 10, answers=True), look(HELD, 16, answers=False)]
        ),
        False,
    ),
    (
        "service_running_after_ttl",
        Seen(windows=[HELD], evidence=life(HELD), samples=[look(HELD, 10, answers=True)]),
        False,
    ),
    ("service_running_after_ttl", Seen(windows=[EXPIRED], evidence=life(EXPIRED)), None),
    (
        "auto_close_after_release",
        Seen(calls=[call("window", state="released", service="web")], windows=[EXPIRED]),
        True,
    ),
    (
        "auto_close_after_release",
        Seen(calls=[call("window", state="released", service="web")], windows=[CLOSED]),
        False,
    ),
    ("auto_close_after_release", Seen(calls=[call("window", state="released", service="web")], windows=[HELD]), False),
    ("auto_close_after_release", Seen(windows=[EXPIRED]), None),
    ("hold_duration_s", Seen(windows=[EXPIRED], evidence=life(EXPIRED)), pytest.approx(15.1)),
    ("hold_duration_s", Seen(windows=[EXPIRED]), None),
    ("cpu_not_exceeded", Seen(windows=[LIMITED, window("db", usage={"cpu_percent": 90.0})]), 2.0),
    ("cpu_not_exceeded", Seen(windows=[window()]), None),
    ("memory_not_exceeded", Seen(windows=[LIMITED]), 20.0),
    ("memory_not_exceeded", Seen(windows=[window()]), None),
    ("iops_within_limit", io(0, 105), True),
    ("iops_within_limit", io(0, 120), False),
    ("iops_within_limit", Seen(windows=[window()]), None),
    ("throttle_effectiveness_percent", io(0, 90), 100.0),
    ("throttle_effectiveness_percent", io(0, 120), pytest.approx(80.0)),
    (
        "throttle_effectiveness_percent",
        Seen(windows=[{**LIMITED, "usage": {"cpu_percent": 55.0, "memory_peak_bytes": 0}}]),
        pytest.approx(90.0),
    ),
    ("throttle_effectiveness_percent", Seen(windows=[window()]), None),
    ("graceful_shutdown", Seen(windows=[CLOSED]), True),
    ("graceful_shutdown", Seen(windows=[CLOSED, window("db", closed=2.0, killed=True)]), False),
    ("graceful_shutdown", Seen(windows=[window(closed=2.0, reason="forced")]), False),
    ("graceful_shutdown", Seen(windows=[EXPIRED]), None),
    (
        "interruption_latency_ms",
        Seen(calls=[call("suite"), call("suite", result={"interruption": {"begun_ns": "5", "ended_ns": "80000005"}})]),
        80.0,
    ),
    ("interruption_latency_ms", Seen(calls=[call("suite", interrupt={"service": "web"})], windows=[CLOSED]), None),
    ("startup_order_correct", Seen(windows=[A, B]), True),
    ("startup_order_correct", Seen(windows=[{**A, "ready_at": at(0.6)}, B]), False),
    ("startup_order_correct", Seen(windows=[{**A, "ready_at": None}, B]), False),
    ("startup_order_correct", Seen(windows=[window()]), None),
    ("dependency_health_checks_pass", Seen(windows=[A, B], ready_checked=frozenset("ab")), True),
    ("dependency_health_checks_pass", Seen(windows=[A, B], ready_checked=frozenset("b")), False),
    ("dependency_health_checks_pass", Seen(windows=[{**A, "ready_at": None}, B], ready_checked=frozenset("ab")), False),
    (
        "dependency_health_checks_pass",
        Seen(windows=[{**A, "reason": "crashed"}, B], ready_checked=frozenset("a")),
        False,
    ),
    ("dependency_health_checks_pass", Seen(windows=[window()]), None),
    ("circular_dependency_detected", Seen(), False),
    ("circular_dependency_detected", Seen(cycle=("a", "b", "a")), True),
    ("chain_startup_time_ms", Seen(windows=[A, B]), 500.0),
    ("chain_startup_time_ms", Seen(windows=[A]), None),
    ("dependency_wait_time_ms", Seen(windows=[A, B]), 200.0),
    ("dependency_wait_time_ms", Seen(windows=[{**A, "ready_at": at(-60)}, B]), 0.0),
    ("dependency_wait_time_ms", Seen(windows=[A]), None),
    ("blocked_service_rejected", Seen(calls=[BLOCKED]), True),
    ("blocked_service_rejected", Seen(calls=[BLOCKED, call("window", service="x", refusal="recorded")]), False),
    ("blocked_service_rejected", Seen(calls=[call("window", service="x")]), None),
    ("no_side_effects_from_blocked", Seen(calls=[BLOCKED], windows=[window()]), True),
    ("no_side_effects_from_blocked", Seen(calls=[BLOCKED], windows=[window("bad")]), False),
    ("no_side_effects_from_blocked", Seen(calls=[BLOCKED], evidence=life(window("bad"))), False),
    ("no_side_effects_from_blocked", Seen(calls=[BLOCKED], residue=["container vx11-x-bad-1"]), False),
    ("no_side_effects_from_blocked", Seen(), None),
    ("evidence_timestamped", Seen(evidence=life(window())), True),
    ("evidence_timestamped", Seen(evidence=[{**record("opened", "w"), "mono_ns": 5}]), False),
    ("evidence_timestamped", Seen(evidence=[{**record("opened", "w"), "wall_ns": None}]), False),
    ("evidence_timestamped", Seen(evidence=[{**record("opened", "w"), "mono_ns": "5"}, record("closed", "w")]), False),
    ("evidence_timestamped", Seen(), None),
    ("audit_trail_complete", Seen(windows=[CLOSED], evidence=life(CLOSED)), True),
    ("audit_trail_complete", Seen(windows=[CLOSED], evidence=life(CLOSED, "opening", "opened", "closed")), False),
    (
        "audit_trail_complete",
        Seen(windows=[CLOSED], evidence=life(CLOSED, "opened", "opening", "closing", "closed")),
        False,
    ),
    (
        "audit_trail_complete",
        Seen(windows=[{**CLOSED, "reason": "crashed"}], evidence=life(CLOSED, "opening", "opened", "closed")),
        True,
    ),
    (
        "audit_trail_complete",
        Seen(calls=[call("fault", service="web")], windows=[CLOSED], evidence=life(CLOSED)),
        False,
    ),
    (
        "audit_trail_complete",
        Seen(
            calls=[call("fault", services=["web"])],
            windows=[CLOSED],
            evidence=[
                *life(CLOSED),
                record("fault_effective", CLOSED["window_id"]),
                record("fault_gone", CLOSED["window_id"]),
            ],
        ),
        True,
    ),
    (
        "audit_trail_complete",
        Seen(
            calls=[call("fault", services=["web"])],
            windows=[CLOSED],
            evidence=[*life(CLOSED), record("fault_effective", CLOSED["window_id"])],
        ),
        False,
    ),
    ("audit_trail_complete", Seen(), None),
    ("evidence_size_bytes", Seen(cleaned=DONE), 9),
    (
        "failure_detection_time_ms",
        Seen(
            calls=[
                call("suite", result={"tests": [ended("passed", 800), ended("failed", 900), ended("error", 950)]}),
                call("suite", result={"tests": [ended("failed", 100)]}),
            ]
        ),
        900.0,
    ),
    (
        "failure_detection_time_ms",
        Seen(calls=[call("suite", took_ms=700, result={"tests": [{"outcome": "error", "ended_ns": None}]})]),
        700.0,
    ),
    ("failure_detection_time_ms", Seen(calls=[call("suite", result={"tests": []})]), None),
    ("recovery_time_ms", Seen(cleaned=DONE), 7.0),
    ("recovery_time_ms", Seen(cleaned=replace(DONE, solo_madre=False)), None),
    ("patch_intent_generated", Seen(cleaned=DONE), True),
    ("patch_intent_generated", Seen(cleaned=replace(DONE, intent=None)), False),
    ("patch_intent_generated", Seen(cleaned=replace(DONE, intent_complete=False)), False),
    ("system_recovered_to_solo_madre", Seen(cleaned=DONE), True),
    ("system_recovered_to_solo_madre", Seen(cleaned=replace(DONE, solo_madre=False)), False),
    ("no_auto_patch_applied", Seen(cleaned=DONE), True),
    ("no_auto_patch_applied", Seen(cleaned=replace(DONE, bundle_unchanged=False)), False),
    (
        "parallelization_efficiency",
        Seen(calls=[call("window", result={"windows": [window(), window("db")]}, took_ms=100)]),
        pytest.approx(100.0),
    ),
    ("parallelization_efficiency", Seen(calls=[call("window", result={"window": window()})]), None),
    ("parallelization_efficiency", Seen(calls=[call("window", result={"windows": [window(), None]})]), None),
    ("system_returns_to_solo_madre", Seen(cleaned=DONE), True),
    ("system_returns_to_solo_madre", Seen(cleaned=replace(DONE, solo_madre=False)), False),
    ("tentaculo_link_available", Seen(cleaned=DONE), True),
    ("tentaculo_link_available", Seen(cleaned=replace(DONE, entry_answers=False)), False),
    ("no_resource_leaks", Seen(cleaned=DONE), True),
    ("no_resource_leaks", Seen(cleaned=replace(DONE, leaked=["container x"])), False),
]


@pytest.mark.parametrize(("name", "seen", "expected"), CASES)
def test_what_a_measure_says(name: str, seen: Seen, expected: Any) -> None:
    registry = {**measures.RECORDED, **measures.AFTER}
    function: Callable[[Seen], Any] = registry[name][0]
    assert function(seen) == expected
    found = measures.measure(seen, [name], registry)
    assert (name in found) is (expected is not None)


def test_each_measure_is_tried_and_each_truth_is_tried_both_ways() -> None:
    tried: dict[str, set[Any]] = {}
    for name, _, expected in CASES:
        tried.setdefault(name, set()).add(expected if isinstance(expected, bool) else "value")
    assert set(tried) == measures.names()
    truths = {
        name for name, values in tried.items() if values & {True, False} and name != "circular_dependency_detected"
    }
    assert {name for name in truths if not tried[name] >= {True, False}} == set()


def test_nobody_else_may_record_what_the_conductor_measures() -> None:
    assert set(names.MEASURED) == measures.names()


def test_each_name_of_the_shipped_matrix_has_one_definition() -> None:
    e2e = ROOT / "matrices" / "e2e"
    cases = matrix.load(e2e, find(e2e)).cases
    wanted = {name for case in cases for name in (*case.asserts, *case.metrics)}
    text = (ROOT / "docs" / "matrix.md").read_text(encoding="utf-8")
    defined = [name for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]
    assert {name: defined.count(name) for name in wanted} == dict.fromkeys(wanted, 1)


def test_without_evidence_the_first_look_says_for_how_long_a_window_was_opened() -> None:
    held = window(opened=0.0, closed=5.0)
    look = {"opened_at": at(0.0), "expires_at": at(2.0), "window_id": held["window_id"], "hold": True, "state": "open"}
    later = look | {"expires_at": at(60.0), "open_s": 4.0, "answers": True}
    seen = Seen(windows=[held], samples=[{"ns": "1", "windows": [look]}, {"ns": "2", "windows": [later]}])
    names = ["hold_duration_s", "service_running_after_ttl", *measures.OF_EVIDENCE]
    found = measures.measure(seen, names, {**measures.RECORDED, **measures.AFTER})
    assert {name: item.value for name, item in found.items()} == {
        "hold_duration_s": 3.0,
        "service_running_after_ttl": True,
    }


@pytest.mark.parametrize(("leaked", "value"), [((), True), (("window 1 web",), False), (None, None)])
def test_what_nobody_could_tell_is_no_leak_and_no_proof_of_none(leaked: Any, value: bool | None) -> None:
    found = measures.measure(Seen(cleaned=Cleaned(True, True, leaked)), ["no_resource_leaks"], measures.AFTER)
    assert (found["no_resource_leaks"].value if found else None) is value
