"""The plugin of suites, as a suite sees it: pytest in a process of its own against a madre that follows a script."""

import http.server
import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

RunSuite = Callable[..., subprocess.CompletedProcess[str]]
WINDOWS = [
    {"service": "web", "state": "closing", "endpoints": ["http://old"], "window_id": "w0"},
    {"service": "web", "state": "open", "endpoints": ["http://one", "http://two"], "window_id": "w1"},
    {"service": "job", "state": "open", "endpoints": [], "window_id": "w2"},
    {"service": "slow", "state": "opening", "endpoints": [], "window_id": "w3"},
]


class ScriptedMadre(http.server.BaseHTTPRequestHandler):
    """Answers the status of `WINDOWS`, to the right token."""

    def do_GET(self) -> None:
        where = urlsplit(self.path)
        service = parse_qs(where.query).get("service", [""])[0]
        known = self.headers["Authorization"] == "Bearer secret" and where.path == "/api/v1/windows/status"
        body = json.dumps({"windows": [item for item in WINDOWS if item["service"] == service]}).encode()
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ScriptedMadre)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def run_suite(tmp_path: Path, url: str) -> RunSuite:
    """`run_suite(body…, **environment)` runs a suite with a test a body; None takes a variable away."""

    def run(*bodies: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
        tests = [
            f"def test_{number}(window, madre, observe, metric):\n{textwrap.indent(body, '    ')}\n"
            for number, body in enumerate(bodies)
        ]
        suite = tmp_path / "suite.py"
        suite.write_text("\n".join(tests), encoding="utf-8")
        wanted = {"VX11_URL": url, "VX11_TOKEN": "secret", "VX11_CASE_DIR": str(tmp_path), "VX11_SUITE": "auth"}
        own = {name: value for name, value in os.environ.items() if not name.startswith(("VX11_", "PYTEST_"))}
        environment = {name: value for name, value in (own | wanted | changes).items() if value is not None}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "vx11.conductor.suite_plugin", "-p", "no:cacheprovider"]
        return subprocess.run(
            [*command, "--rootdir", str(tmp_path), str(suite)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=environment,
            cwd=tmp_path,
        )

    return run


def written(folder: Path) -> list[dict[str, Any]]:
    path = folder / "observations.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def test_what_a_suite_records(run_suite: RunSuite, tmp_path: Path) -> None:
    done = run_suite("observe('works', True)\nobserve('cpu', 4.5, '%')\nmetric('rtt_ms', 12, 'ms')")
    assert done.returncode == 0, done.stdout
    lines = written(tmp_path)
    assert [(line["kind"], line["name"], line["value"], line["unit"]) for line in lines] == [
        ("observation", "works", True, None),
        ("observation", "cpu", 4.5, "%"),
        ("metric", "rtt_ms", 12, "ms"),
    ]
    assert {line["source"] for line in lines} == {"suite:auth"}
    assert all(line["ns"].isdecimal() for line in lines)


def test_a_suite_finds_the_open_windows_of_its_case(run_suite: RunSuite) -> None:
    done = run_suite(
        "found = window('web')\n"
        "assert (found.url, found.endpoints) == ('http://one', ['http://one', 'http://two'])\n"
        "assert found.info['window_id'] == 'w1'\n"
        "answer = madre.get('/api/v1/windows/status', params={'service': 'job'})\n"
        "assert answer.json()['windows'][0]['window_id'] == 'w2'"
    )
    assert done.returncode == 0, done.stdout


TOLD = {
    "window('gone')": "LookupError: no window of gone is open",
    "window('slow')": "LookupError: no window of slow is open",
    "window('job').url": "LookupError: the window of job has no endpoint; give its entry ports or expose",
    "observe('no_resource_leaks', True)": "'no_resource_leaks' cannot be recorded",
    "observe('Upper', 1)": "'Upper' cannot be recorded: a name has a-z, 0-9 and _",
    "observe('', 1)": "'' cannot be recorded",
    "metric('two words', 1, 's')": "'two words' cannot be recorded",
    "observe('empty', None)": "TypeError: empty is a NoneType; a value is true or false, a number, or text",
    "metric('many', [1], 's')": "TypeError: many is a list",
}


def test_what_a_suite_is_told(run_suite: RunSuite, tmp_path: Path) -> None:
    done = run_suite(*TOLD)
    assert done.returncode == 1
    assert f"{len(TOLD)} failed" in done.stdout
    assert [said for said in TOLD.values() if said not in done.stdout] == []
    assert written(tmp_path) == []


def test_outside_a_case_a_suite_says_what_is_missing(run_suite: RunSuite) -> None:
    done = run_suite("pass", VX11_URL=None)
    assert done.returncode == 1
    assert "VX11_URL is not set; suites run inside a case, by the module vx11_suite" in done.stdout


def test_by_hand_a_suite_writes_nothing(run_suite: RunSuite, tmp_path: Path) -> None:
    assert run_suite("observe('works', True)", VX11_CASE_DIR=None).returncode == 0
    assert written(tmp_path) == []
