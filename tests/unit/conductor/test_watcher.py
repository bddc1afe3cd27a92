"""Whether a service is there is seen by what it does with a connection, not by who accepts it."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vx11.conductor.seen import USAGE
from vx11.conductor.watcher import KEPT, Watcher, answers


@contextmanager
def listening(then: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port where each connection is accepted and then dealt with."""
    kept: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                link, _ = server.accept()
            except OSError:
                return
            kept.append(link)
            then(link)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for link in kept:
                link.close()


def silent(_link: socket.socket) -> None:
    """Keeps the connection and says nothing."""


def hang_up(link: socket.socket) -> None:
    """As Docker's proxy does when nobody listens in the container."""
    link.shutdown(socket.SHUT_RDWR)


def greet(link: socket.socket) -> None:
    """As servers of databases and mail do."""
    link.sendall(b"ready")


@pytest.mark.parametrize(
    ("scheme", "then", "expected"),
    [
        ("http", silent, False),
        ("http", hang_up, False),
        ("http", greet, True),
        ("tcp", silent, True),
        ("tcp", hang_up, False),
        ("tcp", greet, True),
    ],
)
def test_who_accepts_is_not_yet_a_service(scheme: str, then: Callable[[socket.socket], None], expected: bool) -> None:
    with listening(then) as port:
        assert answers(f"{scheme}://127.0.0.1:{port}") is expected


def test_any_answer_is_one() -> None:
    """A service need not know the path that it is asked for."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert answers(f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()
    assert not answers(f"http://127.0.0.1:{server.server_port}")


@pytest.mark.parametrize(("path", "is_asked"), [("", True), ("/svc/web/", False)])
def test_a_gateway_is_not_asked_for_a_service(
    tmp_path: Path, eventually: Callable[..., Any], path: str, is_asked: bool
) -> None:
    """It would answer also for one that is gone."""
    with listening(greet) as port:
        window = dict.fromkeys(KEPT) | {"state": "open", "hold": True, "endpoints": [f"http://127.0.0.1:{port}{path}"]}
        madre: Any = SimpleNamespace(
            http=SimpleNamespace(base_url=f"http://127.0.0.1:{port}"), status=lambda: {"windows": [window]}
        )
        log = tmp_path / USAGE
        with Watcher(madre, tmp_path, 0.01):
            line = eventually(lambda: log.exists() and log.read_text(encoding="utf-8").partition("\n")[0])
    (seen,) = json.loads(line)["windows"]
    assert seen.get("answers") is (True if is_asked else None)
