"""What the tests of madre share: a cell an engine that most tests use one after the other, and a client of its API."""

import json
import secrets
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.chains import whole
from tests.service.suites import Stage
from vx11 import tokens
from vx11.conductor.cell import SCOPES, Cell
from vx11.engines.select import EngineName

OPEN, CLOSE, HOLD, EXTEND = (f"/api/v1/windows/{verb}" for verb in ("open", "close", "hold", "extend"))
STATUS, LOGS, SOLO_MADRE = "/api/v1/windows/status", "/api/v1/windows/logs", "/api/v1/system/solo_madre"
LISTENS = {"ready": {"http": {"port": 8080, "path": "/health"}}}
SAYS_UP = {"ready": {"log": "up"}}
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('up', flush=True)
time.sleep(60)
"""
CRASHES = """
import sys, time
print('up', flush=True)
time.sleep(0.3)
print('the disk is on fire', flush=True)
sys.exit(5)
"""
# As programs do that show a title of their own; see setproctitle(3bsd).
HIDES = """
import ctypes, pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
fields = pathlib.Path('/proc/self/stat').read_text().rpartition(')')[2].split()
begin, end = int(fields[47]), int(fields[48])
ctypes.memset(begin, 0, end - begin)
print('up', flush=True)
time.sleep(60)
"""
NEVER = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print('waiting for a database', flush=True)
time.sleep(60)
"""
# What answers operators does by default, and what else it does when that is the question.
SPEAKS = """
import http.server, json, os, time
asked = []
def told(text, code=200, more=''):
    return f'HTTP/1.1 {code} X\\r\\n{more}Content-Length: {len(text)}\\r\\n\\r\\n{text}'
ANSWERS = {
    'not JSON': told('certainly'),
    'no object': told('["reply"]'),
    'no reply': told('{"answer": "yes"}'),
    'no text': told('{"reply": 5}'),
    'nothing in it': told('{"reply": ""}'),
    'half a character': told('{"reply": "\\\\ud800"}'),
    'deep': told('[' * 60000),
    'large': told('{"reply": "' + 70000 * 'x' + '"}'),
    'a long head': told('{"reply": "yes"}', more=''.join(f'X-{n}: {1000 * "x"}\\r\\n' for n in range(90))),
    'a huge length': 'HTTP/1.1 200 X\\r\\nContent-Length: 1000000000000\\r\\n\\r\\n{"reply": ',
    'a huge chunk': 'HTTP/1.1 200 X\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\nffffffffff\\r\\n{"reply": ',
    'a wrong chunk': 'HTTP/1.1 200 X\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\nmany\\r\\n{"reply": ',
    'half': 'HTTP/1.1 200 X\\r\\nContent-Length: 100\\r\\n\\r\\n{"reply": ',
    'nothing': '',
    'not HTTP': '{"reply": "yes"}',
    'elsewhere': told('{"reply": "yes"}', 307, 'Location: /elsewhere\\r\\n'),
    'broken': told('{"reply": "yes"}', 500),
    'accepted': told('{"reply": "yes"}', 202),
}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(asked).encode())
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        asked.append({'path': self.path, 'headers': dict(self.headers), 'body': json.loads(body)})
        message = asked[-1]['body']['message']
        while message == 'late':
            time.sleep(1)
        while message in ('drips', 'goes on'):
            self.wfile.write(b'X' if message == 'drips' else b'HTTP/1.1 100 Continue\\r\\n\\r\\n')
            time.sleep(0.1 if message == 'drips' else 0)
        text = 'As I see it: ' + asked[-1]['body']['facts']['text']
        self.wfile.write(ANSWERS.get(message, told(json.dumps({'reply': text, 'more': 1}))).encode())
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()
"""
EARLY = "import sys; print('no configuration', flush=True); sys.exit(3)"


