"""Whether a service is ready: one probe, quick to say no."""

import http.server
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from vx11.catalogue.compose import Service
from vx11.catalogue.service import Entry
from vx11.engines import ready
from vx11.engines.port import EngineError, Running

NOWHERE = Running("fake", ports={})


class Engine:
    """As much of an engine as a probe asks for."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.result: int | EngineError = 0
        self.ran: list[tuple[tuple[str, ...], float]] = []

    def logs(self, running: Running, window_id: str, tail: int) -> list[str]:
        return self.lines[-tail:]

    def exec(self, running: Running, command: Sequence[str], timeout: float) -> int:
        self.ran.append((tuple(command), timeout))
        if isinstance(self.result, EngineError):
            raise self.result
        return self.result


def probe(entry: dict[str, Any], engine: Any = None, running: Running = NOWHERE) -> bool:
    service = Service("web", Entry.model_validate({"image": "x", **entry}), b"{}", Path())
    return not ready.lacking(engine or Engine(), service, running, "w1")


class _Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = int(self.path.removeprefix("/"))
        if status:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.wfile.write(b"this is no HTTP\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Quiet."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A web server that answers /NUMBER with that status, and /0 with nonsense."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield int(server.server_address[1])
        server.shutdown()
        thread.join()


@pytest.fixture
def closed() -> Iterator[int]:
    """A port at which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield int(bound.getsockname()[1])


def test_what_is_lacking_is_told(port: int, closed: int) -> None:
    def lacking(entry: dict[str, Any], at: int) -> str:
        service = Service("web", Entry.model_validate({"image": "x", **entry}), b"{}", Path())
        engine = Engine()
        engine.result = 3
        return ready.lacking(engine, service, Running("fake", ports={8080: at}), "w1")

    http = {"x-vx11": {"ready": {"http": {"port": 8080, "path": "/404"}}}}
    tcp = {"x-vx11": {"ready": {"tcp": {"port": 8080}}}}
    assert lacking(http, port) == "GET /404 was answered with 404"
    assert lacking(http, closed) == "nobody answered GET /404 at its port 8080"
    assert lacking(tcp, closed) == "nobody listens at its port 8080"
    assert lacking({"x-vx11": {"ready": {"log": "up"}}}, port) == "its log does not say 'up'"
    assert lacking({"healthcheck": {"test": "false"}}, port) == "its health check ended with exit code 3"


@pytest.mark.parametrize(
    ("status", "is_ready"),
    [(200, True), (204, True), (302, True), (404, False), (500, False), (503, False), (0, False)],
)
def test_http_is_ready_with_2xx_and_3xx(port: int, status: int, *, is_ready: bool) -> None:
    entry = {"x-vx11": {"ready": {"http": {"port": 8080, "path": f"/{status}"}}}}
    assert probe(entry, running=Running("fake", ports={8080: port})) is is_ready


@pytest.mark.parametrize("kind", ["http", "tcp"])
def test_nobody_at_the_port_is_not_ready(closed: int, kind: str) -> None:
    entry = {"x-vx11": {"ready": {kind: {"port": 8080}}}}
    assert not probe(entry, running=Running("fake", ports={8080: closed}))
    assert not probe(entry, running=Running("fake", ports={9090: closed}))
    assert not probe(entry)


def test_tcp_is_ready_when_somebody_accepts(port: int) -> None:
    assert probe({"x-vx11": {"ready": {"tcp": {"port": 8080}}}}, running=Running("fake", ports={8080: port}))


@pytest.mark.parametrize(
    ("lines", "is_ready"),
    [([], False), (["starting"], False), (["starting", "now listening on 8080"], True), (["LISTENING"], False)],
)
def test_a_log_is_ready_when_it_says_so(lines: list[str], *, is_ready: bool) -> None:
    engine = Engine()
    engine.lines = lines
    assert probe({"x-vx11": {"ready": {"log": "listening"}}}, engine) is is_ready


@pytest.mark.parametrize(("result", "is_ready"), [(0, True), (1, False), (127, False), (EngineError("gone"), False)])
def test_a_health_check_is_ready_when_it_ends_with_0(result: int | EngineError, *, is_ready: bool) -> None:
    engine = Engine()
    engine.result = result
    assert probe({"healthcheck": {"test": ["CMD", "check", "it"]}}, engine) is is_ready
    assert engine.ran[0][0] == ("check", "it")


def test_a_health_check_as_text_goes_to_a_shell() -> None:
    engine = Engine()
    probe({"healthcheck": {"test": "curl -f http://localhost || exit 1", "timeout": "1s"}}, engine)
    assert engine.ran == [(("/bin/sh", "-c", "curl -f http://localhost || exit 1"), 1.0)]


def test_no_health_check_keeps_a_close_waiting_long() -> None:
    engine = Engine()
    probe({"healthcheck": {"test": "true", "timeout": "5m"}}, engine)
    assert engine.ran[0][1] <= ready.LONGEST_PROBE


def test_what_vx11_adds_comes_before_the_health_check() -> None:
    engine = Engine()
    entry = {"x-vx11": {"ready": {"log": "up"}}, "healthcheck": {"test": "true"}}
    assert not probe(entry, engine)
    assert engine.ran == []


@pytest.mark.parametrize(
    "check", [{}, {"healthcheck": {"test": "NONE"}}, {"healthcheck": {"test": "a", "disable": True}}]
)
def test_without_any_probe_what_runs_is_ready(check: dict[str, Any]) -> None:
    assert probe(check)
