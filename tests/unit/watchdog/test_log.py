"""What the watchdog writes down is a chain like any other, and never a reason to stop."""

from pathlib import Path

import pytest

from tests.chains import whole
from vx11.evidence.reading import records
from vx11.watchdog.log import Log


def test_what_it_closed_is_in_a_chain_of_its_own(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.started()
    log.closed("w1", "wäb", "overdue")
    log.end()
    path = tmp_path / "watchdog.jsonl"
    assert whole(path) == 3
    first, second, last = records(path)
    assert last["action"] == "stopped"
    assert (first["actor"], first["action"], first["subject"]) == ("watchdog", "started", "watchdog")
    assert (second["action"], second["subject"], second["data"]) == (
        "closed",
        "w1",
        {"service": "wäb", "why": "overdue"},
    )


def test_where_it_cannot_be_written_it_only_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    log = Log(tmp_path / "file")
    log.started()
    log.closed("w1", "web", "overdue")
    log.end()
    first, second = capfd.readouterr().err.splitlines()
    assert first.startswith("watchdog: evidence cannot be written to ")
    assert second == "watchdog: closed web (w1), which was overdue"


def test_without_a_folder_there_is_no_chain(tmp_path: Path) -> None:
    log = Log(None)
    log.started()
    log.end()
    assert list(tmp_path.iterdir()) == []
