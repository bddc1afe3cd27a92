"""What all sample services share: readiness, errors in JSON, a graceful end."""

from __future__ import annotations

import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.unit.services.conftest import SERVICES, Service

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.services.conftest import Start

# What each program cannot do without; DATA stands for a folder.
PROGRAMS = {
    "allowed_service.py": [],
    "api_gateway.py": [],
    "auth_service.py": [],
    "buggy_service.py": [],
    "cache.py": [],
    "chain_service.py": ["--name", "service-b", "--below", "service-a"],
    "compute_service.py": ["--name", "service-x", "--data", "DATA"],
    "data_processor.py": ["--data", "DATA"],
    "db_migration.py": ["--data", "DATA"],
    "legacy_api_v1.py": ["--data", "DATA"],
    "logging_service.py": ["--data", "DATA"],
    "modern_api_v2.py": ["--data", "DATA"],
    "resource_service.py": [],
    "upload_service.py": ["--data", "DATA"],
}
# Nobody listens there: a service that needs another one starts without it.
PEERS = dict.fromkeys(["AUTH_SERVICE_URL", "CACHE_URL", "SERVICE_A_URL"], "http://127.0.0.1:9")


def run(start: Start, program: str, tmp_path: Path) -> Service:
    return start(program, *(tmp_path if word == "DATA" else word for word in PROGRAMS[program]), env=PEERS)


def test_no_program_is_left_out() -> None:
    assert set(PROGRAMS) == {path.name for path in SERVICES.glob("[!_]*.py")}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_stop_signal_ends_it_gracefully(start: Start, program: str, tmp_path: Path, number: signal.Signals) -> None:
    service = run(start, program, tmp_path)
    assert service.http.get("/health").json() == {"status": "ok"}
    assert service.stop(number) == 0
    assert service.log.read_text().endswith("stopped\n")


def test_a_request_under_way_is_answered_after_the_stop_signal(start: Start) -> None:
    service = start("auth_service.py")
    body = b'{"user": "demo", "password": "demo-only"}'
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as client:
        head = f"POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body[:10])
        # A second answer proves that the first connection, older, was accepted.
        assert service.http.get("/health").status_code == 200
        service.process.send_signal(signal.SIGTERM)
        client.sendall(body[10:])
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.0 200 ")
    assert service.process.wait(5) == 0


def test_a_silent_client_does_not_hold_up_the_end(start: Start) -> None:
    service = start("allowed_service.py")
    with socket.create_connection(("127.0.0.1", service.port), timeout=5):
        assert service.http.get("/health").status_code == 200
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(2.0) == 0


def test_many_clients_at_once_are_answered(start: Start) -> None:
    service = start("allowed_service.py")
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(service.http.get, ["/whoami"] * 50))
    assert [answer.status_code for answer in answers] == [200] * 50


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("POST", "/whoami", 405), ("DELETE", "/health", 405), ("BREW", "/health", 501)],
)
def test_errors_are_json(start: Start, method: str, path: str, status: int) -> None:
    answer = start("allowed_service.py").http.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_a_405_names_what_is_allowed(start: Start) -> None:
    assert start("allowed_service.py").http.post("/whoami").headers["Allow"] == "GET"


def test_a_head_request_gets_no_body(start: Start) -> None:
    answer = start("allowed_service.py").http.head("/health")
    assert (answer.status_code, answer.content) == (405, b"")


def test_a_body_that_is_too_large_is_refused(start: Start) -> None:
    answer = start("auth_service.py").http.post("/token", content=b"x" * 200_000)
    assert answer.status_code == 413
    assert "65536 bytes" in answer.json()["error"]


@pytest.mark.parametrize("line", [b"garbage\r\n\r\n", b"GET /health HTTP/1.1\r\nContent-Length: -1\r\n\r\n"])
def test_what_is_not_http_is_refused(start: Start, line: bytes) -> None:
    service = start("allowed_service.py")
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as client:
        client.sendall(line)
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert b'{"error": ' in answer
    assert service.http.get("/health").status_code == 200


def test_a_taken_port_is_told(start: Start) -> None:
    first = start("allowed_service.py")
    second = start("auth_service.py", wait=False, env={"PORT": str(first.port)})
    assert second.process.wait(5) == 1
    assert f"auth-service cannot listen on 127.0.0.1:{first.port}" in second.log.read_text()


def test_a_wrong_port_is_told(start: Start) -> None:
    service = start("allowed_service.py", wait=False, env={"PORT": "http"})
    assert service.process.wait(5) == 1
    assert service.log.read_text() == "PORT is 'http'; set it to a whole number, zero or more.\n"


def test_the_log_shows_requests_without_their_query(start: Start) -> None:
    service = start("allowed_service.py")
    service.http.get("/whoami?token=secret")
    assert service.stop() == 0
    log = service.log.read_text()
    assert "GET /whoami -> 200" in log
    assert "secret" not in log
    assert "/health" not in log


def test_a_body_that_nobody_reads_does_not_cost_the_answer(start: Start) -> None:
    answer = start("allowed_service.py").http.post("/nothing", content=b"x" * 1_000_000)
    assert answer.status_code == 404


def test_an_unknown_bug_is_told(start: Start) -> None:
    service = start("auth_service.py", wait=False, env={"BUG": "sleeps"})
    assert service.process.wait(5) == 1
    assert "BUG is 'sleeps'; set it to one of accepts_expired, " in service.log.read_text()
