"""Faults that an engine can do: what is paused does nothing, what is cut off reaches nobody; both can be taken back."""

import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from vx11.engines import bypass, netns, procfs
from vx11.engines.port import EngineError, NoOwnNetwork, Running

SPINS = """
import os, signal, sys, time
def leave(*_):
    print('told', flush=True)
    sys.exit(7)
signal.signal(signal.SIGTERM, leave)
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        pass
print('up', flush=True)
while True:
    time.sleep(0.01)
"""
WAITS = "import time; print('up', flush=True); time.sleep(60)"
# Keeps one connection open in each direction, and says what happens on it.
HOLDS = """
import os, socket, threading, time, urllib.request
listener = socket.create_server(('', int(os.environ.get('PORT', '8080'))))
print('up', flush=True)
def ask():
    while True:
        try:
            urllib.request.urlopen(os.environ['WEB_URL'] + '/health', timeout=0.5).read()
            print('reached', flush=True)
        except OSError:
            print('lost', flush=True)
        time.sleep(0.05)
if 'WEB_URL' in os.environ:
    threading.Thread(target=ask, daemon=True).start()
while True:
    link, _ = listener.accept()
    while data := link.recv(100):
        link.sendall(data)
    link.close()
"""


def expect_pause(bench: Any) -> None:
    started = bench.run(SPINS)
    bench.says(started, "up")
    engine, running = bench.engine, started.running
    assert "pause" in engine.capabilities
    assert not engine.is_paused(running)
    for _ in range(2):  # again is fine
        engine.pause(running)
    assert engine.is_paused(running)
    assert engine.health(running).alive
    before = engine.usage(running).cpu_ns
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:  # what spins would have used most of it
        assert engine.is_paused(running)
    assert engine.usage(running).cpu_ns - before < 0.02e9
    for _ in range(2):
        engine.resume(running)
    assert not engine.is_paused(running)
    bench.until(lambda: engine.usage(running).cpu_ns > before + 0.1e9)


def expect_end_of_paused(bench: Any, ending: str) -> None:
    started = bench.run(SPINS)
    bench.says(started, "up")
    bench.engine.pause(started.running)
    begun = time.monotonic()
    if ending == "stop":
        bench.engine.stop(started.running, "SIGTERM", grace=10)
        assert "told" in bench.lines(started)  # it had its stop signal, and time for it
    else:
        bench.engine.kill(started.running)
    assert time.monotonic() - begun < 5
    assert not bench.engine.health(started.running).alive
    assert bench.pids(started) == []


def test_what_is_paused_uses_no_processor_until_it_is_resumed(bench: Any) -> None:
    expect_pause(bench)


def test_it_is_paused_without_control_groups_too(rootless_bench: Any) -> None:
    expect_pause(rootless_bench)


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_what_is_paused_ends_like_anything_else(bench: Any, ending: str) -> None:
    expect_end_of_paused(bench, ending)


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_what_is_paused_ends_without_control_groups_too(rootless_bench: Any, ending: str) -> None:
    expect_end_of_paused(rootless_bench, ending)


def test_what_is_paused_hears_that_it_is_asked_to_end(bench: Any) -> None:
    """By the quick way, or where that is not open to it by the daemon."""
    started = bench.run(SPINS)
    bench.says(started, "up")
    bench.engine.pause(started.running)
    begun = time.monotonic()
    asked = bench.engine.ask(started.running, "SIGTERM")
    bench.engine.stop(started.running, "SIGTERM", 10, asked=asked)
    assert time.monotonic() - begun < 5
    assert "told" in bench.lines(started)


def test_a_cell_with_something_paused_can_be_purged(open_bench: Callable[..., Any], engine_name: Any) -> None:
    bench = open_bench(engine_name)
    started = bench.run(SPINS)
    bench.says(started, "up")
    bench.engine.pause(started.running)
    bench.engine.purge(bench.cell)
    assert bench.engine.residue(bench.cell) == []


@pytest.mark.docker
@pytest.mark.root
def test_what_is_paused_ends_without_the_daemon(docker_bench: Any) -> None:
    started = docker_bench.run(SPINS)
    docker_bench.says(started, "up")
    docker_bench.engine.pause(started.running)
    running = started.running
    begun = time.monotonic()
    bypass.end(running.container, running.pid, running.start_time, number=signal.SIGTERM, grace=10, timeout=5)
    assert time.monotonic() - begun < 5
    assert bypass.members(running.container) == []
    assert docker_bench.ends(started) == 7


def answers(started: Any) -> bool:
    try:
        return httpx.get(f"{started.url}/health", timeout=0.5).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.root
def test_what_is_cut_off_is_reached_by_nobody_until_it_is_healed(bench: Any, web: dict[str, Any]) -> None:
    assert "partition" in bench.engine.capabilities
    started = bench.start(bench.service(web))
    bench.until(lambda: answers(started))
    before = dict(bench.engine.reachable(started.running))
    assert before
    assert all(before.values())
    for _ in range(2):
        bench.engine.partition(started.running)
    assert set(bench.engine.reachable(started.running).values()) == {False}
    assert not answers(started)
    assert bench.engine.health(started.running).alive
    for _ in range(2):
        bench.engine.heal(started.running)
    bench.until(lambda: answers(started), 5)
    assert bench.engine.reachable(started.running) == before
    bench.engine.partition(started.running)
    begun = time.monotonic()
    bench.engine.stop(started.running, "SIGTERM", grace=10)
    assert time.monotonic() - begun < 5
    assert bench.engine.health(started.running).exit_code == 0


