"""What the tests of the engine port share: an engine of each kind in a cell of its own, and its sure end."""

import contextlib
import json
import os
import secrets
import signal
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml

from vx11.catalogue import compose
from vx11.catalogue.compose import Service
from vx11.catalogue.limits import Limits
from vx11.clock import Clock
from vx11.engines import cgroups, netns, private, procfs, select
from vx11.engines.port import Engine, EngineError, Running, Stamp
from vx11.engines.select import EngineName

Eventually = Callable[..., Any]
NOTHING = Limits()
_ENGINES: list[Engine] = []  # they keep a connection to their daemon for as long as they are referred to


@dataclass(frozen=True)
class Started:
    """Something that a bench started."""

    service: Service
    stamp: Stamp
    running: Running

    @property
    def url(self) -> str:
        """Where its port 8080 is."""
        return f"http://127.0.0.1:{self.running.ports[8080]}"


class Bench:
    """An engine with a cell and a bundle of its own.

    Attributes:
        client: the tests' own eyes on the daemon, on the docker engine.

    Args:
        name: which engine.
        folder: a place for bundle, state and data.
        entry: the helper `make_entry`.
        until: the helper `eventually`.
    """

    def __init__(self, name: EngineName, folder: Path, entry: Callable[..., Any], until: Eventually) -> None:
        self.name = name
        self.cell = f"e-{secrets.token_hex(4)}"
        self.folder = folder
        self.bundle = folder / "bundle"
        self.bundle.mkdir(parents=True)
        self.data = folder / "data"
        self.client = docker.from_env() if name == "docker" else None
        self.engine = self.later_engine()
        self.engine.setup()
        self.entry = entry
        self.until = until
        self._started: list[Started] = []

    def later_engine(self) -> Engine:
        """The engine of this cell as a madre has it that starts now."""
        engine = select.make(self.name, self.cell, self.folder / "state", self.data)
        _ENGINES.append(engine)
        return engine

    def services(self, entries: dict[str, dict[str, Any]], **top: Any) -> dict[str, Service]:
        """Writes a catalogue of these entries and reads it, as madre would."""
        path = self.bundle / "catalogue.yml"
        path.write_text(yaml.safe_dump({"services": entries, **top}), encoding="utf-8")
        return dict(compose.load(path).services)

    def service(self, entry: dict[str, Any], name: str = "it", **top: Any) -> Service:
        """One entry as a service."""
        return self.services({name: entry}, **top)[name]

    def start(self, service: Service, limits: Limits = NOTHING, peers: Sequence[Service] = ()) -> Started:
        """Starts it; it is ended after the test whatever happens."""
        stamp = Stamp(self.cell, str(uuid.uuid4()), 3, service.name, Clock().now().plus(60))
        self.engine.prepare(service)
        started = Started(service, stamp, self.engine.start(service, stamp, limits, peers))
        self._started.append(started)
        return started

    def run(self, code: str, limits: Limits = NOTHING, **more: Any) -> Started:
        """Starts Python code, or a sample service."""
        return self.start(self.service(self.entry(code, **more)), limits)

    def lines(self, started: Started, tail: int = 200) -> list[str]:
        """What it wrote until now."""
        return self.engine.logs(started.running, started.stamp.window_id, tail)

    def says(self, started: Started, text: str) -> str:
        """Waits for a line that starts with this text; answers it."""

        def said() -> str:
            return next((line for line in self.lines(started) if line.startswith(text)), "")

        found: str = self.until(said)
        return found

    def tells(self, started: Started) -> Any:
        """Waits for the line of JSON that it writes, answers what it says."""
        return json.loads(self.says(started, "{"))

    def ends(self, started: Started) -> int | None:
        """Waits until it ended by itself; answers its exit code."""
        self.until(lambda: not self.engine.health(started.running).alive)
        return self.engine.health(started.running).exit_code

    def pids(self, started: Started) -> list[int]:
        """The processes of it that live, as the host numbers them; its relay is none of them."""
        if not started.running.container:
            marked = procfs.marked("VX11_WINDOW", started.stamp.window_id)
            return [pid for pid in marked if private.RELAY not in procfs.environment(pid)]
        try:
            state = self.inspect(started)["State"]
        except docker.errors.NotFound:
            return []
        group = cgroups.of_container(started.running.container, state["Pid"]) if state["Pid"] else None
        return group.members() if group else []

    def crash(self, started: Started) -> None:
        """Kills its first process, behind the engine's back."""
        if self.client:
            self.client.api.kill(started.running.container)
        else:
            os.kill(started.running.pid, signal.SIGKILL)

    def inspect(self, started: Started) -> Any:
        """What the daemon says about a container."""
        assert self.client
        return self.client.api.inspect_container(started.running.container)

    def remove(self, started: Started) -> None:
        """Kills it and takes it away."""
        self.engine.kill(started.running)
        self.engine.remove(started.running, started.stamp.window_id)

    def clear(self) -> None:
        """Ends all that was started."""
        for started in self._started:
            with contextlib.suppress(EngineError):  # some tests break what they started; `close` proves the end
                if not started.running.container:  # Docker kills what it removes
                    self.engine.kill(started.running)
                self.engine.remove(started.running, started.stamp.window_id)
        self._started.clear()
        self.engine.remove_volumes(self.cell)

    def close(self) -> None:
        """Ends for good, and proves it."""
        self.engine.purge(self.cell)
        assert self.engine.residue(self.cell) == []
        if self.client:
            self.client.close()


@pytest.fixture(scope="session")
def open_bench(
    tmp_path_factory: pytest.TempPathFactory, make_entry: Callable[..., Any], eventually: Eventually
) -> Iterator[Callable[[EngineName], Bench]]:
    """`open_bench(engine)` makes a bench of its own; all are purged at the end."""
    benches: list[Bench] = []

    def make(name: EngineName) -> Bench:
        benches.append(Bench(name, tmp_path_factory.mktemp(name), make_entry, eventually))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


@pytest.fixture(scope="session")
def shared_benches() -> dict[str, Bench]:
    """One bench an engine, made when it is first needed."""
    return {}


@pytest.fixture
def bench_of(
    open_bench: Callable[[EngineName], Bench], shared_benches: dict[str, Bench]
) -> Iterator[Callable[[EngineName], Bench]]:
    """`bench_of(engine)` answers the shared bench of an engine, which is empty again after the test."""
    used: list[Bench] = []

    def get(name: EngineName) -> Bench:
        if name not in shared_benches:
            shared_benches[name] = open_bench(name)
        used.append(shared_benches[name])
        return used[-1]

    yield get
    for bench in used:
        bench.clear()


@pytest.fixture
def bench(engine_name: EngineName, bench_of: Callable[[EngineName], Bench]) -> Bench:
    """Each engine in turn."""
    return bench_of(engine_name)


@pytest.fixture
def docker_bench(bench_of: Callable[[EngineName], Bench]) -> Bench:
    """The docker engine; the test is marked `docker`."""
    return bench_of("docker")


@pytest.fixture
def process_bench(bench_of: Callable[[EngineName], Bench]) -> Bench:
    """The process engine."""
    return bench_of("process")


@pytest.fixture
def rootless_bench(open_bench: Callable[[EngineName], Bench], monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """The process engine as an ordinary user without control groups has it."""
    monkeypatch.setattr(cgroups, "detect", lambda: None)
    monkeypatch.setattr(netns, "available", lambda: False)
    bench = open_bench("process")
    yield bench
    bench.clear()
