"""What one look at a window's usage costs, called in this process as madre calls it."""

import time

from tests.bench.cells import BenchError, started, waiting
from tests.bench.figures import Row, spread
from vx11.engines.port import Engine, Running
from vx11.engines.select import EngineName

WINDOWS = 10
ROUNDS, QUICK_ROUNDS = 200, 20


def measure(engine: EngineName, *, quick: bool) -> list[Row]:
    """Microseconds of a call, by the clock and of the processor."""
    services = waiting(WINDOWS)
    with started(engine, services) as bench:
        for service in services:
            bench.open(service, ttl="10m")
        running = [Running.from_json(state["engine"]) for state in bench.states()]
        rounds = QUICK_ROUNDS if quick else ROUNDS
        samples = [_call(bench.cell.engine, one) for _ in range(rounds) for one in running]
    name = f"sampling, {engine}, usage of one window"
    return [
        spread(name, "µs", [wall for wall, _ in samples]),
        spread(f"{name}, CPU", "µs", [cpu for _, cpu in samples], note="of the caller alone, not of a daemon"),
    ]


def _call(engine: Engine, running: Running) -> tuple[float, float]:
    """Microseconds of one call, by the clock and of this thread's processor time.

    Raises:
        BenchError: the window is gone.
    """
    wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
    usage = engine.usage(running)
    took = (time.perf_counter_ns() - wall) / 1000, (time.thread_time_ns() - cpu) / 1000
    if usage is None:
        raise BenchError(f"window {running.window_id} ended while its usage was sampled")
    return took
