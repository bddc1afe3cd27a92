"""The processes and units of a host's core."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vx11.client import Madre
from vx11.errors import EnvironmentProblem
from vx11.release import core, gates
from vx11.release.config import Closing, Release
from vx11.release.core import Part
from vx11.release.gates import GATES
from vx11.statefiles import MADRE_LOCK, WATCHDOG_LOCK, held_lock

# As systemd's own answers: `vx11-madre` runs as the process 1, nothing else does.
SYSTEMCTL = """#!/bin/sh
case "$*" in
*--property=MainPID*vx11-madre) echo 1 ;;
*--property=MainPID*) echo 0 ;;
"is-active vx11-madre") echo active ;;
*) echo inactive; exit 3 ;;
esac
"""
MakeRelease = Callable[..., Release]


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with systemd."""
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(SYSTEMCTL, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.usefixtures("systemd")
def test_units_that_are_named(release: MakeRelease) -> None:
    asked = release(core=("vx11-madre", "vx11-gateway"))
    found = {check.what: (check.holds, check.detail) for check in gates.run(GATES[1], asked).checks}
    assert found["the unit vx11-madre is active"] == (True, "active")
    assert found["the unit vx11-gateway is active"] == (False, "inactive")
    assert core.parts(asked) == [Part("vx11-madre", 1)]


def test_units_where_there_is_no_systemd(release: MakeRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentProblem):
        core.unit_state("vx11-madre")
    result = gates.run(GATES[1], release(core=("vx11-madre",)))
    assert result.reason == "it could not be measured: the program systemctl is needed, and is not installed"


def test_who_has_the_locks_and_who_listens(tmp_path: Path) -> None:
    code = "import sys; held = open(sys.argv[1]); print('up', flush=True); sys.stdin.read()"
    (tmp_path / WATCHDOG_LOCK).touch()
    words = [sys.executable, "-c", code, str(tmp_path / WATCHDOG_LOCK)]
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        held_lock(tmp_path / MADRE_LOCK),
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"A_FLAG": "1"}) as other,
    ):
        assert other.stdout
        other.stdout.readline()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with Madre(url) as madre:
            found = {part.pid: part.name for part in core.parts(Release(url, madre, Closing(), state=tmp_path))}
            assert found == {os.getpid(): "madre", other.pid: "watchdog"}
            found = {part.pid: part.name for part in core.parts(Release(url, madre, Closing()))}
            assert found == {os.getpid(): "entry"}
        assert Part("watchdog", other.pid).environment() == {"A_FLAG": "1"}
    assert Part("watchdog", other.pid).environment() is None


@pytest.mark.parametrize(("host", "expected"), [("127.0.0.1", True), ("localhost", True), ("192.0.2.1", False)])
def test_which_host_is_this_machine(host: str, expected: bool) -> None:
    assert core.is_here(host) is expected
