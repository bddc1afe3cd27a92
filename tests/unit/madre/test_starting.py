"""How tests are begun: as children, or by what systemd starts for a connection."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vx11.engines import procfs
from vx11.madre import starting
from vx11.madre.starting import Starter

WORDS = ["/nowhere/matrix.yml"]


@pytest.fixture
def begun() -> Iterator[list["subprocess.Popen[bytes]"]]:
    """What was started for connections; none is left."""
    found: list[subprocess.Popen[bytes]] = []
    yield found
    for process in found:
        process.kill()
        process.wait()


@pytest.fixture
def path(tmp_path: Path, begun: list["subprocess.Popen[bytes]"]) -> Iterator[Path]:
    """A socket for whose connections runners are started, as systemd does it with Accept=yes."""
    place = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place))
        listening.listen()

        def serve() -> None:
            link, _ = listening.accept()
            with link:
                begun.append(subprocess.Popen([sys.executable, "-m", "vx11.madre.runner"], stdin=link))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield place
        thread.join(10)


@pytest.fixture(params=["child", "unit"])
def starter(request: pytest.FixtureRequest) -> Starter:
    """Both ways."""
    if request.param == "child":
        return starting.child(dict(os.environ))
    return starting.unit(request.getfixturevalue("path"))


def test_it_is_vx11_run_under_the_number_that_was_told(
    starter: Starter, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    log = tmp_path / "log"
    with starter(WORDS, log) as waiting:
        assert procfs.is_alive(waiting.pid, waiting.started)
        assert log.read_text() == ""
        waiting.go()
    eventually(lambda: not procfs.is_alive(waiting.pid, waiting.started), 20)
    assert "/nowhere/matrix.yml" in log.read_text()


def test_what_is_not_let_go_never_runs(starter: Starter, tmp_path: Path, eventually: Callable[..., Any]) -> None:
    log = tmp_path / "log"
    with pytest.raises(OSError, match="full"), starter(WORDS, log) as waiting:
        raise OSError("the disk is full")
    eventually(lambda: not procfs.is_alive(waiting.pid, waiting.started), 20)
    assert log.read_text() == ""


def test_one_that_was_ended_while_it_waited_is_no_failure(starter: Starter, tmp_path: Path) -> None:
    with starter(WORDS, tmp_path / "log") as waiting:
        procfs.send(waiting.pid, waiting.started, signal.SIGKILL)
        assert procfs.wait_gone(waiting.pid, waiting.started, 10)
        waiting.go()


def test_who_does_not_start_anything_is_told_of(tmp_path: Path) -> None:
    place = tmp_path / "s"
    with pytest.raises(FileNotFoundError), starting.unit(place)(WORDS, tmp_path / "log"):
        pytest.fail("there is nobody")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place))
        listening.listen()

        def hang_up() -> None:
            link, _ = listening.accept()
            with link:
                socket.recv_fds(link, 1000, 1)

        threading.Thread(target=hang_up, daemon=True).start()
        with pytest.raises(OSError, match="has ended at once"), starting.unit(place)(WORDS, tmp_path / "log"):
            pytest.fail("it has ended")


@pytest.mark.parametrize(
    "message", [b"", b"{}", json.dumps({"run": WORDS}).encode() + b"\n"], ids=["none", "cut", "no file"]
)
def test_a_runner_that_is_asked_for_nothing_ends(message: bytes) -> None:
    ours, its = socket.socketpair(socket.AF_UNIX)
    with ours, its, subprocess.Popen([sys.executable, "-m", "vx11.madre.runner"], stdin=its) as runner:
        ours.sendall(message)
        ours.shutdown(socket.SHUT_WR)
        assert runner.wait(20) == 2
