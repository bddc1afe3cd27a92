"""What the conductor itself measures of a case: one function a name, and nowhere else.

A measure answers None when there was nothing to measure; an assert on it then fails as not observed. Those of `AFTER`
need the clean-up. What only a suite can know, the suite records; docs/matrix.md says which is which.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from vx11.conductor.observations import Observed
from vx11.conductor.seen import Call, Json, Seen, seconds_between
from vx11.units import MIB

SOURCE = "conductor"
# How late a window may be closed and still count as closed by itself, in seconds.
LATE = 2.0
# What a rate may exceed its limit by: two samples are not taken at exact moments.
RATE_TOLERANCE = 1.1
Value = bool | int | float | None
_Measure = Callable[[Seen], Value]
# What is measured from madre's evidence, and so not on a host, where that stays.
OF_EVIDENCE = frozenset({"evidence_timestamped", "audit_trail_complete", "evidence_size_bytes"})
RECORDED: dict[str, tuple[_Measure, str | None]] = {}
AFTER: dict[str, tuple[_Measure, str | None]] = {}


def names() -> set[str]:
    """All names that the conductor measures; suites cannot record them."""
    return set(RECORDED) | set(AFTER)


def measure(
    seen: Seen, wanted: Iterable[str], registry: Mapping[str, tuple[_Measure, str | None]]
) -> dict[str, Observed]:
    """Those of the names that the registry has, and that there was something to measure of."""
    found = {}
    for name in wanted:
        if name in registry:
            function, unit = registry[name]
            value = function(seen)
            if value is not None:
                found[name] = Observed(value, unit, SOURCE)
    return found


def _recorded(unit: str | None = None) -> Callable[[_Measure], _Measure]:
    def register(function: _Measure) -> _Measure:
        RECORDED[function.__name__] = (function, unit)
        return function

    return register


def _after(unit: str | None = None) -> Callable[[_Measure], _Measure]:
    def register(function: _Measure) -> _Measure:
        AFTER[function.__name__] = (function, unit)
        return function

    return register


# Life of windows ------------------------------------------------------------------------------------------------------


@_recorded()
def window_auto_closed(seen: Seen) -> Value:
    """Every window has closed by itself, no later than 2 s after its deadline."""
    if not seen.windows:
        return None
    return all(_has_expired(window) for window in seen.windows)


@_recorded("ms")
def startup_time_ms(seen: Seen) -> Value:
    """From the request to ready; the slowest window."""
    return _most(window["startup_ms"] for window in seen.windows)


@_recorded("s")
def service_uptime_s(seen: Seen) -> Value:
    """From ready until closed; the longest."""
    return _most(_uptime(window) for window in seen.windows)


@_recorded("ms")
def cleanup_time_ms(seen: Seen) -> Value:
    """From the begin of a close until the engine confirmed it; the slowest window."""
    return _most(window["close_ms"] for window in seen.windows)


@_recorded()
def concurrent_windows(seen: Seen) -> Value:
    """The most windows that were ready at one moment."""
    if not seen.windows:
        return None
    changes = [change for window in seen.windows if window["ready_at"] for change in _presence(window)]
    present = most = 0
    for _, change in sorted(changes):
        present += change
        most = max(most, present)
    return most


@_recorded()
def no_port_conflicts(seen: Seen) -> Value:
    """Every open succeeded, and no two windows of different services ever had the same address."""
    opens = [call for call in seen.of("vx11_window") if _is_open(call)]
    if not opens:
        return None
    owners: dict[str, set[str]] = {}
    for window in seen.windows:
        for endpoint in window["endpoints"]:
            owners.setdefault(endpoint, set()).add(window["service"])
    return not any(call.failed for call in opens) and all(len(services) == 1 for services in owners.values())


@_recorded()
def service_running_after_ttl(seen: Seen) -> Value:
    """A window that is held was open beyond the time it was opened for, and its service answered there then."""
    held = [window for window in seen.windows if seen.ttl(window) is not None and _holds(seen, window)]
    if not any("answers" in look for window in held for look in seen.looks(window)):
        return None
    return all(any(_runs_beyond(look, seen.ttl(window)) for look in seen.looks(window)) for window in held)


@_recorded()
def auto_close_after_release(seen: Seen) -> Value:
    """After its release, without a call to close, the window closed because its time was over."""
    released = {
        str(call.args.get("service")) for call in seen.of("vx11_window") if call.args.get("state") == "released"
    }
    windows = [window for window in seen.windows if window["service"] in released]
    return all(window["reason"] == "expired" for window in windows) if windows else None


@_recorded("s")
def hold_duration_s(seen: Seen) -> Value:
    """How long a window stayed open beyond the time it was opened for; the longest."""
    return _most(window["open_s"] - ttl for window in seen.windows if (ttl := seen.ttl(window)) is not None)


@_recorded()
def graceful_shutdown(seen: Seen) -> Value:
    """Every window that somebody closed ended by itself within its grace; none had to be killed."""
    closed = [window for window in seen.windows if window["reason"] in ("requested", "forced")]
    if not closed:
        return None
    return all(window["reason"] == "requested" and window["killed"] is False for window in closed)


@_recorded("ms")
def interruption_latency_ms(seen: Seen) -> Value:
    """From the call that closed the window of a suite at work until the answer that it is closed; the longest."""
    done = [call.result["interruption"] for call in seen.of("vx11_suite") if call.result.get("interruption")]
    return _most((int(close["ended_ns"]) - int(close["begun_ns"])) / 1e6 for close in done)


# Usage ----------------------------------------------------------------------------------------------------------------


@_recorded("%")
def max_cpu_percent(seen: Seen) -> Value:
    """Mean processor use of a window since it was ready, of one core; the highest of all windows."""
    return _most(_usage(window, "cpu_percent") for window in seen.windows)


@_recorded("MB")
def memory_delta_mb(seen: Seen) -> Value:
    """The highest memory of a window, which had none before it opened; the highest of all windows."""
    return _most(_memory_mb(window) for window in seen.windows)


@_recorded("MB")
def total_memory_peak_mb(seen: Seen) -> Value:
    """The sum of the highest memory of each window."""
    peaks = [peak for window in seen.windows if (peak := _memory_mb(window)) is not None]
    return sum(peaks) if peaks else None


@_recorded("%")
def cpu_not_exceeded(seen: Seen) -> Value:
    """As max_cpu_percent, of the windows that have a limit of processor time."""
    return _most(_usage(window, "cpu_percent") for window in seen.windows if "cpu" in window["resources"])


@_recorded("MB")
def memory_not_exceeded(seen: Seen) -> Value:
    """The highest memory of the windows that have a limit of memory."""
    return _most(_memory_mb(window) for window in seen.windows if "memory" in window["resources"])


@_recorded()
def iops_within_limit(seen: Seen) -> Value:
    """Between any two samples no window did more operations a second than its limit and a tenth."""
    shares = _iops_shares(seen)
    return max(shares) <= RATE_TOLERANCE if shares else None


@_recorded("%")
def throttle_effectiveness_percent(seen: Seen) -> Value:
    """100 less the percentage by which the most exceeded limit, of processor, memory or I/O, was exceeded."""
    shares = _iops_shares(seen)
    for window in seen.windows:
        limits, cpu, memory = window["resources"], _usage(window, "cpu_percent"), _memory_mb(window)
        if "cpu" in limits and cpu is not None:
            shares.append(cpu / (100 * limits["cpu"]))
        if "memory" in limits and memory is not None:
            shares.append(memory * MIB / limits["memory"])
    return max(0.0, 100 - 100 * max(0.0, max(shares) - 1)) if shares else None


# Dependencies ---------------------------------------------------------------------------------------------------------


@_recorded()
def startup_order_correct(seen: Seen) -> Value:
    """Each window was ready after all that it needs."""
    pairs = _needs(seen)
    if not pairs:
        return None
    return all(
        other["ready_at"] and window["ready_at"] and other["ready_at"] <= window["ready_at"] for window, other in pairs
    )


@_recorded()
def dependency_health_checks_pass(seen: Seen) -> Value:
    """Each window that another one needs has a readiness check, passed it, and did not crash."""
    needed = [other for _, other in _needs(seen)]
    if not needed:
        return None
    return all(
        other["service"] in seen.ready_checked and other["ready_at"] and other["reason"] not in ("crashed", "lost")
        for other in needed
    )


@_recorded()
def circular_dependency_detected(seen: Seen) -> Value:
    """Whether services of the case need one another in a circle, by the catalogue and the case together."""
    return bool(seen.cycle)


@_recorded("ms")
def chain_startup_time_ms(seen: Seen) -> Value:
    """From the request until a window is ready with all that it needs; the slowest."""
    return _most(window["startup_ms"] for window in seen.windows if window["depends_on"] and window["requested"])


@_recorded("ms")
def dependency_wait_time_ms(seen: Seen) -> Value:
    """From the request until all that a window needs, directly or not, was ready, 0 if it was before; the longest."""
    return _most(
        max(0.0, 1000 * seconds_between(window["opened_at"], other["ready_at"]))
        for window, other in _needs(seen)
        if other["ready_at"] and window["requested"]
    )


# Refusals and evidence ------------------------------------------------------------------------------------------------


@_recorded()
def blocked_service_rejected(seen: Seen) -> Value:
    """Every attempt to open was refused because the service is not on the allowlist."""
    attempts = _attempts(seen)
    return all(_code(call) == "service_not_allowed" for call in attempts) if attempts else None


@_recorded()
def no_side_effects_from_blocked(seen: Seen) -> Value:
    """What was refused never had a window, by status and by evidence, and nothing on the engine carries its name."""
    refused = {str(call.args["service"]) for call in _attempts(seen) if _code(call)}
    if not refused:
        return None
    opened = {window["service"] for window in seen.windows} | {
        r["data"].get("service") for r in seen.records("opening")
    }
    named = [item for item in seen.residue if any(service in item for service in refused)]
    return not opened & refused and not named


@_recorded()
def evidence_timestamped(seen: Seen) -> Value:
    """Each of madre's records has wall and monotonic time in nanoseconds, as text, and no time runs backwards."""
    if not seen.evidence:
        return None
    if not all(_is_ns(record.get(name)) for record in seen.evidence for name in ("wall_ns", "mono_ns")):
        return False
    return all(int(first["mono_ns"]) <= int(second["mono_ns"]) for first, second in pairwise(seen.evidence))


