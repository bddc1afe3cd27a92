"""Reports of a run: the summary table, JUnit XML, JSON."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from junitparser import Error, Failure, JUnitXml, Properties, Property, Skipped, TestCase, TestSuite
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vx11.conductor.judge import CaseResult, Verdict
from vx11.conductor.progress import STYLES
from vx11.units import show_duration

# What XML 1.0 cannot hold, escaped or not; messages of tasks may have it.
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def counts(results: Sequence[CaseResult]) -> dict[str, int]:
    """Verdict → how many, for those that occurred."""
    return dict(Counter(result.verdict.value for result in results))


def summary(results: Sequence[CaseResult]) -> str:
    """`2 passed, 1 failed`; passed and failed are always named."""
    found = counts(results)
    words = [f"{found.pop(name, 0)} {name}" for name in ("passed", "failed")]
    return ", ".join(words + [f"{number} {name}" for name, number in sorted(found.items())])


def print_table(console: Console, results: Sequence[CaseResult]) -> None:
    """One row a case; each assert that does not hold below it."""
    table = Table("CASE", "VERDICT", "TIME", "ASSERTS", "MEASURED", box=None, pad_edge=False)
    for result in results:
        held = sum(item.holds for item in result.asserts)
        measured = ", ".join(f"{name} {seen}" for name, seen in result.metrics.items())
        table.add_row(
            result.case,
            Text(result.verdict, STYLES[result.verdict]),
            show_duration(result.duration),
            f"{held}/{len(result.asserts)}",
            Text(measured),
        )
    console.print(table)
    for result in results:
        if result.message:
            console.print(Text(f"{result.case}: {result.message}", STYLES[result.verdict]))
        if result.missing_metrics:
            console.print(Text(f"{result.case}: not measured: {', '.join(result.missing_metrics)}", "yellow"))


def as_json(result: CaseResult) -> dict[str, Any]:
    """A result as plain data."""
    found: dict[str, Any] = json.loads(json.dumps(asdict(result)))
    return found


def write_junit(path: Path, name: str, results: Sequence[CaseResult]) -> None:
    """JUnit XML in the surefire dialect: a test case for each case, its metrics as properties."""
    suite = TestSuite(name)
    for result in results:
        case = TestCase(result.case, classname=name, time=round(result.duration, 3))
        outcome = _outcome(result)
        if outcome is not None:
            case.result = [outcome]
        properties = Properties()
        for metric, seen in result.metrics.items():
            properties.add_property(Property(metric, _NOT_IN_XML.sub("?", str(seen))))
        case.append(properties)
        suite.add_testcase(case)
    report = JUnitXml(name)
    report.add_testsuite(suite)
    report.update_statistics()
    report.write(str(path), pretty=True)


def _outcome(result: CaseResult) -> Failure | Error | Skipped | None:
    if result.verdict is Verdict.PASSED:
        return None
    message = _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", result.message)
    if result.verdict is Verdict.SKIPPED:
        return Skipped(message)
    kind = Error if result.verdict is Verdict.ABORTED else Failure
    return kind(message, result.verdict.value)
