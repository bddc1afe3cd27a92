"""How long it takes until a service answers: opened by madre, and started by hand, in turn.

By hand means: the same image, command, port, network, labels and limits, and the same probe each 25 ms. Pairs are
measured one right after the other, in changing order, and their ratios are what counts, since a machine is quicker in
one minute than in the next.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

import docker
from docker.models.containers import Container
from docker.types import EndpointConfig, LogConfig

from tests.bench.cells import Bench, BenchError, started
from tests.bench.figures import Goal, Row, against, spread
from tests.conftest import CHECKOUT, IMAGE, entry
from vx11.engines.docker import connect
from vx11.engines.select import EngineName

PORT, PATH = 8080, "/health"
PROBE_EVERY, PROBE_TIMEOUT, READY_LIMIT = 0.025, 2.0, 20.0
CPU, MEMORY, PIDS = 1.0, 256 * 1024 * 1024, 64
ROUNDS, QUICK_ROUNDS = 40, 4
GOAL = Goal("ratio", 1.15)
PROGRAM = "auth_service.py"


class Way(Protocol):
    """One way to bring the service up and to take it down again."""

    name: str

    def up(self) -> None:
        """Returns when the service has answered."""

    def down(self) -> None:
        """Returns when nothing of it is left."""


def measure(engine: EngineName, *, quick: bool) -> list[Row]:
    """Open latency of one engine, in milliseconds."""
    # The process engine has limits as root alone, and by hand there are none; so there is none on either side.
    limits = {"cpus": CPU, "mem_limit": MEMORY, "pids_limit": PIDS} if engine == "docker" else {}
    with started(
        engine, {"web": entry(PROGRAM, vx11={"ready": {"http": {"port": PORT, "path": PATH}}}, **limits)}
    ) as bench:
        ours = ByMadre(bench)
        with contextlib.ExitStack() as stack:
            by_hand = stack.enter_context(_docker_ways(bench)) if engine == "docker" else [ByPopen()]
            took = _in_turn([ours, *by_hand], QUICK_ROUNDS if quick else ROUNDS)
    found = [_row(engine, way, took[ours.name], took[way.name]) for way in by_hand]
    found.append(
        spread(f"open, {engine}, madre's own part", "ms", ours.startup_ms[1:], note="its startup_ms, without HTTP")
    )
    if engine == "docker" and not any(isinstance(way, ByCompose) for way in by_hand):
        found.append(Row(_against(engine, ByCompose.name), "ms", None, note="docker compose is not installed"))
    return found


def _row(engine: EngineName, way: Way, ours: Sequence[float], theirs: Sequence[float]) -> Row:
    goal = GOAL if isinstance(way, BySdk) else None
    return against(_against(engine, way.name), "ms", ours, theirs, goal=goal)


def _against(engine: EngineName, other: str) -> str:
    return f"open, {engine}, against {other}"


def _in_turn(ways: Sequence[Way], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each way, by its name; the first round warms up and does not count."""
    took: dict[str, list[float]] = {way.name: [] for way in ways}
    for number in range(rounds + 1):
        for way in ways if number % 2 else reversed(ways):
            begun = time.perf_counter()
            try:
                way.up()
                took[way.name].append((time.perf_counter() - begun) * 1000)
            finally:
                way.down()
    return {name: samples[1:] for name, samples in took.items()}


class ByMadre:
    """Over the power API, as any client."""

    name = "madre"

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.startup_ms: list[float] = []

    def up(self) -> None:
        """Opens the window."""
        self.startup_ms.append(self._bench.open("web")["startup_ms"])

    def down(self) -> None:
        """Closes it."""
        self._bench.close("web", force=True)


