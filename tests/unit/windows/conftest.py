"""A cell in memory for the state machine of windows: a clock that is stepped, an engine that does what a test says.

The engine is a port; what real engines do stands in tests/engines.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from vx11.catalogue.allowlist import NotAllowed
from vx11.catalogue.compose import Service
from vx11.catalogue.limits import Limits
from vx11.catalogue.service import Entry
from vx11.clock import NS, Clock, Instant
from vx11.engines.port import CAPABILITIES, EngineError, Foreign, Found, Health, Running, Stamp, Usage
from vx11.evidence.appending import EvidenceError
from vx11.windows import enforcer, opening
from vx11.windows.errors import ServiceUnknown
from vx11.windows.manager import Outcome, Windows
from vx11.windows.opening import OpenRequest
from vx11.windows.store import StateStore
from vx11.windows.window import State, Window

CELL = "t-cell"


class StepClock(Clock):
    """Stands still until it is stepped."""

    def __init__(self) -> None:
        self.boot_id = "boot-a"
        self._now = Instant(1000 * NS, 1_795_242_600 * NS, self.boot_id)

    def now(self) -> Instant:
        return self._now

    def step(self, seconds: float) -> None:
        self._now = self._now.plus(seconds)

    def step_wall(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self._now = replace(self._now, wall_ns=self._now.wall_ns + round(seconds * NS))

    def reboot(self, down: float) -> None:
        """The machine was off for so many seconds: one clock begins anew, wall time goes on."""
        self._now = Instant(10 * NS, self._now.wall_ns + round(down * NS), "boot-b")


@dataclass
class Program:
    """Something that the engine runs."""

    running: Running
    service: str
    window_id: str
    cell: str
    limits: Limits = field(default_factory=Limits)
    alive: bool = True
    exit_code: int | None = None
    lines: list[str] = field(default_factory=list)
    removed: bool = False
    paused: bool = False
    cut: bool = False


class FakeEngine:
    """Runs programs in memory.

    Attributes:
        calls: what was asked, as (method, service).
        on: method → what happens at it, before the engine does its own part; may raise, wait or change things.
        applies: what becomes of limits that are asked for.
        graces: seconds that each stop allowed.
        glances: whether it knows at a glance that something runs.
        asked: services that had their stop signal before they were stopped.
        looks: how often it was asked for all that runs.
        talks: whether a program says `ready` as soon as it starts.
    """

    name = "fake"
    why = "a test asked for it"

    def __init__(self) -> None:
        self.capabilities = frozenset(CAPABILITIES)
        self.calls: list[tuple[str, str]] = []
        self.stamps: list[Stamp] = []
        self.on: dict[str, Callable[[Program], object]] = {}
        self.applies: Callable[[Limits], Limits] = lambda limits: limits
        self.talks = True
        self.foreigners: dict[str, Running] = {}
        self.ended: set[int] = set()
        self.looks = 0
        self.graces: list[float] = []
        self.asked: set[str] = set()
        self.glances = False
        self.programs: dict[int, Program] = {}
        self._lock = threading.Lock()

    def _at(self, method: str, program: Program) -> None:
        self.calls.append((method, program.service))
        if method in self.on:
            self.on[method](program)

    def alive(self, service: str = "") -> list[Program]:
        """What runs now."""
        return [item for item in self.programs.values() if item.alive and service in ("", item.service)]

    def called(self, *methods: str) -> list[tuple[str, str]]:
        """Those calls, in their order."""
        return [call for call in self.calls if call[0] in methods]

    def setup(self) -> None:
        """Nothing to make."""

    def prepare(self, service: Service) -> None:
        self._at("prepare", Program(Running("fake"), service.name, "", ""))

    def start(self, service: Service, stamp: Stamp, limits: Limits, peers: Sequence[Service]) -> Running:
        with self._lock:
            pid = len(self.programs) + 1
            ports = {port.target: 40_000 + pid for port in service.entry.container_ports()}
            running = Running("fake", pid=pid, ports=ports)
            program = Program(running, service.name, stamp.window_id, stamp.cell, self.applies(limits))
            self.programs[pid] = program
        program.alive = False
        self._at("start", program)
        self.stamps.append(stamp)
        program.alive = True
        if self.talks:
            program.lines.append("ready")
        return running

    def program(self, running: Running) -> Program:
        return self.programs[running.pid]

    def _is_foreign(self, running: Running) -> bool:
        return running in self.foreigners.values()

    def health(self, running: Running) -> Health:
        program = self.program(running)
        self._at("health", program)
        return Health(program.alive, program.exit_code)

    def surely_runs(self, running: Running) -> bool:
        return self.glances and self.program(running).alive

    def ask(self, running: Running, signal: str) -> bool:
        self._at("ask", self.program(running))
        return self.program(running).alive

    def stop(self, running: Running, signal: str, grace: float, *, asked: bool = False) -> bool:
        if self._is_foreign(running):
            self.ended.add(running.pid)
            return True
        self.graces.append(grace)
        if asked:
            self.asked.add(self.program(running).service)
        self._at("stop", self.program(running))
        self.program(running).alive = False
        return True

    def kill(self, running: Running) -> None:
        self._at("kill", self.program(running))
        self.program(running).alive = False

    def remove(self, running: Running, window_id: str) -> None:
        self._at("remove", self.program(running))
        self.program(running).removed = True

    def pause(self, running: Running) -> None:
        self._at("pause", self.program(running))
        self.program(running).paused = True

    def resume(self, running: Running) -> None:
        self._at("resume", self.program(running))
        self.program(running).paused = False

    def is_paused(self, running: Running) -> bool:
        self._at("is_paused", self.program(running))
        return self.program(running).paused

    def partition(self, running: Running) -> None:
        self._at("partition", self.program(running))
        self.program(running).cut = True

    def heal(self, running: Running) -> None:
        self._at("heal", self.program(running))
        self.program(running).cut = False

    def reachable(self, running: Running) -> dict[str, bool]:
        self._at("reachable", self.program(running))
        return {"10.0.0.1:8080": not self.program(running).cut}

    def exec(self, running: Running, command: Sequence[str], timeout: float) -> int:
        return 0

    def usage(self, running: Running) -> Usage | None:
        self._at("usage", self.program(running))
        return Usage(cpu_ns=5 * NS, memory=1000, memory_peak=2000, source="fake")

    def limits(self, running: Running) -> Limits:
        return self.program(running).limits

    def logs(self, running: Running, window_id: str, tail: int) -> list[str]:
        self._at("logs", self.program(running))
        return self.program(running).lines[-tail:]

    def inventory(self, cell: str) -> list[Found]:
        self.looks += 1
        if "inventory" in self.on:
            self.on["inventory"](Program(Running("fake"), "", "", cell))
        return [
            Found(item.window_id, item.service, f"program {item.running.pid}", item.running, alive=item.alive)
            for item in list(self.programs.values())
            if item.cell == cell and not item.removed
        ]

    def foreign(self, cell: str) -> list[Foreign]:
        return [Foreign(what, running) for what, running in self.foreigners.items() if running.pid not in self.ended]

    def residue(self, cell: str) -> list[str]:
        return [item.what for item in self.inventory(cell)]

    def remove_volumes(self, cell: str) -> None:
        """There are none."""

    def purge(self, cell: str) -> None:
        """Nothing outlives a test."""

    def stray(self, window_id: str, service: str = "stray") -> Program:
        """Something that carries the cell's mark, started by nobody."""
        program = Program(Running("fake", pid=len(self.programs) + 1), service, window_id, CELL)
        self.programs[program.running.pid] = program
        return program


