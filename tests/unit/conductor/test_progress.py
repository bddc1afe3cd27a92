"""What is shown while a run goes: a table that stays on the screen, or lines."""

import io
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from vx11.conductor.judge import CaseResult, Verdict
from vx11.conductor.matrix import Case
from vx11.conductor.progress import LiveTable, Plain, choose

WIDTH, HEIGHT = 80, 12


def case(name: str, waits: float = 0.0) -> Case:
    """Only what progress asks of a case."""
    found: Any = SimpleNamespace(id=name, description=f"About {name}", waits=lambda: waits)
    return found  # type: ignore[no-any-return]


class Screen:
    """A terminal of `WIDTH` by `HEIGHT`."""

    def __init__(self) -> None:
        self.file = io.StringIO()
        self.console = Console(file=self.file, force_terminal=True, width=WIDTH, height=HEIGHT, color_system=None)
        self.table = LiveTable(self.console)

    def lines(self) -> list[str]:
        """What the table shows now."""
        beside = Console(file=io.StringIO(), width=WIDTH, height=HEIGHT)
        beside.print(self.table._render())
        assert isinstance(beside.file, io.StringIO)
        return [line.rstrip() for line in beside.file.getvalue().splitlines()]

    def said(self) -> str:
        """What was printed above it."""
        return self.file.getvalue()


@pytest.fixture
def screen() -> Screen:
    """An empty one; the table is drawn when a test asks for it."""
    return Screen()


@pytest.fixture
def shown(screen: Screen) -> Iterator[Screen]:
    """One whose table is drawn by its own thread."""
    with screen.table:
        yield screen


def test_it_shows_what_runs_and_counts_the_rest(screen: Screen) -> None:
    cases = [case(f"TC-{number}") for number in range(5)]
    screen.table.planned(cases, 1.0)
    for each in cases[:3]:
        screen.table.started(each)
    screen.table.at(cases[1], "Open a window")
    screen.table.finished(CaseResult("TC-0", Verdict.PASSED))
    first, second, counts = screen.lines()
    assert first.split()[0] == "TC-1"
    assert first.endswith("Open a window")
    assert second.endswith("About TC-2")
    assert counts == "1 passed, 2 run, 2 wait"


def test_what_did_not_pass_is_said_at_once_with_its_reason(screen: Screen) -> None:
    screen.table.planned([case("TC-0"), case("TC-1")], 1.0)
    screen.table.finished(CaseResult("TC-0", Verdict.SKIPPED, "[no] engine"))
    screen.table.finished(CaseResult("TC-1", Verdict.PASSED))
    assert screen.said() == "TC-0 skipped: [no] engine\n"
    assert screen.lines() == ["1 passed, 1 skipped, 0 run, 0 wait"]


def test_it_never_grows_beyond_the_screen(screen: Screen) -> None:
    cases = [case(f"TC-{number:03}") for number in range(300)]
    screen.table.planned(cases, 1.0)
    for each in cases:
        screen.table.started(each)
        screen.table.at(each, "a step with a name that is longer than the screen is wide " * 3)
    lines = screen.lines()
    assert len(lines) < HEIGHT
    assert max(map(len, lines)) <= WIDTH
    assert lines[-1] == "300 run, 0 wait"


@pytest.mark.parametrize(("scale", "left"), [(1.0, "1 min 00 s or more to go"), (0.5, "30.0 s or more to go")])
def test_it_says_how_long_a_case_waits_at_least(screen: Screen, scale: float, left: str) -> None:
    screen.table.planned([case("TC-0", 60)], scale)
    screen.table.started(case("TC-0", 60))
    assert left in screen.lines()[0]


def test_nothing_is_said_of_waits_that_are_not_known(screen: Screen) -> None:
    screen.table.started(case("TC-0"))
    assert "to go" not in screen.lines()[0]


def test_many_cases_tell_at_the_same_time(shown: Screen) -> None:
    shown.table.planned([case(str(number)) for number in range(400)], 1.0)

    def work(begin: int) -> None:
        for number in range(begin, begin + 100):
            shown.table.started(case(str(number)))
            shown.table.at(case(str(number)), "a step")
            shown.table.finished(CaseResult(str(number), Verdict.PASSED))

    workers = [threading.Thread(target=work, args=(begin,)) for begin in range(0, 400, 100)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        shown.lines()
    assert shown.lines() == ["400 passed, 0 run, 0 wait"]


def test_in_a_pipe_there_are_lines() -> None:
    console = Console(file=io.StringIO(), width=200)
    plain = choose(console)
    assert type(plain) is Plain
    with plain:
        plain.planned([case("TC-0")], 1.0)
        plain.started(case("TC-0"))
        plain.at(case("TC-0"), "a step")
        plain.finished(CaseResult("TC-0", Verdict.FAILED, "[too] slow", 61))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "TC-0 About TC-0\nTC-0 failed after 1 min 01 s: [too] slow\n"


def test_on_a_terminal_there_is_a_table(screen: Screen) -> None:
    assert isinstance(choose(screen.console), LiveTable)
