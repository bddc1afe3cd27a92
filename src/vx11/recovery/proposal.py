"""What a human may do about a cause: a patch to consider, and what comes next.

Reads the files of the bundle; writes nothing.
"""

import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vx11 import yamlfile
from vx11.recovery import edits, findings, logs
from vx11.recovery.edits import Edit
from vx11.recovery.failure import Failure, Json
from vx11.recovery.hypotheses import Cause, Kind
from vx11.recovery.model import UNKNOWN, Change, Check, Patch
from vx11.units import MIB, show_duration, show_size

CATALOGUE, ALLOWLIST, DIFF = "catalogue.yml", "allowlist.yml", "proposed.diff"
MORE = 2
_Type = Literal["config", "code", "dependency", "unknown"]
_VALIDATION = (
    "the case and the whole matrix are run again, and pass",
    "backwards compatibility: who uses the target now is not broken",
    "performance: processor, memory and I/O are compared with those of this run",
    "security review: no token, port, capability or service is opened that was not",
)


@dataclass(frozen=True)
class Proposed:
    """A change to consider.

    Attributes:
        type: what sort of change it is.
        target: what is changed, by name.
        edits: those of them that can be written down as lines of files.
        means: resource → what it may be after, and by how much it changes.
    """

    type: _Type
    target: str
    changes: Sequence[Change]
    edits: Sequence[Edit] = ()
    means: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def propose(failure: Failure, cause: Cause) -> Proposed:
    """What may be changed about a cause."""
    make = _BY_RULE.get(cause.rule.name) or _BY_KIND[cause.kind]
    return make(failure, cause)


def patch(failure: Failure, proposed: Proposed) -> Patch:
    """Section 5."""
    checks = [Check(text=text) for text in _VALIDATION]
    if diff(failure, proposed):
        command = f"{shell('patch', '--dry-run', '-p1', '-d', failure.bundle)} < {DIFF}"
        told = f"{DIFF} beside this file; whether it still fits shows, from this folder: {command}"
    else:
        told = "none: what would have to be written is not known, or stands outside of the bundle"
    return Patch(
        type=proposed.type, target=proposed.target, changes=list(proposed.changes), diff=told, validation=checks
    )


def diff(failure: Failure, proposed: Proposed) -> str:
    """The changes as a unified diff; empty for none."""
    return edits.diff(failure.bundle, proposed.edits)


def _change(file: str, why: str, *, line: int | Literal["unknown"] = UNKNOWN, from_: str = UNKNOWN) -> Change:
    return Change(file=file, line=line, from_=from_, to=UNKNOWN, why=why)


def _edited(failure: Failure, edit: Edit, why: str) -> Change:
    return Change(file=_within(failure, edit.file), line=edit.line, from_=edit.from_, to=edit.to, why=why)


# Code -----------------------------------------------------------------------------------------------------------------


def _in_service(failure: Failure, cause: Cause) -> Proposed:
    """Where the service's log has a traceback, its last frame in the program; else nobody knows from outside."""
    scripts = [word for word in failure.service(cause.suspect).program if word.endswith((".py", ".sh", ".js"))]
    found = logs.traces(failure.logs.get(cause.suspect, ()))
    if found:
        last = found[-1]
        why = f"{last.said.strip()}, raised in {last.function}; what is to be changed there needs a reader of the code"
        from_ = last.source or UNKNOWN
        return Proposed("code", cause.suspect, [_change(_within(failure, last.file), why, line=last.line, from_=from_)])
    why = "the case sees the service from outside: it shows what is answered, not the line that answers so"
    return Proposed("code", cause.suspect, [_change(scripts[0] if scripts else UNKNOWN, why)])


def _within(failure: Failure, file: str | Path) -> str:
    """A file as its bundle names it; one of elsewhere as it was told."""
    path = Path(file)
    return str(path.relative_to(failure.bundle) if path.is_relative_to(failure.bundle) else path)


def _in_suite(failure: Failure, cause: Cause) -> Proposed:
    test = next((test for test in failure.tests if cause.suspect in (test.suite, *_services(failure))), None)
    if test is None:
        why = f"where {cause.suspect} should be recorded is for who writes the suite to say"
        return Proposed("code", failure.case, [_change(UNKNOWN, why)])
    line = next(
        (int(number) for number in re.findall(rf"{re.escape(test.suite)}\.py:(\d+):", test.traceback)[::-1]), None
    )
    why = f"{test.name}: {test.message}"
    return Proposed("code", test.suite, [_change(f"suites/{test.suite}.py", why, line=line or UNKNOWN)])