@pytest.mark.root
def test_what_is_cut_off_reaches_nobody_and_its_connections_live_on(
    bench: Any, web: dict[str, Any], make_entry: Callable[..., Any]
) -> None:
    services = bench.services({"web": web, "asking": make_entry(HOLDS, vx11={"peers": ["web"]})})
    up = bench.start(services["web"])
    bench.until(lambda: answers(up))
    asking = bench.start(services["asking"], peers=[services["web"]])
    bench.says(asking, "reached")
    bench.until(lambda: all(bench.engine.reachable(asking.running).values()))
    with socket.create_connection(("127.0.0.1", asking.running.ports[8080]), 10) as link:
        link.sendall(b"before")
        assert link.recv(100) == b"before"
        bench.engine.partition(asking.running)
        bench.says(asking, "lost")
        assert answers(up)
        link.settimeout(0.3)
        link.sendall(b"during")
        with pytest.raises(TimeoutError):
            link.recv(100)
        bench.engine.heal(asking.running)
        link.settimeout(10)
        assert link.recv(100) == b"during"
    said = len(bench.lines(asking, 2000))
    bench.until(lambda: "reached" in bench.lines(asking, 2000)[said:])


@pytest.mark.root
def test_a_later_madre_heals_what_an_earlier_one_cut_off(bench: Any, web: dict[str, Any]) -> None:
    started = bench.start(bench.service(web))
    bench.until(lambda: answers(started))
    bench.engine.partition(started.running)
    running = Running.from_json(started.running.to_json())
    later = bench.later_engine()
    assert set(later.reachable(running).values()) == {False}
    later.heal(running)
    bench.until(lambda: answers(started), 5)


@pytest.mark.root
def test_what_has_no_ports_can_be_cut_off_too(bench: Any) -> None:
    started = bench.run(WAITS, ports=[])
    bench.says(started, "up")
    assert list(bench.engine.reachable(started.running).values()) == [True]
    bench.engine.partition(started.running)
    assert list(bench.engine.reachable(started.running).values()) == [False]
    bench.engine.heal(started.running)
    bench.until(lambda: list(bench.engine.reachable(started.running).values()) == [True], 5)


@pytest.mark.docker
@pytest.mark.root
def test_a_container_has_its_way_out_again(docker_bench: Any) -> None:
    started = docker_bench.run(WAITS)
    docker_bench.says(started, "up")
    way = netns.inside(started.running.pid, netns.gateway)
    assert way
    docker_bench.engine.partition(started.running)
    assert netns.inside(started.running.pid, netns.gateway) == ""
    docker_bench.engine.heal(started.running)
    assert netns.inside(started.running.pid, netns.gateway) == way


@pytest.mark.root
@pytest.mark.parametrize("keys", [{"vx11": {"network": "host"}}, {"ports": ["8080/udp"]}], ids=["asked", "udp"])
def test_a_process_in_the_network_of_the_host_is_not_cut_off(process_bench: Any, keys: dict[str, Any]) -> None:
    entry = process_bench.entry(WAITS, ports=keys.get("ports", ["8080"]))
    entry["x-vx11"]["process"] |= keys.get("vx11", {})
    started = process_bench.start(process_bench.service(entry))
    process_bench.says(started, "up")
    assert procfs.network_of(started.running.pid) == procfs.network_of(os.getpid())
    expect_refused(process_bench, started)


@pytest.mark.docker
@pytest.mark.root
def test_a_container_in_the_network_of_the_host_is_not_cut_off(docker_bench: Any) -> None:
    started = docker_bench.run(WAITS, network_mode="host", ports=[], vx11={"unsafe": ["network_mode"]})
    docker_bench.says(started, "up")
    expect_refused(docker_bench, started)


def expect_refused(bench: Any, started: Any) -> None:
    for call in (bench.engine.partition, bench.engine.heal, bench.engine.reachable):
        with pytest.raises(NoOwnNetwork, match="has no network of its own"):
            call(started.running)


def test_without_root_no_partition_is_claimed(rootless_bench: Any) -> None:
    assert not {"partition", "usage.network"} & rootless_bench.engine.capabilities
    started = rootless_bench.run(WAITS)
    rootless_bench.says(started, "up")
    expect_refused(rootless_bench, started)
    assert started.running.relay == 0


@pytest.mark.root
def test_faults_of_what_is_gone_are_errors(bench: Any) -> None:
    started = bench.run(WAITS)
    bench.remove(started)
    for call in (bench.engine.partition, bench.engine.heal, bench.engine.reachable):
        with pytest.raises(EngineError):
            call(started.running)
    assert not bench.engine.is_paused(started.running)