class BySdk:
    """The Docker SDK as its documentation shows it: create, start, reload for the port, probe."""

    name = "raw SDK"

    def __init__(self, client: docker.DockerClient, bench: Bench) -> None:
        self._client = client
        self._command = list(bench.services["web"].entry.command or ())
        self._cell = bench.cell.name
        self._container: Container | None = None

    def up(self) -> None:
        """Creates and starts a container like that of the window."""
        network = network_of(self._cell)
        self._container = self._client.containers.create(
            IMAGE,
            command=self._command,
            labels={"vx11.cell": self._cell},
            network=network,
            networking_config={network: EndpointConfig(self._client.api.api_version, aliases=["by-hand"])},
            ports={f"{PORT}/tcp": ("127.0.0.1", None)},  # type: ignore[dict-item] # None is any free port; see the SDK
            nano_cpus=round(CPU * 1e9),
            mem_limit=MEMORY,
            memswap_limit=MEMORY,
            pids_limit=PIDS,
            healthcheck={"test": ["NONE"]},
            log_config=LogConfig(type="json-file", config={"max-size": "10m", "max-file": "1"}),
        )
        self._container.start()
        self._container.reload()
        bindings = self._container.ports[f"{PORT}/tcp"]
        assert bindings
        await_answer(int(bindings[0]["HostPort"]))

    def down(self) -> None:
        """Kills and removes it."""
        if self._container:
            self._container.remove(force=True, v=True)


class ByCompose:
    """`docker compose up --detach`, on the cell's network, at a port chosen before."""

    name = "docker compose up"

    def __init__(self, bench: Bench) -> None:
        network = network_of(bench.cell.name)
        self._port = free_port()
        service = {
            "image": IMAGE,
            "command": list(bench.services["web"].entry.command or ()),
            "labels": {"vx11.cell": bench.cell.name},
            "ports": [f"127.0.0.1:{self._port}:{PORT}"],
            "networks": ["cell"],
            "cpus": CPU,
            "mem_limit": MEMORY,
            "memswap_limit": MEMORY,
            "pids_limit": PIDS,
        }
        networks = {"cell": {"external": True, "name": network}}
        self._file = bench.bundle / "compose.json"  # JSON is YAML
        self._file.write_text(json.dumps({"services": {"web": service}, "networks": networks}), encoding="utf-8")
        self._project = network

    def _compose(self, *words: str) -> None:
        command = ["docker", "compose", "--project-name", self._project, "--file", str(self._file), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            raise BenchError(f"docker compose {words[0]} failed: {done.stderr.strip()}")

    def up(self) -> None:
        """Starts the project, then probes."""
        self._compose("up", "--detach")
        await_answer(self._port)

    def down(self) -> None:
        """Kills and removes its container; the network is the cell's."""
        self._compose("rm", "--stop", "--force")


class ByPopen:
    """A child process, without limits."""

    name = "Popen"

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def up(self) -> None:
        """Starts the program at a free port."""
        port = free_port()
        self._child = subprocess.Popen(
            [sys.executable, str(CHECKOUT / "matrices/e2e/services" / PROGRAM)],
            env={"PATH": os.environ["PATH"], "PORT": str(port)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        await_answer(port)

    def down(self) -> None:
        """Kills it."""
        if self._child:
            self._child.send_signal(signal.SIGKILL)
            self._child.wait()


@contextlib.contextmanager
def _docker_ways(bench: Bench) -> Iterator[list[Way]]:
    ways: list[Way] = [ByCompose(bench)] if has_compose() else []
    with contextlib.closing(connect()) as client:
        yield [BySdk(client, bench), *ways]


def has_compose() -> bool:
    """Whether `docker compose` is installed."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0


def network_of(cell: str) -> str:
    """The network of a cell on the docker engine."""
    return f"vx11-{cell}"


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens at now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def await_answer(port: int) -> None:
    """Probes as madre does.

    Raises:
        BenchError: there was no answer in time.
    """
    end = time.monotonic() + READY_LIMIT
    while not _answers(port):
        if time.monotonic() > end:
            raise BenchError(f"nothing answered at port {port} within {READY_LIMIT:g} s")
        time.sleep(PROBE_EVERY)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PROBE_TIMEOUT)
    try:
        connection.request("GET", PATH)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