def _services(failure: Failure) -> list[str]:
    return [str(window["service"]) for window in failure.windows]


def _in_playbook(failure: Failure, cause: Cause) -> Proposed:
    file = failure.playbook or failure.matrix
    told = cause.supports[0].sign.text if cause.supports else cause.rule.claim
    why = f"playbook.yml in the evidence is what was played, runner/stdout what came of it: {told}"
    return Proposed("code", failure.case, [_change(str(file), why)])


def _nowhere(_failure: Failure, cause: Cause) -> Proposed:
    why = f"{cause.rule.claim}: no file of the bundle is suspected"
    return Proposed(UNKNOWN, cause.suspect, [_change(UNKNOWN, why)])


# Limits ---------------------------------------------------------------------------------------------------------------

_KEYS: Mapping[str, Sequence[Sequence[str]]] = {
    "memory": (("deploy", "resources", "limits", "memory"), ("mem_limit",)),
    "cpu": (("deploy", "resources", "limits", "cpus"), ("cpus",)),
    "pids": (("deploy", "resources", "limits", "pids"), ("pids_limit",)),
    "iops": (),
}


def _limit(name: str, show: Callable[[Any], str], write: Callable[[float], str]) -> Callable[..., Proposed]:
    """A change of a limit to twice as much."""

    def make(failure: Failure, cause: Cause) -> Proposed:
        limits = window_of(failure, cause.suspect).get("resources") or {}
        now = limits.get(name) or limits.get("write_iops" if name == "iops" else name) or limits.get("read_iops")
        if now is None:
            return _nowhere(failure, cause)
        after = now * MORE
        why = (
            f"how much it would have used was not seen, since the limit cut it off; {show(after)} is a first try, "
            "to be measured and cut again"
        )
        edit = _limit_edit(failure, cause.suspect, name, write(after))
        means = {
            {"memory": "memory", "cpu": "CPU", "iops": "IOPS"}.get(name, name): (
                f"at most {show(after)}",
                f"up to +{show(after - now)}",
            )
        }
        target = f"services.{cause.suspect}: limit of {name}"
        if edit is None:
            where = f"{CATALOGUE} or {failure.matrix.name}"
            change = Change(
                file=where, line=UNKNOWN, from_=f"{name}: {show(now)}", to=f"{name}: {show(after)}", why=why
            )
            return Proposed("config", target, [change], means=means)
        return _with_allowlist(failure, cause.suspect, target, edit, why, means)

    return make


def _limit_edit(failure: Failure, service: str, name: str, value: str) -> Edit | None:
    """In the case, which comes first, else in the catalogue."""
    for file, location in _asked(failure, service, name):
        if edit := edits.set_value(file, location, value):
            return edit
    entry = ("services", service)
    for keys in _KEYS[name]:
        if edit := edits.set_value(failure.bundle / CATALOGUE, (*entry, *keys), value, entry):
            return edit
    return None


def _asked(failure: Failure, service: str, name: str) -> list[tuple[Path, Sequence[Any]]]:
    """Where the case asks for a limit of a window, or for its time: the last place that says so first."""
    found: list[tuple[Path, Sequence[Any]]] = []
    file = failure.playbook or failure.matrix
    data = edits.read(file)
    top: Sequence[Any] = () if failure.playbook else _case_in(data, failure.case)
    part = edits.at(data, top)

    def opens(item: Any) -> bool:
        if not isinstance(item, dict):
            return False
        task: Any = next(
            (item[key] for key in item if str(key).endswith("vx11_window") and isinstance(item[key], dict)), {}
        )
        asked = item.get("open_window", item.get("attempt_open", task.get("services", task.get("service"))))
        return service in (asked if isinstance(asked, list) else [asked])

    for location in edits.found(part, opens):
        item = edits.at(part, location)
        module = next((key for key in item if str(key).endswith("vx11_window")), None)
        below = (module,) if module else ("params",)
        for keys in ((*below, name), (*below, "resources", name)):
            found += [(file, (*top, *location, *keys))] if edits.at(item, keys) is not None else []
    throttles = [(*at, "set_throttle", name) for at in edits.found(part, lambda item: _throttles(item, name))]
    found += [(file, (*top, *location)) for location in throttles]
    return found


