"""What may befall a host: its engine restarts or stops, a disk is full, the core is killed, the host itself restarts.

After each fault every window has ended at its deadline, or earlier for a recorded reason; nothing of the cell is left;
the evidence is unbroken. The long form (`VX11_FAULTS=full`) has each with both enforcers and with each of them alone.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.hosts.core import CELL, EVIDENCE, STATE, Core, Part
from tests.hosts.host import TestHost, until
from vx11.catalogue import compose
from vx11.client import MadreRefused
from vx11.conductor.matrix import CATALOGUE
from vx11.engines.docker import DockerEngine, connect
from vx11.engines.select import EngineName

pytestmark = [pytest.mark.docker, pytest.mark.host]
FULL = os.environ.get("VX11_FAULTS") == "full"
Enforcer = Literal["both", "watchdog", "madre"]
ENFORCERS: list[Enforcer] = ["both", "watchdog", "madre"] if FULL else ["both"]
IS_OUT: dict[Enforcer, list[Part]] = {"both": [], "watchdog": ["madre"], "madre": ["watchdog"]}
ENGINES: list[EngineName] = ["docker", "process"] if FULL else ["docker"]
ORDERS: list[tuple[Part, ...]] = [("madre", "watchdog")]
if FULL:
    ORDERS += [("watchdog", "madre"), ("madre",), ("watchdog",)]
Eventually = Callable[..., Any]
NewCore = Callable[[EngineName], Core]

OPEN, CLOSE = "/api/v1/windows/open", "/api/v1/windows/close"
OBEYS = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print('up', flush=True)
while True: signal.pause()  # runs the service {name}
"""
TTL = 6.0
BRIEF, LONG = 2.0, 60.0
LATEST = 3.0
LIMIT = 40.0
LEFT_LIMIT = 10.0
OUTAGE = 10.0 if FULL else 6.0
DISK = "256k"
ROUNDS = 5  # more than a page of records: a full tmpfs still takes what fits into the last page of a file


@pytest.fixture(scope="module")
def bundle(make_bundle: Callable[..., Path], make_entry: Callable[..., dict[str, Any]]) -> Path:
    """Two services."""
    ready = {"ready": {"log": "up"}}
    entries = {name: make_entry(OBEYS.format(name=name), vx11=ready) for name in ("web", "api")}
    return make_bundle(entries)


