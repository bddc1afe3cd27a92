"""The second enforcer: what it closes, what it leaves alone, and what it cannot be thrown off by."""

import http.client
import http.server
import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vx11 import watchdog
from vx11.clock import NS, Clock, Instant
from vx11.engines import procfs
from vx11.engines.port import Running
from vx11.statefiles import WATCHDOG_LOCK, WINDOWS, held_lock
from vx11.watchdog import CLOSING_MARGIN, LONGEST_SLEEP, OVERDUE, Watchdog, due
from vx11.windows.store import StateStore
from vx11.windows.window import State, Window

Eventually = Callable[..., None]
BOOT = "boot-a"
OPENED = Instant(1000 * NS, 5000 * NS, BOOT)
GRACE = 4.0


def window(**changes: Any) -> Window:
    """Opened at 0 for 60 s; times below are seconds since then."""
    known = Window(
        cell="default",
        window_id="w1",
        generation=1,
        service="web",
        state=State.OPEN,
        opened=OPENED,
        deadline=OPENED.plus(60),
        opened_by="anna",
        max_ttl=3600,
        max_hold=7200,
        grace=GRACE,
        running=Running("process", pid=4_000_000, start_time=1),
    )
    return replace(known, **changes)


class StillClock(Clock):
    """A clock that stands where it is put."""

    def __init__(self, seconds: float) -> None:
        self.at = OPENED.plus(seconds)

    def now(self) -> Instant:
        return self.at


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({}, 60 + OVERDUE),
        ({"state": State.OPENING, "running": None}, 60 + OVERDUE),
        ({"deadline": OPENED.plus(90)}, 90 + OVERDUE),
        ({"hold_until": OPENED.plus(7200)}, 7200 + OVERDUE),
        # A hold that ends before the deadline does not shorten it.
        ({"hold_until": OPENED.plus(30)}, 60 + OVERDUE),
        ({"hold_until": OPENED.plus(50), "deadline": OPENED.plus(200)}, 200 + OVERDUE),
        # What madre closes has its grace, whatever its deadline or hold says.
        ({"state": State.CLOSING, "closing": OPENED.plus(10)}, 10 + GRACE + CLOSING_MARGIN),
        (
            {"state": State.CLOSING, "closing": OPENED.plus(10), "hold_until": OPENED.plus(7200)},
            10 + GRACE + CLOSING_MARGIN,
        ),
        ({"state": State.STUCK, "closing": OPENED.plus(70), "grace": 0.0}, 70 + CLOSING_MARGIN),
    ],
)
def test_when_a_window_is_due(changes: dict[str, Any], seconds: float) -> None:
    assert OPENED.seconds_until(due(window(**changes).to_json())) == seconds


