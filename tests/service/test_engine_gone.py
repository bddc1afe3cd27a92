"""While the Docker daemon does not answer nothing is claimed or forgotten; when it is back, closing goes on."""

import contextlib
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vx11.conductor.cell import Cell

pytestmark = pytest.mark.docker
OPEN, STATUS, SOLO_MADRE = "/api/v1/windows/open", "/api/v1/windows/status", "/api/v1/system/solo_madre"
DAEMON = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
Problem = Callable[..., str]


class Line:
    """A socket that leads to the daemon, and can be cut."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: list[socket.socket] = []
        self.mend()

    def mend(self) -> None:
        """The daemon can be reached."""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """It cannot, and who speaks with it is interrupted."""
        self.path.unlink()
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, daemon = listener.accept()[0], socket.socket(socket.AF_UNIX)
                daemon.connect(DAEMON.removeprefix("unix://"))
                self._open += [caller, daemon]
                for ends in ((caller, daemon), (daemon, caller)):
                    threading.Thread(target=_pass_on, args=ends, daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """The only way to the daemon in this test."""
    if not DAEMON.startswith("unix://"):
        pytest.skip(f"the daemon is reached by {DAEMON}, not by a socket of this host")
    found = Line(tmp_path / "docker.sock")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{found.path}")
    yield found
    found.cut()


@pytest.fixture
def far_api(bundle: Path, line: Line, tmp_path: Path, caller: Callable[..., Iterator[Any]]) -> Iterator[Any]:
    """A cell whose daemon is at the other end of the line."""
    cell = Cell(f"t-{secrets.token_hex(4)}", bundle, "docker", tmp_path / "evidence")
    try:
        cell.start()
        yield from caller(cell)
    finally:
        if not line.path.exists():
            line.mend()
        cell.stop()
        assert cell.purge() == []


def test_a_window_that_cannot_be_closed_is_stuck_until_it_can(far_api: Any, line: Line, problem: Problem) -> None:
    window = far_api.open(ttl=60)
    line.cut()
    problem(far_api.http.get(STATUS), 503, "engine_unavailable")
    problem(far_api.post(SOLO_MADRE, dry_run=True), 503, "engine_unavailable")
    assert far_api.post(OPEN, service="other").status_code in (502, 503)
    stuck = far_api.close()
    assert (stuck["state"], stuck["closed_at"]) == ("stuck", None)
    problem(far_api.post(OPEN, service="web"), 409, "window_stuck")
    line.mend()
    closed = far_api.in_state(window["window_id"], "closed")
    assert closed["reason"] == "requested"
    assert far_api.cell.engine.inventory(far_api.cell.name) == []
    actions = [item["action"] for item in far_api.evidence() if item["subject"] == window["window_id"]]
    assert actions[-1] == "closed"
    assert "stuck" in actions
    far_api.until(lambda: far_api.status()["solo_madre"])
