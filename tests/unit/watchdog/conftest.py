"""What tests of the watchdog share: a state folder with a clock, a daemon that is none, processes that carry marks."""

import http.server
import json
import os
import secrets
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from vx11.clock import NS, Clock, Instant
from vx11.engines import procfs
from vx11.statefiles import CLOSED_BY_WATCHDOG, WINDOWS
from vx11.watchdog import ending
from vx11.watchdog.ending import Target
from vx11.watchdog.log import Log
from vx11.watchdog.record import StateFolder
from vx11.watchdog.windows import Windows

CELL = f"t-wd-{os.getpid()}"
OPENED = Instant(1000 * NS, 5000 * NS, "boot-a")
MOMENTS = ("opened", "deadline", "hold_until", "needed_until", "ready", "closing", "close_by")
SCHEMA_2 = ("requested", "depends_on", "needed_until", "close_by")
PROGRAMS = {
    # Whoever runs the tests may ignore SIGINT, as what a shell starts in the background does.
    "polite": "import signal, sys; signal.signal(15, lambda *_: sys.exit(7)); signal.signal(2, signal.SIG_DFL)\n"
    "print('up', flush=True); signal.pause()",
    "stubborn": "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True)\nwhile True: signal.pause()",
    # Leaves a child behind, in another session.
    "parent": "import subprocess, sys, signal\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'], start_new_session=True)\n"
    "print('up', flush=True); signal.pause()",
}


def state_file(window_id: str = "w1", schema: int = 2, **changes: Any) -> dict[str, Any]:
    """What madre writes about a window that was opened at 0 for 60 s; moments are given in seconds since then."""
    running = {"engine": "process", "window_id": window_id, "container": "", "pid": 4_000_000, "start_time": 1}
    known = {
        "schema": schema,
        "cell": CELL,
        "window_id": window_id,
        "generation": 1,
        "service": "web",
        "state": "open",
        "opened": 0,
        "deadline": 60,
        "opened_by": "anna",
        "requested": True,
        "depends_on": [],
        "needed_until": None,
        "max_ttl_s": 3600.0,
        "max_hold_s": 7200.0,
        "grace_s": 4.0,
        "stop_signal": "SIGTERM",
        "hold_until": None,
        "engine": running | {"cgroup": "", "ports": {}},
        "closing": None,
        "close_by": None,
    } | changes
    if schema == 3:
        known["faults"] = ["pause"]
    if schema == 1:
        known = {name: value for name, value in known.items() if name not in SCHEMA_2}
    moments = {name: OPENED.plus(at).to_json() for name in MOMENTS if isinstance(at := known.get(name), int | float)}
    return known | moments


class StillClock(Clock):
    """A clock that stands where it is put."""

    def __init__(self, seconds: float) -> None:
        self.put(seconds)

    def put(self, seconds: float) -> None:
        """Stands so many seconds after the opening."""
        self.at = OPENED.plus(seconds)

    def now(self) -> Instant:
        return self.at


class Told(Log):
    """A log that is kept in a list."""

    def __init__(self) -> None:
        super().__init__(None)
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


