"""What a run came to, in a table and in one line."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vx11.conductor.judge import CaseResult
from vx11.conductor.progress import STYLES
from vx11.units import show_duration


def counts(results: Sequence[CaseResult]) -> dict[str, int]:
    """Verdict → how many cases, for those that occurred."""
    return dict(Counter(result.verdict.value for result in results))


def summary(results: Sequence[CaseResult]) -> str:
    """`2 passed, 1 failed`; passed and failed are always named."""
    found = counts(results)
    words = [f"{found.get(name, 0)} {name}" for name in ("passed", "failed")]
    return ", ".join(words + [f"{found[name]} {name}" for name in sorted(found) if name not in ("passed", "failed")])


def print_table(console: Console, results: Sequence[CaseResult]) -> None:
    """One row a try; below them why those did not pass that did not, and what was not measured."""
    hosts = ["HOST"] if any(item.host for item in _tries(results)) else []
    table = Table("CASE", "TRY", *hosts, "VERDICT", "TIME", "ASSERTS", "MEASURED", box=None, pad_edge=False)
    for item in _tries(results):
        held = sum(judged.holds for judged in item.asserts)
        table.add_row(
            item.case,
            str(item.attempt),
            *(Text(item.host or "") for _ in hosts),
            Text(item.verdict, STYLES[item.verdict]),
            show_duration(item.duration),
            f"{held}/{len(item.asserts)}",
            Text(", ".join(f"{name} {seen}" for name, seen in item.metrics.items())),
        )
    console.print(table)
    for item in _tries(results):
        if item.message:
            console.print(Text(f"{_name(item)}: {item.message}", STYLES[item.verdict]))
        if item.missing_metrics:
            console.print(Text(f"{_name(item)}: not measured: {', '.join(item.missing_metrics)}", "yellow"))


def _tries(results: Sequence[CaseResult]) -> Iterator[CaseResult]:
    for result in results:
        yield from (*result.earlier, result)


def _name(item: CaseResult) -> str:
    return item.case if item.attempt == 1 else f"{item.case} (try {item.attempt})"


def as_json(result: CaseResult) -> dict[str, Any]:
    """A result as plain data."""
    found: dict[str, Any] = json.loads(json.dumps(asdict(result)))
    return found
