"""What madre and the watchdog cost while nothing happens: memory and processor, without windows and with ten."""

import time
from dataclasses import dataclass

import psutil

from tests.bench.cells import Bench, started, waiting
from tests.bench.figures import Goal, Row
from vx11.engines.select import EngineName

WINDOWS = 10
SETTLE, WATCH, QUICK_WATCH = 1.0, 40.0, 2.0
MIB = 1024 * 1024
MEMORY, CPU = Goal("value", 100.0), Goal("value", 0.5)


@dataclass(frozen=True)
class Draw:
    """What one process draws.

    Attributes:
        pss: MiB; memory that it shares with others counts by its share, so that sums mean something.
        rss: MiB, all that is mapped.
        cpu: percent of one core.
    """

    pss: float
    rss: float
    cpu: float


def measure(engine: EngineName, *, quick: bool) -> list[Row]:
    """Memory and processor of both together; the share of each is noted."""
    watch = QUICK_WATCH if quick else WATCH
    services = waiting(WINDOWS)
    with started(engine, services) as bench:
        empty = _draw(bench, watch)
        for service in services:
            bench.open(service, ttl="10m")
        full = _draw(bench, watch)
    more = sum(draw.cpu for draw in full.values()) - sum(draw.cpu for draw in empty.values())
    return [
        *_rows(f"idle, {engine}", empty, MEMORY, CPU),
        *_rows(f"idle, {engine}, {WINDOWS} windows open", full),
        Row(f"idle, {engine}, CPU for each open window", "%", more / WINDOWS, note="the difference of the two, by ten"),
    ]


def _rows(name: str, draws: dict[str, Draw], memory: Goal | None = None, cpu: Goal | None = None) -> list[Row]:
    def total(figure: str) -> float:
        return float(sum(getattr(draw, figure) for draw in draws.values()))

    def shares(figure: str) -> str:
        return ", ".join(f"{part} {getattr(draw, figure):.3g}" for part, draw in draws.items())

    return [
        Row(f"{name}, memory (PSS)", "MiB", total("pss"), goal=memory, note=f"{shares('pss')}; RSS {shares('rss')}"),
        Row(f"{name}, CPU", "%", total("cpu"), goal=cpu, note=shares("cpu")),
    ]


def _draw(bench: Bench, watch: float) -> dict[str, Draw]:
    """What madre and the watchdog draw over `watch` seconds, after what went before has calmed down."""
    core = {part: psutil.Process(process.pid) for part, process in bench.cell.core.items()}
    time.sleep(SETTLE)
    before, begun = {part: _cpu_seconds(process) for part, process in core.items()}, time.monotonic()
    time.sleep(watch)
    elapsed = time.monotonic() - begun
    found = {}
    for part, process in core.items():
        memory, used = process.memory_full_info(), _cpu_seconds(process) - before[part]
        found[part] = Draw(memory.pss / MIB, memory.rss / MIB, used / elapsed * 100)
    return found


def _cpu_seconds(process: psutil.Process) -> float:
    user, system, *_ = process.cpu_times()
    return float(user) + float(system)
