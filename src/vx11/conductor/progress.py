"""Shows how a run goes: a live table on a terminal, plain lines in a pipe."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vx11.conductor.judge import CaseResult, Verdict
from vx11.conductor.matrix import Case
from vx11.units import show_duration

STYLES = {
    Verdict.PASSED: "green",
    Verdict.FAILED: "red",
    Verdict.LEAKED: "red",
    Verdict.FLAKY: "yellow",
    Verdict.SKIPPED: "yellow",
    Verdict.ABORTED: "magenta",
}


class Progress(Protocol):
    """Who is told; several cases tell at the same time, each from a thread of its own."""

    def planned(self, cases: Sequence[Case], scale: float) -> None:
        """What is to be run, with all waits so many times as long."""

    def note(self, text: str) -> None:
        """Something about the run as a whole."""

    def started(self, case: Case) -> None:
        """A case begins."""

    def at(self, case: Case, step: str) -> None:
        """A case is at this step."""

    def finished(self, result: CaseResult) -> None:
        """A case has its verdict."""


class Plain:
    """A line for each thing that happens, nothing that needs a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __enter__(self) -> "Plain":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def planned(self, cases: Sequence[Case], scale: float) -> None:
        """Each case has its own line when it begins."""

    def note(self, text: str) -> None:
        """Printed as it is."""
        self._console.print(text, highlight=False, markup=False)

    def started(self, case: Case) -> None:
        """One line."""
        self.note(f"{case.id} {case.description}".rstrip())

    def at(self, case: Case, step: str) -> None:
        """Tasks are told on terminals alone."""

    def finished(self, result: CaseResult) -> None:
        """One line, with the reason when it did not pass."""
        reason = f": {result.message}" if result.message else ""
        self.note(f"{result.case} {result.verdict} after {show_duration(result.duration)}{reason}")


@dataclass(frozen=True)
class _Row:
    """A case that runs: its step, when it began and until when it waits at least, both monotonic."""

    step: str
    begun: float
    until: float


class LiveTable(Plain):
    """A row for each case that runs, and how many there are of the others.

    What did not pass is printed above the table, which so never grows beyond the screen.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._lock = threading.Lock()
        self._planned = 0
        self._scale = 1.0
        self._rows: dict[str, _Row] = {}
        self._ended: Counter[Verdict] = Counter()
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> "LiveTable":
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def planned(self, cases: Sequence[Case], scale: float) -> None:
        """They are counted."""
        with self._lock:
            self._planned, self._scale = len(cases), scale

    def started(self, case: Case) -> None:
        """A new row."""
        now = time.monotonic()
        with self._lock:
            self._rows[case.id] = _Row(case.description, now, now + case.waits() * self._scale)

    def at(self, case: Case, step: str) -> None:
        """The row shows its step."""
        with self._lock:
            self._rows[case.id] = replace(self._rows[case.id], step=step)

    def finished(self, result: CaseResult) -> None:
        """It is counted; one that did not pass is told at once."""
        with self._lock:
            self._rows.pop(result.case, None)
            self._ended[result.verdict] += 1
        if result.verdict is not Verdict.PASSED:
            line = f"{result.case} {result.verdict}: {result.message}"
            self._console.print(Text(line, STYLES[result.verdict]))

    def _render(self) -> Group:
        with self._lock:
            rows, ended, planned = dict(self._rows), Counter(self._ended), self._planned
        # Two lines less than the screen has: one for the counts, one for the cursor.
        room = max(1, self._console.height - 2)
        table = Table(box=None, pad_edge=False, show_header=False)
        for number in range(3):
            table.add_column(no_wrap=True, justify="right" if number else "left")
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        now = time.monotonic()
        for case, row in list(rows.items())[:room]:
            left = f"{show_duration(row.until - now)} or more to go" if row.until > now else ""
            table.add_row(Text(case, "cyan"), show_duration(now - row.begun), left, Text(row.step))
        return Group(table, _counted(ended, len(rows), planned))


def _counted(ended: Counter[Verdict], running: int, planned: int) -> Text:
    """`3 passed, 1 failed, 2 run, 6 wait`."""
    shown = Text(no_wrap=True, overflow="ellipsis")
    words = [(f"{ended[verdict]} {verdict}", STYLES[verdict]) for verdict in Verdict if ended[verdict]]
    words += [(f"{running} run", "cyan"), (f"{max(0, planned - running - ended.total())} wait", "dim")]
    for number, (word, style) in enumerate(words):
        shown.append(", " if number else "").append(word, style)
    return shown


class Unfailing:
    """Tells somebody else, and goes on when that fails: a terminal that is gone must not end a run."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def planned(self, cases: Sequence[Case], scale: float) -> None:
        """Passed on."""
        with _passing_over():
            self._progress.planned(cases, scale)

    def note(self, text: str) -> None:
        """Passed on."""
        with _passing_over():
            self._progress.note(text)

    def started(self, case: Case) -> None:
        """Passed on."""
        with _passing_over():
            self._progress.started(case)

    def at(self, case: Case, step: str) -> None:
        """Passed on."""
        with _passing_over():
            self._progress.at(case, step)

    def finished(self, result: CaseResult) -> None:
        """Passed on."""
        with _passing_over():
            self._progress.finished(result)


def _passing_over() -> AbstractContextManager[None]:
    """rich ends the program when it writes into a pipe that nobody reads."""
    return contextlib.suppress(OSError, SystemExit)


def choose(console: Console) -> Plain:
    """What suits where the output goes."""
    return LiveTable(console) if console.is_terminal else Plain(console)
