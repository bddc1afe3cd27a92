"""What may have been the cause: simple rules over what is known, each with its confidence and how it was derived. Pure.

The confidence is that of the rule, in percent: how much the sign that it goes by says on its own. It is no frequency,
and since hypotheses do not exclude each other they need not sum up to 100.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from vx11.recovery import findings
from vx11.recovery.failure import Call, FailedTest, Failure, Json
from vx11.units import show_size


class Kind(StrEnum):
    """What sort of thing is suspected; it decides where a patch would be made."""

    SERVICE = "service"
    LIMITS = "limits"
    ALLOWLIST = "allowlist"
    REQUEST = "request"
    MATRIX = "matrix"
    SUITE = "suite"
    PLAYBOOK = "playbook"
    CORE = "core"
    ENVIRONMENT = "environment"


@dataclass(frozen=True)
class Cause:
    """One of them.

    Attributes:
        rule: the name of the rule that found it.
        suspect: a service, an assert, a suite …, by name.
        confidence: percent.
        derived: from which signs.
    """

    rule: str
    kind: Kind
    suspect: str
    claim: str
    confidence: int
    derived: str


_Rule = Callable[[Failure], Iterator[Cause]]
_KILLED = 137  # 128 and SIGKILL
# A window killed for memory had used nearly all of its limit; the peak is sampled, so it may have been missed.
_NEARLY = 0.95
_EXIT_CODE = re.compile(r"exit code (-?\d+)")
_STATUS = re.compile(r"\b[45]\d\d\b")
_NO_ANSWER = re.compile(r"ConnectError|ConnectionRefused|Connection refused|ReadTimeout|RemoteProtocolError|timed out")
_REFUSALS = {
    "service_not_allowed": (Kind.ALLOWLIST, "the allowlist does not have it, or not with this entry", 85),
    "service_unknown": (Kind.REQUEST, "the catalogue has no such service", 90),
    "ttl_too_long": (Kind.REQUEST, "more time is asked for than the service's max_ttl", 90),
    "limits_differ": (Kind.REQUEST, "it is open with other limits than were asked for", 85),
    "limits_not_applied": (Kind.ENVIRONMENT, "this engine does not enforce a limit that is asked for", 80),
    "window_stuck": (Kind.CORE, "an earlier window of it could not be closed", 75),
    "evidence_unavailable": (Kind.CORE, "madre cannot write evidence, so nothing is opened", 85),
    "returning_to_solo_madre": (Kind.CORE, "madre was returning to SOLO_MADRE", 75),
}


def causes(failure: Failure) -> list[Cause]:
    """The most likely first; there are always at least two."""
    found: dict[tuple[Kind, str, str], Cause] = {}
    for rule in _RULES:
        for cause in rule(failure):
            key = (cause.kind, cause.suspect, cause.rule)
            if key not in found or found[key].confidence < cause.confidence:
                found[key] = cause
    return sorted([*found.values(), *_always(failure)], key=lambda cause: -cause.confidence)


def crashed(failure: Failure) -> Iterator[Cause]:
    """A window that ended by itself; one that was killed near its limit of memory is for `memory`."""
    for window in findings.ended(failure, ("crashed", "lost")):
        sure = 30 if _exit_code(window) == _KILLED and _memory_limit(window) else 85
        yield Cause(
            "crashed",
            Kind.SERVICE,
            window["service"],
            "it ended by itself while its window was open",
            sure,
            f"its window closed with the reason {window['reason']}: {window.get('detail') or 'no detail'}",
        )


def memory(failure: Failure) -> Iterator[Cause]:
    """A window that was killed, and had a limit of memory."""
    for window in findings.ended(failure, ("crashed",)):
        limit = _memory_limit(window)
        if limit is None or _exit_code(window) != _KILLED:
            continue
        peak = (window.get("usage") or {}).get("memory_peak_bytes")
        near = peak is not None and peak >= _NEARLY * limit
        shown = "unknown" if peak is None else show_size(peak)
        yield Cause(
            "memory",
            Kind.LIMITS,
            window["service"],
            "the kernel killed it because it used more memory than its limit",
            90 if near else 60,
            f"it ended by SIGKILL; highest memory seen {shown} of a limit of {show_size(limit)}",
        )


def not_ready(failure: Failure) -> Iterator[Cause]:
    """An open that failed: the service did not start, or was not ready in time."""
    for service, why in _failed_opens(failure):
        late = "not ready within" in why
        claim = "it was not ready in time" if late else "it did not start"
        yield Cause("not_ready", Kind.SERVICE, service, claim, 70 if late else 85, f"madre said: {why}")
        if late:
            limit = failure.service(service).ready_timeout
            claim = f"it needs more than the {limit:g} s that it has to get ready"
            yield Cause("not_ready", Kind.LIMITS, service, claim, 25, "it was still starting when its time was over")


def refused(failure: Failure) -> Iterator[Cause]:
    """A call that madre refused."""
    for call in findings.refusals(failure):
        code = findings.code(call)
        if code in _REFUSALS:
            kind, claim, sure = _REFUSALS[code]
            yield Cause("refused", kind, _named(call), claim, sure, f"madre refused {call.module}: {code}")
        elif code != "open_failed":
            claim = f"madre refused what it asked for ({code})"
            yield Cause("refused", Kind.REQUEST, _named(call), claim, 60, f"{call.module} failed: {call.message}")


def answered(failure: Failure) -> Iterator[Cause]:
    """A test that failed on an answer of a service: the suspect is the service whose answer it was."""
    opened = list(dict.fromkeys(str(window["service"]) for window in failure.windows))
    for test in failure.tests:
        named = _services_in(test, failure)
        sign = _sign(test)
        if named:
            sure = 45 if len(named) > 1 else 75 if sign else 65
            how = "its name or its address stands in what the test says"
        else:
            sure, how = (60, "no other service had a window") if len(opened) == 1 else (30, "it had a window")
        for service in named or opened:
            claim = "it does not answer" if sign == "no answer" else "it answers other than the suite expects"
            derived = f"test {test.name} failed{f' ({sign})' if sign else ''}; {how}"
            yield Cause("answered", Kind.SERVICE, service, claim, sure, derived)


def missed(failure: Failure) -> Iterator[Cause]:
    """An assert whose figure misses its bound."""
    for item in failure.wrong:
        share = findings.miss(item)
        if share is None or item.name in findings.BASE_ASSERTS:
            continue
        derived = f"observed {item.observed}, expected {item.expected}: off by {share:.1%} of the bound"
        if share <= findings.SLIGHT:
            claim = "its bound is too tight for how much the figure varies"
            yield Cause("missed", Kind.MATRIX, item.name, claim, 55, derived)
            continue
        claim = "it does not keep to what the case allows it"
        for window in failure.windows:
            sure = 65 if len(failure.windows) == 1 else 40
            yield Cause("missed", Kind.SERVICE, str(window["service"]), claim, sure, f"{item.name}: {derived}")


def untrue(failure: Failure) -> Iterator[Cause]:
    """An assert that was observed, and is no figure."""
    for item in failure.wrong:
        if item.observed is None or findings.miss(item) is not None or item.name in findings.BASE_ASSERTS:
            continue
        for window in failure.windows:
            sure = 50 if len(failure.windows) == 1 else 30
            claim = f"it does not do what {item.name} stands for"
            derived = f"{item.name} was observed: {item.observed}, expected {item.expected}"
            yield Cause("untrue", Kind.SERVICE, str(window["service"]), claim, sure, derived)


def unobserved(failure: Failure) -> Iterator[Cause]:
    """An assert that nobody observed: of no account when something failed before that."""
    before = bool(failure.play_failure or failure.tests or findings.refusals(failure))
    for item in failure.wrong:
        if item.observed is None and item.name not in findings.BASE_ASSERTS:
            claim = "nothing records what it is judged on"
            derived = f"{item.name} was not observed" + (", which may follow from what failed before" if before else "")
            yield Cause("unobserved", Kind.SUITE, item.name, claim, 15 if before else 70, derived)


def playbook(failure: Failure) -> Iterator[Cause]:
    """The playbook ended early, or did not end."""
    why = failure.play_failure
    if not why or why.startswith("a suite failed"):
        return
    explained = bool(failure.tests or findings.refusals(failure) or findings.ended(failure, findings.DIED))
    if findings.is_timeout(failure):
        for window in failure.windows:
            yield Cause("hung", Kind.SERVICE, str(window["service"]), "it hangs, and its case waits for it", 45, why)
        yield Cause("hung", Kind.PLAYBOOK, failure.case, "it waits for what never comes", 40, why)
    else:
        claim = "a task of it fails whatever the services do"
        yield Cause("playbook", Kind.PLAYBOOK, failure.case, claim, 20 if explained else 60, why)


def core(failure: Failure) -> Iterator[Cause]:
    """A base assert that does not hold."""
    after = failure.clean_up
    for item in failure.wrong:
        if item.name in findings.BASE_ASSERTS:
            left = f"; left: {', '.join(after.leaked)}" if after and after.leaked else ""
            leaks = item.name == "no_resource_leaks"
            claim = "it leaves behind what it started" if leaks else "the core did not do its part"
            kind, suspect = (Kind.PLAYBOOK, failure.case) if leaks else (Kind.CORE, "madre")
            yield Cause("core", kind, suspect, claim, 65, f"{item.name}: {item.why}{left}")


_RULES: tuple[_Rule, ...] = (
    crashed,
    memory,
    not_ready,
    refused,
    answered,
    missed,
    untrue,
    unobserved,
    playbook,
    core,
)


def _always(failure: Failure) -> Iterator[Cause]:
    """What can never be excluded from one failure alone."""
    claim = "the case expects what was never promised"
    yield Cause("always", Kind.MATRIX, failure.case, claim, 15, "no rule looks at whether the case is right")
    claim = "the machine was busy, or the engine was at fault"
    yield Cause("always", Kind.ENVIRONMENT, "this machine", claim, 10, "one run cannot exclude it; run the case again")


def _exit_code(window: Json) -> int | None:
    """As a shell counts: 128 and the number of the signal that ended it."""
    match = _EXIT_CODE.search(str(window.get("detail") or ""))
    number = int(match[1]) if match else None
    return 128 - number if number is not None and number < 0 else number


def _memory_limit(window: Json) -> int | None:
    limit = (window.get("resources") or {}).get("memory")
    return None if limit is None else int(limit)


def _failed_opens(failure: Failure) -> Iterator[tuple[str, str]]:
    """Service and reason, from the windows and from the calls; the same one may come twice."""
    for window in findings.ended(failure, ("open_failed",)):
        yield str(window["service"]), str(window.get("detail") or "no detail")
    for call in findings.refusals(failure):
        if findings.code(call) == "open_failed":
            yield _named(call), str(call.result["problem"].get("detail") or call.message)


def _named(call: Call) -> str:
    many = call.args.get("services")
    if isinstance(many, list):
        return ", ".join(map(str, many))
    return str(call.args.get("service") or call.args.get("window_id") or call.args.get("name") or call.module)


def _services_in(test: FailedTest, failure: Failure) -> list[str]:
    """The services whose name or address stands in the message of a test, else in its traceback."""
    return _mentioned(test.message, failure) or _mentioned(test.traceback, failure)


def _mentioned(said: str, failure: Failure) -> list[str]:
    found = []
    for window in failure.windows:
        marks = [str(window["service"]), *(str(url).rpartition("//")[2] for url in window.get("endpoints") or ())]
        if any(re.search(rf"(?<![\w-]){re.escape(mark)}(?![\w-])", said) for mark in marks if mark):
            found.append(str(window["service"]))
    return list(dict.fromkeys(found))


def _sign(test: FailedTest) -> str:
    """What the message tells of an answer: that there was none, or a status; empty for neither."""
    if _NO_ANSWER.search(test.message):
        return "no answer"
    match = _STATUS.search(test.message)
    return f"status {match[0]}" if match else ""
