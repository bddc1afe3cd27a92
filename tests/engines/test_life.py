"""From start to end: what is started carries its stamp, ends when it is told to, and leaves no process behind."""

import json
import signal
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from vx11.clock import Instant
from vx11.engines import procfs

WAITS = "import time; print('up', flush=True); time.sleep(60)"
OBEYS = """
import signal, sys, time
def leave(number, frame):
    print('told', signal.Signals(number).name, flush=True)
    sys.exit(7)
signal.signal(signal.SIGTERM, leave)
signal.signal(signal.SIGUSR1, leave)
print('up', flush=True)
time.sleep(60)
"""
IGNORES = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('up', flush=True)
time.sleep(60)
"""
# A child, a grandchild, and a daemon that forked twice and left the session.
FAMILY = """
import os, signal, sys, time
def rest():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)
    os._exit(0)
if os.fork() == 0:
    if os.fork() == 0:
        rest()
    rest()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        rest()
    os._exit(0)
os.wait()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print('up', flush=True)
time.sleep(60)
"""
FAMILY_SIZE = 4


def test_it_lives_and_is_stamped(bench: Any, web: dict[str, Any]) -> None:
    started = bench.start(bench.service(web))
    assert bench.engine.health(started.running).alive
    (found,) = bench.engine.inventory(bench.cell)
    assert (found.window_id, found.service) == (started.stamp.window_id, "it")
    assert (found.generation, found.alive) == (3, True)
    assert found.running.container == started.running.container
    assert found.running.pid in (started.running.pid, 0)  # a list of containers names no processes


def test_a_process_carries_its_stamp_in_its_environment(process_bench: Any) -> None:
    started = process_bench.run(
        "import json, os, time; print(json.dumps(dict(os.environ)), flush=True); time.sleep(60)"
    )
    from_birth = procfs.environment(started.running.pid)
    stamp = started.stamp
    expected = {
        "VX11_CELL": process_bench.cell,
        "VX11_WINDOW": stamp.window_id,
        "VX11_SERVICE": "it",
        "VX11_GENERATION": "3",
        "VX11_DEADLINE": f"{stamp.deadline.boot_id}:{stamp.deadline.boot_ns}",
    }
    assert expected.items() <= from_birth.items()
    assert expected.items() <= process_bench.tells(started).items()


def test_a_process_is_found_from_the_moment_it_is_started(process_bench: Any) -> None:
    service = process_bench.service(process_bench.entry(WAITS))
    for _ in range(100):
        started = process_bench.start(service)
        found = [(item.window_id, item.service) for item in process_bench.engine.inventory(process_bench.cell)]
        process_bench.remove(started)
        assert found == [(started.stamp.window_id, "it")]


@pytest.mark.docker
def test_a_container_carries_its_stamp_stays_on_loopback_and_never_restarts(docker_bench: Any) -> None:
    started = docker_bench.run(WAITS, restart="unless-stopped")
    found, stamp = docker_bench.inspect(started), started.stamp
    published = found["NetworkSettings"]["Ports"].values()
    assert {item["HostIp"] for items in published for item in items} == {"127.0.0.1"}
    assert found["HostConfig"]["RestartPolicy"]["Name"] in ("", "no")
    labels = found["Config"]["Labels"]
    assert labels["vx11.cell"] == docker_bench.cell
    assert labels["vx11.window"] == stamp.window_id
    assert labels["vx11.service"] == "it"
    assert labels["vx11.generation"] == "3"
    assert Instant.from_json(json.loads(labels["vx11.deadline"])) == stamp.deadline


@pytest.mark.parametrize("code", [0, 42])
def test_what_dies_at_once_has_an_exit_code_and_is_not_started_again(bench: Any, code: int) -> None:
    started = bench.run(f"import sys; sys.exit({code})", restart="always")
    assert bench.ends(started) == code
    assert [found.window_id for found in bench.engine.inventory(bench.cell) if found.alive] == []


def test_a_named_cell_takes_free_ports_on_loopback_alone(
    bench: Any, web: dict[str, Any], eventually: Callable[..., Any]
) -> None:
    started = bench.start(bench.service(web | {"ports": ["18080:8080"]}))
    assert set(started.running.ports) == {8080}
    port = started.running.ports[8080]
    assert port != 18080
    eventually(lambda: _answers(started.url))
    assert not _answers(f"http://127.0.0.2:{port}")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_stop_sends_the_stop_signal(bench: Any, name: str) -> None:
    started = bench.run(OBEYS, stop_signal=name)
    bench.says(started, "up")
    begun = time.monotonic()
    bench.engine.stop(started.running, name, grace=10)
    assert time.monotonic() - begun < 5
    health = bench.engine.health(started.running)
    assert (health.alive, health.exit_code) == (False, 7)
    bench.says(started, f"told {name}")


def test_what_ignores_the_stop_signal_is_killed_after_its_grace(bench: Any) -> None:
    started = bench.run(IGNORES)
    bench.says(started, "up")
    begun = time.monotonic()
    bench.engine.stop(started.running, "SIGTERM", grace=1)
    took = time.monotonic() - begun
    health = bench.engine.health(started.running)
    assert not health.alive
    assert health.exit_code in (-signal.SIGKILL, 128 + signal.SIGKILL)
    assert 0.9 < took < 3


@pytest.mark.parametrize("ending", ["kill", "stop"])
def test_children_and_daemons_end_with_it(bench: Any, ending: str) -> None:
    _expect_family_ends(bench, ending)


@pytest.mark.parametrize("ending", ["kill", "stop"])
def test_children_and_daemons_end_without_control_groups_too(rootless_bench: Any, ending: str) -> None:
    _expect_family_ends(rootless_bench, ending)


def _family(bench: Any) -> tuple[Any, dict[int, int]]:
    """A service with all its processes, each with its start time."""
    started = bench.run(FAMILY)
    bench.says(started, "up")
    seen: dict[int, int] = {}

    def complete() -> bool:
        seen.clear()
        seen.update({pid: procfs.start_time(pid) or 0 for pid in bench.pids(started)})
        return len(seen) == FAMILY_SIZE

    bench.until(complete)
    return started, seen


def _expect_family_ends(bench: Any, ending: str) -> None:
    started, family = _family(bench)
    if ending == "kill":
        bench.engine.kill(started.running)
    else:
        bench.engine.stop(started.running, "SIGTERM", grace=5)
    assert [pid for pid, began in family.items() if procfs.is_alive(pid, began)] == []


def test_daemons_of_a_crashed_service_end_too(bench: Any) -> None:
    _expect_orphans_end(bench)


def test_daemons_of_a_crashed_service_end_without_control_groups_too(rootless_bench: Any) -> None:
    _expect_orphans_end(rootless_bench)


def _expect_orphans_end(bench: Any) -> None:
    started, family = _family(bench)
    bench.crash(started)
    bench.ends(started)
    bench.remove(started)
    assert [pid for pid, began in family.items() if procfs.is_alive(pid, began)] == []


def test_what_was_started_just_now_can_be_ended_and_again(bench: Any) -> None:
    started = bench.run(WAITS)
    bench.remove(started)
    assert bench.engine.inventory(bench.cell) == []
    assert bench.pids(started) == []
    bench.remove(started)
    bench.engine.stop(started.running, "SIGTERM", grace=1)
    assert not bench.engine.health(started.running).alive


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=2).status_code == 200
    except httpx.TransportError:
        return False
