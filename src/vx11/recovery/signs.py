"""Signs: each a single thing that evidence shows of a failure, with the place where a reader finds it. Pure.

A sign is about a service, a suite, an assert, a case or the core. What it says for and against a cause stands in
`rules`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from textwrap import shorten

from vx11.recovery import findings, logs
from vx11.recovery.failure import Call, FailedTest, Failure, Json
from vx11.units import show_duration, show_size

# Of a limit: from this share on it is used up, below that one there is room.
FULL, SPARE = 0.9, 0.6
# A figure is beyond its past when it is this many times its median, and more than ever before.
BEYOND, ENOUGH = 1.5, 3
# Seconds of a processor that a program takes to come up; beyond them, the share of one that something still at work
# uses on a machine where others work too, and the share of one that waits.
COMING_UP, BUSY, IDLE = 0.3, 0.1, 0.05
SHOWN = 160
KILLED, SIGNALS = 137, range(129, 193)
MADRE, TOKEN = "madre", "the token"
_CODE = re.compile(r"exit code (-?\d+)")
_NEEDS = re.compile(r"needs (\S+), which did not open")
_CHECK = re.compile(r"was answered with (\d\d\d)")
_STATUS = re.compile(r"\b([45]\d\d)\b")
_UNREACHED = re.compile(r"connection refused|\[Errno|remote end closed|was not answered within", re.IGNORECASE)
_LOOKUP = re.compile(r"no window of (\S+) is open")
_FRAME = re.compile(r"^([\w./-]+\.py):(\d+): (\w+)", re.MULTILINE)
# What a test raises when a service does not answer; what comes first is taken first.
_SILENCE = {
    "cuts_off": re.compile(
        r"RemoteProtocolError|ReadError|WriteError|ConnectionReset|disconnected|connection reset|broken pipe"
        r"|IncompleteRead|RemoteDisconnected",
        re.IGNORECASE,
    ),
    "refuses_connections": re.compile(
        r"ConnectError|ConnectionRefused|connection refused|no route to host|unreachable", re.IGNORECASE
    ),
    "does_not_answer": re.compile(r"(?:Read|Connect|Pool|Write)?Timeout|timed? ?out|did not answer", re.IGNORECASE),
}
_DEATHS = frozenset(
    {"exit_code", "exit_0", "signal", "sigkill", "vanished", "early_exit", "not_ready", "no_window_left"}
)
_HARM = _DEATHS | {"cut_off", "frozen", "killed_on_purpose", "expired_in_use"}
_TIMES = frozenset({"ms", "s", "us", "min"})


# What each sign is, as the docs tell it.
MEANINGS = {
    "exit_code": "a window closed as crashed, with an exit code from 1 to 127",
    "exit_0": "the same with exit code 0: it stopped by itself",
    "signal": "it ended by a signal other than SIGKILL",
    "sigkill": "it ended by SIGKILL",
    "vanished": "what ran in the window was gone",
    "early_exit": "it ended before it was ready",
    "not_ready": "it was not ready in time",
    "check_refused": "its readiness check was answered with 4xx",
    "check_failed": "its readiness check was answered with 5xx",
    "check_unheard": "nobody listened where its readiness check asks",
    "busy_start": "until then it used a tenth of a processor or more, beyond 0.3 s to come up",
    "idle_start": "until then it used less than a twentieth",
    "started_slowly_before": "in earlier runs it took more than half of its ready_timeout",
    "started_quickly_before": "in earlier runs it never took so long",
    "waited_in_vain": "what it needs did not open",
    "was_needed": "another service did not open for want of it",
    "lived": "it ran until the end of the case",
    "expired_in_use": "its time was over before what failed was over, or before it was ready",
    "memory_full": "it used nine tenths of its limit of memory or more",
    "memory_spare": "it used less than six tenths of it",
    "memory_unlimited": "it has no limit of memory",
    "cpu_full": "it used nine tenths of its limit of processor time or more",
    "iops_full": "between two looks it did nine tenths of its limit of I/O operations or more",
    "pids_limited": "it has a limit of processes",
    "pids_unlimited": "it has none",
    "cut_off": "the fault network_partition was proven to bite",
    "frozen": "the fault pause was proven to bite",
    "killed_on_purpose": "the fault kill was proven to bite",
    "fault_was_gone": "the fault was taken back before what failed was over",
    "traceback": "its log has a stack trace",
    "says_port_taken": "its log says that an address is in use",
    "says_disk_full": "its log says that a disk, a quota or a file is full",
    "says_no_memory": "its log says that memory is lacking",
    "says_no_process": "its log says that no thread or process can be had",
    "says_no_peer": "its log says that another service is not reached",
    "says_deadly": "its log has the end by a deadly signal",
    "says_stuck": "its log has what a runtime writes when something hangs",
    "says_not_set_up": "its log says that a file, an argument or a module is missing",
    "says_refused": "its log has an answer 401 or 403",
    "not_allowed": "madre refused: not on the allowlist, or not with this entry",
    "asks_too_much": "madre refused: more time, other limits, or what there is not",
    "no_permit": "madre refused: token or scope",
    "not_enforced": "madre refused: the engine cannot enforce a limit",
    "core_cannot": "madre refused: evidence, engine, or an earlier window",
    "madre_silent": "a call got no answer from madre",
    "entry_silent": "the entry did not answer after the playbook",
    "not_solo": "the host did not come back to SOLO_MADRE",
    "left_behind": "something was left after the clean-up",
    "no_window_left": "a test found no open window",
    "suite_mistake": "a test raised something that is no assertion and none of its client's",
    "suite_broken": "pytest could not run the suite to its end",
    "says_unauthorised": "a test failed on 401 or 403",
    "says_4xx": "a test failed on another 4xx",
    "says_5xx": "a test failed on 5xx",
    "cuts_off": "a test failed because a connection was closed",
    "refuses_connections": "a test failed because a connection was refused",
    "does_not_answer": "a test failed because there was no answer in time",
    "answers_wrong": "a test failed on an assertion without a status",
    "not_observed": "an assert was not observed",
    "failed_before": "something else had failed by then",
    "untrue": "an assert that is no figure does not hold",
    "missed_slightly": "a figure misses its bound by a tenth or less",
    "missed_widely": "a figure misses it by more",
    "near_miss": "the same as missed_slightly, told of the services of the case",
    "slow_figure": "a time misses its bound",
    "bad_figure": "another figure misses its bound",
    "beyond_past": "it is more than ever in earlier tries that passed, and half as much again as their median",
    "within_past": "it is not",
    "out_of_time": "the playbook was not done in time",
    "suite_waited": "a suite had not come to its end then, told of the services of the case",
    "suite_under_way": "the same, told of the case",
    "task_failed": "a task failed",
    "unplayable": "ansible-playbook ended before a task failed",
    "own_call_failed": "what failed was a call of a module of ours, which tells more",
    "other_harmed": "another service of the case came to harm before",
    "service_harmed": "a service of the case came to harm",
    "lacks_peer": "a service whose address it gets had no window that got ready",
}


@dataclass(frozen=True)
class Sign:
    """One of them.

    Attributes:
        about: a service, a suite, an assert, a case, `madre` …, by name.
        where: the record, or file and line, that shows it.
        share: 1, or less when it may as well be about others.
        key: what tells this failure from another one with the same sign; the same for the same bug.
        ns: when, wall time since the epoch; None when that is not known or means nothing.
    """

    name: str
    about: str
    text: str
    where: str
    share: float = 1.0
    key: str = ""
    ns: int | None = None


def of(failure: Failure) -> list[Sign]:
    """All signs of a failure."""
    found = [sign for look in _LOOKS for sign in look(failure)]
    return [*found, *_context(failure, found)]


def exit_code(detail: str) -> int | None:
    """As a shell counts: 128 and the number of the signal that ended it; None when it is not told."""
    match = _CODE.search(detail)
    number = int(match[1]) if match else None
    return 128 - number if number is not None and number < 0 else number


def _services(failure: Failure) -> list[str]:
    """Those that had a window, each once."""
    return list(dict.fromkeys(str(window["service"]) for window in failure.windows))


def _record(failure: Failure, window: Json, *actions: str) -> tuple[str, int | None]:
    """Where madre's evidence has the last of these actions of a window, and when that was."""
    for record in reversed(failure.records):
        if record["subject"] == window.get("window_id") and record["action"] in actions:
            return f"madre's record {record['seq']}", int(record["wall_ns"])
    return f"window {window.get('window_id')}, by madre's status", None


