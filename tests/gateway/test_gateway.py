"""tentaculo_link as clients and services see it: what it leads to, what it tells them, what it survives."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.gateway.conftest import Host
from vx11.catalogue import allowlist, compose
from vx11.madre.entry import AWAITED

pytestmark = pytest.mark.haproxy


def problem(answer: httpx.Response, status: int, code: str) -> str:
    """Checks a problem document (RFC 9457); answers its detail."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code)
    assert body["type"] == f"urn:vx11:problem:{code}"
    assert body["title"]
    return str(body["detail"])


# what it leads to


def test_madre_is_behind_it(host: Host) -> None:
    assert host.http.get("/health").json() == {"status": "ok"}
    status = host.http.get("/api/v1/windows/status", headers={"Authorization": f"Bearer {host.token()}"})
    assert status.json()["cell"] == host.cell
    assert status.headers["x-content-type-options"] == "nosniff"


def test_a_window_is_reached_as_soon_as_it_is_open_and_no_longer(host: Host) -> None:
    for _ in range(10):
        assert "is not open" in problem(host.ask("echo"), 503, "not_open")
        window = host.open("echo")
        assert window["endpoints"] == [f"{host.url}/svc/echo/"]
        assert host.ask("echo").status_code == 200
        assert host.close("echo")["state"] == "closed"
    refused = host.ask("echo")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")


def test_windows_are_led_to_by_their_own_names(host: Host) -> None:
    pids = set()
    for name in ("echo", "other"):
        host.open(name)
        pids.add(host.ask(name).json()["pid"])
    assert len(pids) == 2
    host.close("echo")
    assert host.ask("other").json()["pid"] in pids
    problem(host.ask("echo"), 503, "not_open")


def test_a_service_without_http_has_no_endpoint_and_nobody_waits_for_one(host: Host) -> None:
    begun = time.monotonic()
    assert host.open("bare")["endpoints"] == []
    assert time.monotonic() - begun < AWAITED
    problem(host.ask("bare"), 404, "service_unknown")


def test_madre_asks_the_language_service_without_the_gateway(host: Host) -> None:
    host.open("other")
    headers = {"Authorization": f"Bearer {host.token('operator:chat')}"}
    told = host.http.post("/operator/api/chat", json={"message": "hi"}, headers=headers).json()
    assert (told["response"], told["degraded"]) == ("echo", False)


def test_names_that_nothing_has(host: Host) -> None:
    problem(host.ask("nobody"), 404, "service_unknown")
    problem(host.http.get("/"), 404, "not_found")
    problem(host.http.get("/svc/"), 404, "service_unknown")


# what services are told


def test_a_service_sees_its_own_paths_and_where_they_lie(host: Host) -> None:
    host.open("echo")
    seen = host.ask(
        "echo", "/a//b/%2e%2e/c%2Fd?x=1&y=%20", headers={"X-Forwarded-Prefix": "/evil", "X-Forwarded-For": "1.2.3.4"}
    ).json()
    told = {name.lower(): value for name, value in seen["headers"]}
    assert seen["path"] == "/a//b/%2e%2e/c%2Fd?x=1&y=%20"
    assert told["x-forwarded-prefix"] == "/svc/echo"
    assert (told["x-forwarded-for"], told["x-forwarded-proto"]) == ("127.0.0.1", "http")
    assert told["x-forwarded-host"] == f"127.0.0.1:{host.port}"


def test_a_folder_is_told_by_its_slash(host: Host) -> None:
    answer = host.ask("echo", "")
    assert (answer.status_code, answer.headers["location"]) == (308, "/svc/echo/")


def test_a_service_is_told_who_asks_and_never_what_with(host: Host) -> None:
    host.open("echo")
    token = host.token("svc:echo")
    spoofed = {"X-VX11-Subject": "root"}
    by_own = host.http.get("/svc/echo/", headers={"X-VX11-Token": token, "Authorization": "Bearer mine"} | spoofed)
    by_standard = host.http.get("/svc/echo/", headers={"Authorization": f"Bearer {token}"} | spoofed)
    for answer, authorization in ((by_own, "Bearer mine"), (by_standard, None)):
        told = {name.lower(): value for name, value in answer.json()["headers"]}
        assert told["x-vx11-subject"] == "tester"
        assert told.get("authorization") == authorization
        assert token not in answer.text


