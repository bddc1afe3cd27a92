"""Judges a case: asserts against observations. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from vx11.conductor.expected import Expected
from vx11.conductor.observations import Observed

LEAKS = "no_resource_leaks"


class Verdict(StrEnum):
    """How a planned case ended; every one has exactly one."""

    PASSED = "passed"
    FAILED = "failed"
    FLAKY = "flaky"
    SKIPPED = "skipped"
    ABORTED = "aborted"
    LEAKED = "leaked"


@dataclass(frozen=True)
class Judged:
    """One assert, judged.

    Attributes:
        observed: as text, None when nothing was observed.
        why: what is wrong, empty when it holds.
    """

    name: str
    expected: str
    observed: str | None
    holds: bool
    why: str = ""


@dataclass(frozen=True)
class CaseResult:
    """What a case came to.

    Attributes:
        message: why it did not pass, empty when it did; of a suite that failed, with a line for each test that did.
        duration: seconds, clean-up included.
        attempt: which try it was.
        earlier: the tries before it.
        intent: the folder of its patch intent, None when there is none.
        host: the host of the inventory that it ran on, None for a cell.
    """

    case: str
    verdict: Verdict
    message: str = ""
    duration: float = 0.0
    asserts: Sequence[Judged] = ()
    metrics: Mapping[str, Observed] = field(default_factory=dict)
    missing_metrics: Sequence[str] = ()
    attempt: int = 1
    earlier: Sequence["CaseResult"] = ()
    intent: str | None = None
    host: str | None = None


def judge(asserts: Mapping[str, Expected], observed: Mapping[str, Observed]) -> list[Judged]:
    """Each assert against what was observed; what was not observed fails."""
    return [_one(name, wanted, observed.get(name)) for name, wanted in asserts.items()]


def _one(name: str, wanted: Expected, seen: Observed | None) -> Judged:
    if seen is None:
        return Judged(name, wanted.text, None, holds=False, why="not observed")
    try:
        holds = wanted.holds(seen.value, seen.unit)
    except ValueError as error:
        return Judged(name, wanted.text, str(seen), holds=False, why=str(error))
    return Judged(name, wanted.text, str(seen), holds, "" if holds else f"expected {wanted.text}, observed {seen}")


def verdict(judged: Sequence[Judged], play_failure: str) -> tuple[Verdict, str]:
    """The verdict of a case and, unless it passed, why.

    Args:
        judged: all its asserts.
        play_failure: why its playbook failed, empty when it did not.
    """
    wrong = [item for item in judged if not item.holds]
    reasons = [play_failure] if play_failure else []
    reasons += [f"{item.name}: {item.why}" for item in wrong]
    if not reasons:
        return Verdict.PASSED, ""
    only_leaks = not play_failure and all(item.name == LEAKS for item in wrong)
    return (Verdict.LEAKED if only_leaks else Verdict.FAILED), "; ".join(reasons)
