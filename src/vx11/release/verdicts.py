"""What gates come to: checks, each of which holds or does not, and the outcome of all of them together."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What a gate comes to; one that is not applicable has not passed."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not_applicable"


class NotApplicable(Exception):
    """There is nothing here that a gate could look at; `str(error)` says why."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        what: as a statement that is true when it holds.
        detail: what was seen.
    """

    what: str
    holds: bool
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.detail}" if self.detail else self.what


@dataclass(frozen=True)
class Result:
    """What one gate came to.

    Attributes:
        reason: why it did not pass; empty when it did.
        seconds: how long it took.
    """

    number: int
    title: str
    outcome: Outcome
    reason: str = ""
    checks: Sequence[Check] = field(default_factory=tuple)
    seconds: float = 0.0

    @property
    def broken(self) -> list[Check]:
        """What does not hold."""
        return [check for check in self.checks if not check.holds]

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"schema": 1} | asdict(self)


def judged(checks: Sequence[Check]) -> tuple[Outcome, str]:
    """What checks come to, and why; without any of them nothing was proved, and that is no pass."""
    broken = [check for check in checks if not check.holds]
    if not checks:
        return Outcome.FAILED, "nothing was looked at"
    more = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
    return (Outcome.FAILED, f"{broken[0]}{more}") if broken else (Outcome.PASSED, "")
