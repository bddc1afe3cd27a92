"""What the tests of the collection need: its import name, a madre that answers by script, and a way to run a module."""

from __future__ import annotations

import atexit
import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils import basic

CHECKOUT = Path(__file__).resolve().parents[3]


def _give_the_collection_its_name() -> str:
    """Make the checkout importable as ansible_collections.vx11.power; the folder serves as collections path too."""
    folder = tempfile.TemporaryDirectory(prefix="vx11-collections-")
    atexit.register(folder.cleanup)
    namespace = Path(folder.name, "ansible_collections", "vx11")
    namespace.mkdir(parents=True)
    (namespace / "power").symlink_to(CHECKOUT)
    sys.path.insert(0, folder.name)
    return folder.name


COLLECTIONS_PATH = _give_the_collection_its_name()


class ScriptedMadre:
    """A real HTTP server that answers each path with what the test put there, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, bytes, str]]] = {}
        self.makers: dict[str, Callable[[Any], tuple[int, object]]] = {}
        self.requests: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def answer(self, path: str, body: object, status: int = 200, kind: str = "application/json") -> None:
        """Answer `path` so. Several answers for a path are given in turn, the last one again and again."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers.setdefault(path, []).append((status, content, kind))

    def answer_by(self, path: str, make: Callable[[Any], tuple[int, object]]) -> None:
        """Answer `path` with the status and the JSON that `make` answers to the body of each request."""
        self.makers[path] = make

    def refuse(
        self, path: str, status: int, code: str, detail: str, errors: list[dict[str, str]] | None = None
    ) -> None:
        """Answer `path` with a problem document."""
        problem: dict[str, Any] = {"type": f"urn:vx11:problem:{code}", "title": code, "status": status}
        problem.update(detail=detail, code=code)
        if errors:
            problem["errors"] = errors
        self.answer(path, problem, status, "application/problem+json")

    def asked(self) -> list[tuple[str, str]]:
        """Method and path of every request, in order."""
        return [(request["method"], request["path"]) for request in self.requests]

    def stop(self) -> None:
        """Stop answering and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler_of(madre: ScriptedMadre) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply()

        def do_POST(self) -> None:
            self._reply()

        def log_message(self, *_: object) -> None:
            """Keep the output of the module alone on stdout and stderr."""

        def _reply(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = json.loads(text) if text else None
            madre.requests.append(
                {"method": self.command, "path": self.path, "body": body, "headers": dict(self.headers.items())}
            )
            if self.path in madre.makers:
                status, made = madre.makers[self.path](body)
                self._send(status, json.dumps(made).encode(), "application/json")
                return
            script = madre.answers.get(self.path.partition("?")[0], [(404, b"no such page", "text/plain")])
            self._send(*(script.pop(0) if len(script) > 1 else script[0]))

        def _send(self, status: int, content: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            if 300 <= status < 400:
                self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(content)

    return Handler


@pytest.fixture
def madre() -> Iterator[ScriptedMadre]:
    """A madre that answers what the test tells it to."""
    server = ScriptedMadre()
    yield server
    server.stop()


@pytest.fixture
def dead_url() -> str:
    """A URL at which nobody listens any more."""
    dead = ScriptedMadre()
    dead.stop()
    return dead.url


@pytest.fixture
def collections_path() -> str:
    """A folder that Ansible can take as collections path to find the checkout as vx11.power."""
    return COLLECTIONS_PATH


@pytest.fixture(autouse=True)
def _no_vx11_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests say of the environment is all there is, even when they run inside a run of VX11."""
    for name in [name for name in os.environ if name.startswith("VX11_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def run_module(
    madre: ScriptedMadre, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Run a module's main() as Ansible does: options in, the printed JSON out.

    It calls the scripted madre with a token, unless the options say otherwise; an option of None is left out.
    """

    def run(module: ModuleType, check: bool = False, diff: bool = False, **options: Any) -> dict[str, Any]:
        given: dict[str, Any] = {"url": madre.url, "token": "token-of-the-test", **options}
        arguments = {key: value for key, value in given.items() if value is not None}
        arguments.update(_ansible_check_mode=check, _ansible_diff=diff)
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)  # ansible-core 2.18 has none
        with pytest.raises(SystemExit) as ended:
            module.main()
        printed = capfd.readouterr()
        result: dict[str, Any] = json.loads(printed.out)
        assert printed.err == ""
        assert bool(ended.value.code) == bool(result.get("failed"))
        return result

    return run


@pytest.fixture
def window() -> Callable[..., dict[str, Any]]:
    """Makes a window as madre describes it, open and with 30 seconds left, but for what is given."""

    def make(**differing: Any) -> dict[str, Any]:
        made: dict[str, Any] = {
            "window_id": "0b8f8f0e-0000-4000-8000-000000000001",
            "service": "auth-service",
            "generation": 1,
            "cell": "default",
            "state": "open",
            "opened_at": "2026-01-02T03:04:05.000000000Z",
            "ready_at": "2026-01-02T03:04:05.200000000Z",
            "startup_ms": 200.0,
            "expires_at": "2026-01-02T03:04:35.000000000Z",
            "remaining_s": 29.8,
            "hold": False,
            "hold_until": None,
            "opened_by": "tester",
            "resources": {},
            "not_enforced": [],
            "endpoints": ["http://127.0.0.1:40001"],
            "usage": None,
            "closed_at": None,
            "reason": None,
            "open_s": None,
            "close_ms": None,
            "killed": None,
        }
        return {**made, **differing}

    return make


@pytest.fixture
def status() -> Callable[..., dict[str, Any]]:
    """Makes what madre says of a host that has these windows, but for what is given."""

    def make(*windows: dict[str, Any], **differing: Any) -> dict[str, Any]:
        made: dict[str, Any] = {
            "cell": "default",
            "windows": list(windows),
            "solo_madre": not windows,
            "watchdog": True,
            "gateway": True,
            "engine": {"name": "process", "why": "no Docker Engine answers", "capabilities": ["limits.cpu"]},
            "checked_at": "2026-01-02T03:04:06.000000000Z",
        }
        return {**made, **differing}

    return make
