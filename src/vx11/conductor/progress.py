"""Shows how a run goes: a live table on a terminal, plain lines in a pipe."""

import time
from types import TracebackType
from typing import Protocol

from rich.console import Console
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
    """Who is told."""

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


class LiveTable(Plain):
    """A row a case, with its present step and its time."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._rows: dict[str, tuple[float, str, CaseResult | None]] = {}
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> "LiveTable":
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def started(self, case: Case) -> None:
        """A new row."""
        self._rows[case.id] = (time.monotonic(), case.description, None)

    def at(self, case: Case, step: str) -> None:
        """The row shows its step."""
        begun, _, result = self._rows[case.id]
        self._rows[case.id] = (begun, step, result)

    def finished(self, result: CaseResult) -> None:
        """The row shows its verdict."""
        begun, step, _ = self._rows.get(result.case, (time.monotonic(), "", None))
        self._rows[result.case] = (begun, step, result)

    def _render(self) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False)
        for case, (begun, step, result) in self._rows.items():
            if result:
                verdict = Text(result.verdict, STYLES[result.verdict])
                table.add_row(case, verdict, show_duration(result.duration), Text(result.message, overflow="ellipsis"))
            else:
                table.add_row(case, Text("runs", "cyan"), show_duration(time.monotonic() - begun), Text(step))
        return table


def choose(console: Console) -> Plain:
    """What suits where the output goes."""
    return LiveTable(console) if console.is_terminal else Plain(console)