@_after()
def audit_trail_complete(seen: Seen) -> Value:
    """Madre's evidence has in order the opening, open, closing and closed of each window, and each fault to its end."""
    if not (seen.windows and seen.evidence):
        return None
    forced = [call for call in seen.of("vx11_fault") if not call.failed]
    faults = len(seen.records("fault_effective"))
    all_there = faults >= sum(map(_windows_of, forced)) and not _faults_left(seen)
    return all_there and all(_is_whole(seen, window) for window in seen.windows)


@_after("B")
def evidence_size_bytes(seen: Seen) -> Value:
    """What the case left in evidence: its own folder, and madre's records since it began."""
    return seen.cleaned.evidence_bytes if seen.cleaned else None


# Failure and recovery -------------------------------------------------------------------------------------------------


@_recorded("ms")
def failure_detection_time_ms(seen: Seen) -> Value:
    """From the begin of the suite that failed, start of pytest included, until its first failed test was over."""
    for call in seen.of("vx11_suite"):
        failed = [test for test in call.result.get("tests") or () if test["outcome"] in ("failed", "error")]
        if failed:
            # What could not be read was no test that ended; it failed with the suite.
            return (min(int(test.get("ended_ns") or call.ended_ns) for test in failed) - call.begun_ns) / 1e6
    return None


