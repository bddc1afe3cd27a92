"""Signs of services: how their windows ended, what they used, what was done to them, what their logs say. Pure."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from signal import Signals

from vx11.recovery import logs
from vx11.recovery.failure import Failure, Json
from vx11.recovery.sign import Sign, failure_times
from vx11.units import show_duration, show_size

# Of a limit: from this share on it is used up, below that one there is room.
FULL, SPARE = 0.9, 0.6
# Seconds of a processor that a program takes to come up; beyond them, the share of one that something still at work
# uses on a machine where others work too, and the share of one that waits.
COMING_UP, BUSY, IDLE = 0.3, 0.1, 0.05
KILLED, SIGNALS = 137, range(129, 193)
_CODE = re.compile(r"exit code (-?\d+)")
_NEEDS = re.compile(r"needs (\S+), which did not open")
_CHECK = re.compile(r"was answered with (\d\d\d)")


def exit_code(detail: str) -> int | None:
    """As a shell counts: 128 and the number of the signal that ended it; None when it is not told."""
    match = _CODE.search(detail)
    number = int(match[1]) if match else None
    return 128 - number if number is not None and number < 0 else number


def record_of(failure: Failure, window: Json, *actions: str) -> tuple[str, int | None]:
    """Where madre's evidence has the last of these actions of a window, and when that was."""
    for record in reversed(failure.records):
        if record["subject"] == window.get("window_id") and record["action"] in actions:
            return f"madre's record {record['seq']}", int(record["wall_ns"])
    return f"window {window.get('window_id')}, by madre's status", None


def _ends(failure: Failure) -> Iterator[Sign]:
    for window in failure.windows:
        service, reason, detail = str(window["service"]), window.get("reason"), str(window.get("detail") or "")
        where, at = record_of(failure, window, "closed", "open_failed")
        if reason == "crashed":
            yield replace(_death(service, detail), where=where, ns=at)
        elif reason == "lost":
            yield Sign("vanished", service, f"what ran in its window was gone: {detail}", where, ns=at)
        elif reason == "open_failed":
            for sign in _unopened(service, detail):
                yield replace(sign, where=where, ns=at)
        elif reason in (None, "solo_madre", "requested", "completed"):
            said = "it ran until its window was closed" if reason else "it still ran when its window was last looked at"
            yield Sign("lived", service, said, *record_of(failure, window, "opened", "closed")[:1])


def _death(service: str, detail: str) -> Sign:
    """How a service ended; `where` is for the caller."""
    code = exit_code(detail)
    if code is None:
        return Sign("killed_on_purpose", service, f"its window closed as crashed: {detail}", "")
    said = f"its window closed as crashed: {detail}"
    if code == KILLED:
        return Sign("sigkill", service, f"{said}, which is SIGKILL", "", key="SIGKILL")
    if code in SIGNALS:
        return Sign("signal", service, f"{said}, which is {_signal(code)}", "", key=_signal(code))
    return Sign("exit_code" if code else "exit_0", service, said, "", key=f"exit code {code}")


def _signal(code: int) -> str:
    try:
        return Signals(code - 128).name
    except ValueError:
        return f"signal {code - 128}"


def _unopened(service: str, detail: str) -> Iterator[Sign]:
    said = f"its window did not open: {detail}"
    code = exit_code(detail)
    if needed := _NEEDS.search(detail):
        yield Sign("was_needed", needed[1], f"{service} needs it, and did not open for want of it", "")
    elif "not ready within" in detail:
        yield Sign("not_ready", service, said, "", key="not ready in time")
        if answered := _CHECK.search(detail):
            name = "check_refused" if answered[1].startswith("4") else "check_failed"
            yield Sign(name, service, f"its readiness check was answered with {answered[1]}", "", key=answered[1])
        elif "nobody" in detail:
            yield Sign("check_unheard", service, "nobody listened where its readiness check asks", "")
    elif code == KILLED:
        yield Sign("sigkill", service, f"{said}, which is SIGKILL", "", key="SIGKILL")
    elif code is not None and code in SIGNALS:
        yield Sign("signal", service, f"{said}, which is {_signal(code)}", "", key=_signal(code))
    elif code is not None or "ended" in detail:
        yield Sign("early_exit", service, said, "", key=f"exit code {code}")


def _expiries(failure: Failure) -> Iterator[Sign]:
    """Windows whose time was over before the case had done with them."""
    for window in failure.windows:
        service = str(window["service"])
        where, at = record_of(failure, window, "closed", "closing")
        if "time of" in str(window.get("detail") or "") and window.get("reason") in ("expired", "open_failed"):
            yield Sign("expired_in_use", service, f"its time was over before it was ready: {window['detail']}", where)
            continue
        if window.get("reason") != "expired" or at is None:
            continue
        later = [ns for ns in failure_times(failure) if ns > at]
        if later:
            late = show_duration((later[0] - at) / 1e9)
            said = f"its time was over, and its window closed, {late} before what failed was over"
            yield Sign("expired_in_use", service, said, where, ns=at)


