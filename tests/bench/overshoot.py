"""How late windows close: 200 deadlines, 50 of them at one moment, kept by madre, and by the watchdog alone.

All of it is CLOCK_BOOTTIME, in nanoseconds. The deadline stands in the state file. When a close begins stands in
madre's evidence (`closing`, written before the engine is asked to stop anything). When the stop signal arrives is
written down by the service itself, a witness that madre does not control. When the watchdog has closed a window stands
in its mark.
"""

import json
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.cells import Bench, BenchError, started, until
from tests.bench.figures import Goal, Row, spread
from tests.conftest import entry
from vx11.clock import NS
from vx11.engines.select import EngineName
from vx11.statefiles import CLOSED_BY_WATCHDOG

WITNESS = """
import signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM}})
signal.sigwait({{signal.SIGTERM}})
arrived = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
with open({path!r}, "w") as file:
    file.write(str(arrived))
"""
FOLDER, TOGETHER = "witness", "together"
CLIENTS, TRIED = 4, 8
# The first window is due when all are open: so many times what opening them should take, and some seconds more.
MARGIN, LEAD = 2.0, 2.0
CLOSED_LIMIT = 180.0
BY_MADRE, BY_WATCHDOG = Goal("p99", 50.0), Goal("p99", 1000.0)