def _throttles(item: Any, name: str) -> bool:
    return isinstance(item, dict) and name in (item.get("set_throttle") or {})


def _case_in(data: Any, case: str) -> Sequence[Any]:
    cases = edits.at(data, ("test_matrix", "cases")) or []
    number = next((n for n, item in enumerate(cases) if isinstance(item, dict) and item.get("id") == case), -1)
    return ("test_matrix", "cases", number)


def _with_allowlist(
    failure: Failure, service: str, target: str, edit: Edit, why: str, means: Mapping[str, tuple[str, str]]
) -> Proposed:
    """A change of a service's entry is one of what may be opened, too."""
    changes = [_edited(failure, edit, why)]
    if edit.file.name == CATALOGUE:
        changes.append(_allow(failure, service, "the entry is another one then, which somebody has to allow"))
    return Proposed("config", target, changes, [edit], means)


def _allow(failure: Failure, service: str, why: str) -> Change:
    data = edits.read(failure.bundle / ALLOWLIST)
    location = ("services", service, "sha256")
    known = edits.at(data, location)
    line = yamlfile.line_of(data, location) if known else None
    command = shell(
        "vx11", "allowlist", "update", "--catalogue", CATALOGUE, "--allowlist", ALLOWLIST, "--service", service
    )
    return Change(
        file=ALLOWLIST,
        line=line or UNKNOWN,
        from_=f"sha256: {known}" if known else f"no digest of {service}",
        to=f"what this writes: {command}",
        why=why,
    )


def _ready_timeout(failure: Failure, cause: Cause) -> Proposed:
    now = failure.service(cause.suspect).ready_timeout
    past = failure.past.startups.get(cause.suspect, ())
    after = math.ceil(max(now, max(past, default=0.0) / 1000) * MORE)
    shown = f"{MORE} times" + (
        " the longest of earlier starts" if past and max(past) / 1000 > now else " what it has now"
    )
    why = f"how long it would have taken was not seen, since it was ended; {after} s is {shown}: a first try"
    catalogue, entry = failure.bundle / CATALOGUE, ("services", cause.suspect, "x-vx11")
    edit = edits.set_value(catalogue, (*entry, "ready_timeout"), f"{after}s", entry) or edits.add_key(
        catalogue, entry, f"ready_timeout: {after}s"
    )
    target = f"services.{cause.suspect}.x-vx11.ready_timeout"
    if edit is None:
        change = Change(file=CATALOGUE, line=UNKNOWN, from_=f"ready_timeout: {now:g}s", to=f"{after}s", why=why)
        return Proposed("config", target, [change])
    return _with_allowlist(failure, cause.suspect, target, edit, why, {})


def _ready_check(failure: Failure, cause: Cause) -> Proposed:
    """The path that other services of the catalogue are asked for, where this one is asked for another."""
    catalogue = failure.bundle / CATALOGUE
    data = edits.read(catalogue)
    keys = ("x-vx11", "ready", "http", "path")
    entries = edits.at(data, ("services",)) or {}
    now = edits.at(entries, (cause.suspect, *keys))
    others = [path for name in entries if name != cause.suspect and (path := edits.at(entries, (name, *keys)))]
    usual = max(set(others), key=others.count) if others else None
    target = f"services.{cause.suspect}.x-vx11.ready"
    location = ("services", cause.suspect, *keys)
    if now is None or usual is None or usual == now:
        change = _change(CATALOGUE, "which path it answers was not seen", from_=f"path: {now}" if now else UNKNOWN)
        return Proposed("config", target, [change])
    why = f"{now} is not there; {usual} is what {others.count(usual)} other services of the catalogue are asked for"
    edit = edits.set_value(catalogue, location, str(usual), ("services", cause.suspect))
    if edit is None:
        return Proposed("config", target, [_change(CATALOGUE, why, from_=f"path: {now}")])
    return _with_allowlist(failure, cause.suspect, target, edit, why, {})


