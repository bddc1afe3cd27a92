"""What all tests share: what the machine can do, bundles made of a few lines, and cells of real engines.

A test that needs what the machine lacks is skipped with its reason; with `VX11_REQUIRE=docker,root,host,ansible` such
a skip is a failure, so that a machine which should have everything cannot hide that it has not.
"""

import contextlib
import gc
import os
import secrets
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest
import yaml

from tests import turns
from tests.hosts import image
from tests.hosts.errors import HostError
from tests.hosts.host import TestHost
from vx11.catalogue import allowlist, compose
from vx11.conductor.cell import Cell
from vx11.engines import cgroups
from vx11.engines.docker import connect
from vx11.engines.port import EngineError
from vx11.engines.select import EngineName
from vx11.errors import EnvironmentProblem
from vx11.evidence import keys
from vx11.gateway import link

CHECKOUT = Path(__file__).resolve().parents[1]
IMAGE = "vx11/e2e-services:0.1.0"
READY = {"http": {"port": 8080, "path": "/health"}}
MakeBundle = Callable[..., Path]
StartCell = Callable[..., Cell]
Found = TypeVar("Found")
DAEMON = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")


def _missing_docker() -> str:
    # The SDK leaves its socket to the garbage collector when nobody answers; the warning would hit some later test.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            connect(2).close()
        except EngineError as error:
            return str(error)
        finally:
            gc.collect()
    return ""


def _missing_root() -> str:
    if os.geteuid() != 0:
        return "this user is not root"
    return "" if cgroups.detect() else "control groups cannot be written here"


def _missing_haproxy() -> str:
    try:
        link.installed()
    except EnvironmentProblem as error:
        return str(error)
    return ""


NEEDS: dict[str, Callable[[], str]] = {
    "docker": _missing_docker,
    "root": _missing_root,
    "host": image.missing,
    "haproxy": _missing_haproxy,
}
_known: dict[str, str] = {}


def pytest_configure(config: pytest.Config) -> None:
    turns.register(config)
    # What a shell starts in the background ignores these, and so would all that tests start.
    for number in (signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def evidence_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What evidence is sealed with in all tests, so that they need none of this machine, and leave none."""
    path = tmp_path_factory.mktemp("keys") / "evidence.key"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(keys.VARIABLE, str(path))
        yield path


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name, missing in NEEDS.items():
        if item.get_closest_marker(name) is None:
            continue
        if name not in _known:
            _known[name] = missing()
        if _known[name]:
            _cannot(name)


def _cannot(name: str) -> NoReturn:
    """Skips for want of what is known to be missing, or fails where it is required."""
    if name in os.environ.get("VX11_REQUIRE", "").split(","):
        pytest.fail(f"{name} is required here (VX11_REQUIRE), but {_known[name]}", pytrace=False)
    pytest.skip(f"needs {name}: {_known[name]}")


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def engine_name(request: pytest.FixtureRequest) -> EngineName:
    """Each engine in turn."""
    name: EngineName = request.param
    return name


def entry(code_or_script: str, **more: Any) -> dict[str, Any]:
    """A catalogue entry that runs a sample service (`auth_service.py …`) or Python code, on either engine."""
    words = code_or_script.split()
    if words[0].endswith(".py"):
        script = str(CHECKOUT / "matrices/e2e/services" / words[0])
        inside, outside = ["python3", f"/srv/vx11/{words[0]}", *words[1:]], ["{python}", script, *words[1:]]
    else:
        inside, outside = ["python3", "-c", code_or_script], ["{python}", "-c", code_or_script]
    vx11 = {"process": {"command": outside}, **more.pop("vx11", {})}
    services = str(CHECKOUT / "matrices/e2e/services")
    return {
        "image": IMAGE,
        "build": {"context": services, "args": ["VX11_BASE_IMAGE"]},
        "command": inside,
        "ports": ["8080"],
        "stop_grace_period": "2s",
        "x-vx11": vx11,
        **more,
    }


WEB = entry("auth_service.py", vx11={"ready": READY})


def _eventually(check: Callable[[], Found], limit: float = 10.0) -> Found:
    """What `check` answers as soon as it is true; fails after `limit` seconds, with what it answered last."""
    end = time.monotonic() + limit
    while not (found := check()):
        assert time.monotonic() < end, f"still {found!r} after {limit:g} s"
        time.sleep(0.02)
    return found


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    """`eventually(check, limit=10)` waits for an event that can only be looked for."""
    return _eventually


@pytest.fixture(scope="session")
def make_entry() -> Callable[..., dict[str, Any]]:
    """`make_entry(code_or_script, vx11={…}, **keys)` answers a catalogue entry; see `entry`."""
    return entry


@pytest.fixture(scope="session")
def web() -> dict[str, Any]:
    """An entry for a small web service that runs on either engine."""
    return WEB


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory: pytest.TempPathFactory) -> MakeBundle:
    """`make_bundle(services, allow=None, **top)` writes catalogue and allowlist, answers their folder."""

    def make(services: dict[str, Any], allow: list[str] | None = None, **top: Any) -> Path:
        folder = tmp_path_factory.mktemp("bundle")
        catalogue = folder / "catalogue.yml"
        catalogue.write_text(yaml.safe_dump({"services": services, **top}), encoding="utf-8")
        allowlist.update(folder / "allowlist.yml", compose.load(catalogue), allow or ())
        return folder

    return make


@pytest.fixture
def start_cell(tmp_path: Path) -> Iterator[StartCell]:
    """`start_cell(bundle, engine)` starts a real cell; at the end it is removed, and nothing of it may be left."""
    cells: list[Cell] = []

    def start(bundle: Path, engine: EngineName) -> Cell:
        name = f"t-{secrets.token_hex(4)}"
        cell = Cell(name, bundle, engine, tmp_path / "evidence")
        cells.append(cell)
        cell.start()
        return cell

    yield start
    for cell in cells:
        cell.stop()
        assert cell.purge() == []


@pytest.fixture
def cell(make_bundle: MakeBundle, start_cell: StartCell, engine_name: EngineName) -> Cell:
    """A cell on each engine, whose one service is `web`."""
    return start_cell(make_bundle({"web": WEB}), engine_name)


class Line:
    """A socket that leads to the Docker daemon, and can be cut, or carry nothing any more.

    Attributes:
        path: the socket.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: list[socket.socket] = []
        self._passes = threading.Event()
        self.mend()

    def mend(self) -> None:
        """The daemon can be reached."""
        self._passes.set()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """It cannot, and who speaks with it is interrupted."""
        self.path.unlink()
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()
        self._passes.set()

    def hang(self) -> None:
        """It takes calls, and answers none."""
        self._passes.clear()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, daemon = listener.accept()[0], socket.socket(socket.AF_UNIX)
                daemon.connect(DAEMON.removeprefix("unix://"))
                self._open += [caller, daemon]
                for ends in ((caller, daemon), (daemon, caller)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._passes.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """The only way to the daemon in this test, for clients that are made in it."""
    if not DAEMON.startswith("unix://"):
        pytest.skip(f"the daemon is reached by {DAEMON}, not by a socket of this host")
    found = Line(tmp_path / "docker.sock")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{found.path}")
    yield found
    if found.path.exists():
        found.cut()
    with warnings.catch_warnings():  # the SDK does not close the socket of a call that failed
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="session")
def host() -> Iterator[TestHost]:
    """A host that the tests of one worker use one after the other; each leaves it as it was. They are marked `host`."""
    found = TestHost()
    try:
        found.start()
    except HostError as error:
        _known["host"] = str(error)
        _cannot("host")
    yield found
    found.remove()