@_after("ms")
def recovery_time_ms(seen: Seen) -> Value:
    """From the end of the playbook to the proof that only the core runs."""
    return seen.cleaned.recovery_ms if seen.cleaned and seen.cleaned.solo_madre else None


@_after()
def patch_intent_generated(seen: Seen) -> Value:
    """The case has a patch intent with every section."""
    return bool(seen.cleaned and seen.cleaned.intent and seen.cleaned.intent_complete)


@_after()
def system_recovered_to_solo_madre(seen: Seen) -> Value:
    """After the failure only the core runs, by madre's word and by the conductor's own look at the engine."""
    return seen.cleaned.solo_madre if seen.cleaned else None


@_after()
def no_auto_patch_applied(seen: Seen) -> Value:
    """Every file of the bundle and the playbook is as it was before the case."""
    return seen.cleaned.bundle_unchanged if seen.cleaned else None


@_recorded("%")
def parallelization_efficiency(seen: Seen) -> Value:
    """Of windows opened at the same time: the sum of their start-up times over the time it took, over their number."""
    shares = []
    for call in seen.of("vx11_window"):
        windows = call.result.get("windows") or []
        times = [window["startup_ms"] for window in windows if window and window.get("startup_ms")]
        if len(times) > 1 and call.took_ms > 0:
            shares.append(100 * sum(times) / call.took_ms / len(times))
    return min(shares) if shares else None


# Base asserts ---------------------------------------------------------------------------------------------------------


@_after()
def system_returns_to_solo_madre(seen: Seen) -> Value:
    """After the case only the core runs, by madre's word and by the conductor's own look at the engine."""
    return seen.cleaned.solo_madre if seen.cleaned else None