def _dependency(failure: Failure, cause: Cause) -> Proposed:
    """What it knows the address of, and had no window, is started before it."""
    lacking = [ground.sign.key for ground in cause.supports if ground.sign.name == "lacks_peer"]
    target = f"services.{cause.suspect}.depends_on"
    if not lacking:
        why = "which service it lacks is not known: its log names none that its entry knows"
        return Proposed("dependency", target, [_change(CATALOGUE, why)])
    text = f"depends_on: {{{lacking[0]}: {{condition: service_healthy}}}}"
    why = f"{cause.suspect} cannot work without {lacking[0]}, and nothing opens that before it"
    catalogue, entry = failure.bundle / CATALOGUE, ("services", cause.suspect)
    has_some = edits.at(edits.read(catalogue), (*entry, "depends_on"))
    edit = None if has_some else edits.add_key(catalogue, entry, text)
    if edit is None:
        change = Change(file=CATALOGUE, line=UNKNOWN, from_=UNKNOWN, to=text, why=why)
        return Proposed("dependency", target, [change])
    made = _with_allowlist(failure, cause.suspect, target, edit, why, {})
    return Proposed("dependency", target, made.changes, made.edits)


# What the case asks for -----------------------------------------------------------------------------------------------


def _ttl(failure: Failure, cause: Cause) -> Proposed:
    """Half as much again as what the case needed until it failed; a case that was cut off needs more."""
    window = window_of(failure, cause.suspect)
    had = next((r["data"].get("ttl_s") for r in failure.records if r["subject"] == window.get("window_id")
                and r["action"] == "opening"), None)  # fmt: skip
    opened = next((int(r["wall_ns"]) for r in failure.records if r["subject"] == window.get("window_id")), None)
    ends = [test.ended_ns for test in failure.tests if test.ended_ns is not None]
    needed = (max([*ends, failure.judged_ns]) - opened) / 1e9 if opened else float(had or 0) * MORE
    after = math.ceil(max(1.5 * needed, 1.0))
    why = f"{show_duration(needed)} after it was opened the case was at work with it, and not done; half as much again"
    target = f"{failure.case}: time to live of {cause.suspect}"
    means = {"CPU": ("as now, for longer", f"open up to {after} s")}
    for file, location in _asked(failure, cause.suspect, "ttl"):
        if edit := edits.set_value(file, location, f"{after}s"):
            return Proposed("config", target, [_edited(failure, edit, why)], [edit], means)
    from_ = f"ttl: {float(had):g}s" if had is not None else UNKNOWN
    change = Change(file=_case_file(failure), line=UNKNOWN, from_=from_, to=f"ttl: {after}s", why=why)
    return Proposed("config", target, [change], means=means)


def _case_file(failure: Failure) -> str:
    return str(failure.playbook or failure.matrix.name)


def _in_request(failure: Failure, cause: Cause) -> Proposed:
    """What was asked for; where that is too much time, as much as the service allows."""
    refused = {findings.code(call) for call in findings.refusals(failure)}
    if "ttl_too_long" in refused:
        most = failure.service(cause.suspect).max_ttl
        why = f"{cause.suspect} may stay open for {show_duration(most)} at most, by max_ttl of its entry"
        for file, location in _asked(failure, cause.suspect, "ttl"):
            if edit := edits.set_value(file, location, f"{most:g}s"):
                return Proposed("config", failure.case, [_edited(failure, edit, why)], [edit])
    told = cause.supports[0].sign.text if cause.supports else cause.rule.claim
    return Proposed("config", failure.case, [_change(_case_file(failure), f"what is to be asked for instead: {told}")])


def _in_allowlist(failure: Failure, cause: Cause) -> Proposed:
    why = "only if somebody who may decide it wants this service to be opened; that it is refused may be right"
    return Proposed("config", f"services.{cause.suspect}", [_allow(failure, cause.suspect, why)])


def _injected(failure: Failure, cause: Cause) -> Proposed:
    data = edits.read(failure.matrix)
    top = _case_in(data, failure.case)
    spots = [(*top, *at) for at in edits.found(edits.at(data, top), _is_fault)]
    line = yamlfile.line_of(data, (*spots[0], "force_failure")) if spots else None
    now = f"force_failure: {edits.at(data, (*spots[0], 'force_failure'))}" if spots else UNKNOWN
    why = "the case breaks the service itself: what fails after that is for it to expect (expect_failure), or to undo"
    file = failure.matrix.name if spots or not failure.playbook else str(failure.playbook)
    return Proposed("config", failure.case, [_change(file, why, line=line or UNKNOWN, from_=now)])


