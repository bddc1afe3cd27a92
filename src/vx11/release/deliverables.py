"""The deliverables of a closing, A to F, as Markdown: rendered from what was measured, and from nothing else."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from vx11.recovery.text import Markdown, inline
from vx11.release.baseline import Baseline
from vx11.release.contract import ARROWS, HOLDS, Line
from vx11.release.gates import GATES
from vx11.release.scorecard import Score
from vx11.release.verdicts import Check, Outcome, Result, judged

NAMES = (
    "A-audit-report",
    "B-diagrams-contract",
    "C-p0-tests",
    "D-closing-plan",
    "E-task-pack",
    "F-scorecard",
)
SIGNS = {Outcome.PASSED: "✓ passed", Outcome.FAILED: "✗ failed", Outcome.NOT_APPLICABLE: "○ not applicable"}
# What a closing goes through, and by which gates each phase is judged.
PHASES = (("data", (1, 5)), ("core and entry", (2, 6)), ("secrets and flags", (3, 7)), ("operator", (4, 8)))


@dataclass(frozen=True)
class Phase:
    """A phase of the closing plan, and its verdict."""

    name: str
    what: str
    verdict: Outcome
    why: str


@dataclass(frozen=True)
class Task:
    """What is left to do, why, and how."""

    what: str
    why: str
    how: str


@dataclass(frozen=True)
class Closed:
    """All that was measured.

    Attributes:
        results: of the eight gates, in their order.
    """

    baseline: Baseline
    results: Sequence[Result]
    p0: Sequence[Check]
    contract: Sequence[Line]
    scores: Sequence[Score]

    @property
    def closes(self) -> bool:
        """Whether the release may be closed: no gate failed, and no P0 test."""
        gates = all(result.outcome is not Outcome.FAILED for result in self.results)
        return gates and all(check.holds for check in self.p0)


def write(folder: Path, closed: Closed) -> None:
    """Writes all six.

    Raises:
        OSError: they cannot be written.
    """
    environment = _environment()
    about: dict[str, Any] = {
        "closed": closed,
        "baseline": closed.baseline,
        "phases": phases(closed),
        "tasks": list(tasks(closed)),
        "signs": SIGNS,
        "arrows": {outcome: ARROWS[holds] for outcome, holds in HOLDS.items()},
    }
    for name in NAMES:
        text = environment.get_template(f"{name}.md.j2").render(about)
        (folder / f"{name}.md").write_text(text, encoding="utf-8")


def phases(closed: Closed) -> list[Phase]:
    """The closing plan."""
    by_number = {result.number: result for result in closed.results}
    git = closed.baseline.git
    frozen = "no tree is named" if git is None else "" if git.clean else f"not committed: {', '.join(git.changed[:5])}"
    first = Phase("baseline", "what the release starts from is frozen", Outcome.PASSED, frozen)
    gates = [_phase(name, [by_number[number] for number in numbers]) for name, numbers in PHASES]
    last = Phase("P0 tests", "pytest and curl at the entry", *judged(closed.p0))
    return [first, *gates, last]


def _phase(name: str, results: Sequence[Result]) -> Phase:
    """Failed when one of its gates has; passed when one has passed, and the rest is not applicable."""
    outcomes = {result.outcome for result in results}
    verdict = next(one for one in (Outcome.FAILED, Outcome.PASSED, Outcome.NOT_APPLICABLE) if one in outcomes)
    why = "; ".join(f"gate {result.number}: {result.reason}" for result in results if result.reason)
    return Phase(name, "; ".join(f"gate {result.number}: {result.title}" for result in results), verdict, why)


def tasks(closed: Closed) -> Iterator[Task]:
    """What is left: what failed first, then what was not measured."""
    how = {gate.number: gate.remedy for gate in GATES}
    for result in closed.results:
        if result.outcome is Outcome.FAILED:
            for check in result.broken or [Check(result.title, holds=False, detail=result.reason)]:
                yield Task(f"gate {result.number}: {check.what}", check.detail, how[result.number])
    for check in closed.p0:
        if not check.holds:
            yield Task(f"P0: {check.what}", check.detail, "see the gates; a P0 test fails where one of them does")
    git = closed.baseline.git
    if git and not git.clean:
        yield Task("commit what the release is made of, or drop it", ", ".join(git.changed[:20]), "git status")
    for result in closed.results:
        if result.outcome is Outcome.NOT_APPLICABLE:
            yield Task(f"gate {result.number}: have it measured, or accept why not", result.reason, "docs/closing.md")


def _environment() -> Environment:
    environment = Environment(  # noqa: S701 - Markdown, not HTML: `finalize` escapes each value
        loader=PackageLoader("vx11.release", "templates"),
        undefined=StrictUndefined,
        finalize=_escaped,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = lambda value: "not measured" if value is None else f"{value:g} %"
    environment.filters["node"] = _node
    environment.filters["markdown"] = Markdown
    return environment


def _node(text: str) -> Markdown:
    """Text that Mermaid takes as it is."""
    return Markdown("".join(one for one in text if one.isalnum() or one in " ./:-_"))


def _escaped(value: Any) -> Any:
    return inline(str(value)) if isinstance(value, str) and not isinstance(value, Markdown) else value
