"""What playbooks and suites wrote down while they ran: `observations.jsonl` of a case."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vx11.conductor.expected import Value
from vx11.conductor.names import MEASURED
from vx11.conductor.seen import Call

FILE = "observations.jsonl"
_SUITE = re.compile(r"suite_.+_passed")


@dataclass(frozen=True)
class Observed:
    """One value, its unit, and who wrote it."""

    value: Value
    unit: str | None
    source: str

    def __str__(self) -> str:
        if isinstance(self.value, bool):
            return str(self.value).lower()
        number = f"{self.value:.4g}" if isinstance(self.value, float) else str(self.value)
        return f"{number} {self.unit}" if self.unit else number


@dataclass(frozen=True)
class Observations:
    """All of a case: observations, which asserts are judged on, and metrics, which are only reported.

    Attributes:
        broken: how many lines cannot be read.
        claimed: names that the conductor measures itself, and that somebody else recorded; their values count nowhere.
    """

    observations: Mapping[str, Observed] = field(default_factory=dict)
    metrics: Mapping[str, Observed] = field(default_factory=dict)
    broken: int = 0
    claimed: Sequence[str] = ()

    def failure(self, calls: Sequence[Call] = ()) -> str:
        """Why the case fails whatever its asserts say: a suite that failed, lines that cannot count; else empty.

        Args:
            calls: of modules; they tell which suites were meant to fail, or were interrupted.
        """
        excused = {
            f"suite_{call.result['suite']}_passed".lower().replace("-", "_")
            for call in calls
            if call.result.get("suite") and (call.result.get("expected_failure") or call.result.get("interrupted"))
        }
        failed = [
            name
            for name, seen in self.observations.items()
            if _SUITE.fullmatch(name) and seen.value is False and name not in excused
        ]
        if failed:
            return f"a suite failed ({', '.join(failed)})"
        if self.claimed:
            names = ", ".join(dict.fromkeys(self.claimed))
            return f"{names}: the conductor measures it itself, and something else recorded it; choose another name"
        return f"{self.broken} lines of {FILE} cannot be read" if self.broken else ""


def read(folder: Path) -> Observations:
    """Reads a case's file; the last value of a name wins. No file means that nothing was observed."""
    found: dict[str, dict[str, Observed]] = {"observation": {}, "metric": {}}
    broken, claimed = 0, []
    try:
        lines = (folder / FILE).read_bytes().splitlines()
    except FileNotFoundError:
        lines = []
    for line in lines:
        try:
            item: dict[str, Any] = json.loads(line)
            values, name, value = found[item["kind"]], _text(item["name"]), _observed(item)
        except (ValueError, KeyError, TypeError, OverflowError):
            broken += 1
            continue
        if name in MEASURED:
            claimed.append(name)
        else:
            values[name] = value
    return Observations(found["observation"], found["metric"], broken, tuple(claimed))


def _observed(item: Mapping[str, Any]) -> Observed:
    """Only what can be compared, written into evidence and into reports."""
    value, unit = item["value"], item.get("unit")
    if not isinstance(value, bool | int | float):
        value = _text(value)
    elif not math.isfinite(value):
        raise ValueError(f"{value} is not a number that can be compared")
    return Observed(value, None if unit is None else _text(unit), _text(item["source"]))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    value.encode()  # half of a surrogate pair raises
    return value
