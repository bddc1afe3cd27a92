"""A process that overwrote its environment, and with it the mark of its cell, does not get away."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vx11.engines import procfs
from vx11.engines.select import EngineName


@pytest.fixture
def hidden_api(
    bundle: Path, start_cell: Callable[[Path, EngineName], Any], caller: Callable[..., Any]
) -> Iterator[Any]:
    """A cell of processes, whose madre the test ends."""
    yield from caller(start_cell(bundle, "process"))


@pytest.mark.root
def test_madre_sees_it_and_closes_it(process_api: Any) -> None:
    window = process_api.open("hides", ttl=1)
    assert process_api.status()["solo_madre"] is False
    assert process_api.in_state(window["window_id"], "closed")["reason"] == "expired"
    assert process_api.cell.engine.inventory(process_api.cell.name) == []


@pytest.mark.root
def test_the_watchdog_closes_it(hidden_api: Any) -> None:
    window = hidden_api.open("hides", ttl=1)
    (found,) = hidden_api.cell.engine.inventory(hidden_api.cell.name)
    hidden_api.end("madre", signal.SIGKILL)
    assert procfs.wait_gone(found.running.pid, found.running.start_time, timeout=5)
    hidden_api.cell.start_madre()
    hidden_api.connect()
    assert hidden_api.in_state(window["window_id"], "closed")["reason"] == "watchdog"
