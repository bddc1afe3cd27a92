"""An entry that is asked far more than it can answer: deadlines hold, SOLO_MADRE is reached, memory stays bounded."""

import json
import os
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vx11 import tokens
from vx11.client import Madre
from vx11.conductor.cell import SCOPES, Cell
from vx11.statefiles import WINDOWS

FULL = os.environ.get("VX11_FAULTS") == "full"
CLIENTS, COUNT = 200, 24
# Seconds from the first open to the first deadline, between deadlines, and that the load lasts.
FIRST, APART, SECONDS = 15.0, 2.0 if FULL else 0.25, 65 if FULL else 25
# From the deadline to the begin of the close, in milliseconds: of 99 in 100, and of each.
LATE, WORST = 250.0, 1500.0
GROWTH = 64 * 1024  # KiB
LOAD = Path(__file__).with_name("load.py")
WAITS = "import signal\nsignal.signal(signal.SIGTERM, lambda *_: exit(0))\nsignal.pause()"


class Limited(Cell):
    """A cell with the rate limit that a host has."""

    def _flags(self) -> Any:
        return [*super()._flags(), "--rate-limit", "60/min:10"]


@pytest.fixture
def cell(make_bundle: Callable[..., Path], make_entry: Callable[..., Any], tmp_path: Path) -> Any:
    """One with services that only wait."""
    entries = {f"s{number}": make_entry(WAITS, stop_grace_period="1s") for number in range(COUNT + 2)}
    found = Limited(f"t-{secrets.token_hex(4)}", make_bundle(entries), "process", tmp_path / "evidence")
    try:
        found.start()
        yield found
    finally:
        found.stop()
        assert found.purge() == []


def token(cell: Cell, subject: str = "tester") -> str:
    """One of its own for each call, so that none is over its limit."""
    key = tokens.read_key(cell.folder / "key")
    return tokens.issue(key, subject=subject, scopes=SCOPES, ttl=600, cell=cell.name)


def call(cell: Cell, path: str, **body: Any) -> Any:
    with Madre(cell.url, token(cell)) as madre:
        return madre.post(path, **body)


def deadlines(cell: Cell) -> dict[str, int]:
    """Window → deadline, in nanoseconds of CLOCK_BOOTTIME, as the state files have it."""
    folder = cell.folder / "state" / cell.name / WINDOWS
    states = [json.loads(path.read_bytes()) for path in folder.glob("*.json")]
    return {state["window_id"]: int(state["deadline"]["boottime_ns"]) for state in states}


def memory(pid: int) -> int:
    """Resident, in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


@pytest.mark.alone
def test_deadlines_hold_whatever_is_asked(cell: Cell, eventually: Callable[..., Any]) -> None:
    begun = time.monotonic()
    for number in range(COUNT):
        ttl = begun + FIRST + number * APART - time.monotonic()
        call(cell, "/api/v1/windows/open", service=f"s{number}", ttl=ttl)
    for number in (COUNT, COUNT + 1):
        call(cell, "/api/v1/windows/open", service=f"s{number}", ttl=600, hold=True)
    due_at = deadlines(cell)
    madre = cell.core["madre"].pid
    before = memory(madre)
    command = [sys.executable, str(LOAD), cell.url, str(CLIENTS), str(SECONDS)]
    given = "\n".join(token(cell, f"client-{number}") for number in range(20))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as load:
        assert load.stdin
        load.stdin.write(given)
        load.stdin.close()
        closing = closings(cell, COUNT, eventually)
        assert load.poll() is None, "the load ended before the last window closed"
        asked = time.monotonic()
        returned = call(cell, "/api/v1/system/solo_madre")
        took = time.monotonic() - asked
        assert load.stdout
        said = json.loads(load.stdout.read())
    assert returned["solo_madre"]
    assert took < 30
    assert said.get("200", 0) > CLIENTS
    assert said.get("401", 0) > CLIENTS
    assert said.get("429", 0) > 0
    assert not [status for status in said if status.startswith("5")], said
    late = [(at - due_at[window]) / 1e6 for window, at in closing.items() if window in due_at]
    assert len(late) == COUNT
    assert statistics.quantiles(late, n=100, method="inclusive")[98] <= LATE, late
    assert min(late) >= 0
    assert max(late) <= WORST
    assert memory(madre) - before < GROWTH


def closings(cell: Cell, count: int, eventually: Callable[..., Any]) -> dict[str, int]:
    """Window → when its close began, by madre's evidence, once so many have begun."""

    def found() -> dict[str, int] | None:
        begun = {
            record["subject"]: int(record["mono_ns"]) for record in cell.records() if record["action"] == "closing"
        }
        return begun if len(begun) >= count else None

    closed: dict[str, int] = eventually(found, FIRST + count * APART + 30)
    return closed
