"""How many calls madre answers: status with ten windows open, and windows opened and closed by force."""

import http.client
import threading
import time
import urllib.parse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.bench.cells import Bench, BenchError, started, waiting
from tests.bench.figures import Row, spread
from vx11.engines.select import EngineName

STATUS = "/api/v1/windows/status"
WINDOWS = 10
CLIENTS = (1, 8)
FOR, QUICK_FOR = 8.0, 1.0


def measure(engine: EngineName, *, quick: bool) -> list[Row]:
    """Calls a second, and the milliseconds of each, by one client and by eight."""
    seconds = QUICK_FOR if quick else FOR
    services = waiting(WINDOWS + max(CLIENTS))
    stay, come_and_go = list(services)[:WINDOWS], list(services)[WINDOWS:]
    with started(engine, services) as bench:
        found = []
        for clients in CLIENTS:
            pairs = [_pair(bench, service) for service in come_and_go[:clients]]
            found += _rows(f"open and close, {engine}", "pairs/s", pairs, seconds)
        for service in stay:
            bench.open(service, ttl="10m")
        for clients in CLIENTS:
            found += _rows(f"status, {engine}", "calls/s", [_status(bench) for _ in range(clients)], seconds)
    return found


def _rows(name: str, unit: str, callers: list[Callable[[], None]], seconds: float) -> list[Row]:
    """Each caller in a thread of its own, as often as it can."""
    begin = threading.Barrier(len(callers))

    def again_and_again(call: Callable[[], None]) -> list[tuple[float, float]]:
        """Begin and end of each call, in seconds."""
        call()  # the connection is there
        begin.wait()
        took, limit = [], time.perf_counter() + seconds
        while (begun := time.perf_counter()) < limit:
            call()
            took.append((begun, time.perf_counter()))
        return took

    with ThreadPoolExecutor(len(callers)) as pool:
        calls = [one for mine in pool.map(again_and_again, callers) for one in mine]
    elapsed = max(end for _, end in calls) - min(begun for begun, _ in calls)
    what = f"{name}, {len(callers)} client{'s' if len(callers) > 1 else ''}"
    latency = spread(f"{what}, latency", "ms", [(end - begun) * 1000 for begun, end in calls])
    return [Row(f"{what}, rate", unit, len(calls) / elapsed), latency]


def _pair(bench: Bench, service: str) -> Callable[[], None]:
    def call() -> None:
        bench.open(service)
        bench.close(service, force=True)

    return call


def _status(bench: Bench) -> Callable[[], None]:
    """Asks over a connection of its own; with little in the client, since it shares the machine with madre."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(bench.cell.url).netloc, timeout=30)
    headers = {"Authorization": f"Bearer {bench.cell.token}"}

    def call() -> None:
        connection.request("GET", STATUS, headers=headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise BenchError(f"madre answered {answer.status} to a status call")

    return call
