"""The second enforcer: closes what is overdue when madre does not.

Run as `python -I -m vx11.watchdog --state DIR`. It reads the state files of one cell and needs nothing but the standard
library, so that what breaks madre does not break it. It leaves alone what is held, what is not yet overdue by half a
second, and what madre is closing within its grace. What it closed it marks beside the state file; madre takes it from
there.
"""

import argparse
import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vx11.clock import Clock, Instant
from vx11.engines import cgroups, procfs
from vx11.statefiles import CLOSED_BY_WATCHDOG, WATCHDOG_LOCK, WINDOWS, held_lock, write_json

OVERDUE = 0.5
CLOSING_MARGIN = 5.0
LONGEST_SLEEP = 0.5
KILL_TIMEOUT = 5.0
CALL_TIMEOUT = 20.0
LOCK_TRIES = 20
_FIELDS = ("window_id", "service", "state", "grace_s", "stop_signal", "engine")


def due(record: dict[str, Any]) -> Instant:
    """When a window has to be ended, by its state file.

    Raises:
        KeyError: it is not a state file.
    """
    if record["state"] in ("closing", "stuck"):
        return Instant.from_json(record["closing"]).plus(record["grace_s"] + CLOSING_MARGIN)
    deadline = Instant.from_json(record["deadline"])
    if record["hold_until"]:
        hold_until = Instant.from_json(record["hold_until"])
        if deadline.seconds_until(hold_until) > 0:
            deadline = hold_until
    return deadline.plus(OVERDUE)


class Watchdog:
    """Looks after the windows of one cell."""

    def __init__(self, state: Path, clock: Clock, say: Callable[[str], None]) -> None:
        self._windows = state / WINDOWS
        self._clock = clock
        self._say = say
        self._busy: set[str] = set()
        self._unreadable: set[Path] = set()
        self.stopping = threading.Event()

    def run(self) -> None:
        """Until `stopping` is set. Each window is ended in a thread of its own, so that none waits for another."""
        while not self.stopping.is_set():
            self.stopping.wait(self.round())

    def round(self) -> float:
        """Looks once; answers the seconds until it has to look again."""
        pause = LONGEST_SLEEP
        for path in self._windows.glob("*.json"):
            record = self._read(path)
            if record is None or record["window_id"] in self._busy or self._mark(record).exists():
                continue
            left = self._clock.now().seconds_until(due(record))
            if left <= 0:
                self._busy.add(record["window_id"])
                threading.Thread(target=self._end, args=(record,), daemon=True).start()
            else:
                pause = min(pause, left)
        return pause

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            _expect_whole(record)
        except FileNotFoundError:
            return None  # madre closed it just now
        except (OSError, ValueError, KeyError, TypeError) as error:
            if path not in self._unreadable:  # told once, not at every look
                self._unreadable.add(path)
                self._say(f"{path} cannot be read: {error}")
            return None
        self._unreadable.discard(path)
        return record

    def _mark(self, record: dict[str, Any]) -> Path:
        return self._windows / f"{record['window_id']}{CLOSED_BY_WATCHDOG}"

    def _end(self, record: dict[str, Any]) -> None:
        window = record["window_id"]
        try:
            gentle = record["state"] in ("open", "opening")
            end(record, grace=record["grace_s"] if gentle else 0.0)
            with contextlib.suppress(FileNotFoundError):  # the cell may be gone by now
                write_json(self._mark(record), {"window_id": window, "closed": self._clock.now().to_json()})
            self._say(f"closed {record['service']} ({window}), which was overdue")
        except (OSError, RuntimeError, LookupError, TypeError, ValueError, http.client.HTTPException) as error:
            self._say(f"could not close {record['service']} ({window}): {error}; trying again")
        finally:
            self._busy.discard(window)


def _expect_whole(record: dict[str, Any]) -> None:
    due(record)
    for name in _FIELDS:
        record[name]


def end(record: dict[str, Any], grace: float) -> None:
    """Ends what a state file describes, on whichever engine it runs.

    Raises:
        OSError, RuntimeError, HTTPException: it still runs.
    """
    running = record["engine"]
    if running is None:
        # madre died between starting it and writing down what it had started: the marks tell.
        _end_processes(record["window_id"])
        if docker_address():
            for item in containers_of(record["window_id"]):
                end_container(item, grace)
    elif running["container"]:
        end_container(running["container"], grace)
    else:
        pid, started = running["pid"], running["start_time"]
        if grace and procfs.send(pid, started, _signal_of(record)):
            procfs.wait_gone(pid, started, grace)
        _end_processes(record["window_id"], pid, started, running["cgroup"])


