"""A host with its gateway: madre and tentaculo_link as processes of their own, on the process engine."""

import contextlib
import json
import secrets
import selectors
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from vx11 import tokens
from vx11.engines import select
from vx11.engines.port import Engine

SCOPES = ("power:read", "power:write", "system:write")
START = 30.0
# Tells what it was asked, in small pieces where that is wanted; and turns a connection into a pipe that echoes.
ECHO = """
import http.server, json, os, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *_): pass
    def do_GET(self):
        if self.path == '/drip':
            self.send_response(200)
            self.send_header('Transfer-Encoding', 'chunked')
            self.end_headers()
            for number in range(50):
                self.wfile.write(b'2\\r\\n%02d\\r\\n' % number)
                time.sleep(0.1)
            self.wfile.write(b'0\\r\\n\\r\\n')
            return
        if self.headers.get('Upgrade') == 'pipe':
            self.wfile.write(b'HTTP/1.1 101 Switching\\r\\nConnection: Upgrade\\r\\nUpgrade: pipe\\r\\n\\r\\n')
            while data := self.connection.recv(1000):
                self.connection.sendall(data)
            self.close_connection = True
            return
        size = int(self.headers.get('Content-Length', 0))
        told = {'method': self.command, 'path': self.path, 'headers': self.headers.items(), 'size': 0}
        while size > told['size'] and (some := self.rfile.read(min(65536, size - told['size']))):
            told['size'] += len(some)
        body = json.dumps(told | {'pid': os.getpid(), 'reply': 'echo'}).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_PUT = do_GET
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()
"""
RPC = """
import concurrent.futures, os, grpc
def tell(request, context):
    return dict(context.invocation_metadata()).get('x-vx11-subject', '').encode() + b':' + request
def count(request, context):
    for number in range(int(request)):
        yield str(number).encode()
handlers = {'Tell': grpc.unary_unary_rpc_method_handler(tell), 'Count': grpc.unary_stream_rpc_method_handler(count)}
server = grpc.server(concurrent.futures.ThreadPoolExecutor())
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler('test.Teller', handlers),))
server.add_insecure_port(f"127.0.0.1:{os.environ['PORT']}")
server.start()
server.wait_for_termination()
"""
BARE = """
import os, socket
server = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))
while True:
    server.accept()
"""