class Room:
    """A state folder, a clock, and a watchdog that only notes what it would end."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.windows = folder / WINDOWS
        self.windows.mkdir(parents=True)
        self.clock = StillClock(0)
        self.log = Told()
        self.said = self.log.said
        self.ended: list[tuple[str, float]] = []
        self.trouble: dict[str, Exception] = {}
        self.folder = StateFolder(folder, self.said.append)
        self.watchdog = Windows(self.folder, self.clock, self.log, hierarchy=None)
        monkeypatch.setenv("DOCKER_HOST", f"unix://{folder}/nobody.sock")
        monkeypatch.setattr(ending, "end", self._end)

    def _end(self, target: Target, grace: float, hierarchy: object) -> None:
        self.ended.append((target.window_id, grace))
        if trouble := self.trouble.get(target.window_id):
            raise trouble

    def save(self, window_id: str = "w1", **changes: Any) -> None:
        """Writes a state file; see `state_file`."""
        self.write(f"{window_id}.json", json.dumps(state_file(window_id, **changes)))

    def write(self, name: str, text: str) -> None:
        """Writes a file into the folder of windows, whole."""
        partial = self.windows / f"{name}.new"
        partial.write_text(text, encoding="utf-8")
        partial.replace(self.windows / name)

    def is_marked(self, window_id: str = "w1") -> bool:
        """Whether madre is told that the watchdog closed it."""
        return (self.windows / f"{window_id}{CLOSED_BY_WATCHDOG}").exists()

    def names(self) -> list[str]:
        """The windows that were ended, in order."""
        return [name for name, _ in self.ended]


class FakeDaemon(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """A Docker daemon as far as the watchdog asks one; it keeps what it was asked.

    Attributes:
        containers: id → labels.
        running: ids of those that run.
        paused: ids of those that are paused, and do not stop.
        stop_status: what it answers to a stop.
        obeys: whether a stop stops.
        raw: instead of an answer, these bytes.
        silent: it answers nothing, and hangs up when this is set.
        hangs_at_stop: the same, when it is asked to stop something.
    """

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.asked: list[str] = []
        self.containers: dict[str, dict[str, str]] = {}
        self.running: set[str] = set()
        self.paused: set[str] = set()
        self.stop_status = 204
        self.obeys = True
        self.raw = b""
        self.silent: threading.Event | None = None
        self.hangs_at_stop: threading.Event | None = None
        super().__init__(str(path), _Daemon)

    def run(self, labels: dict[str, str] | None = None) -> str:
        """Has a container run; answers its id."""
        container = secrets.token_hex(32)
        self.containers[container] = labels or {}
        self.running.add(container)
        return container

    def listed(self, wanted: set[str]) -> list[dict[str, Any]]:
        """Containers with these labels, as NAME=VALUE."""
        return [
            {"Id": name, "State": "running" if name in self.running else "exited", "Labels": labels}
            for name, labels in self.containers.items()
            if wanted <= {f"{key}={value}" for key, value in labels.items()}
        ]


class _Daemon(http.server.BaseHTTPRequestHandler):
    server: FakeDaemon

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if self.path.startswith("/containers/json"):
            assert query["all"] == ["true"]
            self._answer(200, self.server.listed(set(json.loads(query["filters"][0])["label"])))
            return
        container = self.path.split("/")[2]
        if container in self.server.containers:
            running, paused = container in self.server.running, container in self.server.paused
            self._answer(200, {"State": {"Running": running, "Paused": paused, "Pid": 1}})
        else:
            self._answer(404, {"message": f"No such container: {container}"})

    def do_POST(self) -> None:
        container = self.path.split("/")[2]
        if self.path.endswith("/unpause"):
            self.server.paused.discard(container)
        elif self.server.obeys and self.server.stop_status == 204 and container not in self.server.paused:
            self.server.running.discard(container)
        if self.path.endswith("/wait") and self.server.stop_status == 204:
            self._answer(200, {"StatusCode": 137})
            return
        self._answer(self.server.stop_status, {"message": "cannot stop it"} if self.server.stop_status == 500 else None)

    def _answer(self, status: int, body: Any) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        silent = self.server.silent or (self.server.hangs_at_stop if self.command == "POST" else None)
        if silent:
            silent.wait(20)
            return
        if self.server.raw:
            self.wfile.write(self.server.raw)
            return
        self.send_response(status)
        self.end_headers()
        if body is not None:
            self.wfile.write(json.dumps(body).encode())

    def address_string(self) -> str:
        return "socket"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Quiet."""


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    """See `Room`."""
    return Room(tmp_path / CELL, monkeypatch)


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    """See `FakeDaemon`; DOCKER_HOST names it."""
    path = tmp_path / "docker.sock"
    with FakeDaemon(path) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def no_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DOCKER_HOST names a socket that is not there."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """`start(program, **marks)` starts one of `PROGRAMS` with VX11_… marks, and waits until it is up."""
    children: list[subprocess.Popen[bytes]] = []

    def begin(program: str, **marks: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {f"VX11_{name.upper()}": value for name, value in marks.items()}
        child = subprocess.Popen([sys.executable, "-c", PROGRAMS[program]], stdout=subprocess.PIPE, env=environment)
        children.append(child)
        assert child.stdout
        assert child.stdout.readline() == b"up\n"
        return child

    yield begin
    for child in children:
        child.kill()
        child.wait()
        assert child.stdout
        child.stdout.close()


@pytest.fixture
def cell() -> str:
    """The name of the cell."""
    return CELL


@pytest.fixture
def file() -> Callable[..., dict[str, Any]]:
    """See `state_file`."""
    return state_file


@pytest.fixture
def since_opened() -> Callable[[Instant], float]:
    """Seconds from the opening to a moment."""
    return OPENED.seconds_until


@pytest.fixture
def target_of() -> Callable[..., Target]:
    """`target_of(child, window_id, **more)` answers what ends a process."""

    def make(child: subprocess.Popen[bytes], window_id: str, **more: Any) -> Target:
        return Target(window_id, pid=child.pid, start_time=procfs.start_time(child.pid) or 0, **more)

    return make
