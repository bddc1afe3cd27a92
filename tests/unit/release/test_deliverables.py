"""The deliverables A to F: whole, escaped, and of what was measured alone."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from vx11.release import contract, scorecard
from vx11.release.baseline import Baseline, Input, Running
from vx11.release.databases import Database
from vx11.release.deliverables import NAMES, Closed, phases, tasks, write
from vx11.release.gates import GATES
from vx11.release.repository import State
from vx11.release.verdicts import Check, Outcome, Result

TOLD = {"cell": "default", "engine": "process", "solo_madre": True, "watchdog": True, "windows": []}
RUNNING = Running("http://127.0.0.1:8000", True, TOLD, "", {"vx11-madre.service": "active"})
BASELINE = Baseline(
    taken="2026-11-22T00:00:00.000000000Z",
    version="0.1.0",
    git=State("main", "ab" * 20, (), {"origin": "https://example.org/a.git"}),
    running=RUNNING,
    searched=("/var/lib/vx11",),
    databases=(Database(Path("/var/lib/vx11/a.db"), 8192, {"quick_check": []}, {"parent": 2, "child": 200}),),
    inputs=(Input("catalogue", Path("/etc/vx11/catalogue.yml"), 12, "cd" * 32),),
)


def closed(*broken: int, absent: Sequence[int] = (), p0: bool = True, **changes: Any) -> Closed:
    """A closing whose gates pass, but for those that are named."""

    def result(number: int, title: str) -> Result:
        if number in absent:
            return Result(number, title, Outcome.NOT_APPLICABLE, "there is none")
        outcome = Outcome.FAILED if number in broken else Outcome.PASSED
        check = Check(f"check of {number}", number not in broken, "ill" if number in broken else "")
        return Result(number, title, outcome, str(check) if number in broken else "", [check], 0.1)

    baseline = replace(BASELINE, **changes)
    results = [result(gate.number, gate.title) for gate in GATES]
    by_number = {one.number: one for one in results}
    tests = [Check("pytest test_p0.py::test_the_entry_is_alive", p0, "" if p0 else "no | answer")]
    lines = contract.lines(baseline.running, by_number)
    return Closed(baseline, results, tests, lines, scorecard.scores(by_number, tests, [True], lines))


@pytest.fixture
def written(tmp_path: Path) -> Callable[[Closed], dict[str, str]]:
    """`written(closed)` answers the deliverables by their letters."""

    def make(found: Closed) -> dict[str, str]:
        write(tmp_path, found)
        return {name[0]: (tmp_path / f"{name}.md").read_text(encoding="utf-8") for name in NAMES}

    return make


def rows(text: str, number: int = 0) -> list[list[str]]:
    """The cells of the body of a table, as a reader of Markdown finds them."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    tables, found = 0, []
    for token, follows in pairwise(tokens):
        tables += token.type == "table_open"
        if token.type == "tr_open":
            found.append((tables - 1, list[str]()))
        if token.type in ("td_open", "th_open"):
            found[-1][1].append("".join(child.content for child in follows.children or ()))
    return [cells for table, cells in found if table == number][1:]


def test_one_that_closes(written: Callable[[Closed], dict[str, str]]) -> None:
    found = closed()
    assert found.closes
    text = written(found)
    assert list(text) == list("ABCDEF")
    assert "may be closed" in text["A"]
    assert [row[2] for row in rows(text["A"])] == ["✓ passed"] * 8
    assert [row[2] for row in rows(text["D"])] == ["✓ passed"] * 6 + ["may be closed"]
    assert "Nothing is left." in text["E"]
    assert [row[1:4] for row in rows(text["F"])] == [["100 %", "100 %", "yes"]] * 6
    assert rows(text["A"], 3) == [["/var/lib/vx11/a.db", "8192", "2", "202", "yes"]]
    assert rows(text["A"], 4) == [["catalogue", "/etc/vx11/catalogue.yml", "12", "cd" * 32]]


def test_one_that_does_not(written: Callable[[Closed], dict[str, str]]) -> None:
    found = closed(1, absent=[6])
    assert not found.closes
    text = written(found)
    assert "stays open" in text["A"]
    assert [row[2] for row in rows(text["A"])][:6] == ["✗ failed", *["✓ passed"] * 4, "○ not applicable"]
    assert rows(text["D"])[1][2:] == ["✗ failed", "gate 1: check of 1: ill"]
    assert rows(text["D"])[2][2] == "✓ passed"
    assert text["E"].count("- [ ]") == 2
    assert rows(text["F"])[0][1:4] == ["0 %", "100 %", "no"]


def test_a_phase_whose_gates_are_not_applicable_has_not_passed() -> None:
    found = phases(closed(absent=[1, 5]))
    assert (found[1].name, found[1].verdict) == ("data", Outcome.NOT_APPLICABLE)


def test_a_p0_test_that_failed_keeps_the_release_open(written: Callable[[Closed], dict[str, str]]) -> None:
    found = closed(p0=False)
    assert not found.closes
    assert rows(written(found)["C"]) == [["pytest test_p0.py::test_the_entry_is_alive", "✗ failed", "no | answer"]]


def test_what_is_left_is_in_the_task_pack() -> None:
    git = State("main", "ab" * 20, ("new.py",), {})
    found = [(task.what, task.why) for task in tasks(closed(2, absent=[3], p0=False, git=git))]
    assert found == [
        ("gate 2: check of 2", "ill"),
        ("P0: pytest test_p0.py::test_the_entry_is_alive", "no | answer"),
        ("commit what the release is made of, or drop it", "new.py"),
        ("gate 3: have it measured, or accept why not", "there is none"),
    ]


def arrows(text: str) -> list[str]:
    """The lines of the first diagram, as Mermaid reads them."""
    (diagram, *_) = re.findall(r"```mermaid\n(.*?)```", text, re.DOTALL)
    return re.findall(r"^    (\w+ (?:-->|--x|-\.->)\|[^|]+\| \w+)$", diagram, re.MULTILINE)


def test_the_diagram_shows_what_holds(written: Callable[[Closed], dict[str, str]]) -> None:
    text = written(closed())["B"]
    assert len(arrows(text)) == 6
    assert all(" -->|" in line for line in arrows(text))
    assert [row[2] for row in rows(text)] == ["yes"] * 6


def test_the_diagram_shows_what_does_not(written: Callable[[Closed], dict[str, str]]) -> None:
    told = TOLD | {"watchdog": False, "solo_madre": False, "windows": [{"service": "web", "state": "open"}]}
    text = written(closed(8, absent=[6], running=replace(RUNNING, told=told)))["B"]
    assert arrows(text) == [
        "outside -.->|only this port answers| entry",
        "entry -->|passes the power API on| madre",
        "watchdog --x|closes what is overdue| windows",
        "madre --x|none is open| windows",
        "operator --x|answered without a language service| entry",
        "madre -->|intact after maintenance| evidence",
    ]
    assert rows(text)[3][2:] == ["no", "madre's status: web"]


def test_where_nobody_answers_nothing_of_madre_holds(written: Callable[[Closed], dict[str, str]]) -> None:
    silent = replace(RUNNING, answers=False, told=None, why="no madre answers")
    text = written(closed(2, running=silent, git=None, databases=(), inputs=()))
    assert [row[2] for row in rows(text["B"])][1:4] == ["no"] * 3
    assert "No tree is named." in text["A"]
    assert "None. Searched: /var/lib/vx11." in text["A"]