class Room:
    """A state folder, a clock, and a watchdog that only notes what it would end."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = StateStore(folder)
        self.clock = StillClock(0)
        self.said: list[str] = []
        self.ended: list[tuple[str, float]] = []
        self.trouble: Exception | None = None
        self.watchdog = Watchdog(folder, self.clock, self.said.append)
        monkeypatch.setattr(watchdog, "end", self._end)

    def _end(self, record: dict[str, Any], grace: float) -> None:
        self.ended.append((record["window_id"], grace))
        if self.trouble:
            raise self.trouble

    def write(self, name: str, text: str) -> None:
        (self.store.windows / name).write_text(text, encoding="utf-8")


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    return Room(tmp_path / "state", monkeypatch)


@pytest.mark.parametrize(
    ("seconds", "pause"),
    [
        (0, LONGEST_SLEEP),
        (60.2, pytest.approx(0.3)),
        (60.499, pytest.approx(0.001)),
    ],
)
def test_a_round_leaves_alone_what_is_not_overdue_and_comes_back_in_time(
    room: Room, seconds: float, pause: Any
) -> None:
    room.store.save(window())
    room.clock.at = OPENED.plus(seconds)
    assert room.watchdog.round() == pause
    assert room.ended == []


@pytest.mark.parametrize(
    ("changes", "grace"),
    [
        ({}, GRACE),
        ({"state": State.OPENING, "running": None}, GRACE),
        # Its grace is over already.
        ({"state": State.CLOSING, "closing": OPENED}, 0.0),
        ({"state": State.STUCK, "closing": OPENED}, 0.0),
    ],
)
def test_a_round_ends_what_is_overdue_and_marks_it(
    room: Room, eventually: Eventually, changes: dict[str, Any], grace: float
) -> None:
    room.store.save(window(**changes))
    room.clock.at = OPENED.plus(61)
    room.watchdog.round()
    eventually(lambda: room.store.closed_by_watchdog("w1"))
    eventually(lambda: room.said)
    assert room.ended == [("w1", grace)]
    assert room.said == ["closed web (w1), which was overdue"]
    room.watchdog.round()
    assert room.ended == [("w1", grace)]  # once is enough


def test_each_window_is_judged_on_its_own(room: Room, eventually: Eventually) -> None:
    for name, changes in {
        "over": {},
        "held": {"hold_until": OPENED.plus(7200)},
        "extended": {"deadline": OPENED.plus(600)},
        "closing": {"state": State.CLOSING, "closing": OPENED.plus(58)},
    }.items():
        room.store.save(window(window_id=name, **changes))
    room.clock.at = OPENED.plus(62)
    room.watchdog.round()
    eventually(lambda: room.store.closed_by_watchdog("over"))
    assert [name for name, _ in room.ended] == ["over"]


@pytest.mark.parametrize(
    "trouble",
    [
        RuntimeError("the daemon answered 500"),
        ConnectionRefusedError(111, "Connection refused"),
        http.client.BadStatusLine("nonsense"),
        json.JSONDecodeError("Expecting value", "", 0),
        KeyError("Id"),
    ],
    ids=lambda trouble: type(trouble).__name__,
)
def test_what_could_not_be_ended_is_tried_again(room: Room, eventually: Eventually, trouble: Exception) -> None:
    room.store.save(window())
    room.clock.at = OPENED.plus(61)
    room.trouble = trouble
    room.watchdog.round()
    eventually(lambda: room.said)
    assert room.said == [f"could not close web (w1): {trouble}; trying again"]
    assert not room.store.closed_by_watchdog("w1")
    room.trouble = None

    def closed_by_another_round() -> bool:
        room.watchdog.round()
        return room.store.closed_by_watchdog("w1")

    eventually(closed_by_another_round)
    assert len(room.ended) == 2


def test_a_window_of_an_earlier_boot_is_judged_by_wall_time(room: Room, eventually: Eventually) -> None:
    room.store.save(window())
    room.clock.at = Instant(5 * NS, OPENED.wall_ns + 61 * NS, "boot-b")
    room.watchdog.round()
    eventually(lambda: room.ended)


BROKEN = {
    "empty": "",
    "cut": '{"window_id": "w1"',
    "other": "[1]",
    "number": "5",
    "no-deadline": json.dumps(window().to_json() | {"deadline": None}),
    "text-time": json.dumps(window().to_json() | {"deadline": {"boot_id": BOOT, "boottime_ns": "1", "wall_ns": 1}}),
    **{
        f"without-{name}": json.dumps({key: value for key, value in window().to_json().items() if key != name})
        for name in ("window_id", "service", "state", "deadline", "hold_until", "grace_s", "engine", "stop_signal")
    },
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named_and_stops_nothing_else(room: Room, eventually: Eventually, name: str) -> None:
    room.write("broken.json", BROKEN[name])
    room.store.save(window(window_id="good"))
    room.clock.at = OPENED.plus(61)
    room.watchdog.round()
    eventually(lambda: room.store.closed_by_watchdog("good"))
    assert [ended for ended, _ in room.ended] == ["good"]
    room.watchdog.round()
    told = [sentence for sentence in room.said if "broken.json cannot be read" in sentence]
    assert len(told) == 1  # not at every look


def test_run_ends_when_it_is_told_to(room: Room, eventually: Eventually) -> None:
    room.store.save(window())
    room.clock.at = OPENED.plus(61)
    thread = threading.Thread(target=room.watchdog.run)
    thread.start()
    eventually(lambda: room.store.closed_by_watchdog("w1"))
    room.watchdog.stopping.set()
    thread.join(5)
    assert not thread.is_alive()


# A process that ends politely on SIGTERM, one that does not, and one whose child stays behind in another session.
POLITE = "import signal, sys; signal.signal(15, lambda *_: sys.exit(7)); print('up', flush=True); signal.pause()"
STUBBORN = "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True)\nwhile True: signal.pause()"
PARENT = (
    "import subprocess, sys, signal\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'], start_new_session=True)\n"
    "print('up', flush=True); signal.pause()"
)
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process with the mark of the window `test-wd-PID` and waits until it is up."""
    children: list[subprocess.Popen[bytes]] = []

    def begin(code: str, mark: str) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ | {"VX11_WINDOW": mark}
        )
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


def record_of(child: subprocess.Popen[bytes], mark: str) -> dict[str, Any]:
    running = Running("process", pid=child.pid, start_time=procfs.start_time(child.pid) or 0)
    return window(window_id=mark, running=running).to_json()


@pytest.mark.parametrize(
    ("code", "grace", "result"),
    [
        (POLITE, 5.0, 7),
        (POLITE, 0.0, -signal.SIGKILL),
        (STUBBORN, 0.1, -signal.SIGKILL),
        (PARENT, 5.0, -signal.SIGTERM),
    ],
)
def test_processes_get_their_signal_then_the_kill(start: Start, code: str, grace: float, result: int) -> None:
    mark = f"test-wd-{os.getpid()}"
    child = start(code, mark)
    watchdog.end(record_of(child, mark), grace)
    assert child.wait(5) == result
    assert procfs.marked("VX11_WINDOW", mark) == []