class FakeEvidence:
    """Keeps what is recorded; while `broken`, it cannot."""

    def __init__(self) -> None:
        self.broken = False
        self.records: list[tuple[str, str, str, dict[str, Any]]] = []

    def append(
        self, actor: str, action: str, subject: str, data: dict[str, Any] | None = None, *, sync: bool = True
    ) -> None:
        if self.broken:
            raise EvidenceError("evidence cannot be written: no space left")
        self.records.append((actor, action, subject, data or {}))

    def sync(self) -> None:
        """All of it is there at once."""

    def last_of(self, actions: Collection[str]) -> dict[str, dict[str, Any]]:
        return {about: {"action": action, "data": data} for _, action, about, data in self.records if action in actions}

    def actions(self, subject: str = "") -> list[str]:
        """What was recorded, about one subject or about all."""
        return [action for _, action, about, _ in self.records if subject in ("", about)]

    def data(self, action: str) -> dict[str, Any]:
        """Of the last record of this action."""
        return next(data for _, name, _, data in reversed(self.records) if name == action)


class BreakableStore(StateStore):
    """Real files; after `room` more of them the disk is full."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.room: int | None = None

    def _use(self) -> None:
        if self.room is not None:
            if self.room <= 0:
                raise OSError(28, "No space left on device")
            self.room -= 1

    def save(self, window: Window) -> None:
        self._use()
        super().save(window)

    def next_generation(self, service: str) -> int:
        self._use()
        return super().next_generation(service)


class FakeServices:
    """Services by name; those in `blocked` may not be opened."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Service] = {}
        self.blocked: set[str] = set()

    def add(self, name: str, vx11: dict[str, Any] | None = None, **keys: Any) -> None:
        """An entry that is ready when it says so, unless told otherwise."""
        extension = {"ready": {"log": "ready"}, **(vx11 or {})}
        raw = {"image": "x", "ports": ["8080"], "stop_grace_period": 5, **keys, "x-vx11": extension}
        self._known[name] = Service(name, Entry.model_validate(raw), b"{}", self._folder)

    def get(self, name: str) -> Service:
        if name not in self._known:
            raise ServiceUnknown(f"the catalogue has no service {name}")
        if name in self.blocked:
            raise NotAllowed(f"the service {name} is not on the allowlist", "unlisted")
        return self._known[name]