@_after()
def tentaculo_link_available(seen: Seen) -> Value:
    """The entry answers `GET /health` after the playbook, before the clean-up."""
    return seen.cleaned.entry_answers if seen.cleaned else None


@_after()
def no_resource_leaks(seen: Seen) -> Value:
    """Nothing carries the cell's mark after the clean-up that did not before, and no process of the playbook lives."""
    return None if seen.cleaned is None or seen.cleaned.leaked is None else not seen.cleaned.leaked


# Helpers --------------------------------------------------------------------------------------------------------------


def _most(values: Iterable[Any]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _has_expired(window: Json) -> bool:
    if window["reason"] != "expired" or not window["closed_at"]:
        return False
    return seconds_between(window["expires_at"], window["closed_at"]) <= LATE + (window["close_ms"] or 0) / 1000


def _uptime(window: Json) -> float | None:
    if not (window["ready_at"] and window["closed_at"]):
        return None
    return seconds_between(window["ready_at"], window["closed_at"])


def _presence(window: Json) -> Sequence[tuple[str, int]]:
    """When it came and when it went, if it went; at one moment those that go count first."""
    came = [(window["ready_at"], 1)]
    return [*came, (window["closed_at"], -1)] if window["closed_at"] else came


def _is_open(call: Call) -> bool:
    return call.args.get("state", "open") == "open" and call.args.get("refusal") != "recorded"


def _attempts(seen: Seen) -> list[Call]:
    return [call for call in seen.of("vx11_window") if call.args.get("refusal") == "recorded"]


def _code(call: Call) -> str:
    return str((call.result.get("problem") or {}).get("code", ""))


def _holds(seen: Seen, window: Json) -> bool:
    return any(look["hold"] for look in seen.looks(window))


def _runs_beyond(look: Json, ttl: float | None) -> bool:
    return bool(look["state"] == "open" and look.get("answers") and ttl is not None and look["open_s"] > ttl)


def _usage(window: Json, name: str) -> float | None:
    return (window["usage"] or {}).get(name)


def _memory_mb(window: Json) -> float | None:
    peak = _usage(window, "memory_peak_bytes")
    return None if peak is None else peak / MIB


def _iops_shares(seen: Seen) -> list[float]:
    """For each limit of I/O, and any two samples, the rate as a share of the limit."""
    shares: list[float] = []
    for window in seen.windows:
        looks = {look["usage"]["sampled_at"]: look["usage"] for look in seen.looks(window) if look["usage"]}
        for kind in ("read", "write"):
            limit = window["resources"].get(f"{kind}_iops")
            if limit:
                shares += [rate / limit for rate in _rates(list(looks.values()), f"io_{kind}_ops")]
    return shares


def _rates(usages: Sequence[Json], name: str) -> list[float]:
    found = []
    for first, second in pairwise(usages):
        seconds = seconds_between(first["sampled_at"], second["sampled_at"])
        if seconds > 0 and first[name] is not None and second[name] is not None:
            found.append((second[name] - first[name]) / seconds)
    return found


def _needs(seen: Seen) -> list[tuple[Json, Json]]:
    """Each window with each that it needs, directly or not."""
    by_service = {window["service"]: window for window in seen.windows}
    pairs = []
    for window in seen.windows:
        ahead, known = list(window["depends_on"]), set[str]()
        while ahead:
            name = ahead.pop()
            if name in by_service and name not in known:
                known.add(name)
                pairs.append((window, by_service[name]))
                ahead += by_service[name]["depends_on"]
    return pairs


def _is_ns(text: Any) -> bool:
    return isinstance(text, str) and text.isdecimal()


def _is_whole(seen: Seen, window: Json) -> bool:
    life = ("opening", "opened", "closing", "closed")
    actions = [r["action"] for r in seen.evidence if r["subject"] == window["window_id"] and r["action"] in life]
    if window["reason"] in ("crashed", "lost", "watchdog", "open_failed"):  # what ends by itself says so at once
        return bool(actions) and actions[0] == "opening" and actions[-1] == "closed"
    return actions == list(life)


def _faults_left(seen: Seen) -> set[tuple[str, str]]:
    """Windows and faults that were proven to bite, and not to be gone; a kill has no end."""
    left = set()
    for record in seen.evidence:
        fault = (str(record["subject"]), str((record.get("data") or {}).get("fault")))
        if record["action"] == "fault_effective" and fault[1] != "kill":
            left.add(fault)
        elif record["action"] == "fault_gone":
            left.discard(fault)
    return left


def _windows_of(fault: Call) -> int:
    return len(fault.args.get("services") or [fault.args.get("service")])