# Windows --------------------------------------------------------------------------------------------------------------


def _ends(failure: Failure) -> Iterator[Sign]:
    for window in failure.windows:
        service, reason, detail = str(window["service"]), window.get("reason"), str(window.get("detail") or "")
        where, at = _record(failure, window, "closed", "open_failed")
        if reason == "crashed":
            yield replace(_death(service, detail), where=where, ns=at)
        elif reason == "lost":
            yield Sign("vanished", service, f"what ran in its window was gone: {detail}", where, ns=at)
        elif reason == "open_failed":
            for sign in _unopened(service, detail):
                yield replace(sign, where=where, ns=at)
        elif reason in (None, "solo_madre", "requested", "completed"):
            said = "it ran until its window was closed" if reason else "it still ran when its window was last looked at"
            yield Sign("lived", service, said, *_record(failure, window, "opened", "closed")[:1])


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
    from signal import Signals

    try:
        return Signals(code - 128).name
    except ValueError:
        return f"signal {code - 128}"


def _unopened(service: str, detail: str) -> Iterator[Sign]:
    said = f"its window did not open: {detail}"
    code = exit_code(detail)
    if needed := _NEEDS.search(detail):
        yield Sign("waited_in_vain", service, said, "")
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
        where, at = _record(failure, window, "closed", "closing")
        if "time of" in str(window.get("detail") or "") and window.get("reason") in ("expired", "open_failed"):
            yield Sign("expired_in_use", service, f"its time was over before it was ready: {window['detail']}", where)
            continue
        if window.get("reason") != "expired" or at is None:
            continue
        later = [ns for ns in _failure_times(failure) if ns > at]
        if later:
            late = show_duration((later[0] - at) / 1e9)
            said = f"its time was over, and its window closed, {late} before what failed was over"
            yield Sign("expired_in_use", service, said, where, ns=at)


