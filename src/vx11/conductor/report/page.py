"""One page for people: what came of each case, what happened when, what it used. Needs nothing but itself.

The template is filled as it is written, a case at a time. Whatever comes from cases is escaped, and a policy in the
page forbids scripts and anything from elsewhere.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TextIO

from jinja2 import Environment, PackageLoader, StrictUndefined

from vx11.conductor import seen
from vx11.conductor.judge import CaseResult, Judged, Verdict
from vx11.conductor.report import links, plots, timeline
from vx11.conductor.report.links import Link
from vx11.conductor.report.plots import Plot
from vx11.conductor.report.record import CaseRecord, Record, Try
from vx11.conductor.report.timeline import Timeline
from vx11.conductor.seen import Call
from vx11.units import show_duration

# A sign a verdict, so that colour is never all that tells them apart.
SIGNS = {
    Verdict.PASSED: "✓",
    Verdict.FAILED: "✗",
    Verdict.FLAKY: "≈",
    Verdict.SKIPPED: "○",
    Verdict.ABORTED: "■",
    Verdict.LEAKED: "◊",
}


@dataclass(frozen=True)
class Shown:
    """A try as the page shows it.

    Attributes:
        asserts: those that do not hold first.
    """

    result: CaseResult
    asserts: list[Judged]
    calls: list[Call]
    timeline: Timeline | None
    plots: list[Plot]
    links: list[Link]


def write(file: TextIO, run: Record, out: Path) -> None:
    """Writes it, one case at a time."""
    verdicts = run.verdicts()
    template = _environment().get_template("page.html.j2")
    parts = template.generate(
        run=run,
        good=not run.left and all(verdict in (Verdict.PASSED, Verdict.SKIPPED) for verdict in verdicts),
        counted=[(verdict, number) for verdict in Verdict if (number := Counter(verdicts)[verdict])],
        seconds=(run.ended_ns - run.begun_ns) / 1e9,
        places=timeline.of_run(run),
        cases=run.cases,
        tries=lambda case: _tries(run, case, out),
        evidence=links.href(run.folder, out),
    )
    file.writelines(parts)


def _tries(run: Record, case: CaseRecord, out: Path) -> Iterator[Shown]:
    for item in case.tries:
        yield _shown(run, item, out)


def _shown(run: Record, item: Try, out: Path) -> Shown:
    calls, records = seen.calls(item.folder), run.records(item)
    line = timeline.of_try(item, calls, records)
    drawn = []
    if line and item.started:
        drawn = plots.of_try(seen.samples(item.folder), records, item.started.boot_ns, line)
    asserts = sorted(item.result.asserts, key=lambda judged: judged.holds)
    return Shown(item.result, asserts, calls, line, drawn, links.of(item, out))


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("vx11.conductor.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"duration": show_duration, "when": _when, "figure": _figure, "told": timeline.told}
    found.globals |= {"signs": SIGNS, "width": plots.WIDTH, "height": plots.HEIGHT}
    return found


def _when(wall_ns: int) -> str:
    return f"{datetime.fromtimestamp(wall_ns // 10**9, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _figure(value: float) -> str:
    """Three significant digits, never with an exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
