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

from vx11.conductor import measures
from vx11.conductor.names import MEASURED

FIXTURES = "window, madre, observe, metric, step, evidence, mid_operation, profile, time_scale"
STRICT = ("--strict-markers", "-W", "error")
RunSuite = Callable[..., subprocess.CompletedProcess[str]]
NOTES = "suite-files/progress.jsonl"
WINDOWS = [
    {"service": "web", "state": "closing", "endpoints": ["http://old"], "window_id": "w0"},
    {"service": "web", "state": "open", "endpoints": ["http://one", "http://two"], "window_id": "w1"},
    {"service": "job", "state": "open", "endpoints": [], "window_id": "w2"},
    {"service": "far", "state": "open", "endpoints": ["https://host:8000/svc/far/"], "window_id": "w5"},
    {"service": "slow", "state": "opening", "endpoints": [], "window_id": "w3"},
]


class ScriptedMadre(http.server.BaseHTTPRequestHandler):
    """Answers the status of `WINDOWS`, to the right token; it is the service `self` too, which is a teapot."""

    def do_GET(self) -> None:
        where = urlsplit(self.path)
        service = parse_qs(where.query).get("service", [""])[0]
        known = self.headers["Authorization"] == "Bearer secret" and where.path == "/api/v1/windows/status"
        itself = {"service": "self", "state": "open", "endpoints": [self._address()], "window_id": "w4"}
        body = json.dumps({"windows": [item for item in [*WINDOWS, itself] if item["service"] == service]}).encode()
        self.send_response(418 if where.path == "/tea" else 200 if known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _address(self) -> str:
        return "http://{}:{}".format(*self.connection.getsockname())

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
def run_file(tmp_path: Path, url: str) -> RunSuite:
    """`run_file(text, *options, **environment)` runs a suite; None takes a variable away, `fds` are passed on."""

    def run(
        text: str, *options: str, fds: tuple[int, ...] = (), **changes: str | None
    ) -> subprocess.CompletedProcess[str]:
        suite = tmp_path / "suite.py"
        suite.write_text(text, encoding="utf-8")
        kept = tmp_path / "suite-files"
        kept.mkdir()
        wanted = {"VX11_URL": url, "VX11_TOKEN": "secret", "VX11_CASE_DIR": str(tmp_path), "VX11_SUITE": "auth"}
        wanted["VX11_SUITE_DIR"] = str(kept)
        own = {name: value for name, value in os.environ.items() if not name.startswith(("VX11_", "PYTEST_"))}
        environment = {name: value for name, value in (own | wanted | changes).items() if value is not None}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "vx11.conductor.suite_plugin", "-p", "no:cacheprovider"]
        return subprocess.run(
            [*command, *STRICT, "--rootdir", str(tmp_path), *options, str(suite)],
            pass_fds=fds,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=environment,
            cwd=tmp_path,
        )

    return run


@pytest.fixture
def run_suite(run_file: RunSuite) -> RunSuite:
    """`run_suite(body…, **environment)` runs a suite with a test a body."""

    def run(*bodies: str, **changes: Any) -> subprocess.CompletedProcess[str]:
        tests = [
            f"def test_{number}({FIXTURES}):\n{textwrap.indent(body, '    ')}\n" for number, body in enumerate(bodies)
        ]
        return run_file("\n".join(tests), **changes)

    return run


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def written(folder: Path) -> list[dict[str, Any]]:
    return lines(folder / "observations.jsonl")


def test_what_a_suite_records(run_suite: RunSuite, tmp_path: Path) -> None:
    done = run_suite("observe('works', True)\nobserve('cpu', 4.5, '%')\nmetric('rtt_ms', 12, 'ms')")
    assert done.returncode == 0, done.stdout
    found = written(tmp_path)
    assert [(line["kind"], line["name"], line["value"], line["unit"]) for line in found] == [
        ("observation", "works", True, None),
        ("observation", "cpu", 4.5, "%"),
        ("metric", "rtt_ms", 12, "ms"),
    ]
    assert {line["source"] for line in found} == {"suite:auth"}
    assert all(line["ns"].isdecimal() for line in found)


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
    "metric('startup_time_ms', 1, 'ms')": "'startup_time_ms' cannot be recorded: the conductor measures it itself",
    "observe('Upper', 1)": "'Upper' cannot be recorded: a name has a-z, 0-9 and _",
    "observe('', 1)": "'' cannot be recorded",
    "metric('two words', 1, 's')": "'two words' cannot be recorded",
    "observe('empty', None)": "TypeError: empty is a NoneType; a value is true or false, a number, or text",
    "metric('many', [1], 's')": "TypeError: many is a list",
    "evidence('../escape', 'x')": "'../escape' cannot name evidence",
    "evidence('twice', 'a')\nevidence('twice', 'b')": "there is evidence twice already; what is kept is never replaced",
    "evidence('object', object())": "TypeError",
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


