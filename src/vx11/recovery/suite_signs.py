"""Signs of calls and of tests: what madre refused, what a suite saw of a service, and its own mistakes. Pure."""

import re
from collections.abc import Callable, Iterable, Iterator
from textwrap import shorten

from vx11.recovery import findings
from vx11.recovery.failure import FailedTest, Failure, Json
from vx11.recovery.sign import MADRE, TOKEN, Sign, named, services

SHOWN = 160
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
    every = services(failure)
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


LOOKS: tuple[Callable[[Failure], Iterable[Sign]], ...] = (_calls, _tests)
