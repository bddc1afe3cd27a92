"""How far a suite came, from what it noted."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.vx11.power.plugins.plugin_utils.progress import Progress, read

NOTES = [
    {"event": "test_begun", "name": "test_one"},
    {"event": "step", "name": "ask", "seconds": 0.5, "outcome": "failed", "ns": "1"},
    {"event": "mid_operation"},
    {"event": "test_ended", "name": "test_one", "ns": "7"},
    {"event": "test_begun", "name": "test_two"},
]
ASK = {"name": "ask", "seconds": 0.5, "outcome": "failed"}


def written(path: Path, notes: list[dict[str, object]], end: str = "") -> str:
    path.write_text("".join(json.dumps(note) + "\n" for note in notes) + end)
    return str(path)


def test_steps_and_the_test_that_runs(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    assert read(written(path, NOTES)) == Progress((ASK,), "test_two", {"test_one": "7"})
    assert read(written(path, NOTES[:-1])) == Progress((ASK,), None, {"test_one": "7"})


def test_a_torn_line_ends_what_can_be_read(tmp_path: Path) -> None:
    assert read(written(tmp_path / "progress.jsonl", NOTES[:1], '{"event": "st')) == Progress((), "test_one")


def test_no_file_is_no_progress(tmp_path: Path) -> None:
    assert read(str(tmp_path / "nothing")) == Progress()
