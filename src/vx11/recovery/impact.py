"""What a failure and a change mean for other systems and for resources, as measured. Pure."""

from vx11.recovery.failure import Failure, Json
from vx11.recovery.hypotheses import Cause
from vx11.recovery.model import UNKNOWN, Check, Impact, Resource
from vx11.recovery.proposal import Proposed, window_of
from vx11.units import show_size

_UNTOUCHED = "as now: the change does not concern it"


def impact(failure: Failure, cause: Cause, proposed: Proposed) -> Impact:
    """Section 6."""
    return Impact(systems=_systems(failure, cause), resources=_resources(failure, cause, proposed))


def _systems(failure: Failure, cause: Cause) -> list[Check]:
    after = failure.clean_up
    if after is None:
        why = "unknown: the clean-up was not seen"
        entry, solo = Check(text=f"tentaculo_link: {why}"), Check(text=f"SOLO_MADRE: {why}")
    else:
        answered = "answered" if after.entry_answers else "did not answer"
        entry = Check(marked=not after.entry_answers, text=f"tentaculo_link: GET /health {answered} after the failure")
        whole = after.solo_madre and not after.leaked
        left = f"; left: {', '.join(after.leaked)}" if after.leaked else ""
        proved = f"proved {after.seconds:.1f} s after the playbook" if after.solo_madre else "not reached"
        solo = Check(marked=not whole, text=f"SOLO_MADRE: {proved}{left}")
    return [entry, solo, *_others(failure, cause)]


def _others(failure: Failure, cause: Cause) -> list[Check]:
    needing = failure.service(cause.suspect).needed_by
    beside = [str(w["service"]) for w in failure.windows if w["service"] != cause.suspect]
    named = [f"{name} (depends on {cause.suspect})" for name in needing]
    named += [f"{name} (had a window in this case)" for name in dict.fromkeys(beside) if name not in needing]
    text = ", ".join(named) or f"none that depends on {cause.suspect} or had a window in this case"
    return [Check(marked=bool(named), text=f"other services: {text}")]


def _resources(failure: Failure, cause: Cause, proposed: Proposed) -> list[Resource]:
    window = window_of(failure, cause.suspect)
    current = {"CPU": _cpu(window), "memory": _memory(window), "IOPS": _iops(window)}
    concrete = any(change.to != UNKNOWN for change in proposed.changes)
    other = (_UNTOUCHED, "none") if concrete else ("unknown: the change is not written yet", "unknown")
    rows = {name: (now, *proposed.means.get(name, other)) for name, now in current.items()}
    return [Resource(name=name, current=now, estimated=after, change=by) for name, (now, after, by) in rows.items()]


_NOT_MEASURED = "unknown: no usage of it was measured"


def _cpu(window: Json) -> str:
    usage = window.get("usage") or {}
    if usage.get("cpu_percent") is None:
        return _NOT_MEASURED
    return f"{usage['cpu_percent']:.1f} % of one core{_limited(window, 'cpu')}"


def _memory(window: Json) -> str:
    usage = window.get("usage") or {}
    if usage.get("memory_peak_bytes") is None:
        return _NOT_MEASURED
    limit = (window.get("resources") or {}).get("memory")
    return f"{show_size(usage['memory_peak_bytes'])} at most" + (f", limit {show_size(limit)}" if limit else "")


def _iops(window: Json) -> str:
    usage, seconds = window.get("usage") or {}, window.get("open_s")
    done = [usage[name] for name in ("io_read_ops", "io_write_ops") if usage.get(name) is not None]
    if not done or not seconds:
        return _NOT_MEASURED
    return f"{sum(done) / seconds:.1f} a second{_limited(window, 'write_iops')}"


def _limited(window: Json, name: str) -> str:
    limit = (window.get("resources") or {}).get(name)
    return f", limit {limit:g}" if limit else ""
