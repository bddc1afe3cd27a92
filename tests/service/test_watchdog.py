"""What the watchdog ends is ended, and the next madre tells when and how."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vx11.clock import Instant
from vx11.engines import procfs
from vx11.engines.select import EngineName

LATE = 1.5


@pytest.fixture
def lone_api(bundle: Path, start_cell: Callable[[Path, EngineName], Any], caller: Callable[..., Any]) -> Iterator[Any]:
    """A cell of processes, whose madre the test ends."""
    yield from caller(start_cell(bundle, "process"))


@pytest.mark.root
def test_madre_sees_and_closes_what_overwrote_its_mark(process_api: Any) -> None:
    window = process_api.open("hides", ttl=1)
    assert process_api.status()["solo_madre"] is False
    assert process_api.in_state(window["window_id"], "closed")["reason"] == "expired"
    assert process_api.cell.engine.inventory(process_api.cell.name) == []


@pytest.mark.root
def test_the_watchdog_closes_what_overwrote_its_mark(lone_api: Any) -> None:
    window = lone_api.open("hides", ttl=1)
    (found,) = lone_api.cell.engine.inventory(lone_api.cell.name)
    lone_api.end("madre", signal.SIGKILL)
    assert procfs.wait_gone(found.running.pid, found.running.start_time, timeout=5)
    lone_api.cell.start_madre()
    lone_api.connect()
    assert lone_api.in_state(window["window_id"], "closed")["reason"] == "watchdog"


def test_the_window_was_open_until_the_watchdog_closed_it_not_until_somebody_noticed(lone_api: Any) -> None:
    window = lone_api.open(ttl=1)
    lone_api.end("madre", signal.SIGKILL)
    folder = lone_api.cell.folder / "state" / lone_api.cell.name / "windows"
    (mark,) = lone_api.until(lambda: list(folder.glob("*.closed-by-watchdog")))
    ended = Instant.from_json(json.loads(mark.read_text(encoding="utf-8"))["closed"])
    lone_api.cell.start_madre()
    lone_api.connect()
    closed = lone_api.in_state(window["window_id"], "closed")
    assert closed["closed_at"] == ended.iso()
    assert closed["open_s"] < 1 + LATE