def test_a_public_service_needs_no_token(host: Host) -> None:
    host.open("open")
    answer = host.http.get("/svc/open/", headers={"Authorization": "Bearer mine", "X-VX11-Subject": "root"})
    told = {name.lower(): value for name, value in answer.json()["headers"]}
    assert told["authorization"] == "Bearer mine"
    assert "x-vx11-subject" not in told


def test_a_service_is_reached_by_its_host_name(host: Host) -> None:
    host.open("echo")
    headers = {"Host": f"Echo.{host.cell}:8000", "X-VX11-Token": host.token("svc:echo")}
    seen = host.http.get("/health", headers=headers).json()
    assert seen["path"] == "/health"
    assert "x-forwarded-prefix" not in {name.lower() for name, _ in seen["headers"]}
    problem(host.http.get("/", headers=headers | {"Host": f"a.echo.{host.cell}"}), 404, "service_unknown")


# what passes through


def test_what_a_service_writes_arrives_as_it_is_written(host: Host) -> None:
    host.open("echo")
    with host.http.stream("GET", "/svc/echo/drip", headers={"X-VX11-Token": host.token("svc:echo")}) as answer:
        assert next(answer.iter_raw()).startswith(b"00")  # nobody has waited for the other 49


def test_large_bodies_pass(host: Host) -> None:
    host.open("echo")
    assert host.ask("echo", "/", "PUT", content=b"x" * 8_000_000).json()["size"] == 8_000_000


def request(host: Host, service: str = "echo", *more: str) -> bytes:
    """A request as a client writes it on a connection of its own."""
    lines = [f"GET /svc/{service}/ HTTP/1.1", "Host: x", f"X-VX11-Token: {host.token(f'svc:{service}')}", *more]
    return "\r\n".join([*lines, "", ""]).encode()


def upgraded(host: Host, service: str = "echo") -> socket.socket:
    """A connection that is no HTTP any more, as WebSockets are none."""
    link = host.connect()
    link.sendall(request(host, service, "Connection: Upgrade", "Upgrade: pipe"))
    said = link.recv(1000)
    assert said.startswith(b"HTTP/1.1 101 "), said
    return link


def echoes(link: socket.socket, text: bytes = b"hello") -> bool:
    """Whether something is at the other end."""
    try:
        link.sendall(text)
        return link.recv(1000) == text
    except OSError:
        return False


def idle(host: Host) -> socket.socket:
    """A connection that was answered and waits for its next request."""
    link = host.connect()
    link.sendall(request(host))
    said = link.recv(65536)
    assert said.startswith(b"HTTP/1.1 200 "), said
    return link


def test_an_upgraded_connection_ends_with_its_window(host: Host) -> None:
    host.open("echo")
    with upgraded(host) as link:
        assert echoes(link)
        host.close("echo")
        assert not echoes(link)


@contextmanager
def channel(host: Host, service: str = "rpc") -> Iterator[Any]:
    """A gRPC client, which knows the service by its host name alone."""
    authority = [("grpc.default_authority", f"{service}.{host.cell}")]
    with grpc.insecure_channel(f"127.0.0.1:{host.port}", options=authority) as found:
        yield found


def test_grpc_passes_by_host_name(host: Host) -> None:
    host.open("rpc")
    metadata = [("x-vx11-token", host.token("svc:rpc"))]
    with channel(host) as found:
        tell, count = found.unary_unary("/test.Teller/Tell"), found.unary_stream("/test.Teller/Count")
        assert tell(b"hello", metadata=metadata, timeout=10) == b"tester:hello"
        assert list(count(b"100", metadata=metadata, timeout=10)) == [str(number).encode() for number in range(100)]
        with pytest.raises(grpc.RpcError) as refused:
            tell(b"hello", timeout=10)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


# what it survives