class Room:
    """A cell in memory: `web` and `db` can be opened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = StepClock()
        self.engine = FakeEngine()
        self.evidence = FakeEvidence()
        self.store = BreakableStore(folder / "state")
        self.services = FakeServices(folder)
        self.services.add("web")
        self.services.add("db")
        self.profile = Limits()
        self.windows = self._windows()

    def _windows(self) -> Windows:
        return Windows(
            cell=CELL,
            services=self.services,
            engine=self.engine,
            store=self.store,
            evidence=self.evidence,
            clock=self.clock,
            profile=self.profile,
        )

    def restart(self) -> None:
        """madre ends, and another one begins with what it finds."""
        self.windows.stop()
        self.windows = self._windows()
        self.windows.start()

    def request(self, service: str = "web", **options: Any) -> Outcome:
        return self.windows.open(OpenRequest(service, **{"ttl": 60.0, **options}), "anna")

    def open(self, service: str = "web", **options: Any) -> Window:
        window = self.request(service, **options).window
        assert window is not None
        return window

    def close(self, name: str = "web", *, force: bool = False, wait: bool = True) -> Window:
        window = self.windows.close(name, force=force, wait=wait, actor="bert").window
        assert window is not None
        return window

    def state(self, name: str = "web") -> State:
        return self.windows.find(name).state

    def program(self, service: str = "web") -> Program:
        (program,) = self.engine.alive(service)
        return program

    def crash(self, service: str = "web", exit_code: int | None = 3) -> None:
        """Ends a program from outside; without an exit code it is as if it had never been."""
        program = self.program(service)
        program.exit_code = exit_code
        program.alive = False

    def fail(self, method: str, message: str = "the engine is on fire") -> None:
        """From now on the engine fails at this."""

        def raise_it(program: Program) -> None:
            raise EngineError(message)

        self.engine.on[method] = raise_it

    def on_file(self, **changes: Any) -> Window:
        """Writes a state file as an earlier madre would have left it."""
        now = self.clock.now()
        window = Window(
            cell=CELL,
            window_id="from-before",
            generation=1,
            service="web",
            state=State.OPEN,
            opened=now,
            deadline=now.plus(60),
            opened_by="anna",
            max_ttl=3600,
            max_hold=86400,
            grace=5,
        )
        window = replace(window, **changes)
        StateStore.save(self.store, window)
        return window


@pytest.fixture
def make_room() -> Callable[[Path], Room]:
    """`make_room(folder)` makes a room; whoever makes it drives it."""
    return Room


@pytest.fixture
def idle_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    """A room whose madre has not begun; it looks about every 5 ms rather than every second."""
    monkeypatch.setattr(enforcer, "TICK", 0.005)
    monkeypatch.setattr(opening, "PROBE_FAST", 0.002)
    monkeypatch.setattr(opening, "PROBE_SLOW", 0.002)
    room = Room(tmp_path)
    yield room
    room.engine.on.clear()


@pytest.fixture
def room(idle_room: Room) -> Iterator[Room]:
    """A room whose madre runs."""
    idle_room.windows.start()
    yield idle_room
    idle_room.engine.on.clear()
    idle_room.windows.stop()


@pytest.fixture
def beside() -> Callable[..., "Future[Any]"]:
    """`beside(function, *arguments)` calls it in another thread and answers its future."""

    def begin(function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(function(*arguments))
            except Exception as error:  # noqa: BLE001 - whoever asks for the result gets it
                future.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        return future

    return begin