class Api:
    """One caller of the power API of a cell.

    Args:
        cell: whose.
        until: the helper `eventually`.
    """

    def __init__(self, cell: Cell, until: Callable[..., Any]) -> None:
        self.cell = cell
        self.until = until
        self.http: httpx.Client | None = None
        self.connect()

    def connect(self) -> None:
        """Speaks to the madre that the cell has now."""
        if self.http:
            self.http.close()
        headers = {"Authorization": f"Bearer {self.cell.token}"}
        self.http = httpx.Client(base_url=self.cell.url, headers=headers, timeout=30)

    def post(self, path: str, **body: Any) -> httpx.Response:
        """A POST, whatever it answers."""
        return self.http.post(path, json=body)

    def done(self, path: str, **body: Any) -> Any:
        """A POST that succeeds."""
        answer = self.post(path, **body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def open(self, service: str = "web", **more: Any) -> Any:
        """Opens a service."""
        return self.done(OPEN, service=service, **more)

    def close(self, service: str = "web", **more: Any) -> Any:
        """Closes it."""
        return self.done(CLOSE, service=service, **more)

    def get(self, path: str, **parameters: Any) -> Any:
        """A GET that succeeds."""
        answer = self.http.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def status(self, **parameters: Any) -> Any:
        """What is open."""
        return self.get(STATUS, **parameters)

    def window(self, window_id: str) -> Any:
        """A window, open or closed."""
        status = self.status(closed=True)
        return next(item for item in (*status["windows"], *status["closed"]) if item["window_id"] == window_id)

    def in_state(self, window_id: str, state: str, limit: float = 10.0) -> Any:
        """Waits until a window is in this state; answers it."""

        def found() -> Any:
            window = self.window(window_id)
            return window if window["state"] == state else None

        return self.until(found, limit)

    def evidence(self) -> list[Any]:
        """The records of the cell."""
        return [json.loads(line) for line in self.evidence_path.read_text(encoding="utf-8").splitlines()]

    @property
    def evidence_path(self) -> Path:
        """The chain of the cell."""
        return _evidence_of(self.cell)

    @property
    def key(self) -> bytes:
        """The signing key of the cell."""
        return tokens.read_key(self.cell.folder / "key")

    def token(self, **more: Any) -> str:
        """A token of this cell; by default as the cell's own."""
        wanted = {"subject": "tester", "scopes": SCOPES, "ttl": 60, "cell": self.cell.name} | more
        return tokens.issue(self.key, **wanted)

    def end(self, part: str, number: int = signal.SIGKILL) -> None:
        """Ends `madre` or `watchdog` by a signal, and waits until it is gone."""
        process = self.cell.core.pop(part)
        process.send_signal(number)
        process.wait(20)
        if process.stdout:
            process.stdout.close()


class Stays(Cell):
    """A cell whose next madre answers at the address of the first."""

    def _flags(self) -> Any:
        return [*super()._flags(), *(["--listen", self.url.removeprefix("http://")] if self.url else [])]

    def end_madre(self, number: int = signal.SIGKILL) -> None:
        """madre ends by a signal."""
        madre = self.core.pop("madre")
        madre.send_signal(number)
        madre.wait(20)
        assert madre.stdout
        madre.stdout.close()

    def post(self, verb: str, **body: Any) -> Any:
        """A call about a window that succeeds."""
        with self.madre() as madre:
            return madre.post(f"/api/v1/windows/{verb}", **body)


def _problem(answer: httpx.Response, status: int, code: str, field: str | None = None) -> str:
    """Checks a problem document (RFC 9457) down to its fields; answers its detail."""
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), body
    assert body["status"] == status
    assert body["type"] == f"urn:vx11:problem:{code}"
    assert body["title"]
    assert body["detail"]
    assert set(body) <= {"type", "title", "status", "detail", "code", "errors"}
    fields = [item["field"] for item in body.get("errors", [])]
    assert all(item["message"] for item in body.get("errors", []))
    assert field is None or field in fields, body
    return str(body["detail"])


@pytest.fixture(scope="session")
def problem() -> Callable[..., str]:
    """`problem(answer, status, code, field=None)` checks a problem document, answers its detail."""
    return _problem


@pytest.fixture(scope="session")
def entries(make_entry: Callable[..., Any], web: dict[str, Any]) -> dict[str, Any]:
    """The services of the shared cells."""
    stubborn = make_entry(STUBBORN, vx11=SAYS_UP, stop_grace_period="20s")
    return {
        "web": web,
        "other": make_entry("allowed_service.py --name other", vx11=LISTENS),
        "short": make_entry("auth_service.py", vx11=LISTENS | {"ttl": "5s", "max_ttl": "10s"}),
        "limited": make_entry("auth_service.py", vx11=LISTENS, mem_limit="96m"),
        "stubborn": stubborn,
        "hides": make_entry(HIDES, vx11=SAYS_UP, stop_grace_period="0.1s"),
        "crashes": make_entry(CRASHES, vx11=SAYS_UP),
        "never": make_entry(NEVER, vx11=LISTENS | {"ready_timeout": "500ms"}),
        "slow": make_entry(NEVER, vx11=LISTENS),
        "early": make_entry(EARLY, vx11=LISTENS),
        "blocked": make_entry("allowed_service.py --name blocked", vx11=LISTENS),
        "speaker": make_entry(SPEAKS, vx11=LISTENS | {"operator": True}, stop_grace_period="0.1s"),
        "needs-blocked": make_entry("auth_service.py", vx11=LISTENS | {"peers": ["blocked"]}),
    }


