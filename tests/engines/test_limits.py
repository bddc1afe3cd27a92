"""Limits take effect for real, and are read back from the kernel."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vx11.catalogue.limits import Limits
from vx11.engines import cgroups, select

pytestmark = pytest.mark.root
MIB = 1024 * 1024
WAITS = "import time; print('up', flush=True); time.sleep(60)"
BURNS = "while True: pass"
EATS = """
print('up', flush=True)
eaten = bytearray(300 * 1024 * 1024)
print('survived', flush=True)
"""
FORKS = """
import os, time
started = 0
try:
    for started in range(40):
        if os.fork() == 0:
            time.sleep(60)
except OSError as error:
    os.write(1, f'refused after {started}\\n'.encode())
time.sleep(60)
"""
# Reads and writes past every cache, where operations count one by one (open(2), O_DIRECT).
WRITES = """
import mmap, os, sys, time
handle = os.open(sys.argv[1] + '/file', os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o600)
page = mmap.mmap(-1, 4096)
begun = time.monotonic()
for number in range(int(sys.argv[2])):
    os.pwrite(handle, page, number * 4096)
os.write(1, f'wrote in {time.monotonic() - begun}\\n'.encode())  # whole, so that nobody reads half of it
time.sleep(60)
"""
ALL = Limits(cpu=0.5, memory=64 * MIB, read_iops=300, write_iops=200, pids=50)


def writer(make_entry: Callable[..., Any], count: int) -> dict[str, Any]:
    """An entry that writes so many blocks to a named volume."""
    entry = make_entry(WRITES, volumes=["written:/data"], user="0:0")
    entry["command"] += ["/data", str(count)]
    entry["x-vx11"]["process"]["command"] += ["{volume:written}", str(count)]
    return dict(entry)


@pytest.mark.parametrize("limits", [ALL, Limits(cpu=1.5, pids=7), Limits(memory=100 * MIB, read_iops=10), Limits()])
def test_limits_are_read_back_as_they_were_set(bench: Any, limits: Limits) -> None:
    started = bench.run(WAITS, limits)
    bench.says(started, "up")
    in_force = bench.engine.limits(started.running)
    if limits.pids is None and bench.engine.name == "docker":  # systemd may bound what it starts: DefaultTasksMax
        in_force = replace(in_force, pids=None)
    assert in_force == limits


def test_a_limit_that_is_not_in_force_is_not_reported(bench: Any) -> None:
    """Whatever was asked for, and whatever the daemon has on record: the kernel's files decide."""
    started = bench.run(WAITS, ALL)
    bench.says(started, "up")
    running = started.running
    hierarchy = cgroups.detect()
    assert hierarchy
    group = hierarchy.group(running.cgroup) if running.cgroup else cgroups.of_container(running.container, running.pid)
    lifted = ("cpu.cfs_quota_us", "-1") if group.version == 1 else ("cpu.max", "max")
    (group.folders["cpu"] / lifted[0]).write_text(lifted[1], encoding="ascii")
    (group.folders["pids"] / "pids.max").write_text("max", encoding="ascii")
    assert bench.engine.limits(running) == replace(ALL, cpu=None, pids=None)


def test_without_control_groups_none_is_claimed(rootless_bench: Any) -> None:
    assert rootless_bench.engine.capabilities == {"usage.cpu", "usage.memory", "pause"}
    started = rootless_bench.run(WAITS, ALL)
    assert rootless_bench.engine.limits(started.running) == Limits()


def test_iops_are_not_claimed_where_no_disk_holds_the_data(tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    if cgroups.device_of(memory):
        pytest.skip("/dev/shm lies on a disk here")
    data = memory / f"vx11-test-{os.getpid()}"
    try:
        assert "limits.iops" not in select.make("process", "e-shm", tmp_path, data).capabilities
    finally:
        data.rmdir()


def test_memory_beyond_the_limit_is_fatal(bench: Any) -> None:
    started = bench.run(EATS, Limits(memory=64 * MIB))
    assert bench.ends(started) in (-signal.SIGKILL, 128 + signal.SIGKILL)
    assert bench.lines(started) == ["up"]


def test_processes_beyond_the_limit_are_refused(bench: Any) -> None:
    started = bench.run(FORKS, Limits(pids=10))
    assert 5 <= int(bench.says(started, "refused after").split()[-1]) <= 10


def test_a_busy_loop_gets_the_processor_time_of_its_limit(bench: Any, eventually: Callable[..., Any]) -> None:
    started = bench.run(BURNS, Limits(cpu=0.25))
    begun, before = time.monotonic(), bench.engine.usage(started.running).cpu_ns
    eventually(lambda: bench.engine.usage(started.running).cpu_ns > before + 0.25e9)
    share = (bench.engine.usage(started.running).cpu_ns - before) / 1e9 / (time.monotonic() - begun)
    assert 0.1 < share < 0.4


def test_writes_are_slowed_to_their_limit(bench: Any, make_entry: Callable[..., Any]) -> None:
    if "limits.iops" not in bench.engine.capabilities:
        pytest.skip("no disk holds the data of this engine here")
    service = bench.service(writer(make_entry, 40), volumes={"written": None})
    free = bench.start(service)
    unlimited = float(bench.says(free, "wrote in").split()[-1])
    bench.remove(free)
    limited = bench.start(service, Limits(write_iops=40))
    assert 0.6 < float(bench.says(limited, "wrote in").split()[-1]) < 3
    assert unlimited < 0.5
