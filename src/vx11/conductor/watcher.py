"""Looks at the windows of a case while its playbook runs, and writes down what they use: `usage.jsonl` of the case."""

import ipaddress
import json
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from vx11.client import Madre, is_behind_gateway
from vx11.conductor.seen import USAGE
from vx11.errors import Vx11Error
from vx11.evidence.appending import EvidenceError

ANSWER_TIMEOUT = 0.5
REQUEST = b"GET / HTTP/1.0\r\n\r\n"
KEPT = (
    "window_id", "service", "state", "hold", "opened_at", "expires_at", "remaining_s", "open_s", "endpoints", "usage",
)  # fmt: skip


class Watcher:
    """A thread that looks each `interval` seconds, for as long as the block runs.

    A held window is also asked something at its address: whether a service lives on beyond its time is seen from
    outside alone. An address that another machine has for itself alone cannot be asked from here, nor one behind a
    gateway, which answers for whatever is gone.

    Args:
        folder: of the case.

    Raises:
        EvidenceError: at the end of the block, that what was seen could not be written.
    """

    def __init__(self, madre: Madre, folder: Path, interval: float) -> None:
        self._madre = madre
        self._path = folder / USAGE
        self._interval = interval
        self._is_here = _is_loopback(str(madre.http.base_url))
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
        if self._error and not error:
            raise self._error

    def _run(self) -> None:
        try:
            self._look()
        except OSError as error:
            self._error = EvidenceError(f"evidence cannot be written to {self._path}: {error.strerror}")
        except Exception as error:  # noqa: BLE001 - whatever it was, it is told to who waits for this thread
            self._error = error

    def _look(self) -> None:
        with self._path.open("ab", buffering=0) as file:
            while not self._stopping.wait(self._interval):
                try:
                    windows = self._madre.status()["windows"]
                except Vx11Error:
                    continue  # a case may kill madre; the next look tells
                if windows:
                    line = {"ns": str(_boottime_ns()), "windows": [self._seen(window) for window in windows]}
                    file.write(json.dumps(line).encode() + b"\n")

    def _seen(self, window: dict[str, Any]) -> dict[str, Any]:
        kept = {name: window[name] for name in KEPT}
        if window["state"] == "open" and window["hold"] and window["endpoints"]:
            url = window["endpoints"][0]
            if (self._is_here or not _is_loopback(url)) and not is_behind_gateway(url):
                kept["answers"] = answers(url)
        return kept


def _is_loopback(url: str) -> bool:
    name = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def answers(url: str) -> bool:
    """Whether a service is there: it says something to a request, or, where it is not HTTP, keeps the connection.

    That a connection is accepted means nothing: Docker's proxy does that for whatever runs in the container.
    """
    where = urlsplit(url)
    try:
        with socket.create_connection((where.hostname or "", where.port or 0), ANSWER_TIMEOUT) as link:
            return _says_something(link) if where.scheme.startswith("http") else _stays(link)
    except OSError:
        return False


def _says_something(link: socket.socket) -> bool:
    link.sendall(REQUEST)
    return bool(link.recv(1))


def _stays(link: socket.socket) -> bool:
    try:
        return bool(link.recv(1))
    except TimeoutError:
        return True


def _boottime_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