@pytest.fixture(scope="session")
def bundle(make_bundle: Callable[..., Path], entries: dict[str, Any]) -> Path:
    """Catalogue and allowlist of the shared cells; all but `blocked` is allowed."""
    return make_bundle(entries, allow=[name for name in entries if name != "blocked"])


@pytest.fixture(scope="session")
def shared_cell(
    bundle: Path, tmp_path_factory: pytest.TempPathFactory, eventually: Callable[..., Any]
) -> Iterator[Callable[[EngineName], Cell]]:
    """`shared_cell(engine)` answers the running cell of an engine that tests share.

    At the end its evidence is sound, and no file of it says a secret.
    """
    cells: dict[str, Cell] = {}

    def get(engine: EngineName) -> Cell:
        if engine not in cells:
            name = f"t-{secrets.token_hex(4)}"
            cells[engine] = Cell(name, bundle, engine, tmp_path_factory.mktemp("evidence"))
            cells[engine].start()
            with cells[engine].madre() as madre:
                eventually(lambda: madre.status()["watchdog"])
        return cells[engine]

    yield get
    for cell in cells.values():
        cell.stop()
        told, count = _secrets_told(cell), whole(_evidence_of(cell))
        assert cell.purge() == []
        assert told == []
        assert count > 0


def _evidence_of(cell: Cell) -> Path:
    (path,) = cell.evidence.rglob("evidence.jsonl")
    return path


def _secrets_told(cell: Cell) -> list[str]:
    """Files of a cell that say its token or its key, other than the file of the key."""
    key = cell.folder / "key"
    hidden = [cell.token.encode(), key.read_bytes().strip()]
    files = [path for root in (cell.folder, cell.evidence) for path in root.rglob("*") if path.is_file()]
    return [str(path) for path in files if path != key and any(secret in path.read_bytes() for secret in hidden)]


def _cleared(api: Api) -> Iterator[Api]:
    yield api
    api.done(SOLO_MADRE)
    assert api.status()["solo_madre"]
    api.http.close()


@pytest.fixture
def api(
    engine_name: EngineName, shared_cell: Callable[[EngineName], Cell], eventually: Callable[..., Any]
) -> Iterator[Api]:
    """A caller of the shared cell of each engine, which is in SOLO_MADRE before and after."""
    yield from _cleared(Api(shared_cell(engine_name), eventually))


@pytest.fixture
def process_api(shared_cell: Callable[[EngineName], Cell], eventually: Callable[..., Any]) -> Iterator[Api]:
    """The same on the process engine alone, where the engine makes no difference."""
    yield from _cleared(Api(shared_cell("process"), eventually))


@pytest.fixture
def docker_api(shared_cell: Callable[[EngineName], Cell], eventually: Callable[..., Any]) -> Iterator[Api]:
    """The same on the docker engine; the test is marked `docker`."""
    yield from _cleared(Api(shared_cell("docker"), eventually))


@pytest.fixture(scope="session")
def caller(eventually: Callable[..., Any]) -> Callable[[Cell], Iterator[Api]]:
    """`yield from caller(cell)` in a fixture: a caller of a cell whose core may be ended and started again."""

    def call(cell: Cell) -> Iterator[Api]:
        api = Api(cell, eventually)
        yield api
        api.http.close()

    return call


@pytest.fixture(scope="module")
def stays(
    make_bundle: Callable[..., Path], web: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stays]:
    """A cell on the process engine whose madre may be ended and started again at the same address."""
    cell = Stays(f"t-{secrets.token_hex(4)}", make_bundle({"web": web}), "process", tmp_path_factory.mktemp("evidence"))
    try:
        cell.start()
        yield cell
    finally:
        cell.stop()
        assert cell.purge() == []


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[EngineName], Stage]]:
    """`stages(engine)` answers the stage of an engine that tests share."""
    made: dict[str, Stage] = {}

    def get(engine: EngineName) -> Stage:
        if engine not in made:
            made[engine] = Stage(engine, tmp_path_factory.mktemp("stage"))
        return made[engine]

    yield get
    for stage in made.values():
        stage.stop()


@pytest.fixture
def stage(stages: Callable[[EngineName], Stage]) -> Iterator[Stage]:
    """Services of the shipped matrix on the process engine, none of them open before and after."""
    found = stages("process")
    yield found
    found.clear()


@pytest.fixture
def each_stage(stages: Callable[[EngineName], Stage], engine_name: EngineName) -> Iterator[Stage]:
    """The same on each engine."""
    found = stages(engine_name)
    yield found
    found.clear()
