"""What a human may do about a cause: a patch to consider, what it means, how to take it back, what comes next. Pure."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from vx11.recovery.failure import Failure, Json, Revision
from vx11.recovery.hypotheses import Cause, Kind
from vx11.recovery.model import UNKNOWN, Change, Check, Impact, Patch, Resource, Step
from vx11.units import show_size

CATALOGUE, ALLOWLIST = "catalogue.yml", "allowlist.yml"
PATHS_SHOWN = 10
_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
_Type = Literal["config", "code", "dependency", "unknown"]
_VALIDATION = (
    "the case and the whole matrix are run again, and pass",
    "backwards compatibility: who uses the target now is not broken",
    "performance: processor, memory and I/O are compared with those of this run",
    "security review: no token, port, capability or service is opened that was not",
)


def patch(failure: Failure, cause: Cause) -> Patch:
    """Section 5."""
    kind, target, change = _PROPOSED[cause.kind](failure, cause)
    checks = [Check(text=text) for text in _VALIDATION]
    return Patch(type=kind, target=target, changes=[change], validation=checks)


_Proposed = tuple[_Type, str, Change]


def _in_service(failure: Failure, cause: Cause) -> _Proposed:
    """Where the service's log has a traceback, its last frame in the program; else nobody knows from outside."""
    scripts = [word for word in failure.service(cause.suspect).program if word.endswith((".py", ".sh", ".js"))]
    frames = _FRAME.findall("\n".join(failure.logs.get(cause.suspect, ())))
    own = [frame for frame in frames if Path(frame[0]).name in [Path(script).name for script in scripts]] or frames
    if own:
        file, line = own[-1]
        why = (
            "the last frame of a traceback in the service's log; what is to be changed there needs a reader of the code"
        )
        return "code", cause.suspect, _change(file, why, line=int(line))
    why = "the case sees the service from outside: it shows what is answered, not the line that answers so"
    return "code", cause.suspect, _change(scripts[0] if scripts else UNKNOWN, why)


def _in_limits(failure: Failure, cause: Cause) -> _Proposed:
    entry = f"services.{cause.suspect}"
    if cause.rule == "not_ready":
        now = f"x-vx11.ready_timeout: {failure.service(cause.suspect).ready_timeout:g}s"
        why = "how long it would have taken was not seen: it was ended when its time was over"
    else:
        limit = _window(failure, cause.suspect).get("resources", {}).get("memory")
        now = f"memory: {show_size(limit)}" if limit else UNKNOWN
        why = "how much it would have used was not seen: the limit cut it off"
    return "config", entry, _change(CATALOGUE, why, from_=now)


def _in_allowlist(failure: Failure, cause: Cause) -> _Proposed:
    allow = _shell("vx11", "allowlist", "update", "--catalogue", CATALOGUE, "--allowlist", ALLOWLIST)
    to = f"{allow} {_shell('--service', cause.suspect)}"
    why = "only if somebody who may decide it wants this service to be opened; that it is refused may be right"
    change = Change(file=ALLOWLIST, line=UNKNOWN, from_="no digest that fits its entry", to=to, why=why)
    return "config", f"services.{cause.suspect}", change


def _in_matrix(failure: Failure, cause: Cause) -> _Proposed:
    bound = next((item.expected for item in failure.wrong if item.name == cause.suspect), None)
    now = f"{cause.suspect}: {bound}" if bound else UNKNOWN
    why = "one run does not show how much the figure varies; measure several before a bound is changed"
    return "config", failure.case, _change(failure.matrix.name, why, from_=now)


def _in_request(failure: Failure, cause: Cause) -> _Proposed:
    return (
        "config",
        failure.case,
        _change(failure.matrix.name, f"what is asked for is not what madre gives: {cause.claim}"),
    )


def _in_suite(failure: Failure, cause: Cause) -> _Proposed:
    suite = failure.tests[0].suite if failure.tests else ""
    why = f"where {cause.suspect} should be recorded is for who writes the suite to say"
    return "code", failure.case, _change(f"suites/{suite}.py" if suite else UNKNOWN, why)


def _in_playbook(failure: Failure, cause: Cause) -> _Proposed:
    file = failure.playbook or failure.matrix
    why = f"playbook.yml in the evidence is what was played, runner/stdout what came of it: {cause.derived}"
    return "code", failure.case, _change(str(file), why)


