"""What a measurement answers: rows, with percentiles, the baseline they are held against, and the goal."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Figure = Literal["value", "p99", "ratio"]


@dataclass(frozen=True)
class Goal:
    """What one figure of a row should be at most, in the row's unit; a ratio has none."""

    figure: Figure
    at_most: float


@dataclass(frozen=True)
class Row:
    """One thing that was measured.

    Attributes:
        name: what was measured, as the table says it.
        value: the median of all samples, or the one figure; None when it could not be measured, and `note` says why.
        p95, p99, worst: of the samples, None for a single figure.
        count: how many samples there are.
        baseline: what `value` is held against, in the same unit.
        ratio: median of the ratios of pairs measured one right after the other.
        note: what the reader needs to know beyond the name.
        failed: it should have been measured, and was not.
    """

    name: str
    unit: str
    value: float | None
    p95: float | None = None
    p99: float | None = None
    worst: float | None = None
    count: int = 1
    baseline: float | None = None
    ratio: float | None = None
    goal: Goal | None = None
    note: str = ""
    failed: bool = False

    @property
    def verdict(self) -> Literal["met", "not met"] | None:
        """Whether the goal is met; None where there is no goal, or nothing was measured."""
        reached = getattr(self, self.goal.figure) if self.goal else None
        if self.goal is None or reached is None:
            return None
        return "met" if reached <= self.goal.at_most else "not met"

    def to_json(self) -> dict[str, Any]:
        """All fields and the verdict."""
        return asdict(self) | {"verdict": self.verdict}


def spread(
    name: str,
    unit: str,
    samples: Sequence[float],
    *,
    goal: Goal | None = None,
    baseline: float | None = None,
    ratio: float | None = None,
    note: str = "",
) -> Row:
    """A row of many samples."""
    cuts = statistics.quantiles(samples, n=100, method="inclusive") if len(samples) > 1 else [*samples] * 99
    return Row(
        name,
        unit,
        value=statistics.median(samples),
        p95=cuts[94],
        p99=cuts[98],
        worst=max(samples),
        count=len(samples),
        baseline=baseline,
        ratio=ratio,
        goal=goal,
        note=note,
    )


def against(name: str, unit: str, ours: Sequence[float], theirs: Sequence[float], goal: Goal | None = None) -> Row:
    """A row of samples held against others that were taken in turn with them, pair by pair."""
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    note = f"half of the ratios lie between {low:.2f} and {high:.2f}"
    return spread(name, unit, ours, goal=goal, baseline=statistics.median(theirs), ratio=middle, note=note)
