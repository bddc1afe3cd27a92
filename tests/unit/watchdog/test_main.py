"""The watchdog as a process: alone on its cell, on time, polite, and told what to do by its one flag."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vx11.clock import Clock
from vx11.engines import procfs
from vx11.statefiles import WATCHDOG_LOCK, WINDOWS, held_lock
from vx11.watchdog.record import OVERDUE

Eventually = Callable[..., Any]
Room = Any  # tests/unit/watchdog/conftest.py
Start = Any
Begin = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def begin(no_daemon: None) -> Iterator[Begin]:
    """`begin(state, stderr=PIPE)` starts a watchdog; it ends with the test."""
    begun: list[subprocess.Popen[bytes]] = []

    def start(state: Path, stderr: Any = subprocess.PIPE) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", "-m", "vx11.watchdog", "--state", str(state)]
        begun.append(subprocess.Popen(command, stderr=stderr))
        return begun[-1]

    yield start
    for process in begun:
        if process.poll() is None:
            process.kill()
        with process:
            process.wait()


def test_it_closes_on_time_is_alone_and_ends_politely(
    room: Room, start: Start, begin: Begin, eventually: Eventually, file: Callable[..., Any], tmp_path: Path
) -> None:
    mark, state = f"w-{room.folder.cell}", tmp_path / room.folder.cell
    child = start("polite", window=mark)
    opened = Clock().now()
    engine = {"container": "", "pid": child.pid, "start_time": procfs.start_time(child.pid), "cgroup": ""}
    room.save(mark, deadline=opened.plus(0.2).to_json(), engine=engine)
    first = begin(state)
    assert child.wait(10) == 7
    assert opened.seconds_until(Clock().now()) >= 0.2 + OVERDUE
    eventually(lambda: room.is_marked(mark))
    second = begin(state)
    assert second.communicate(timeout=10)[1] == f"watchdog: another watchdog looks after {state}\n".encode()
    assert second.returncode == 3
    first.terminate()
    assert first.communicate(timeout=10)[1] == f"watchdog: closed web ({mark}), which was overdue\n".encode()
    assert first.returncode == 0
    with held_lock(state / WATCHDOG_LOCK):
        assert (state / WINDOWS).is_dir()


def test_a_log_that_cannot_be_written_stops_nothing(
    room: Room, begin: Begin, eventually: Eventually, tmp_path: Path
) -> None:
    with Path("/dev/full").open("wb") as full:
        process = begin(tmp_path / room.folder.cell, full)
        room.write("broken.json", "{")
        for window in ("first", "second"):
            room.save(window, deadline=Clock().now().to_json())
            eventually(lambda window=window: room.is_marked(window))
        assert process.poll() is None


def test_it_may_be_started_before_madre(begin: Begin, eventually: Eventually, tmp_path: Path) -> None:
    process = begin(tmp_path / "state" / "default")
    eventually((tmp_path / "state" / "default" / WATCHDOG_LOCK).exists)
    assert process.poll() is None


def test_a_folder_that_cannot_be_used_is_told(begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    process = begin(tmp_path / "file" / "default")
    said = process.communicate(timeout=10)[1]
    assert b"file/default cannot be used: Not a directory; name another with --state" in said
    assert process.returncode == 3