class Host:
    """A host of one's own.

    Attributes:
        url: of its gateway.
        cell: its name.
        folder: with its configuration.
    """

    def __init__(self, folder: Path, bundle: Path, eventually: Callable[..., Any], **gateway: Any) -> None:
        self.folder = folder
        self.cell = f"g-{secrets.token_hex(4)}"
        self.bundle = bundle
        self.eventually = eventually
        self.madre_port, self.port = _free_ports(2)
        self.scheme = "https" if "certificate" in gateway else "http"
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"
        self.key, self.gateway_key = folder / "key", folder / "gateway.key"
        self.parts: dict[str, subprocess.Popen[bytes]] = {}
        self.engine: Engine = select.make(
            "process", self.cell, folder / "state" / self.cell, folder / "data" / self.cell
        )
        tokens.new_key(self.key)
        tokens.derive(self.key, self.gateway_key)
        about = {
            "catalogue": str(bundle / "catalogue.yml"),
            "allowlist": str(bundle / "allowlist.yml"),
            "key": str(self.key),
            "engine": "process",
            "cell": self.cell,
            "listen": f"127.0.0.1:{self.madre_port}",
            "rate_limit": "off",
            **{name: str(folder / name) for name in ("state", "data", "evidence")},
            "gateway": {
                "listen": [f"127.0.0.1:{self.port}"],
                "url": self.url,
                "key": str(self.gateway_key),
                **gateway,
            },
        }
        self.configuration = folder / "host.yml"
        self.configuration.write_text(yaml.safe_dump(about), encoding="utf-8")
        self.http = httpx.Client(base_url=self.url, timeout=15, verify=_trusted(gateway.get("certificate")))

    def start(self) -> None:
        """madre first, then the gateway; returns when a request gets through."""
        self.start_madre()
        self.start_gateway()
        self.eventually(self.leads_to_madre)

    def leads_to_madre(self) -> bool:
        """Whether the entry answers."""
        try:
            return self.http.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    def start_madre(self) -> None:
        """Returns when it listens."""
        madre = self._start("madre", "serve", "--json")
        assert json.loads(_first_line(madre))["event"] == "ready"

    def start_gateway(self) -> None:
        """Returns when HAProxy listens."""
        assert b"listens on" in _first_line(self._start("gateway", "gateway"))

    def _start(self, part: str, *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{part}.log").open("ab") as log:
            self.parts[part] = subprocess.Popen(
                [sys.executable, "-m", "vx11", *words, "--config", str(self.configuration)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        return self.parts[part]

    def end(self, part: str, *, kill: bool = False) -> None:
        """Ends `madre` or `gateway`."""
        process = self.parts.pop(part)
        (process.kill if kill else process.terminate)()
        process.wait(20)
        assert process.stdout
        process.stdout.close()

    def said(self, part: str) -> str:
        """What it complained about."""
        return (self.folder / f"{part}.log").read_text(encoding="utf-8")

    def token(self, *scopes: str, **more: Any) -> str:
        """A token of this host."""
        wanted = {"subject": "tester", "ttl": 600, "cell": self.cell} | more
        return tokens.issue(tokens.read_key(self.key), scopes=scopes or SCOPES, **wanted)

    def api(self, path: str, **body: Any) -> Any:
        """A call of the power API through the gateway that succeeds."""
        answer = self.http.post(path, json=body, headers={"Authorization": f"Bearer {self.token()}"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def open(self, service: str, **more: Any) -> Any:
        """Opens a service."""
        return self.api("/api/v1/windows/open", service=service, ttl=120, **more)

    def close(self, service: str) -> Any:
        """Closes it."""
        return self.api("/api/v1/windows/close", service=service)

    def ask(self, service: str, path: str = "/", method: str = "GET", **more: Any) -> httpx.Response:
        """A request to a service, with a token for it."""
        headers = {"X-VX11-Token": self.token(f"svc:{service}")} | more.pop("headers", {})
        return self.http.request(method, f"/svc/{service}{path}", headers=headers, **more)

    def connect(self) -> socket.socket:
        """A connection to the gateway for whoever writes bytes of his own."""
        return socket.create_connection(("127.0.0.1", self.port), 15)

    def stop(self) -> None:
        """Ends all of it, and leaves nothing."""
        self.http.close()
        for part in ("gateway", "madre"):
            if part in self.parts:
                self.end(part)
        self.engine.purge(self.cell)
        assert self.engine.residue(self.cell) == []


def _trusted(certificate: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        links = [stack.enter_context(socket.socket()) for _ in range(count)]
        for link in links:
            link.bind(("127.0.0.1", 0))
        return [link.getsockname()[1] for link in links]


def _first_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        return process.stdout.readline() if selector.select(START) else b""


@pytest.fixture(scope="session")
def services(make_entry: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """A service that echoes, the same for operators and without tokens, one that speaks gRPC, one without HTTP."""
    listens = {"ready": {"tcp": {"port": 8080}}}
    echo = make_entry(ECHO, vx11={"ready": {"http": {"port": 8080, "path": "/"}}}, stop_grace_period="1s")
    return {
        "echo": echo,
        "other": echo | {"x-vx11": echo["x-vx11"] | {"operator": True}},
        "open": echo | {"x-vx11": echo["x-vx11"] | {"public": True}},
        "rpc": make_entry(RPC, vx11=listens, ports=[{"target": 8080, "app_protocol": "grpc"}]),
        "bare": make_entry(BARE, vx11=listens, stop_grace_period="0.1s"),
    }


@pytest.fixture(scope="session")
def new_host(
    tmp_path_factory: pytest.TempPathFactory,
    make_bundle: Callable[..., Path],
    services: dict[str, Any],
    eventually: Callable[..., Any],
) -> Iterator[Callable[..., Host]]:
    """`new_host(**gateway)` starts a host; all end with the session."""
    hosts: list[Host] = []

    def make(**gateway: Any) -> Host:
        host = Host(tmp_path_factory.mktemp("host"), make_bundle(services), eventually, **gateway)
        hosts.append(host)
        host.start()
        return host

    with contextlib.ExitStack() as stack:
        stack.callback(lambda: [host.stop() for host in hosts])
        yield make


@pytest.fixture(scope="session")
def shared_host(new_host: Callable[..., Host]) -> Host:
    """The one that most tests use."""
    return new_host()


@pytest.fixture
def host(shared_host: Host) -> Iterator[Host]:
    """It, with nothing open before and after."""
    yield shared_host
    assert shared_host.api("/api/v1/system/solo_madre")["solo_madre"]
