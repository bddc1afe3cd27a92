"""What the gateway adds to a request: tentaculo_link, token checked, against a bare HAProxy with one backend."""

import http.client
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from tests.bench.cells import BenchError
from tests.bench.figures import Goal, Row, against
from vx11 import tokens
from vx11.engines.select import EngineName
from vx11.errors import EnvironmentProblem
from vx11.gateway import link
from vx11.gateway.config import Behind, Link, render

TIMES = Goal("ratio", 1.1)
EACH, ROUNDS, QUICK_ROUNDS = 200, 40, 4
CELL = "bench"
SERVICE = Path(__file__).resolve().parents[2] / "matrices" / "e2e" / "services" / "auth_service.py"
Backend = Callable[[Path, int], AbstractContextManager[None]]
BACKEND = """
defaults
    mode http
    timeout client 60s
frontend answers
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain string it-takes-no-time
"""
BARE = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend bare
    bind 127.0.0.1:{port}
    default_backend one
backend one
    server one 127.0.0.1:{behind}
"""


def measure(engine: EngineName, *, quick: bool) -> list[Row]:
    """Milliseconds of a round of requests on one connection; once, since no engine plays a part."""
    if engine != "process":
        return []
    try:
        program = link.installed()
    except EnvironmentProblem as error:
        return [Row("gateway", "", None, note=f"not measured: {error}")]
    with tempfile.TemporaryDirectory(prefix="vx11-bench-") as scratch:
        rounds = QUICK_ROUNDS if quick else ROUNDS
        service, nothing = (
            _compared(program, Path(scratch, name), backend, rounds)
            for name, backend in (("service", _sample_service), ("nothing", partial(_haproxy, program, BACKEND)))
        )
    return [
        against(f"gateway, {EACH} requests to a sample service, against a bare HAProxy", "ms", *service, TIMES),
        against(f"gateway, {EACH} requests to what takes no time, against a bare HAProxy", "ms", *nothing),
    ]


def _compared(program: str, folder: Path, backend: Backend, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds of rounds through the gateway, and through a bare HAProxy, in turn."""
    folder.mkdir()
    behind, bare, ours = _free_ports(3)
    key = secrets.token_bytes(32)
    found = Link([f"127.0.0.1:{ours}"], CELL, f"127.0.0.1:{behind}", folder)
    found.revoked.touch()
    rendered = render(found, [tokens.service_key(key).decode()], [Behind("web", port=behind)], ["/health"])
    token = tokens.issue(key, subject="bench", scopes=["svc:web"], ttl=3600, cell=CELL)
    with (
        backend(folder, behind),
        _haproxy(program, BARE.replace("{behind}", str(behind)), folder, bare),
        _haproxy(program, rendered, folder, ours),
    ):
        times = [(_round(ours, "/svc/web/health", token), _round(bare, "/health", token)) for _ in range(rounds)]
    mine, theirs = zip(*times, strict=True)
    return list(mine), list(theirs)


def _round(port: int, path: str, token: str) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.connect()
    begun = time.perf_counter()
    for _ in range(EACH):
        connection.request("GET", path, headers={"X-VX11-Token": token})
        answer = connection.getresponse()
        if answer.status != 200 or not answer.read():
            raise BenchError(f"port {port} answered {answer.status}")
    took = (time.perf_counter() - begun) * 1000
    connection.close()
    return took


@contextmanager
def _haproxy(program: str, text: str, folder: Path, port: int) -> Iterator[None]:
    """An HAProxy with this configuration."""
    path = folder / f"{port}.cfg"
    path.write_text(text.replace("{port}", str(port)), encoding="utf-8")
    with _listening([program, "-q", "-db", "-f", str(path)], port, {}):
        yield


@contextmanager
def _sample_service(folder: Path, port: int) -> Iterator[None]:
    with _listening([sys.executable, str(SERVICE)], port, {"PORT": str(port), "TMPDIR": str(folder)}):
        yield


@contextmanager
def _listening(command: Sequence[str], port: int, environment: dict[str, str]) -> Iterator[None]:
    program = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env={**os.environ, **environment}
    )
    try:
        until = time.monotonic() + 10
        while not _listens(port):
            if program.poll() is not None or time.monotonic() > until:
                raise BenchError(f"{command[0]} does not listen")
            time.sleep(0.02)
        yield
    finally:
        program.kill()
        program.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_ports(count: int) -> list[int]:
    links = [socket.socket() for _ in range(count)]
    try:
        for one in links:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in links]
    finally:
        for one in links:
            one.close()
