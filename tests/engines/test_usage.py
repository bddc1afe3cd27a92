"""What a window used, as its engine measures it."""

import socket
from collections.abc import Callable
from typing import Any

import pytest

from vx11.engines.port import Running

MIB = 1024 * 1024
WAITS = "import time; print('up', flush=True); time.sleep(60)"
WORKS = """
import time
begun = time.process_time_ns()
peak = bytearray(48 * 1024 * 1024)
del peak
end = time.process_time() + 0.3
while time.process_time() < end:
    pass
print('done', time.process_time_ns() - begun, flush=True)
time.sleep(60)
"""
STORES = """
import os, sys, time
with open(sys.argv[1] + '/file', 'wb') as file:
    file.write(os.urandom(2 * 1024 * 1024))
    file.flush()
    os.fsync(file.fileno())
print('done', flush=True)
time.sleep(60)
"""


def test_work_shows_in_the_usage(bench: Any) -> None:
    _expect_work_shows(bench)


def test_work_shows_without_control_groups_too(rootless_bench: Any) -> None:
    _expect_work_shows(rootless_bench)


def _expect_work_shows(bench: Any) -> None:
    idle = bench.run(WAITS)
    bench.says(idle, "up")
    rested = bench.engine.usage(idle.running)
    busy = bench.run(WORKS)
    own = int(bench.says(busy, "done").split()[1])
    worked = bench.engine.usage(busy.running)
    # Ticks of the clock are less exact; what is more is its start.
    assert -0.03e9 < worked.cpu_ns - own < 1.2e9
    assert 48 * MIB < worked.memory_peak < 120 * MIB
    assert 0 < worked.memory <= worked.memory_peak
    assert rested.memory_peak < 48 * MIB


@pytest.mark.root
def test_usage_says_where_it_was_read(bench: Any, rootless_bench: Any) -> None:
    for each, source in ((bench, "cgroup v"), (rootless_bench, "procfs")):
        started = each.run(WAITS)
        each.says(started, "up")
        assert each.engine.usage(started.running).source.startswith(source)


def test_what_is_stored_is_counted(bench: Any, make_entry: Callable[..., Any]) -> None:
    if "usage.io" not in bench.engine.capabilities:
        pytest.skip("this engine cannot count it here")
    entry = make_entry(STORES, volumes=["stored:/data"], user="0:0")
    entry["command"].append("/data")
    entry["x-vx11"]["process"]["command"].append("{volume:stored}")
    started = bench.start(bench.service(entry, volumes={"stored": None}))
    bench.says(started, "done")
    usage = bench.engine.usage(started.running)
    assert 2 * MIB <= usage.io_write_bytes < 8 * MIB
    assert usage.io_write_ops > 0


TALKS = """
import os, socket, time
listener = socket.create_server(('', int(os.environ.get('PORT', '8080'))))
print('up', flush=True)
link, _ = listener.accept()
got = 0
while got < 200_000:
    got += len(link.recv(65536))
link.sendall(bytes(500_000))
link.close()
time.sleep(60)
"""


@pytest.mark.root
def test_what_went_over_the_network_is_counted(bench: Any) -> None:
    assert "usage.network" in bench.engine.capabilities
    started = bench.run(TALKS)
    bench.says(started, "up")
    address = ("127.0.0.1", started.running.ports[8080])
    before = bench.engine.usage(started.running)
    with bench.until(lambda: _connected(address)) as link:
        link.sendall(bytes(200_000))
        got = 0
        while part := link.recv(65536):
            got += len(part)
    after = bench.engine.usage(started.running)
    assert got == 500_000
    assert 200_000 <= after.net_rx_bytes - before.net_rx_bytes < 250_000
    assert 500_000 <= after.net_tx_bytes - before.net_tx_bytes < 600_000


def _connected(address: tuple[str, int]) -> socket.socket | None:
    try:
        return socket.create_connection(address, 10)
    except ConnectionRefusedError:
        return None


def test_traffic_of_the_host_is_not_counted_as_that_of_a_service(bench: Any) -> None:
    entry = bench.entry(WAITS, network_mode="host", ports=[], vx11={"unsafe": ["network_mode"]})
    entry["x-vx11"]["process"]["network"] = "host"
    started = bench.start(bench.service(entry))
    bench.says(started, "up")
    usage = bench.engine.usage(started.running)
    assert usage.cpu_ns > 0
    assert (usage.net_rx_bytes, usage.net_tx_bytes) == (None, None)


@pytest.mark.docker
def test_usage_is_read_without_the_daemon(docker_bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    started = docker_bench.run(WAITS)
    docker_bench.says(started, "up")
    later = docker_bench.later_engine()

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the daemon was asked")

    monkeypatch.setattr(later._client.api.__class__, "send", refuse)
    assert later.usage(Running.from_json(started.running.to_json())).cpu_ns > 0


@pytest.mark.docker
def test_what_a_list_found_has_its_usage_too(docker_bench: Any) -> None:
    started = docker_bench.run(WAITS)
    docker_bench.says(started, "up")
    later = docker_bench.later_engine()
    (found,) = later.inventory(docker_bench.cell)
    assert later.usage(found.running).memory > 0


def test_what_is_gone_has_no_usage(bench: Any, rootless_bench: Any) -> None:
    for each in (bench, rootless_bench):
        started = each.run(WAITS)
        each.remove(started)
        assert each.engine.usage(started.running) is None
