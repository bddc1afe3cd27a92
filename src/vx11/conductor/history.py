"""What earlier runs in the same evidence root show of a case: its figures, and how long services took to get ready."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vx11.conductor.seen import calls
from vx11.evidence.layout import CHAIN, INDEX
from vx11.recovery.failure import Past
from vx11.recovery.findings import number

# Older ones say little of the present program, and reading takes time.
RUNS = 20


def past(root: Path, test_id: str, case: str) -> Past:
    """What the last `RUNS` runs below an evidence root show, other than the one that goes on; what is gone is left out.

    Args:
        test_id: of the run that goes on.
    """
    figures: dict[str, list[float]] = defaultdict(list)
    startups: dict[str, list[float]] = defaultdict(list)
    runs = 0
    for folder in _folders(root, test_id):
        tries = sorted(folder.glob(f"cases/{case}/*/verdict.json"))
        runs += bool(tries)
        for path in tries:
            for name, value in _figures(path):
                figures[name].append(value)
        for steps in folder.glob("cases/*/*/steps.jsonl"):
            for service, milliseconds in _startups(steps.parent):
                startups[service].append(milliseconds)
    return Past(runs, dict(figures), dict(startups))


def _folders(root: Path, test_id: str) -> list[Path]:
    """The folders of other runs, by the names of which they are in order."""
    try:
        known = json.loads((root / INDEX).read_text(encoding="utf-8"))["runs"]
        names = sorted(str(entry["folder"]) for name, entry in known.items() if name != test_id)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    return [root / name for name in names if (root / name / CHAIN).is_file()][-RUNS:]


def _figures(path: Path) -> Iterator[tuple[str, float]]:
    """What was observed and measured in a try that passed."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if found.get("verdict") != "passed":
        return
    for item in found.get("asserts", ()):
        value = number(str(item.get("observed") or ""))
        if value is not None:
            yield str(item["name"]), value


def _startups(folder: Path) -> Iterator[tuple[str, float]]:
    """Of each window that a try opened."""
    for call in calls(folder):
        result = call.result
        for window in [*(result.get("windows") or ()), result.get("window")]:
            if isinstance(window, dict) and isinstance(window.get("startup_ms"), int | float):
                yield str(window.get("service")), float(window["startup_ms"])