def _failure_times(failure: Failure) -> list[int]:
    tests = [test.ended_ns for test in failure.tests if test.ended_ns is not None]
    return sorted([*tests, *(call.ended_ns for call in failure.calls if call.failed)])


def _usage(failure: Failure) -> Iterator[Sign]:
    for window in failure.windows:
        usage, limits = window.get("usage") or {}, window.get("resources") or {}
        service, where = str(window["service"]), _record(failure, window, "closed", "opened")[0]
        yield from _of_limit(service, "memory", usage.get("memory_peak_bytes"), limits.get("memory"), where, show_size)
        cpu = max((usage.get(name) or 0.0 for name in ("cpu_percent", "cpu_peak_percent")), default=0.0)
        limit = limits.get("cpu")
        yield from _of_limit(
            service, "cpu", cpu or None, 100 * limit if limit else None, where, lambda percent: f"{percent:.0f} %"
        )
        for kind in ("read", "write"):
            rate = _highest_rate(failure.samples, window.get("window_id"), f"io_{kind}_ops")
            yield from _of_limit(service, "iops", rate, limits.get(f"{kind}_iops"), "usage.jsonl", _per_second)
        name = "pids_limited" if limits.get("pids") else "pids_unlimited"
        yield Sign(name, service, f"its limit of processes is {limits.get('pids') or 'none'}", where)


def _per_second(rate: float) -> str:
    return f"{rate:.0f} operations a second"


def _of_limit(
    service: str, what: str, used: float | None, limit: float | None, where: str, show: Callable[..., str]
) -> Iterator[Sign]:
    if not limit:
        yield Sign(f"{what}_unlimited", service, f"its window has no limit of {what}", where)
    elif used is not None and used >= FULL * limit:
        yield Sign(f"{what}_full", service, f"of {what} it used {show(used)} of a limit of {show(limit)}", where)
    elif used is not None and used < SPARE * limit:
        said = f"of {what} it used no more than {show(used)} of a limit of {show(limit)}"
        yield Sign(f"{what}_spare", service, said, where)


