"""What a try looks at besides what a case did: the files of its bundle, and how much evidence there is."""

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vx11.conductor.attempt import Attempt
from vx11.conductor.cell import Cell

Make = Callable[..., Attempt]
# How many files of a restless editor are there at any moment.
PRESENT = 50


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """`make(*written)` is a try whose bundle and evidence are folders here."""
    for name in ("bundle", "case", "madre"):
        (tmp_path / name).mkdir()

    def of(*written: Path) -> Attempt:
        around: Any = SimpleNamespace(plan=SimpleNamespace(folder=tmp_path / "bundle"), written=written)
        cell: Any = SimpleNamespace(evidence=tmp_path / "madre")
        place: Any = SimpleNamespace(evidence_size=lambda: Cell.evidence_size(cell))
        case: Any = SimpleNamespace(playbook=None)
        return Attempt(around, place, case, tmp_path / "case", 1, at=lambda _: None)

    return of


def test_evidence_is_as_large_as_it_is_on_the_disk(make: Make, tmp_path: Path) -> None:
    attempt = make()
    (tmp_path / "madre" / "evidence.jsonl").write_bytes(b"before")
    before = attempt._place.evidence_size()
    (tmp_path / "madre" / "evidence-2.jsonl").write_bytes(b"123")
    (tmp_path / "case" / "steps.jsonl").write_bytes(b"12345")
    assert attempt._evidence_bytes(before) == 3 + 5


@pytest.mark.parametrize("change", ["edited", "new", "gone", "in a folder"])
def test_a_change_of_the_bundle_shows(make: Make, tmp_path: Path, change: str) -> None:
    bundle = tmp_path / "bundle"
    (bundle / "suites").mkdir()
    for name in ("matrix.yml", "suites/one.py"):
        (bundle / name).write_text("before")
    attempt = make()
    before = attempt._bundle()
    assert attempt._bundle() == before
    if change == "gone":
        (bundle / "matrix.yml").unlink()
    else:
        name = {"edited": "matrix.yml", "new": "more.yml", "in a folder": "suites/one.py"}[change]
        (bundle / name).write_text("afterwards")
    assert attempt._bundle() != before


def test_what_a_run_writes_is_no_part_of_the_bundle(make: Make, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    (bundle / "matrix.yml").write_text("one")
    attempt = make(bundle / "evidence")
    before = attempt._bundle()
    for name in ("evidence/run", "suites/__pycache__", ".git"):
        (bundle / name).mkdir(parents=True)
        (bundle / name / "file").write_text("x")
    (bundle / "link").symlink_to("matrix.yml")
    assert attempt._bundle() == before


@pytest.fixture
def restless(make: Make, tmp_path: Path) -> Iterator[Attempt]:
    """A try in whose bundle somebody makes files and takes them away again, as editors do."""
    stopping = threading.Event()

    def edit() -> None:
        for number in itertools.count():
            (tmp_path / "bundle" / f"new-{number}").touch()
            (tmp_path / "bundle" / f"new-{number - PRESENT}").unlink(missing_ok=True)
            if stopping.is_set():
                break

    editing = threading.Thread(target=edit)
    editing.start()
    yield make()
    stopping.set()
    editing.join()


def test_files_that_go_while_they_are_looked_at_are_no_error(restless: Attempt, tmp_path: Path) -> None:
    (tmp_path / "bundle" / "matrix.yml").write_text("one")
    for _ in range(100):
        assert os.fspath(tmp_path / "bundle" / "matrix.yml") in restless._bundle()