def test_a_catalogue_that_changes_drops_nothing(new_host: Callable[..., Host], eventually: Callable[..., Any]) -> None:
    host = new_host()
    host.open("echo")
    with upgraded(host) as link, idle(host) as waiting:
        failed, stopping = [], threading.Event()

        def keep_asking() -> int:
            asked = 0
            while not stopping.is_set():
                asked += 1
                if (answer := host.ask("echo")).status_code != 200:
                    failed.append(answer.text)
            return asked

        with ThreadPoolExecutor() as pool:
            asking = pool.submit(keep_asking)
            path = host.bundle / "catalogue.yml"
            services = yaml.safe_load(path.read_text(encoding="utf-8"))["services"]
            path.write_text(yaml.safe_dump({"services": services | {"new": services["echo"]}}), encoding="utf-8")
            allowlist.update(host.bundle / "allowlist.yml", compose.load(path), ())
            eventually(lambda: host.ask("new").status_code == 503, 20)
            stopping.set()
            assert asking.result() > 0
        assert failed == []
        assert echoes(link)
        waiting.sendall(request(host))
        assert waiting.recv(65536).startswith(b"HTTP/1.1 200 ")
        path.write_text("services: [", encoding="utf-8")
        eventually(lambda: "goes on as it was" in host.said("gateway"))
        assert host.ask("echo").status_code == 200


@pytest.mark.parametrize("kill", [False, True], ids=["ended", "killed"])
def test_madre_may_be_away(new_host: Callable[..., Host], eventually: Callable[..., Any], *, kill: bool) -> None:
    host = new_host()
    host.open("echo")
    host.end("madre", kill=kill)
    assert host.ask("echo").status_code == 200
    assert "madre does not answer" in problem(host.http.get("/health"), 503, "madre_unavailable")
    host.start_madre()
    eventually(host.leads_to_madre)
    assert host.ask("echo").status_code == 200
    host.close("echo")
    problem(host.ask("echo"), 503, "not_open")


def test_the_gateway_may_be_away(new_host: Callable[..., Host], eventually: Callable[..., Any]) -> None:
    host = new_host()
    host.open("echo")
    host.end("gateway")
    with pytest.raises(httpx.ConnectError):
        host.ask("echo")
    host.start_gateway()
    eventually(lambda: host.ask("echo").status_code == 200)
    assert "does not answer" in host.said("madre")
    assert "answers again" in host.said("madre")


def test_madre_says_whether_the_gateway_lives(new_host: Callable[..., Host], eventually: Callable[..., Any]) -> None:
    host = new_host()
    token, madre = host.token("power:read", "metrics:read"), f"http://127.0.0.1:{host.madre_port}"

    def asked(path: str) -> httpx.Response:
        return httpx.get(madre + path, headers={"Authorization": f"Bearer {token}"}, timeout=10)

    def seen() -> tuple[bool, str, bool]:
        """By status, by metrics, and by who lists windows."""
        command = [sys.executable, "-m", "vx11", "window", "list", "--url", madre]
        listed = subprocess.run(
            command, env=os.environ | {"VX11_TOKEN": token}, capture_output=True, text=True, check=True, timeout=30
        )
        metric = next(line for line in asked("/metrics").text.splitlines() if line.startswith("vx11_gateway_alive "))
        is_alive = asked("/api/v1/windows/status").json()["gateway"]
        return is_alive, metric.split()[1], "warning: the gateway does not answer madre" in listed.stdout

    alive, gone = (True, "1.0", False), (False, "0.0", True)
    eventually(lambda: seen() == alive, 20)
    host.end("gateway")
    eventually(lambda: seen() == gone, 20)
    host.start_gateway()
    eventually(lambda: seen() == alive, 20)


# TLS


def certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 with its key, as HAProxy takes them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "vx11")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "entry.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


def test_with_a_certificate_it_speaks_tls_alone(new_host: Callable[..., Host], tmp_path: Path) -> None:
    host = new_host(certificate=str(certificate(tmp_path)))
    host.open("echo")
    seen = host.ask("echo").json()
    assert json.dumps(["X-Forwarded-Proto", "https"]).lower() in json.dumps(seen["headers"]).lower()
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"http://127.0.0.1:{host.port}/health")