def _is_fault(item: Any) -> bool:
    return isinstance(item, dict) and "force_failure" in item


def _bound(failure: Failure, cause: Cause) -> Proposed:
    """Beyond what earlier runs had, where they are known."""
    item = next((item for item in failure.wrong if item.name == cause.suspect), None)
    past = failure.past.figures.get(cause.suspect, ())
    if item is None:
        return Proposed("config", failure.case, [_change(failure.matrix.name, "which bound it is was not seen")])
    data = edits.read(failure.matrix)
    top = _case_in(data, failure.case)
    spots = [(*top, *at, item.name) for at in edits.found(edits.at(data, top), lambda one: _asserts(one, item.name))]
    value, comparison = findings.number(item.observed or ""), re.match(r"\s*([<>]=?)?", item.expected)
    if len(past) >= 3 and value is not None and spots:
        worst = max([*past, value])
        after = re.sub(r"[-+]?\d+(?:\.\d+)?", f"{math.ceil(worst * 1.2):g}", item.expected, count=1)
        why = f"a fifth more than the most of {len(past)} earlier tries and this one, {worst:g}"
        quoted = f'"{after}"' if comparison and comparison[1] and comparison[1].startswith(">") else after
        if edit := edits.set_value(failure.matrix, spots[0], quoted):
            return Proposed("config", failure.case, [_edited(failure, edit, why)], [edit])
    line = yamlfile.line_of(data, spots[0]) if spots else None
    why = "one run does not show how much the figure varies; measure several before a bound is changed"
    now = f"{item.name}: {item.expected}"
    return Proposed("config", failure.case, [_change(failure.matrix.name, why, line=line or UNKNOWN, from_=now)])


def _asserts(item: Any, name: str) -> bool:
    return isinstance(item, dict) and list(item) == [name]


_BY_RULE: Mapping[str, Callable[[Failure, Cause], Proposed]] = {
    "memory_limit": _limit("memory", show_size, lambda size: f"{math.ceil(size / MIB)}MB"),
    "cpu_limit": _limit("cpu", lambda cpu: f"{cpu:g} processors", lambda cpu: f"{cpu:g}"),
    "process_limit": _limit("pids", lambda count: f"{count:.0f}", lambda count: f"{count:.0f}"),
    "io_limit": _limit("iops", lambda rate: f"{rate:.0f} a second", lambda rate: f"{rate:.0f}"),
    "ready_timeout": _ready_timeout,
    "ready_check": _ready_check,
    "lacks_dependency": _dependency,
    "ttl": _ttl,
    "injected": _injected,
    "bound": _bound,
}
_BY_KIND: Mapping[Kind, Callable[[Failure, Cause], Proposed]] = {
    Kind.SERVICE: _in_service,
    Kind.LIMITS: _nowhere,
    Kind.CATALOGUE: _nowhere,
    Kind.ALLOWLIST: _in_allowlist,
    Kind.REQUEST: _in_request,
    Kind.MATRIX: _nowhere,
    Kind.SUITE: _in_suite,
    Kind.PLAYBOOK: _in_playbook,
    Kind.CORE: _nowhere,
    Kind.ENVIRONMENT: _nowhere,
}


def next_actions(failure: Failure, cause: Cause) -> list[Check]:
    """Section 8."""
    window = shell("vx11", "window", "open", cause.suspect, "--ttl", "5m")
    where = f" ({window})" if cause.kind in (Kind.SERVICE, Kind.LIMITS) else ""
    return [
        Check(text="human review: somebody reads the evidence and decides on the primary suspect"),
        Check(text=f"a window to validate the patch, with the patched target{where}"),
        Check(text=f"matrix extended against regression: a case or an assert that fails as {failure.case} did"),
        Check(text="knowledge base: what was found, and what it came from"),
    ]


def window_of(failure: Failure, service: str) -> Json:
    """The last one of the suspect; of the case's only one, when the suspect is none; else nothing."""
    own = [window for window in failure.windows if window["service"] == service]
    return own[-1] if own else failure.windows[0] if len(failure.windows) == 1 else {}


def shell(*words: str | Path) -> str:
    """A command for a shell."""
    return shlex.join(map(str, words))