def test_what_is_refused_is_exactly_what_the_conductor_measures() -> None:
    assert set(measures.RECORDED) | set(measures.AFTER) == MEASURED


def test_each_request_to_a_window_is_timed(run_suite: RunSuite, tmp_path: Path, url: str) -> None:
    done = run_suite(
        "import httpx, pytest\n"
        "web = window('self').http\n"
        "assert web is not window('self').http\n"
        "assert web.get('/tea', params={'milk': 'no'}).status_code == 418\n"
        "with pytest.raises(httpx.ConnectError):\n"
        "    web.get('http://127.0.0.1:1/')"
    )
    assert done.returncode == 0, done.stdout
    answered, lost = lines(tmp_path / "suite-files" / "requests.jsonl")
    assert (answered["method"], answered["url"]) == ("GET", f"{url}/tea?milk=no")
    assert (answered["suite"], answered["status"], answered["error"]) == ("auth", 418, None)
    assert 0 < answered["ms"] < 10_000
    assert int(answered["begun_ns"]) < int(lost["begun_ns"])
    assert (lost["status"], lost["error"].partition(":")[0]) == (None, "ConnectError")


@pytest.mark.parametrize(("token", "headers"), [("svc", {"X-VX11-Token": "svc"}), ("", {}), (None, {})])
def test_behind_a_gateway_a_window_is_sent_the_token_for_it(
    run_suite: RunSuite, token: str | None, headers: dict[str, str]
) -> None:
    done = run_suite(
        "far = window('far')\n"
        f"assert far.headers == {headers}\n"
        "assert far.http.headers.get('X-VX11-Token') == far.headers.get('X-VX11-Token')\n"
        "assert window('web').headers == {}\nassert 'X-VX11-Token' not in window('self').http.headers",
        VX11_SERVICE_TOKEN=token,
    )
    assert done.returncode == 0, done.stdout


STEPS = """
import pytest

@pytest.mark.step("get_token")
def test_token(): print("ran: get_token")

@pytest.mark.step("refresh")
def test_refresh(): print("ran: refresh")

@pytest.mark.step("expiry")
class TestExpiry:
    def test_soon(self): print("ran: soon")
    def test_late(self): print("ran: late")

def test_whole(): print("ran: whole")

@pytest.mark.after("force_failure")
def test_survived(): print("ran: survived")
"""


@pytest.mark.parametrize(
    ("options", "ran"),
    [
        ([], ["get_token", "refresh", "soon", "late", "whole"]),
        (["expiry", "get_token"], ["soon", "late", "get_token"]),
        (["refresh"], ["refresh"]),
    ],
)
def test_steps_select_and_order(run_file: RunSuite, options: list[str], ran: list[str]) -> None:
    done = run_file(STEPS, "-s", *(f"--vx11-step={name}" for name in options))
    assert done.returncode == 0, done.stdout
    assert [line.partition("ran: ")[2] for line in done.stdout.splitlines() if "ran: " in line] == ran


def test_after_a_fault_only_what_is_for_it_runs(run_file: RunSuite) -> None:
    done = run_file(STEPS, "-s", "--vx11-after=force_failure")
    assert (done.returncode, done.stdout.count("ran: "), "ran: survived" in done.stdout) == (0, 1, True)


def test_after_another_fault_nothing_runs(run_file: RunSuite) -> None:
    assert run_file(STEPS, "--vx11-after=flood").returncode == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["refresh", "fly"], "the suite has no step fly; it has: expiry, get_token, refresh"),
        (["refresh", "refresh"], "the steps refresh are asked for twice"),
    ],
)
def test_steps_that_cannot_be(run_file: RunSuite, options: list[str], said: str) -> None:
    done = run_file(STEPS, *(f"--vx11-step={name}" for name in options))
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert said in done.stderr