def _highest_rate(samples: Sequence[Json], window_id: object, name: str) -> float | None:
    """Operations a second between any two looks."""
    looks = [window.get("usage") for look in samples for window in look["windows"] if window["window_id"] == window_id]
    known = {look["sampled_at"]: look[name] for look in looks if look and look.get(name) is not None}
    rates = [
        (known[second] - known[first]) / seconds
        for first, second in pairwise(sorted(known))
        if (seconds := _seconds(first, second)) > 0
    ]
    return max(rates, default=None)


def _seconds(first: str, second: str) -> float:
    return (datetime.fromisoformat(second) - datetime.fromisoformat(first)).total_seconds()


def _starts(failure: Failure) -> Iterator[Sign]:
    """What became of the time of a service that did not get ready, and how long it took before."""
    for window in failure.windows:
        if "not ready within" not in str(window.get("detail") or ""):
            continue
        service, where = str(window["service"]), _record(failure, window, "open_failed", "closed")[0]
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
        elif record["action"] == "fault_gone" and any(ns > at for ns in _failure_times(failure)):
            yield Sign("fault_was_gone", service, f"the fault {data.get('fault')} was taken back by then", where, ns=at)


# Logs -----------------------------------------------------------------------------------------------------------------


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


# Calls and tests ------------------------------------------------------------------------------------------------------

_REFUSALS = {
    "service_not_allowed": "not_allowed",
    "token_missing": "no_permit",
    "token_invalid": "no_permit",
    "scope_missing": "no_permit",
    "limits_not_applied": "not_enforced",
    "window_stuck": "core_cannot",
    "evidence_unavailable": "core_cannot",
    "engine_unavailable": "core_cannot",
    "returning_to_solo_madre": "core_cannot",
    "internal": "core_cannot",
    "fault_failed": "core_cannot",
    "open_failed": "",  # the window of it tells more
}


def _calls(failure: Failure) -> Iterator[Sign]:
    closed = {str(window["service"]) for window in failure.windows if window.get("reason") == "expired"}
    for call in failure.calls:
        code, service = findings.code(call), named(call)
        if not call.failed:
            continue
        if code == "no_window" and service in closed:
            continue  # its expiry tells more
        if code:
            name = _REFUSALS.get(code, "asks_too_much")
            about = {"no_permit": TOKEN, "core_cannot": MADRE}.get(name, service)
            if name:
                said = f"madre refused {call.module} of {service}: {code}"
                yield Sign(name, about, said, call.where, key=code, ns=call.ended_ns)
        elif call.module != "vx11_suite" and _UNREACHED.search(call.message):
            yield Sign("madre_silent", MADRE, f"{call.module} got no answer: {call.message[:200]}", call.where)
        elif call.module == "vx11_suite" and not failure.tests and "could not be run" in call.message:
            yield Sign("suite_broken", str(call.args.get("name")), call.message.splitlines()[0], call.where)


def named(call: Call) -> str:
    """What a call is about, by name."""
    many = call.args.get("services")
    if isinstance(many, list):
        return ", ".join(map(str, many))
    return str(call.args.get("service") or call.args.get("window_id") or call.args.get("name") or call.module)


def _tests(failure: Failure) -> Iterator[Sign]:
    for test in failure.tests:
        if lookup := _LOOKUP.search(test.message):
            yield Sign("no_window_left", lookup[1], f"test {test.name} found no open window of it", test.where)
        elif own := _own_mistake(test):
            file, line = _own_frame(test)
            said = f"test {test.name} raised {own} itself" + (f", at {file}:{line}" if file else "")
            yield Sign("suite_mistake", test.suite, said, test.where, key=f"{own} in {test.name}", ns=test.ended_ns)
        else:
            yield from _answers(test, failure)


def _own_mistake(test: FailedTest) -> str:
    """The exception of a test that is no assertion and none of its client's; empty for another one."""
    if re.search(r"collection failure|fixture '|SyntaxError|ImportError|ModuleNotFoundError", test.message):
        return "an error before it began"
    message = test.message.removeprefix("failed on setup with ").lstrip('"')
    found = re.match(r"([A-Za-z_][\w.]*(?:Error|Exception|Warning|Exit|Interrupt))\b", message)
    if not found or found[1].startswith("Assertion"):
        return ""
    silent = any(pattern.search(test.message) for pattern in _SILENCE.values())
    return "" if silent or found[1].startswith("httpx.") or _STATUS.search(test.message) else found[1]


