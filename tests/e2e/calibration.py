"""Whether printed confidences are as often right as they say: a table, and a bound that chance alone does not pass."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

from vx11.recovery.model import RootCause

BINS = ((0, 5), (5, 20), (20, 50), (50, 80), (80, 95), (95, 100))
# A bin is off when so few honest ones would be so far off, on either side.
UNLIKELY = 0.005
Truth = tuple[str, str]
Guess = tuple[float, bool]


@dataclass(frozen=True)
class Bin:
    """Hypotheses of about the same confidence.

    Attributes:
        printed: percent, their mean.
        right: how many of them were the true cause.
    """

    low: int
    high: int
    count: int
    printed: float
    right: int

    @property
    def is_honest(self) -> bool:
        """Whether so many are right as may be by chance, with what was printed."""
        share = min(0.999, max(0.001, self.printed / 100))
        odds = [comb(self.count, k) * share**k * (1 - share) ** (self.count - k) for k in range(self.count + 1)]
        return min(sum(odds[: self.right + 1]), sum(odds[self.right :])) >= UNLIKELY

    def __str__(self) -> str:
        rate = f"{100 * self.right / self.count:.0f} %"
        return f"| {self.low} to {self.high} % | {self.count} | {self.printed:.1f} % | {self.right} ({rate}) |"


def guesses(found: RootCause | dict[str, Any], truth: Truth) -> Iterator[Guess]:
    """Each hypothesis of an intent with whether it is the cause; at last that it is something else."""
    cause = found if isinstance(found, RootCause) else RootCause.model_validate(found)
    every = [cause.primary, *cause.alternatives]
    yield from ((one.confidence, (one.cause, one.suspect) == truth) for one in every)
    yield cause.something_else, truth not in [(one.cause, one.suspect) for one in every]


def binned(found: Iterable[Guess]) -> list[Bin]:
    """The bins that have any."""
    every = list(found)
    bins = []
    for low, high in BINS:
        inside = [one for one in every if low <= one[0] < high or (high == 100 and one[0] == 100)]
        if inside:
            mean = sum(confidence for confidence, _ in inside) / len(inside)
            bins.append(Bin(low, high, len(inside), mean, sum(right for _, right in inside)))
    return bins


def table(bins: Sequence[Bin]) -> str:
    """As the docs show it."""
    head = "| printed | hypotheses | their mean | right |\n| --- | --- | --- | --- |"
    return "\n".join([head, *map(str, bins)])