@dataclass(frozen=True)
class Plan:
    """When windows are due: one each `gap` seconds, and `together` more of them at one moment in the middle."""

    apart: int
    together: int
    gap: float

    def offsets(self) -> dict[str, float]:
        """Service → seconds after the first deadline."""
        apart = {f"apart-{number}": number * self.gap for number in range(self.apart)}
        middle = (self.apart // 2 + 0.5) * self.gap
        return apart | {f"{TOGETHER}-{number}": middle for number in range(self.together)}

    def limit(self) -> float:
        """Seconds after which the last of them has to be closed, however slow the machine is."""
        return CLOSED_LIMIT + self.apart * self.gap


FULL, QUICK = Plan(apart=150, together=50, gap=0.2), Plan(apart=5, together=5, gap=0.1)


@dataclass(frozen=True)
class Due:
    """A window and its deadline, in nanoseconds of CLOCK_BOOTTIME."""

    window_id: str
    service: str
    deadline_ns: int

    def late_ms(self, at_ns: int) -> float:
        """Milliseconds from the deadline to a moment."""
        return (at_ns - self.deadline_ns) * 1000 / NS


def measure(engine: EngineName, *, quick: bool) -> list[Row]:
    """Milliseconds after the deadline: kept by madre, and by the watchdog after madre was killed."""
    plan = QUICK if quick else FULL
    return [*_by_madre(engine, plan), *_by_watchdog(engine, plan)]


def _by_madre(engine: EngineName, plan: Plan) -> list[Row]:
    with started(engine, _entries(engine, plan)) as bench:
        due = _open_all(bench, plan)
        timer = BareTimer(due)
        timer.start()
        until(lambda: not bench.has_windows(), "all windows are closed", plan.limit())
        begun = {item["subject"]: int(item["mono_ns"]) for item in bench.records() if item["action"] == "closing"}
        signalled = _signalled(bench, due)
    name = f"overshoot, {engine}"
    return [
        spread(f"{name}, close begins", "ms", _late(due, begun), goal=BY_MADRE, note="by madre's evidence"),
        spread(
            f"{name}, close begins, those due at one moment", "ms", _late([d for d in due if _is_together(d)], begun)
        ),
        spread(f"{name}, stop signal arrives", "ms", _late(due, signalled), note="by the service's own clock"),
        spread(f"{name}, a bare timer", "ms", timer.late, note="what the machine itself added in the same seconds"),
    ]


def _by_watchdog(engine: EngineName, plan: Plan) -> list[Row]:
    with started(engine, _entries(engine, plan)) as bench:
        due = _open_all(bench, plan)
        bench.kill_madre()
        until(lambda: len(_marks(bench)) == len(due), "the watchdog has closed all windows", plan.limit())
        closed = {path.name.removesuffix(CLOSED_BY_WATCHDOG): _closed_ns(path) for path in _marks(bench)}
        signalled = _signalled(bench, due)
    name, note = f"overshoot, {engine}, madre killed", "the watchdog waits for 0.5 s by design"
    return [
        spread(f"{name}, closed", "ms", _late(due, closed), goal=BY_WATCHDOG, note="by its mark"),
        spread(f"{name}, stop signal arrives", "ms", _late(due, signalled), goal=BY_WATCHDOG, note=note),
    ]


def _entries(engine: EngineName, plan: Plan) -> dict[str, Any]:
    """A witness for each window; in a container its folder is mounted."""
    mounted: dict[str, Any] = {"volumes": [f"./{FOLDER}:/{FOLDER}"]} if engine == "docker" else {}
    root = "/" if engine == "docker" else ""
    return {name: entry(WITNESS.format(path=f"{root}{FOLDER}/{name}"), ports=[], **mounted) for name in plan.offsets()}


def _open_all(bench: Bench, plan: Plan) -> list[Due]:
    """Opens all windows, so that each is due when the plan says.

    Raises:
        BenchError: a deadline had passed before the last window was open.
    """
    folder = bench.bundle / FOLDER
    folder.mkdir()
    folder.chmod(0o777)  # the image's user is not ours
    offsets = plan.offsets()
    with ThreadPoolExecutor(CLIENTS) as pool:
        first = _seconds_to_open(bench, list(offsets), pool) * MARGIN + LEAD + time.monotonic()

        def open_one(service: str, offset: float) -> None:
            bench.open(service, ttl=max(1.0, first + offset - time.monotonic()))

        list(pool.map(open_one, offsets.keys(), offsets.values()))
    states = bench.states()
    if len(states) != len(offsets):
        raise BenchError("windows were due before all were open: something else kept this machine busy")
    return [Due(state["window_id"], state["service"], state["deadline"]["boottime_ns"]) for state in states]


def _seconds_to_open(bench: Bench, services: list[str], pool: ThreadPoolExecutor) -> float:
    """What opening all of them takes, as far as a few tell; those are closed again."""
    tried, begun = services[:TRIED], time.monotonic()
    list(pool.map(bench.open, tried))
    took = time.monotonic() - begun
    list(pool.map(lambda service: bench.close(service, force=True), tried))
    return took / len(tried) * len(services)


class BareTimer(threading.Thread):
    """Sleeps until each deadline and does nothing: how late it wakes is what the machine itself adds."""

    def __init__(self, due: list[Due]) -> None:
        super().__init__(daemon=True)
        self.late: list[float] = []
        self._due = sorted(due, key=lambda one: one.deadline_ns)

    def run(self) -> None:
        """Until the last deadline."""
        for one in self._due:
            time.sleep(max(0.0, -one.late_ms(_boottime_ns()) / 1000))
            self.late.append(one.late_ms(_boottime_ns()))


def _boottime_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _is_together(due: Due) -> bool:
    return due.service.startswith(TOGETHER)


def _marks(bench: Bench) -> list[Path]:
    return list(bench.windows.glob(f"*{CLOSED_BY_WATCHDOG}"))


def _closed_ns(mark: Path) -> int:
    return int(json.loads(mark.read_text(encoding="utf-8"))["closed"]["boottime_ns"])


def _signalled(bench: Bench, due: list[Due]) -> dict[str, int]:
    """Window id → when its service got the stop signal."""
    return {one.window_id: int((bench.bundle / FOLDER / one.service).read_text(encoding="ascii")) for one in due}


def _late(due: list[Due], at_ns: Mapping[str, int]) -> list[float]:
    """Milliseconds after the deadline, of each window; one that is missing is an error, not a sample less."""
    return [one.late_ms(at_ns[one.window_id]) for one in due]