def test_a_suite_that_cannot_be_read_says_so_and_not_that_a_step_is_missing(run_file: RunSuite) -> None:
    done = run_file("import nothing_of_that_name\n", "--vx11-step=refresh")
    assert "nothing_of_that_name" in done.stdout
    assert "no step" not in done.stdout + done.stderr


def test_what_a_suite_has_come_to_is_noted(run_file: RunSuite, tmp_path: Path) -> None:
    body = """
import pytest

@pytest.mark.step("whole")
def test_whole(step):
    with step("part"):
        pass
    with step("broken"):
        raise OSError("no")

class TestOther:
    @pytest.mark.step("left_out")
    def test_other(self): pytest.skip("not here")
"""
    assert run_file(body).returncode == 1
    notes = lines(tmp_path / NOTES)
    assert [(item["event"], item["name"], item.get("outcome")) for item in notes] == [
        ("test_begun", "test_whole", None),
        ("step", "part", "passed"),
        ("step", "broken", "failed"),
        ("step", "whole", "failed"),
        ("test_ended", "test_whole", None),
        ("test_begun", "TestOther::test_other", None),
        ("step", "left_out", "skipped"),
        ("test_ended", "TestOther::test_other", None),
    ]
    assert all(0 <= item["seconds"] < 30 for item in notes if item["event"] == "step")
    stamps = [int(item["ns"]) for item in notes]
    assert stamps == sorted(stamps)


def test_evidence_is_kept_as_it_is(run_suite: RunSuite, tmp_path: Path) -> None:
    done = run_suite(
        "assert evidence('raw.bin', b'\\x00\\xff').read_bytes() == b'\\x00\\xff'\n"
        "evidence('said.txt', 'grüß')\n"
        "evidence('answer.json', {'b': [1, None], 'a': True})"
    )
    assert done.returncode == 0, done.stdout
    kept = tmp_path / "suite-files" / "evidence"
    assert sorted(path.name for path in kept.iterdir()) == ["answer.json", "raw.bin", "said.txt"]
    assert (kept / "said.txt").read_text(encoding="utf-8") == "grüß"
    assert json.loads((kept / "answer.json").read_text(encoding="utf-8")) == {"a": True, "b": [1, None]}


def test_who_waits_for_the_middle_is_told_once_and_that_it_is_over_when_the_suite_is(
    run_suite: RunSuite, tmp_path: Path
) -> None:
    listening, telling = os.pipe()
    try:
        done = run_suite("mid_operation()\nmid_operation()", fds=(telling,), VX11_MIDDLE_FD=str(telling))
    finally:
        os.close(telling)
    with os.fdopen(listening, "rb") as told:
        assert (done.returncode, told.read()) == (0, b"m")
    assert [item["event"] for item in lines(tmp_path / NOTES)].count("mid_operation") == 2


def test_where_nobody_waits_for_the_middle_it_is_nothing(run_suite: RunSuite) -> None:
    assert run_suite("mid_operation()").returncode == 0


@pytest.mark.parametrize(
    ("environment", "seen"),
    [
        ({}, ({"name": "low_power", "pace": 1.0}, 1.0)),
        (
            {"VX11_PROFILE": "stress", "VX11_PACE": "4", "VX11_TIME_SCALE": "0.5"},
            ({"name": "stress", "pace": 4.0}, 0.5),
        ),
    ],
)
def test_how_hard_and_how_long(run_suite: RunSuite, environment: dict[str, str], seen: tuple[Any, float]) -> None:
    own = dict.fromkeys(["VX11_PROFILE", "VX11_PACE", "VX11_TIME_SCALE"])
    done = run_suite(f"assert (profile, time_scale) == {seen!r}", **{**own, **environment})
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("text", ["0", "-1", "inf", "soon"])
def test_a_scale_that_is_none_is_refused(run_suite: RunSuite, text: str) -> None:
    done = run_suite("pass", VX11_TIME_SCALE=text)
    assert f"VX11_TIME_SCALE is {text}, and not a number above 0" in done.stdout


def test_by_hand_a_suite_runs_with_all_it_uses_and_leaves_nothing(run_suite: RunSuite, tmp_path: Path) -> None:
    done = run_suite(
        "window('self').http.get('/tea')\n"
        "with step('part'):\n    mid_operation()\n"
        "assert evidence('note', 'x').read_text() == 'x'",
        VX11_CASE_DIR=None,
        VX11_SUITE_DIR=None,
    )
    assert done.returncode == 0, done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["suite-files", "suite.py"]
    assert list((tmp_path / "suite-files").iterdir()) == []
