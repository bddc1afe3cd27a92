"""What a run decides by itself: what it skips, how many cells it uses, in which order cases begin, and where."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from vx11.catalogue import allowlist, compose
from vx11.conductor import actions, progress, run
from vx11.conductor.judge import CaseResult, Verdict
from vx11.conductor.matrix import Case
from vx11.engines.process import ProcessEngine
from vx11.evidence import export
from vx11.evidence.reading import records

Write = Callable[[str, str], Path]


@pytest.fixture
def make_case(tmp_path: Path) -> Callable[..., Case]:
    """`make_case(name, wait=35, …)` is a case that waits so long."""

    def make(name: str, wait: float = 0.0, **more: Any) -> Case:
        known = {
            "id": name,
            "description": "",
            "services": (),
            "dependencies": {},
            "actions": actions.read([{"wait": wait}] if wait else []),
            "playbook": tmp_path,
            "asserts": {},
            "metrics": (),
            "timeout": 60.0,
            "priority": 0,
            "exclusive": False,
            "requires": (),
            "tags": (),
            "retries": 0,
        }
        return Case(**(known | more))

    return make


def test_what_the_engine_cannot_do_is_skipped_with_the_reason(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ProcessEngine, "_capabilities", lambda self: {"usage.cpu"})  # as an ordinary user has them
    catalogue = write(
        "bundle/catalogue.yml", "services:\n  web: {image: one, x-vx11: {process: {command: [sleep, '9']}}}\n"
    )
    allowlist.update(catalogue.with_name("allowlist.yml"), compose.load(catalogue), ["web"])
    write(
        "bundle/matrix.yml",
        """
test_matrix:
  cases:
    - {id: cut, actions: [open_window: web, force_failure: network_partition]}
    - {id: throttled, actions: [set_throttle: {cpu: 0.5, memory: 64MB}, open_window: web]}
    - {id: asked-for, actions: [wait: 1s], requires: [usage.network]}