@pytest.fixture(scope="module")
def ready_host(host: TestHost, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> TestHost:
    """The host with the image that the services run."""
    client = connect()
    service = compose.load(bundle / CATALOGUE).services["web"]
    DockerEngine("hosts", tmp_path_factory.mktemp("engine"), client).prepare(service)
    client.close()
    host.load_image(str(service.entry.image))
    return host


@pytest.fixture
def new_core(ready_host: TestHost, bundle: Path) -> Iterator[NewCore]:
    """`new_core(engine)` installs and starts a core; it is removed after the test with all that it wrote and runs."""
    made: list[Core] = []

    def make(engine: EngineName) -> Core:
        made.append(Core(ready_host, bundle, engine))
        made[-1].start()
        return made[-1]

    yield make
    for core in made:
        core.remove()


@pytest.fixture
def core(new_core: NewCore) -> Core:
    """A core on the host, with its Docker Engine."""
    return new_core("docker")


@pytest.fixture
def live_restore(request: pytest.FixtureRequest, ready_host: TestHost, eventually: Eventually) -> Iterator[bool]:
    """Whether the host's containers outlive its daemon."""

    def put(on: bool) -> None:
        ready_host.put("/etc/docker/daemon.json", json.dumps({"live-restore": on}))
        ready_host.run("systemctl reload docker")
        eventually(lambda: json.loads(ready_host.run("docker info -f '{{.LiveRestoreEnabled}}'")) is on)

    put(request.param)
    yield request.param
    ready_host.run("systemctl start docker")
    put(False)


@pytest.fixture
def full_disk(request: pytest.FixtureRequest, ready_host: TestHost) -> str:
    """A folder of the core as a small disk of its own, which `Core.remove` unmounts."""
    place: str = request.param
    ready_host.run(f"mkdir -p {place}; mount -t tmpfs -o size={DISK} tmpfs {place}")
    return place


def _open(core: Core, service: str = "web", ttl: float = TTL) -> dict[str, Any]:
    with core.madre() as madre:
        return madre.post(OPEN, service=service, ttl=ttl)


def _first_refusal(core: Core) -> str:
    """Opens and closes until it is refused, which uses up what a full disk still takes; answers why, in a word."""
    with core.madre() as madre:
        for _ in range(ROUNDS):
            try:
                madre.post(OPEN, service="api")
            except MadreRefused as refused:
                return refused.code
            madre.post(CLOSE, service="api")
    return "never refused"


def _leave_alone(core: Core, enforcer: Enforcer) -> None:
    for part in IS_OUT[enforcer]:
        core.take_out(part)


def _runs(core: Core, service: str = "web") -> bool:
    """As the host sees it, below every engine."""
    return bool(core.host.processes(f"runs the service {service}"))


def _overdue_when_ended(core: Core, window: dict[str, Any], eventually: Eventually) -> float:
    """Waits until a window runs no more; answers the seconds since its deadline, negative before it."""
    eventually(lambda: not _runs(core, window["service"]), TTL + LATEST)
    return (datetime.now(UTC) - datetime.fromisoformat(window["expires_at"])).total_seconds()


def _expect_order(core: Core, folder: Path, eventually: Eventually) -> list[dict[str, Any]]:
    """Nothing of the cell is left, madre proves SOLO_MADRE, the evidence is sound; answers its records."""
    eventually(lambda: core.host.run(f"docker ps -aq --filter label=vx11.cell={CELL}") == "", LEFT_LIMIT)
    with core.madre() as madre:
        assert madre.solo_madre(dry_run=True)["solo_madre"]
    return core.evidence(folder)


def _reason(core: Core, window: dict[str, Any]) -> str:
    """Why a window closed, as soon as it has."""
    until(lambda: core.window(window["window_id"])["state"] == "closed", LIMIT, core.words)
    return str(core.window(window["window_id"])["reason"])


def _recorded_reasons(records: list[dict[str, Any]], window: dict[str, Any]) -> list[str]:
    return [
        item["data"]["reason"]
        for item in records
        if (item["subject"], item["action"]) == (window["window_id"], "closed")
    ]


@pytest.mark.parametrize("live_restore", [False, True], ids=["dies with it", "live-restore"], indirect=True)
@pytest.mark.parametrize("enforcer", ENFORCERS)
def test_the_engine_restarts(
    core: Core, live_restore: bool, enforcer: Enforcer, tmp_path: Path, eventually: Eventually
) -> None:
    """What dies with its engine is told as soon as madre sees it, long before its deadline."""
    window = _open(core, ttl=TTL if live_restore else LONG)
    _leave_alone(core, enforcer)
    core.host.run("systemctl restart docker")
    assert _runs(core) is live_restore
    if live_restore:
        assert 0 <= _overdue_when_ended(core, window, eventually) <= LATEST
    core.bring_back()
    reason = _reason(core, window)
    assert reason in ({"expired", "watchdog"} if live_restore else {"crashed", "lost"})
    assert _recorded_reasons(_expect_order(core, tmp_path, eventually), window) == [reason]


@pytest.mark.parametrize("live_restore", [True], ids=["live-restore"], indirect=True)
@pytest.mark.parametrize("enforcer", ENFORCERS)
def test_the_engine_is_away_at_the_deadline(
    core: Core, live_restore: bool, enforcer: Enforcer, tmp_path: Path, eventually: Eventually
) -> None:
    window = _open(core)
    _leave_alone(core, enforcer)
    core.host.run("systemctl stop docker.socket docker")
    back = time.monotonic() + OUTAGE
    assert _runs(core)
    overdue = _overdue_when_ended(core, window, eventually)
    assert 0 <= overdue <= LATEST
    eventually(lambda: time.monotonic() > back, OUTAGE + LIMIT)
    core.host.run("systemctl start docker")
    core.bring_back()
    reason = _reason(core, window)
    assert reason in {"expired", "watchdog"}
    assert _recorded_reasons(_expect_order(core, tmp_path, eventually), window) == [reason]


@pytest.mark.parametrize("full_disk", [STATE, EVIDENCE], ids=["state", "evidence"], indirect=True)
@pytest.mark.parametrize("enforcer", ENFORCERS)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_disk_is_full(
    full_disk: str,
    new_core: NewCore,
    engine: EngineName,
    enforcer: Enforcer,
    tmp_path: Path,
    eventually: Eventually,
) -> None:
    core = new_core(engine)
    window = _open(core)
    core.host.run(f"! dd if=/dev/zero of={full_disk}/filler bs=4k 2>/dev/null")
    assert _first_refusal(core) == "evidence_unavailable"
    assert not _runs(core, "api")
    _leave_alone(core, enforcer)
    assert 0 <= _overdue_when_ended(core, window, eventually) <= LATEST
    core.host.run(f"rm {full_disk}/filler")
    core.bring_back()
    assert _reason(core, window) in {"expired", "watchdog"}
    later = _open(core, "api", BRIEF)
    assert 0 <= _overdue_when_ended(core, later, eventually) <= LATEST
    assert _reason(core, later) == "expired"
    assert _recorded_reasons(_expect_order(core, tmp_path, eventually), later) == ["expired"]


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
@pytest.mark.parametrize("engine", ENGINES)
def test_the_core_is_killed(
    new_core: NewCore, engine: EngineName, order: tuple[Part, ...], tmp_path: Path, eventually: Eventually
) -> None:
    core = new_core(engine)
    window = _open(core)
    before = {part: core.pid(part) for part in order}
    core.kill(*order)
    eventually(lambda: all(core.pid(part) not in (0, pid) for part, pid in before.items()), LIMIT)
    core.until_ready()
    assert core.window(window["window_id"])["state"] == "open"
    assert 0 <= _overdue_when_ended(core, window, eventually) <= LATEST
    reason = _reason(core, window)
    assert reason in {"expired", "watchdog"}
    assert _recorded_reasons(_expect_order(core, tmp_path, eventually), window) == [reason]


@pytest.mark.parametrize("cut", [False, True] if FULL else [True], ids=lambda cut: "power cut" if cut else "shutdown")
@pytest.mark.parametrize("enforcer", ["both", "madre"] if FULL else ["both"])
def test_the_host_restarts(core: Core, cut: bool, enforcer: Enforcer, tmp_path: Path, eventually: Eventually) -> None:
    """The state is gone with /run. One container got a restart policy behind our back, so the engine revives it."""
    _open(core, "web", LONG)
    revived = _open(core, "api", LONG)
    _leave_alone(core, enforcer)
    core.host.run(f"docker update --restart always $(docker ps -q --filter label=vx11.window={revived['window_id']})")
    core.host.reboot(cut=cut)
    core.until_ready(watchdog=enforcer == "both")
    eventually(lambda: not _runs(core, "api"), LIMIT)
    assert not _runs(core, "web")
    core.bring_back()
    records = _expect_order(core, tmp_path, eventually)
    orphans = [item["subject"] for item in records if item["action"] == "orphan"]
    assert revived["window_id"] in orphans