def _signal_of(record: dict[str, Any]) -> int:
    """The stop signal, or SIGTERM for a name that means none here: whatever it is, the window has to end."""
    try:
        return procfs.signal_number(record["stop_signal"])
    except ValueError:
        return signal.SIGTERM


def _end_processes(window: str, pid: int = 0, started: int = 0, cgroup: str = "") -> None:
    if not procfs.end_all(lambda: members(window, pid, started, cgroup), KILL_TIMEOUT):
        raise RuntimeError(f"its processes are still there {KILL_TIMEOUT:g} s after SIGKILL")


def members(window: str, pid: int, started: int, cgroup: str) -> list[int]:
    """Living processes of a window: those that carry its mark, its first one with its session, and its group."""
    leads = procfs.is_alive(pid, started)
    found = procfs.belonging("VX11_WINDOW", window, session=pid if leads else None)
    hierarchy = cgroups.detect() if cgroup else None
    if hierarchy:
        found |= set(hierarchy.group(cgroup).members())
    living = {one for one in found if procfs.is_alive(one, procfs.start_time(one) or 0)}
    return sorted(living | {pid} if leads else living)


def docker_address() -> str:
    """Where the Docker daemon is, empty when there seems to be none."""
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    return "" if address.startswith("unix://") and not Path(address.removeprefix("unix://")).exists() else address


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _connection(timeout: float) -> http.client.HTTPConnection:
    address = docker_address()
    if address.startswith("unix://"):
        return _UnixConnection(address.removeprefix("unix://"), timeout)
    parts = urllib.parse.urlsplit(address)
    host, port = parts.hostname or "localhost", parts.port
    folder = os.environ.get("DOCKER_CERT_PATH")
    if os.environ.get("DOCKER_TLS_VERIFY") and folder:
        context = ssl.create_default_context(cafile=f"{folder}/ca.pem")
        context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
        return http.client.HTTPSConnection(host, port or 2376, timeout=timeout, context=context)
    return http.client.HTTPConnection(host, port or 2375, timeout=timeout)


def _call(method: str, path: str, timeout: float = CALL_TIMEOUT) -> tuple[int, bytes]:
    connection = _connection(timeout)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def containers_of(window: str) -> list[str]:
    """Running containers that carry a window's label."""
    filters = urllib.parse.quote(json.dumps({"label": [f"vx11.window={window}"]}))
    status, body = _call("GET", f"/containers/json?filters={filters}")
    if status != 200:
        raise RuntimeError(f"the daemon answered {status} to the list of containers")
    return [item["Id"] for item in json.loads(body)]


def end_container(container: str, grace: float) -> None:
    """Stops a container; the daemon kills it after its grace."""
    status, body = _call("POST", f"/containers/{container}/stop?t={round(grace)}", CALL_TIMEOUT + grace)
    if status not in (204, 304, 404):
        raise RuntimeError(f"the daemon answered {status}: {body.decode(errors='replace').strip()}")


def main() -> int:
    """Entry point; ends with 0 on SIGTERM, with 3 when another watchdog looks after the cell."""
    parser = argparse.ArgumentParser(prog="vx11 watchdog", description="Closes windows that are overdue.")
    parser.add_argument("--state", type=Path, required=True, help="state folder of the cell")
    state = parser.parse_args().state

    def say(text: str) -> None:
        print(f"watchdog: {text}", file=sys.stderr, flush=True)  # noqa: T201 - its log

    try:
        (state / WINDOWS).mkdir(parents=True, exist_ok=True)  # it may be started before madre
    except OSError as error:
        say(f"the state folder {state} cannot be used: {error.strerror}; name another with --state")
        return 3
    watchdog = Watchdog(state, Clock(), say)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: watchdog.stopping.set())
    for _ in range(LOCK_TRIES):  # madre asks who is alive by trying the lock for a moment
        try:
            with held_lock(state / WATCHDOG_LOCK):
                watchdog.run()
                return 0
        except BlockingIOError:
            time.sleep(0.05)
    say(f"another watchdog looks after {state}")
    return 3


if __name__ == "__main__":
    sys.exit(main())