def _nowhere(failure: Failure, cause: Cause) -> _Proposed:
    return UNKNOWN, cause.suspect, _change(UNKNOWN, f"{cause.claim}: no file of the bundle is suspected")


_PROPOSED: dict[Kind, Callable[[Failure, Cause], _Proposed]] = {
    Kind.SERVICE: _in_service,
    Kind.LIMITS: _in_limits,
    Kind.ALLOWLIST: _in_allowlist,
    Kind.REQUEST: _in_request,
    Kind.MATRIX: _in_matrix,
    Kind.SUITE: _in_suite,
    Kind.PLAYBOOK: _in_playbook,
    Kind.CORE: _nowhere,
    Kind.ENVIRONMENT: _nowhere,
}


def _change(file: str, why: str, *, line: int | Literal["unknown"] = UNKNOWN, from_: str = UNKNOWN) -> Change:
    return Change(file=file, line=line, from_=from_, to=UNKNOWN, why=why)


def impact(failure: Failure, cause: Cause) -> Impact:
    """Section 6."""
    return Impact(systems=_systems(failure, cause), resources=_resources(failure, cause))


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


def _resources(failure: Failure, cause: Cause) -> list[Resource]:
    window = _window(failure, cause.suspect)
    current = {"CPU": _cpu(window), "memory": _memory(window), "IOPS": _iops(window)}
    after = "unknown: the change is not written yet"
    return [Resource(name=name, current=now, estimated=after, change="unknown") for name, now in current.items()]


def _window(failure: Failure, service: str) -> Json:
    """The last one of the suspect; of the case's only one, when the suspect is none; else nothing."""
    own = [window for window in failure.windows if window["service"] == service]
    return own[-1] if own else failure.windows[0] if len(failure.windows) == 1 else {}


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


def rollback(failure: Failure) -> list[Step]:
    """Section 7: back to how this run found it."""
    catalogue, allowlist = failure.bundle / CATALOGUE, failure.bundle / ALLOWLIST
    check = _shell("vx11", "allowlist", "check", "--catalogue", catalogue, "--allowlist", allowlist)
    again = _shell("vx11", "run", failure.matrix, "--case", failure.case)
    return [
        Step(purpose="close every window, so that nothing runs with the patch", command="vx11 solo-madre"),
        *(_from_git(failure.revision, failure.bundle) if failure.revision else _from_copy(failure.bundle)),
        Step(purpose="what may be opened is what was allowed", command=check),
        Step(purpose="the case does what it did before the patch", command=again),
        Step(purpose="only the core runs", command="vx11 solo-madre --check"),
    ]


def _from_copy(bundle: Path) -> list[Step]:
    kept = bundle.with_name(f"{bundle.name}.before-patch")
    made = _shell("cp", "-a", "--", bundle, kept)
    purpose = (
        "bring the bundle back; the commit to return to is unknown, since it is in no git repository, so make a copy "
        f"before it is patched: {made}"
    )
    return [Step(purpose=purpose, command=_shell("cp", "-a", "--", f"{kept}/.", bundle))]


def _from_git(revision: Revision, bundle: Path) -> list[Step]:
    purpose = "bring the bundle back to the commit of this run"
    if revision.changed:
        shown = ", ".join(revision.changed[:PATHS_SHOWN])
        more = f" and {len(revision.changed) - PATHS_SHOWN} more" if len(revision.changed) > PATHS_SHOWN else ""
        purpose += f"; this discards what was changed and not committed then: {shown}{more}"
    git = ("git", "-C", revision.root)
    diff = _shell(*git, "diff", revision.commit, "--", bundle)
    back = _shell(*git, "checkout", "--no-overlay", revision.commit, "--", bundle)
    return [
        Step(purpose="see what differs from the commit of this run", command=diff),
        Step(purpose=purpose, command=back),
    ]


def next_actions(failure: Failure, cause: Cause) -> list[Check]:
    """Section 8."""
    window = _shell("vx11", "window", "open", cause.suspect, "--ttl", "5m")
    where = f" ({window})" if cause.kind in (Kind.SERVICE, Kind.LIMITS) else ""
    return [
        Check(text="human review: somebody reads the evidence and decides on the primary suspect"),
        Check(text=f"a window to validate the patch, with the patched target{where}"),
        Check(text=f"matrix extended against regression: a case or an assert that fails as {failure.case} did"),
        Check(text="knowledge base: what was found, and what it came from"),
    ]


def _shell(*words: str | Path) -> str:
    return shlex.join(map(str, words))
