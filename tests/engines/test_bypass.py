"""While the daemon does not answer containers go on, and are ended without it; nothing else is concluded or touched."""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from vx11.catalogue.limits import Limits
from vx11.engines import bypass, docker, procfs
from vx11.engines.port import EngineError, Running

pytestmark = [
    pytest.mark.docker,
    pytest.mark.root,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # the SDK does not close the socket of a call that failed
]
WAITS = "import time; print('up', flush=True); time.sleep(60)"
OBEYS = """
import signal, sys, time
def leave(*_):
    print('told', flush=True)
    sys.exit(0)
signal.signal(signal.SIGUSR1, leave)
print('up', flush=True)
time.sleep(60)
"""
COUNTS = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print('told', flush=True))
print('up', flush=True)
while True:
    time.sleep(60)
"""
LEAVES = """
import os, signal, time
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)
print('up', flush=True)
time.sleep(60)
"""
IGNORES = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
print('up', flush=True)
time.sleep(60)
"""
Fault = Callable[[], None]


@pytest.fixture
def far_bench(docker_bench: Any, line: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A bench with `far`: an engine of its cell whose daemon is at the other end of the line."""
    monkeypatch.setattr(docker, "READ_TIMEOUT", 1)
    docker_bench.far = docker_bench.later_engine()
    return docker_bench


@pytest.fixture(params=["cut", "hang"])
def fault(request: pytest.FixtureRequest, line: Any) -> Fault:
    """What happens to the line."""
    chosen: Fault = getattr(line, request.param)
    return chosen


def _living(started: Any) -> list[int]:
    return bypass.members(started.running.container)


def test_the_first_process_is_known(docker_bench: Any) -> None:
    started = docker_bench.run(WAITS)
    assert started.running.pid == docker_bench.inspect(started)["State"]["Pid"]
    assert procfs.is_alive(started.running.pid, started.running.start_time)
    assert _living(started) == [started.running.pid]


def test_stop_sends_the_stop_signal_without_the_daemon(far_bench: Any, fault: Fault) -> None:
    started = far_bench.run(OBEYS, stop_signal="SIGUSR1")
    far_bench.says(started, "up")
    fault()
    begun = time.monotonic()
    far_bench.far.stop(started.running, "SIGUSR1", grace=10)
    assert time.monotonic() - begun < 5
    assert _living(started) == []
    far_bench.says(started, "told")
    assert far_bench.ends(started) == 0


def test_what_ignores_it_is_killed_after_its_grace_without_the_daemon(far_bench: Any, line: Any) -> None:
    started = far_bench.run(IGNORES)
    far_bench.until(lambda: len(_living(started)) == 2)
    line.cut()
    begun = time.monotonic()
    far_bench.far.stop(started.running, "SIGTERM", grace=1)
    assert 0.9 < time.monotonic() - begun < 3
    assert _living(started) == []
    assert far_bench.ends(started) == 128 + signal.SIGKILL


def test_a_daemon_that_goes_while_it_stops_leaves_the_rest_of_the_grace(far_bench: Any, line: Any) -> None:
    started = far_bench.run(COUNTS)
    far_bench.says(started, "up")
    begun = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        stopped = pool.submit(far_bench.far.stop, started.running, "SIGTERM", 3)
        far_bench.says(started, "told")
        line.cut()
        stopped.result(10)
    assert 2.9 < time.monotonic() - begun < 4.5
    assert _living(started) == []


def test_kill_needs_no_daemon(far_bench: Any, fault: Fault) -> None:
    started, other = far_bench.run(IGNORES), far_bench.run(WAITS)
    far_bench.until(lambda: len(_living(started)) == 2)
    fault()
    far_bench.far.kill(started.running)
    assert _living(started) == []
    assert _living(other) == [other.running.pid]
    far_bench.far.kill(started.running)  # again is fine


@pytest.fixture
def stop_monitor() -> Iterator[Callable[[Any], None]]:
    """`stop_monitor(started)` halts what looks after one container, and would end it with its first process."""
    halted: list[tuple[int, int]] = []

    def halt(started: Any) -> None:
        monitor = procfs.parent_of(started.running.pid)
        assert monitor is not None
        assert monitor > 1
        halted.append((monitor, procfs.start_time(monitor) or 0))
        procfs.send(*halted[-1], signal.SIGSTOP)

    yield halt
    for monitor in halted:
        procfs.send(*monitor, signal.SIGCONT)


@pytest.mark.parametrize("known", [True, False])
def test_who_outlives_the_first_process_is_ended_too(
    far_bench: Any, line: Any, stop_monitor: Callable[[Any], None], known: bool
) -> None:
    """With the host's pid namespace the kernel ends nobody else with the first process."""
    started = far_bench.run(LEAVES, pid="host", vx11={"unsafe": ["pid"]})
    far_bench.says(started, "up")
    line.cut()
    stop_monitor(started)
    first = (started.running.pid, started.running.start_time)
    procfs.send(*first, signal.SIGKILL)
    assert procfs.wait_gone(*first, 5)
    assert len(_living(started)) == 1
    running = started.running if known else replace(started.running, pid=0, start_time=0)
    far_bench.far.stop(running, "SIGTERM", grace=0.1)
    assert _living(started) == []


def test_what_was_found_by_a_list_has_no_pid_and_is_ended_too(far_bench: Any, fault: Fault) -> None:
    started = far_bench.run(OBEYS, stop_signal="SIGUSR1")
    far_bench.says(started, "up")
    (found,) = far_bench.far.inventory(far_bench.cell)
    assert found.running.pid == 0
    fault()
    far_bench.far.stop(found.running, "SIGUSR1", grace=10)
    assert _living(started) == []
    far_bench.says(started, "told")


def test_nothing_is_concluded_about_what_is_not_known_here(far_bench: Any, line: Any) -> None:
    line.cut()
    elsewhere = Running("docker", container="0" * 64)
    for end in (lambda: far_bench.far.kill(elsewhere), lambda: far_bench.far.stop(elsewhere, "SIGTERM", 1)):
        with pytest.raises(EngineError, match=r"container 000000000000 was not stopped: .* are not known on this"):
            end()


def test_without_the_daemon_lists_and_removal_are_errors(far_bench: Any, fault: Fault) -> None:
    started = far_bench.run(WAITS)
    fault()
    begun = time.monotonic()
    for call in (
        lambda: far_bench.far.inventory(far_bench.cell),
        lambda: far_bench.far.foreign("default"),
        lambda: far_bench.far.remove(started.running, started.stamp.window_id),
    ):
        with pytest.raises(EngineError):
            call()
    assert time.monotonic() - begun < 4 * 1.5  # each within the limit of reads
    assert far_bench.far.health(started.running).alive  # the kernel says so
    assert _living(started) == [started.running.pid]
    bypass.end(started.running.container, 0, 0, number=0, grace=0.0, timeout=5.0)
    with pytest.raises(EngineError):
        far_bench.far.health(started.running)


def test_usage_and_limits_need_no_daemon(far_bench: Any, line: Any) -> None:
    """As for a madre that starts again with the handle from a state file."""
    started = far_bench.run(WAITS, Limits(pids=20))
    far_bench.says(started, "up")
    line.cut()
    running = Running.from_json(started.running.to_json())
    assert far_bench.far.usage(running).cpu_ns > 0
    assert far_bench.far.limits(running) == Limits(pids=20)


def test_what_ended_without_the_daemon_is_taken_away_when_it_is_back(far_bench: Any, line: Any) -> None:
    started = far_bench.run(WAITS)
    line.cut()
    far_bench.far.kill(started.running)
    line.mend()
    far_bench.until(lambda: [found.alive for found in far_bench.far.inventory(far_bench.cell)] == [False])
    (found,) = far_bench.far.inventory(far_bench.cell)
    far_bench.far.remove(found.running, found.window_id)
    assert far_bench.far.inventory(far_bench.cell) == []