def _own_frame(test: FailedTest) -> tuple[str, str]:
    frames = _FRAME.findall(test.traceback)
    return (frames[-1][0], frames[-1][1]) if frames else ("", "")


def _answers(test: FailedTest, failure: Failure) -> Iterator[Sign]:
    """What a test saw of a service: of the one it names, else of each that it may have been."""
    name, word = _outcome(test)
    services, how = _blamed(test, failure)
    for service in services:
        shown = shorten(test.message, SHOWN, placeholder=" …")
        said = f"test {test.name} of the suite {test.suite} failed{f' ({word})' if word else ''}: {shown}"
        key = f"{test.name} {word}".strip()
        yield Sign(name, service, f"{said}; {how}", test.where, 1 / len(services), key, test.ended_ns)


def _outcome(test: FailedTest) -> tuple[str, str]:
    """Name of the sign, and the word for it."""
    status = _STATUS.search(test.message)
    if status and status[1] in ("401", "403"):
        return "says_unauthorised", f"status {status[1]}"
    if status:
        return "says_5xx" if status[1].startswith("5") else "says_4xx", f"status {status[1]}"
    for name, pattern in _SILENCE.items():
        if pattern.search(test.message):
            return name, name.replace("_", " ")
    return "answers_wrong", ""


def _blamed(test: FailedTest, failure: Failure) -> tuple[list[str], str]:
    """The services that a test may be about, and how that is known."""
    if found := _mentioned(test.message, failure):
        return found, "its message names the service"
    if found := _asked_last(test, failure):
        return found, "its last request was to the service"
    if found := _mentioned(test.traceback, failure):
        return found, "its traceback names the service"
    every = _services(failure)
    return every, "no other service had a window" if len(every) == 1 else f"one of {len(every)} that had a window"


def _mentioned(said: str, failure: Failure) -> list[str]:
    found = []
    for window in failure.windows:
        marks = [str(window["service"]), *_addresses(window)]
        if any(re.search(rf"(?<![\w-]){re.escape(mark)}(?![\w-])", said) for mark in marks if mark):
            found.append(str(window["service"]))
    return list(dict.fromkeys(found))


def _addresses(window: Json) -> list[str]:
    return [str(url).rpartition("//")[2] for url in window.get("endpoints") or ()]


def _asked_last(test: FailedTest, failure: Failure) -> list[str]:
    """The service of the last request before a test was over, if it tells of trouble."""
    asked = [
        r for r in failure.requests if r.suite == test.suite and (not test.ended_ns or r.ended_ns <= test.ended_ns)
    ]
    if not asked:
        return []
    last = max(asked, key=lambda request: request.ended_ns)
    return _mentioned(last.url, failure)


# Judgement ------------------------------------------------------------------------------------------------------------


def _asserts(failure: Failure) -> Iterator[Sign]:
    services = _services(failure)
    before = bool(failure.play_failure or failure.tests or findings.refusals(failure))
    for item in failure.wrong:
        where = f"judgement: {item.name}"
        if item.name in findings.BASE_ASSERTS:
            continue
        if item.observed is None:
            yield Sign("not_observed", item.name, "it was not observed", where, key="not observed")
            if before:
                yield Sign("failed_before", item.name, "something else had failed by then", where)
            continue
        share = findings.miss(item)
        said = f"{item.name} was {item.observed}, and expected {item.expected}"
        if share is None:
            yield from _shared("untrue", services, said, where, item.name)
            continue
        if share <= findings.SLIGHT:
            yield Sign("missed_slightly", item.name, f"{said}: off by {share:.1%} of the bound", where)
            yield from _shared("near_miss", services, f"{said}: off by {share:.1%} of the bound", where, "")
        else:
            yield Sign("missed_widely", item.name, f"{said}: off by {share:.1%} of the bound", where)
        name = "slow_figure" if item.observed.rpartition(" ")[2] in _TIMES else "bad_figure"
        yield from _shared(name, services, said, where, item.name)
        yield from _against_past(failure, item.name, item.observed, services)