""",
    )
    shown = io.StringIO()
    options = run.Options(tmp_path / "bundle", evidence=tmp_path / "evidence")
    done = run.run(options, progress.Plain(Console(file=shown, width=200)))
    assert {item.case: (item.verdict, item.message) for item in done.results} == {
        "cut": (Verdict.SKIPPED, "the engine process cannot do partition here"),
        "throttled": (Verdict.SKIPPED, "the engine process cannot do limits.cpu, limits.memory here"),
        "asked-for": (Verdict.SKIPPED, "the engine process cannot do usage.network here"),
    }
    assert done.passed
    assert "cut skipped" in shown.getvalue()
    (configuration,) = export.statement(done.folder)["predicate"]["configuration"]
    matrix = (tmp_path / "bundle" / "matrix.yml").read_bytes()
    assert configuration == {"name": "matrix.yml", "digest": {"sha256": hashlib.sha256(matrix).hexdigest()}}
    heads = [record["action"] for record in records(tmp_path / "evidence" / "heads.jsonl")]
    assert heads == ["run_began", "sealed", "run_finished", "sealed"]


SECRET = "plum-cake-4711"


class Telling:
    """In the place of a try: one that tells a secret in a file, and comes to its end or not."""

    def __init__(self, around: object, place: object, case: Case, folder: Path, *_: object) -> None:
        self._case, self._folder = case, folder

    def result(self) -> CaseResult:
        (self._folder / "evidence.jsonl").write_text(f"said {SECRET}\n", encoding="utf-8")
        if self._case.id == "broken":
            raise ValueError(f"a mistake with {SECRET}")
        return CaseResult(self._case.id, Verdict.PASSED)


class Looking(progress.Plain):
    """Progress that looks at the files of a case when its verdict is told."""

    def __init__(self, evidence: Path) -> None:
        super().__init__(Console(file=io.StringIO()))
        self._evidence = evidence
        self.found: dict[str, tuple[list[str], list[str]]] = {}

    def finished(self, result: CaseResult) -> None:
        """The case has its verdict."""
        files = [path for path in self._evidence.glob(f"*/cases/{result.case}/**/*") if path.is_file()]
        telling = [path.name for path in files if SECRET in path.read_text(encoding="utf-8")]
        self.found[result.case] = (sorted(path.name for path in files), telling)


def test_the_files_of_a_try_are_cleared_before_its_verdict_is_told(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "Attempt", Telling)
    process = "process: {command: [sleep, '9']}"
    entry = f"{{image: one, environment: {{DB_PASSWORD: {SECRET}}}, x-vx11: {{{process}}}}}"
    catalogue = write("bundle/catalogue.yml", f"services: {{web: {entry}}}\n")
    allowlist.update(catalogue.with_name("allowlist.yml"), compose.load(catalogue), ["web"])
    cases = "cases: [{id: whole, actions: [wait: 1s]}, {id: broken, actions: [wait: 1s]}]"
    write("bundle/matrix.yml", f"test_matrix: {{{cases}}}\n")
    looking = Looking(tmp_path / "evidence")
    done = run.run(run.Options(tmp_path / "bundle", evidence=tmp_path / "evidence", cells=1), looking)
    assert [item.verdict for item in done.results] == [Verdict.PASSED, Verdict.ABORTED]
    assert looking.found == {
        "whole": (["evidence.jsonl", "verdict.json"], []),
        "broken": (["evidence.jsonl", "traceback.txt"], []),
    }


@pytest.mark.parametrize(
    ("waits", "memory", "at_least", "at_most"),
    [
        ([], 2**34, 1, 1),
        ([35], 2**34, 1, 1),
        ([35, 35, 35, 35], 2**34, 4, 4),
        ([35, 10, 30, 5, 0, 0, 0], 2**34, 3, 5),
        ([35] * 40, 2**34, 8, run.MAX_CELLS),
        ([35, 35, 35, 35], 2 * run.CELL_MEMORY, 2, 2),
        ([35, 35, 35, 35], 0, 1, 1),
    ],
)
def test_cells_are_chosen_by_what_cases_wait_for_and_by_memory(
    make_case: Callable[..., Case], waits: list[float], memory: int, at_least: int, at_most: int
) -> None:
    cases = [make_case(f"c-{number}", wait) for number, wait in enumerate(waits)]
    assert at_least <= run.cells_for(cases, memory=memory) <= at_most


def test_a_shorter_time_scale_needs_no_more_cells(make_case: Callable[..., Case]) -> None:
    cases = [make_case(f"c-{number}", 35) for number in range(8)]
    assert run.cells_for(cases, 0.01, memory=2**34) <= run.cells_for(cases, memory=2**34)


class Able:
    """A place, of which only it matters what it can do."""

    def __init__(self, *capabilities: str) -> None:
        self.capabilities = set(capabilities)

    def lacks(self, case: Case) -> str:
        return ", ".join(set(case.requires) - self.capabilities)


@pytest.mark.parametrize(
    ("capabilities", "taken"),
    [((), ["now", "short", None, None]), (("partition",), ["now", "long", "short", None])],
)
def test_the_longest_begin_first_and_priority_comes_before_that_of_what_the_place_can_do(
    make_case: Callable[..., Case], capabilities: tuple[str, ...], taken: list[str | None]
) -> None:
    long = make_case("long", 30, requires=("partition",))
    queue = run._Queue([make_case("short"), long, make_case("now", 5, priority=1)])
    place: Any = Able(*capabilities)
    assert [case and case.id for case in (queue.next(place) for _ in range(4))] == taken


@pytest.mark.parametrize(
    ("asked", "sharing", "alone", "cells"), [(8, 3, 0, 3), (2, 3, 0, 2), (8, 2, 2, 2), (8, 0, 2, 1), (None, 1, 0, 1)]
)
def test_there_are_no_more_cells_than_cases_that_share_them(
    make_case: Callable[..., Case], tmp_path: Path, asked: int | None, sharing: int, alone: int, cells: int
) -> None:
    cases = [make_case(f"case-{number}", exclusive=number < alone) for number in range(sharing + alone)]
    assert run.cell_count(cases, run.Options(tmp_path, cells=asked)) == cells
