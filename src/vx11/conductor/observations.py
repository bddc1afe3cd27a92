"""What playbooks and suites wrote down while they ran: `observations.jsonl` of a case."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vx11.conductor.expected import Value

FILE = "observations.jsonl"


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
    """All of a case: observations, which asserts are judged on, and metrics, which are only reported."""

    observations: Mapping[str, Observed] = field(default_factory=dict)
    metrics: Mapping[str, Observed] = field(default_factory=dict)
    broken: int = 0


def read(folder: Path) -> Observations:
    """Reads a case's file; the last value of a name wins. No file means that nothing was observed."""
    found: dict[str, dict[str, Observed]] = {"observation": {}, "metric": {}}
    broken = 0
    try:
        lines = (folder / FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    for line in lines:
        try:
            item: dict[str, Any] = json.loads(line)
            found[item["kind"]][item["name"]] = Observed(item["value"], item.get("unit"), item["source"])
        except (ValueError, KeyError, TypeError):
            broken += 1
    return Observations(found["observation"], found["metric"], broken)
