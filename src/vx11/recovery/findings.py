"""What a failure shows: where and when it happened, how much it matters, its evidence points and deviations. Pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vx11.clock import iso
from vx11.recovery.failure import Assert, Call, Failure, Json
from vx11.recovery.model import Deviation, Level, Point, Summary

POINTS = 40
# An assert that misses its bound by no more than this share of it misses it slightly.
SLIGHT = 0.10
BASE_ASSERTS = ("system_returns_to_solo_madre", "tentaculo_link_available", "no_resource_leaks")
DIED = ("crashed", "lost", "open_failed", "watchdog")
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


@dataclass(frozen=True)
class Seen:
    """Something that was seen; `bad` when it is a part of the failure."""

    ns: int
    observation: str
    source: str
    bad: bool = False


def code(call: Call) -> str:
    """The word for why madre refused a call; empty when it did not."""
    problem = call.result.get("problem")
    return str(problem.get("code", "")) if isinstance(problem, dict) else ""


def refusals(failure: Failure) -> list[Call]:
    """The calls that failed because madre refused them; a refusal that was to be recorded is none."""
    return [call for call in failure.calls if call.failed and code(call)]


def ended(failure: Failure, reasons: Sequence[str]) -> list[Json]:
    """The windows that ended for one of these reasons."""
    return [window for window in failure.windows if window.get("reason") in reasons]


def miss(item: Assert) -> float | None:
    """By which share of its bound a measured value misses it; None when there are no two numbers."""
    bound, value = number(item.expected), number(item.observed or "")
    if item.holds or bound is None or value is None or not bound:
        return None
    return abs(value - bound) / abs(bound)


def summary(failure: Failure) -> Summary:
    """Section 2."""
    impact, why = _impact(failure)
    bad = [item.ns for item in seen(failure) if item.bad]
    return Summary(
        detected_at=iso(min(bad, default=failure.judged_ns)),
        phase=_phase(failure),
        error_code=error_code(failure),
        impact=impact,
        impact_why=why,
        expected=failure.expected,
        message=failure.message or _first_test(failure) or "none was given",
    )


def error_code(failure: Failure) -> str:
    """One word for it: madre's own where it refused something, else ours."""
    if refused := refusals(failure):
        return code(refused[0])
    if died := ended(failure, DIED):
        return f"window_{died[0]['reason']}"
    if failure.tests:
        return "suite_failed"
    if failure.play_failure:
        return "timeout" if is_timeout(failure) else "playbook_failed"
    if any(item.observed is None for item in failure.wrong):
        return "not_observed"
    return "assert_failed"


def is_timeout(failure: Failure) -> bool:
    """Whether the playbook was ended because its time was over."""
    return failure.play_failure.startswith("it was not done after")


def _first_test(failure: Failure) -> str:
    return "; ".join(f"{test.name}: {test.message}" for test in failure.tests[:1])


def _phase(failure: Failure) -> str:
    if failure.late:
        return "clean-up"
    if refusals(failure) or ended(failure, ("open_failed",)):
        return "open"
    if failure.tests:
        return "suite"
    return "playbook" if failure.play_failure else "judgement"


def _impact(failure: Failure) -> tuple[Level, str]:
    """HIGH is the core, MEDIUM a service or a case, LOW a figure."""
    after = failure.clean_up
    if any(item.name in BASE_ASSERTS for item in failure.wrong) or (
        after and not (after.solo_madre and after.entry_answers and not after.leaked)
    ):
        return "HIGH", "the core is concerned: SOLO_MADRE, the entry, or what was left behind"
    shares = [miss(item) for item in failure.wrong]
    only_slight = bool(shares) and all(share is not None and share <= SLIGHT for share in shares)
    if only_slight and not failure.play_failure and not failure.tests:
        return "LOW", f"only bounds were missed, each by at most {SLIGHT:.0%}"
    return "MEDIUM", "a service or its case failed; the core did not"


def deviations(failure: Failure) -> list[Deviation]:
    """The asserts that do not hold, and by how much."""
    return [
        Deviation(
            name=item.name,
            expected=item.expected,
            observed=item.observed or "nothing",
            deviation=_deviation(item),
        )
        for item in failure.wrong
    ]


def _deviation(item: Assert) -> str:
    bound, value = number(item.expected), number(item.observed or "")
    if item.observed is None:
        return "unknown: it was not observed"
    if bound is None or value is None:
        return "not a figure"
    return f"{100 * (value - bound) / abs(bound):+.1f} %" if bound else f"{value - bound:+g}"


def points(failure: Failure) -> tuple[list[Point], int]:
    """The evidence points in the order of time, and how many were left out, none of them a part of the failure."""
    found = seen(failure)
    room = max(0, POINTS - sum(item.bad for item in found))
    kept = []
    for item in found:
        if item.bad:
            kept.append(item)
        elif room:
            kept.append(item)
            room -= 1
    numbered = [
        Point(number=number, at=iso(item.ns), observation=item.observation, source=item.source, is_failure=item.bad)
        for number, item in enumerate(kept, start=1)
    ]
    return numbered, len(found) - len(kept)


def seen(failure: Failure) -> list[Seen]:
    """All that was seen, in the order of time."""
    found = [*_of_records(failure), *_of_calls(failure), *_of_tests(failure), *_of_judgement(failure)]
    return sorted(found, key=lambda item: item.ns)


def _of_records(failure: Failure) -> Iterator[Seen]:
    names = {window.get("window_id"): window.get("service") for window in failure.windows}
    for record in failure.records:
        data = record.get("data") or {}
        who = data.get("service") or names.get(record["subject"]) or record["subject"]
        about = ", ".join(str(data[name]) for name in ("reason", "detail", "why") if data.get(name))
        told = f"{who}: {record['action']}" + (f" ({about})" if about else "")
        bad = data.get("reason") in DIED or record["action"] == "stuck"
        yield Seen(int(record["wall_ns"]), told, f"madre's record {record['seq']}", bad)


def _of_calls(failure: Failure) -> Iterator[Seen]:
    for call in failure.calls:
        if call.failed:
            what = call.args.get("service") or call.args.get("name") or ""
            yield Seen(call.ended_ns, f"{call.module} {what} failed: {call.message}", "steps.jsonl", bad=True)


def _of_tests(failure: Failure) -> Iterator[Seen]:
    for test in failure.tests:
        if test.ended_ns is not None:
            told = f"test {test.name} of the suite {test.suite} failed: {test.message}"
            yield Seen(test.ended_ns, told, f"JUnit of {test.suite}", bad=True)


def _of_judgement(failure: Failure) -> Iterator[Seen]:
    for item in failure.wrong:
        yield Seen(failure.judged_ns, f"{item.name}: {item.why}", "judgement", bad=True)
    if failure.play_failure or not failure.wrong:
        told = failure.play_failure or f"the case was judged: {failure.message or 'its suite failed, as it was to'}"
        yield Seen(failure.judged_ns, told, "judgement", bad=True)


def number(text: str) -> float | None:
    match = _NUMBER.search(text)
    return float(match[0]) if match else None
