"""Starts the sample services as their users do: as processes, reached over HTTP."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SERVICES = Path(__file__).parents[3] / "matrices" / "e2e" / "services"
READY_LIMIT_S = 15.0
STOP_LIMIT_S = 5.0


class Service:
    """A service that runs: `http` is a client of it, `log` the file with what it printed."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10)

    def wait_until_healthy(self) -> None:
        """Retries /health until it answers; fails when the process ends or does not answer in time."""
        deadline = time.monotonic() + READY_LIMIT_S
        while not self._healthy():
            assert self.process.poll() is None, f"the service ended: {self.log.read_text()}"
            assert time.monotonic() < deadline, f"the service is not healthy: {self.log.read_text()}"
            time.sleep(0.01)

    def _healthy(self) -> bool:
        try:
            return self.http.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal, waits for the end and returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP_LIMIT_S)

    def clean_up(self) -> None:
        """Ends the process if it still runs."""
        self.http.close()
        self.process.kill()
        self.process.wait(STOP_LIMIT_S)


class Start(Protocol):
    """Starts `program` with arguments and additional environment variables, and waits until it is healthy."""

    def __call__(
        self, program: str, *arguments: str | Path, env: Mapping[str, str] | None = None, wait: bool = True
    ) -> Service: ...


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts services, and ends them after the test."""
    started: list[Service] = []

    def start_service(
        program: str, *arguments: str | Path, env: Mapping[str, str] | None = None, wait: bool = True
    ) -> Service:
        port, log = free_port(), tmp_path / f"service-{len(started)}.log"
        command = [sys.executable, str(SERVICES / program), *map(str, arguments)]
        with log.open("wb") as output:
            environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PORT": str(port), **(env or {})}
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        started.append(service := Service(process, port, log))
        if wait:
            service.wait_until_healthy()
        return service

    try:
        yield start_service
    finally:
        for service in started:
            service.clean_up()
