"""SIGKILL of the conductor: the next one ends what it left, and closes its books."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chains import whole
from vx11.conductor.conducted import Conducted
from vx11.engines import select
from vx11.evidence.layout import CONDUCTOR

OPEN = {"vx11.power.vx11_window": {"service": "web", "ttl": "5m"}}


def recovering(evidence: Path) -> "subprocess.Popen[str]":
    """`vx11 evidence recover`, as a process."""
    command = [sys.executable, "-m", "vx11", "evidence", "recover", str(evidence), "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def dead(
    engine_name: str,
    make_bundle: Callable[..., Path],
    write_matrix: Callable[..., Path],
    web: dict[str, Any],
    tmp_path: Path,
    begin_run: Callable[..., Any],
) -> Any:
    """A run whose conductor was killed in the second of three cases: a window is open, and a task does not end."""
    reached = tmp_path / "reached"
    os.mkfifo(reached)
    stay = {"ansible.builtin.shell": f"trap '' TERM; echo > {reached}; while :; do sleep 300; done"}
    cases = {"first": ([], {}), "second": ([OPEN, stay], {}), "third": ([OPEN], {})}
    bundle = write_matrix(make_bundle({"web": web}), cases)
    begun = begin_run(bundle, reached, "--json", "--engine", engine_name, "--cells", "1")
    begun.process.kill()
    begun.process.wait()
    return begun


def test_what_it_left_is_ended_and_its_books_are_closed(dead: Any, left_of: Callable[[Path], list[str]]) -> None:
    (folder,) = (path for path in dead.evidence.iterdir() if path.is_dir())
    (note,) = dead.evidence.glob(f"*/{CONDUCTOR}")
    run = Conducted.read(note)
    scratch = dead.evidence.parent / "scratch"
    engine = select.make(run.engine, run.cells[0], scratch / "state", scratch / "data")
    assert engine.residue(run.cells[0]), "its window is there"
    assert len([found for found in left_of(dead.temporary) if found.startswith("process")]) > 3, "core and playbook"

    pair = [recovering(dead.evidence), recovering(dead.evidence)]
    found = [one for process in pair for one in json.loads(process.communicate(timeout=60)[0])]

    assert [process.returncode for process in pair] == [0, 0]
    expected = {"test_id": run.test_id, "aborted": ["second", "third"], "damage": None, "left_out": None, "left": []}
    assert found == [expected]
    assert (left_of(dead.temporary), engine.residue(run.cells[0])) == ([], [])
    (entry,) = json.loads((dead.evidence / "index.json").read_text())["runs"].values()
    assert entry["state"] == "aborted"
    assert entry["verdicts"] == {"passed": 1, "aborted": 2}
    assert whole(folder / "evidence.jsonl") == entry["records"]
    lines = [json.loads(line) for line in (folder / "evidence.jsonl").read_text().splitlines()]
    verdicts = {line["subject"]: line["data"]["verdict"] for line in lines if line["action"] == "verdict"}
    assert verdicts == {"first": "passed", "second": "aborted", "third": "aborted"}
    assert lines[-1]["hash"] == entry["head"]
    assert whole(dead.evidence / "heads.jsonl") == 4
    assert not note.exists()


@pytest.mark.parametrize("engine_name", ["process"])
def test_the_next_run_recovers_it_before_it_begins(
    dead: Any, left_of: Callable[[Path], list[str]], run_command: Callable[..., list[str]], tmp_path: Path
) -> None:
    (bundle,) = (Path(word) for word in dead.process.args if (Path(word) / "matrix.yml").is_file())
    command = run_command(bundle, dead.evidence, "--case", "first", "--cells", "1")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    first = done.stdout.splitlines()[0]
    assert "had lost its conductor, and is recovered; aborted: second, third" in first
    assert left_of(dead.temporary) == []
    entries = json.loads((dead.evidence / "index.json").read_text())["runs"].values()
    assert [entry["state"] for entry in entries] == ["aborted", "finished"]
    assert whole(dead.evidence / "heads.jsonl") == 8
