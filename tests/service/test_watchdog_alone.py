"""The watchdog alone: madre is dead, and so may be its state files and the daemon. No window stays open for it."""

import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vx11.catalogue import compose
from vx11.catalogue.limits import Limits
from vx11.clock import Clock, Instant
from vx11.conductor.cell import Cell
from vx11.engines.port import Running, Stamp
from vx11.engines.select import EngineName
from vx11.watchdog.orphans import CREATION_GRACE
from vx11.watchdog.record import OVERDUE

LIMIT = 20.0
# Half a second overdue, two seconds of grace, two looks, and what it takes to stop.
LATEST_ORPHAN = 12.0
BIRTH_TTL = 6
SLOW_TO_END = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('up', flush=True)
time.sleep(60)
"""
Api = Any  # tests/service/conftest.py
Eventually = Callable[..., Any]
StartCell = Callable[[Path, EngineName], Cell]
Watch = Callable[[Cell, str], Path]


@pytest.fixture
def lone_api(
    bundle: Path, start_cell: StartCell, engine_name: EngineName, caller: Callable[[Cell], Iterator[Api]]
) -> Iterator[Api]:
    """A cell on each engine, whose madre the tests end."""
    yield from caller(start_cell(bundle, engine_name))


@pytest.fixture
def docker_api(bundle: Path, start_cell: StartCell, caller: Callable[[Cell], Iterator[Api]]) -> Iterator[Api]:
    """The same of containers alone."""
    yield from caller(start_cell(bundle, "docker"))


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    """`watch(cell, daemon)` starts a watchdog that has the Docker daemon elsewhere; answers its log."""
    begun: list[subprocess.Popen[bytes]] = []

    def start(cell: Cell, daemon: str) -> Path:
        command = [sys.executable, "-I", "-m", "vx11.watchdog", "--state", str(state_of(cell))]
        log = tmp_path / "watchdog.log"
        with log.open("wb") as file:
            begun.append(subprocess.Popen(command, env=os.environ | {"DOCKER_HOST": daemon}, stderr=file))
        return log

    yield start
    for process in begun:
        process.terminate()
        assert process.wait(LIMIT) == 0


def state_of(cell: Cell) -> Path:
    return cell.folder / "state" / cell.name


def file_of(cell: Cell, window: dict[str, Any]) -> Path:
    return state_of(cell) / "windows" / f"{window['window_id']}.json"


def said(cell: Cell) -> str:
    return (cell.folder / "watchdog.log").read_text(encoding="utf-8")


def let_expire(cell: Cell, window: dict[str, Any]) -> None:
    """Puts its deadline into the past, for a watchdog that begins later."""
    file = file_of(cell, window)
    data = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(data | {"deadline": data["opened"]}), encoding="utf-8")


def running(cell: Cell) -> set[str]:
    """Windows that run something, as the engine says without madre."""
    return {found.window_id for found in cell.engine.inventory(cell.name) if found.alive}


def start_unrecorded(cell: Cell, bundle: Path, deadline: Instant) -> Running:
    """Starts a service that nobody writes down, as a madre that dies at the worst moment of its disk."""
    service = compose.load(bundle / "catalogue.yml").services["web"]
    stamp = Stamp(cell.name, str(uuid.uuid4()), 1, "web", deadline)
    return cell.engine.start(service, stamp, Limits(), [])


def test_what_was_never_written_down_ends_after_its_birth_deadline(
    lone_api: Api, bundle: Path, eventually: Eventually
) -> None:
    cell = lone_api.cell
    lone_api.end("madre")
    deadline = Clock().now().plus(5)
    orphan = start_unrecorded(cell, bundle, deadline)
    assert running(cell) == {orphan.window_id}
    eventually(lambda: not running(cell), LIMIT)
    assert OVERDUE + CREATION_GRACE <= deadline.seconds_until(Clock().now()) < LATEST_ORPHAN
    assert not cell.engine.health(orphan).alive
    told = f"closed web ({orphan.window_id}), which was overdue and had no state file"
    eventually(lambda: told in said(cell))


def held_after_birth(api: Api, service: str) -> dict[str, Any]:
    """A window that is held, and whose mark does not say so: that is of its birth."""
    window: dict[str, Any] = api.open(service, ttl=BIRTH_TTL)
    api.done("/api/v1/windows/hold", service=service, hold=True)
    return window


def test_what_lost_its_state_file_ends_and_what_has_one_stays(lone_api: Api, eventually: Eventually) -> None:
    cell = lone_api.cell
    lost, damaged, held = (held_after_birth(lone_api, name) for name in ("web", "limited", "other"))
    lone_api.end("madre")
    assert running(cell) == {window["window_id"] for window in (lost, damaged, held)}
    file_of(cell, lost).unlink()
    file_of(cell, damaged).write_text("{", encoding="utf-8")
    eventually(lambda: running(cell) == {held["window_id"]}, LIMIT)
    assert held["window_id"] not in said(cell)
    cell.start_madre()
    lone_api.connect()
    (window,) = [window for window in lone_api.status()["windows"] if window["window_id"] == held["window_id"]]
    assert window["hold"]


def test_an_extended_window_outlives_the_deadline_that_it_was_born_with(lone_api: Api, eventually: Eventually) -> None:
    cell = lone_api.cell
    extended, lost = (held_after_birth(lone_api, name) for name in ("web", "other"))
    lone_api.done("/api/v1/windows/extend", service="web", ttl=60)
    lone_api.done("/api/v1/windows/hold", service="web", hold=False)
    lone_api.end("madre")
    file_of(cell, lost).unlink()
    eventually(lambda: running(cell) == {extended["window_id"]}, LIMIT)
    assert extended["window_id"] not in said(cell)


def test_a_cell_leaves_the_orphans_of_others_alone(
    bundle: Path, start_cell: StartCell, engine_name: EngineName, eventually: Eventually
) -> None:
    mine, other = start_cell(bundle, engine_name), start_cell(bundle, engine_name)
    for cell in (mine, other):
        end(cell, "madre")
    end(other, "watchdog")
    orphans = [start_unrecorded(cell, bundle, Clock().now()) for cell in (other, mine)]
    eventually(lambda: not running(mine), LIMIT)
    assert other.engine.health(orphans[0]).alive


def test_what_others_need_ends_after_them(
    make_bundle: Callable[..., Path],
    make_entry: Callable[..., Any],
    start_cell: StartCell,
    engine_name: EngineName,
    caller: Callable[[Cell], Iterator[Api]],
    eventually: Eventually,
) -> None:
    slow = make_entry(SLOW_TO_END, vx11={"ready": {"log": "up"}}, stop_grace_period="1s", depends_on=["db"])
    bundle = make_bundle({"web": slow, "db": make_entry("auth_service.py")})
    cell = start_cell(bundle, engine_name)
    for api in caller(cell):
        web = api.open("web")
        (db,) = [window for window in api.status()["windows"] if window["service"] == "db"]
        for part in ("madre", "watchdog"):
            api.end(part)
    for window in (db, web):
        let_expire(cell, window)
    cell.start_watchdog()
    eventually(lambda: db["window_id"] in said(cell), LIMIT)
    assert running(cell) == set()
    closed = [
        f"watchdog: closed {window['service']} ({window['window_id']}), which was overdue" for window in (web, db)
    ]
    assert said(cell).splitlines() == closed


def end(cell: Cell, part: str) -> None:
    """SIGKILLs `madre` or `watchdog` of a cell."""
    process = cell.core.pop(part)
    process.kill()
    process.wait(LIMIT)
    if process.stdout:
        process.stdout.close()


def socket_of_a_dead_daemon(folder: Path) -> socket.socket:
    """A socket that stands in the file system, and on which nobody listens."""
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(folder / "docker.sock"))
    return left


@pytest.mark.docker
@pytest.mark.root
@pytest.mark.parametrize("daemon", ["refuses", "is silent"])
def test_containers_end_without_their_daemon(
    docker_api: Api, watch: Watch, tmp_path: Path, eventually: Eventually, daemon: str
) -> None:
    cell = docker_api.cell
    polite, stubborn = docker_api.open("web"), docker_api.open("hides")
    held = docker_api.open("other", hold=True)
    found = {item.window_id: item.running for item in cell.engine.inventory(cell.name)}
    docker_api.end("madre")
    docker_api.end("watchdog")
    for window in (polite, stubborn, held):
        let_expire(cell, window)
    with socket_of_a_dead_daemon(tmp_path) as left:
        if daemon == "is silent":
            left.listen()
        log = watch(cell, f"unix://{tmp_path}/docker.sock")
        eventually(lambda: running(cell) == {held["window_id"]}, LIMIT)
        eventually(lambda: "(" + stubborn["window_id"] in log.read_text(encoding="utf-8"))
    assert cell.engine.health(found[polite["window_id"]]).exit_code == 0  # it had its stop signal and its grace
    assert cell.engine.health(found[stubborn["window_id"]]).exit_code == 128 + signal.SIGKILL
    assert "could not close" not in log.read_text(encoding="utf-8")
    cell.start_madre()
    docker_api.connect()
    for window in (polite, stubborn):
        assert docker_api.in_state(window["window_id"], "closed")["reason"] == "watchdog"