def test_a_signal_that_is_none_stops_no_end(start: Start) -> None:
    mark = f"test-wd-{os.getpid()}"
    child = start(POLITE, mark)
    watchdog.end(record_of(child, mark) | {"stop_signal": "NOTHING"}, grace=5.0)
    assert child.wait(5) == 7  # by SIGTERM then


def test_a_process_that_took_the_pid_meanwhile_is_left_alone(start: Start) -> None:
    mark = f"test-wd-{os.getpid()}"
    child = start(POLITE, "somebody-else")
    record = record_of(child, mark)
    record["engine"]["start_time"] -= 1
    watchdog.end(record, grace=5.0)
    assert child.poll() is None


def test_what_madre_had_not_written_down_yet_is_found_by_its_mark(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    mark = f"test-wd-{os.getpid()}"
    child = start(STUBBORN, mark)
    watchdog.end(window(window_id=mark, state=State.OPENING, running=None).to_json(), grace=0.0)
    assert child.wait(5) == -signal.SIGKILL


class FakeDaemon(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """A Docker daemon as far as the watchdog asks one; it keeps what it was asked."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.asked: list[str] = []
        self.stop_status = 204
        super().__init__(str(path), _Daemon)


class _Daemon(http.server.BaseHTTPRequestHandler):
    server: FakeDaemon

    def do_GET(self) -> None:
        self._answer(200, json.dumps([{"Id": "c1"}, {"Id": "c2"}]).encode())

    def do_POST(self) -> None:
        self._answer(self.server.stop_status, b"cannot stop it" if self.server.stop_status == 500 else b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body:
            self.wfile.write(body)

    def address_string(self) -> str:
        return "socket"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Quiet."""


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    path = tmp_path / "docker.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    with FakeDaemon(path) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_container_is_stopped_by_its_daemon_within_its_grace(daemon: FakeDaemon) -> None:
    record = window(running=Running("docker", container="abc")).to_json()
    watchdog.end(record, grace=4.0)
    assert daemon.asked == ["POST /containers/abc/stop?t=4"]


def test_containers_that_were_not_written_down_are_found_by_their_label(daemon: FakeDaemon) -> None:
    watchdog.end(window(window_id="no-such-mark", running=None).to_json(), grace=0.0)
    assert "no-such-mark" in daemon.asked[0]
    assert daemon.asked[1:] == ["POST /containers/c1/stop?t=0", "POST /containers/c2/stop?t=0"]


@pytest.mark.parametrize("status", [304, 404])
def test_a_container_that_ended_already_is_closed(daemon: FakeDaemon, status: int) -> None:
    daemon.stop_status = status
    watchdog.end_container("abc", 0.0)


def test_a_daemon_that_cannot_is_not_believed(daemon: FakeDaemon) -> None:
    daemon.stop_status = 500
    with pytest.raises(RuntimeError, match="the daemon answered 500: cannot stop it"):
        watchdog.end_container("abc", 0.0)


def watchdog_on(state: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-m", "vx11.watchdog", "--state", str(state)]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def test_as_a_process_it_closes_on_time_is_alone_and_ends_politely(
    tmp_path: Path, start: Start, eventually: Eventually
) -> None:
    store = StateStore(tmp_path)
    mark = f"test-wd-{os.getpid()}"
    child = start(POLITE, mark)
    running = Running("process", pid=child.pid, start_time=procfs.start_time(child.pid) or 0)
    opened = Clock().now()
    store.save(window(window_id=mark, opened=opened, deadline=opened.plus(0.2), running=running))
    first = watchdog_on(tmp_path)
    try:
        assert child.wait(10) == 7
        assert opened.seconds_until(Clock().now()) >= 0.2 + OVERDUE
        eventually(lambda: store.closed_by_watchdog(mark))
        second = watchdog_on(tmp_path)
        assert second.communicate(timeout=10)[1].endswith(f"another watchdog looks after {tmp_path}\n".encode())
        assert second.returncode == 3
    finally:
        first.terminate()
        said = first.communicate(timeout=10)[1]
    assert first.returncode == 0
    assert said == f"watchdog: closed web ({mark}), which was overdue\n".encode()
    with held_lock(tmp_path / WATCHDOG_LOCK):
        assert (tmp_path / WINDOWS).is_dir()


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    process = watchdog_on(tmp_path / "file" / "default")
    said = process.communicate(timeout=10)[1]
    assert b"file/default cannot be used: Not a directory; name another with --state" in said
    assert process.returncode == 3