def _usage(failure: Failure) -> Iterator[Sign]:
    for window in failure.windows:
        usage, limits = window.get("usage") or {}, window.get("resources") or {}
        service, where = str(window["service"]), record_of(failure, window, "closed", "opened")[0]
        yield from _of_memory(service, usage.get("memory_peak_bytes"), limits.get("memory"), where)
        cpu = max((usage.get(name) or 0.0 for name in ("cpu_percent", "cpu_peak_percent")), default=0.0)
        if limits.get("cpu") and cpu >= FULL * 100 * limits["cpu"]:
            yield Sign("cpu_full", service, f"it used {cpu:.0f} % of a limit of {100 * limits['cpu']:.0f} %", where)
        for kind in ("read", "write"):
            rate, limit = _highest_rate(failure.samples, window.get("window_id"), kind), limits.get(f"{kind}_iops")
            if limit and rate >= FULL * limit:
                said = f"it did {rate:.0f} {kind} operations a second, of a limit of {limit}"
                yield Sign("iops_full", service, said, "usage.jsonl")
        name = "pids_limited" if limits.get("pids") else "pids_unlimited"
        yield Sign(name, service, f"its limit of processes is {limits.get('pids') or 'none'}", where)


def _of_memory(service: str, peak: int | None, limit: int | None, where: str) -> Iterator[Sign]:
    if not limit:
        yield Sign("memory_unlimited", service, "its window has no limit of memory", where)
    elif peak is not None and not SPARE * limit <= peak < FULL * limit:
        said = f"of memory it used {show_size(peak)} at most, of a limit of {show_size(limit)}"
        yield Sign("memory_full" if peak >= FULL * limit else "memory_spare", service, said, where)


def _highest_rate(samples: Sequence[Json], window_id: object, kind: str) -> float:
    """Operations a second between any two looks; 0 when there are none."""
    name = f"io_{kind}_ops"
    looks = [window.get("usage") for look in samples for window in look["windows"] if window["window_id"] == window_id]
    known = {look["sampled_at"]: look[name] for look in looks if look and look.get(name) is not None}
    rates = [
        (known[second] - known[first]) / seconds
        for first, second in pairwise(sorted(known))
        if (seconds := _seconds(first, second)) > 0
    ]
    return max(rates, default=0.0)


def _seconds(first: str, second: str) -> float:
    return (datetime.fromisoformat(second) - datetime.fromisoformat(first)).total_seconds()


def _starts(failure: Failure) -> Iterator[Sign]:
    """What became of the time of a service that did not get ready, and how long it took before."""
    for window in failure.windows:
        if "not ready within" not in str(window.get("detail") or ""):
            continue
        service, where = str(window["service"]), record_of(failure, window, "open_failed", "closed")[0]
        used, spent = (window.get("usage") or {}).get("cpu_s"), window.get("open_s") or 0.0
        if used is not None and spent:
            share = max(0.0, used - COMING_UP) / spent
            name = "busy_start" if share >= BUSY else "idle_start" if share < IDLE else "slack_start"
            yield Sign(name, service, f"it used {used:.1f} s of a processor in {spent:.1f} s", where)
        past = failure.past.startups.get(service, ())
        if past:
            longest, limit = max(past) / 1000, failure.service(service).ready_timeout
            name = "started_slowly_before" if longest > limit / 2 else "started_quickly_before"
            yield Sign(name, service, f"in {len(past)} earlier starts it took at most {longest:.1f} s", "earlier runs")


def _faults(failure: Failure) -> Iterator[Sign]:
    """What was done to windows on purpose, and whether it was taken back."""
    names = {"network_partition": "cut_off", "pause": "frozen", "kill": "killed_on_purpose"}
    services = {window.get("window_id"): str(window["service"]) for window in failure.windows}
    for record in failure.records:
        data = record.get("data") or {}
        service = str(data.get("service") or services.get(record["subject"]) or "")
        name, where, at = names.get(str(data.get("fault"))), f"madre's record {record['seq']}", int(record["wall_ns"])
        if record["action"] == "fault_effective" and name:
            proof = ", ".join(f"{at} {seen}" for at, seen in (data.get("proof") or {}).items())
            said = f"the fault {data['fault']} was injected into it, and proven to bite ({proof})"
            yield Sign(name, service, said, where, key=str(data["fault"]), ns=at)
        elif record["action"] == "fault_gone" and any(ns > at for ns in failure_times(failure)):
            yield Sign("fault_was_gone", service, f"the fault {data.get('fault')} was taken back by then", where, ns=at)


def _said(failure: Failure) -> Iterator[Sign]:
    for service, lines in failure.logs.items():
        for name, number, line in logs.words(lines):
            yield Sign(name, service, f"its log says: {line.strip()[:200]}", f"logs/{service}.log:{number}")
        found = logs.traces(lines)
        if found:
            last = found[-1]
            key = f"{last.error} in {last.function}"
            yield Sign(
                "traceback", service, f"its log has a stack trace: {last}", f"logs/{service}.log:{last.at}", 1.0, key
            )


LOOKS: tuple[Callable[[Failure], Iterable[Sign]], ...] = (_ends, _expiries, _usage, _starts, _faults, _said)