def _shared(name: str, services: Sequence[str], said: str, where: str, key: str) -> Iterator[Sign]:
    for service in services:
        yield Sign(name, service, said, where, 1 / len(services), key)


def _against_past(failure: Failure, name: str, observed: str, services: Sequence[str]) -> Iterator[Sign]:
    past = sorted(failure.past.figures.get(name, ()))
    value = findings.number(observed)
    if len(past) < ENOUGH or value is None:
        return
    middle = past[len(past) // 2]
    said = f"{name} was {observed}; in {len(past)} earlier tries that passed it was {past[0]:g} to {past[-1]:g}"
    kind = "beyond_past" if value > past[-1] and value > BEYOND * middle else "within_past"
    yield Sign(kind, name, said, "earlier runs")
    yield from _shared(kind, services, said, "earlier runs", name)


def _play(failure: Failure) -> Iterator[Sign]:
    why = failure.play_failure
    where = "runner/stdout"
    if findings.is_timeout(failure):
        yield Sign("out_of_time", failure.case, why[:300], where, key="out of time")
        if "the suite " in why:
            yield Sign("suite_under_way", failure.case, "a suite had not come to its end", "suites/")
            services = _services(failure)
            yield from _shared(
                "suite_waited", services, f"a suite waited until the time was over: {why[:300]}", where, ""
            )
    elif why.startswith("task "):
        yield Sign("task_failed", failure.case, why[:300], where, key=why.partition(":")[0])
    elif why and not why.startswith("a suite failed"):
        yield Sign("unplayable", failure.case, why[:300], where, key="not played")
    if any(call.failed for call in failure.calls):
        failed = next(call for call in failure.calls if call.failed)
        yield Sign("own_call_failed", failure.case, f"what failed was {failed.module} of {named(failed)}", failed.where)


def _core(failure: Failure) -> Iterator[Sign]:
    after = failure.clean_up
    where = "the run's evidence.jsonl, cleaned_up"
    if after and not after.entry_answers:
        yield Sign("entry_silent", MADRE, "the entry did not answer after the playbook", where)
    if after and not after.solo_madre:
        yield Sign("not_solo", MADRE, "the host did not come back to SOLO_MADRE by itself", where)
    if after and after.leaked:
        yield Sign(
            "left_behind", failure.case, f"left after the clean-up: {', '.join(after.leaked)}", where, key="left"
        )


# What signs mean for each other ---------------------------------------------------------------------------------------


def _context(failure: Failure, found: Sequence[Sign]) -> Iterator[Sign]:
    """Of each service that something else of the case came to harm first; of suites and playbooks that any did."""
    harmed = [sign for sign in found if sign.name in _HARM]
    for service in {*_services(failure), *(sign.about for sign in harmed)}:
        own = [sign.ns for sign in harmed if sign.about == service and sign.ns is not None]
        others = [s for s in harmed if s.about != service and (not own or (s.ns is not None and s.ns < min(own)))]
        if others:
            first = min(others, key=lambda sign: sign.ns or 0)
            yield Sign("other_harmed", service, f"{first.about} came to harm before: {first.text}", first.where)
    if harmed:
        first = harmed[0]
        for about in {failure.case, *(test.suite for test in failure.tests)}:
            yield Sign("service_harmed", about, f"{first.about} came to harm: {first.text}", first.where)
    yield from _lonely(failure)


def _lonely(failure: Failure) -> Iterator[Sign]:
    """Services whose neighbours had no window, or none any more."""
    live = {str(window["service"]) for window in failure.windows if window.get("ready_at")}
    for service in _services(failure):
        for other in failure.service(service).neighbours:
            if other not in live:
                said = f"it knows the address of {other}, which had no window that got ready"
                yield Sign("lacks_peer", service, said, "the case's windows, by madre's status", key=other)


_LOOKS: tuple[Callable[[Failure], Iterable[Sign]], ...] = (
    _ends,
    _expiries,
    _usage,
    _starts,
    _faults,
    _said,
    _calls,
    _tests,
    _asserts,
    _play,
    _core,
)
