"""The scorecard: in percent what holds of what was looked at. What was not measured has no value, and is not met."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vx11.release.contract import Line
from vx11.release.verdicts import Check, Outcome, Result

TARGET = 100.0


@dataclass(frozen=True)
class Score:
    """One line.

    Attributes:
        value: percent; None when it was not measured.
        target: percent.
        source: what it was computed from.
    """

    name: str
    value: float | None
    source: str
    target: float = TARGET

    @property
    def met(self) -> bool:
        """Measured, and as good as wanted."""
        return self.value is not None and self.value >= self.target


def scores(
    results: Mapping[int, Result], p0: Sequence[Check], probes: Sequence[bool], contract: Iterable[Line]
) -> list[Score]:
    """The whole card.

    Args:
        results: gate → what it came to.
        probes: whether the entry answered, each time that it was asked while the gates were looked at.
    """
    checks = {number: result.checks for number, result in results.items()}
    # The first check of gate 8 is the proof of SOLO_MADRE, and no answer to a question.
    requests = [*checks.get(4, ()), *checks.get(8, ())[1:], *p0]
    held = [line.holds for line in contract if line.holds is not None]
    return [
        Score("database integrity", _of_gate(results.get(1)), "gate 1, each check of each file"),
        Score("uptime", _percent(probes), f"GET /health, {len(probes)} times from the first gate to the last"),
        Score(
            "HTTP success", _percent([check.holds for check in requests]), "requests of gates 4 and 8, and the P0 tests"
        ),
        Score("secrets", _of_gate(results.get(3)), "gate 3: tree, history, .env, and whether the history is whole"),
        Score("flags", _of_gate(results.get(7)), "gate 7, each flag of each process"),
        Score("invariants", _percent(held), "the lines of the diagrams contract that were measured"),
    ]


def _of_gate(result: Result | None) -> float | None:
    """A gate that should have measured, and could not, has none of it."""
    if result is None or result.outcome is Outcome.NOT_APPLICABLE:
        return None
    return _percent([check.holds for check in result.checks]) if result.checks else 0.0


def _percent(held: Sequence[bool]) -> float | None:
    return round(100 * sum(held) / len(held), 1) if held else None
