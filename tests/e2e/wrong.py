"""Runs a service so that something is wrong with it: `wrong.py KIND… -- PROGRAM ARGUMENT…`, as the process engine does.

What is wrong happens in the window of the service, beside it or to it; the program itself is sound.
"""

import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from vx11.engines import cgroups

# Of memory, more than TC-001 allows a service; beside the working set of TC-004 more than that one allows.
BURNERS = 6
HOARD = 100 * 1024 * 1024
# More than a database of unmigrated rows needs, less than that of migrated ones.
DISK = 256 * 1024
# Longer than whatever needs the service takes to start, shorter than a suite is patient.
DELAY_S = 2.0
# What lives as long as its process.
KEPT: list[object] = []
# Version of control groups → limit → what is written to take it away: controller, file, value.
UNLIMITED = {
    1: {
        "cpu": [("cpu", "cpu.cfs_quota_us", "-1")],
        "memory": [("memory", "memory.memsw.limit_in_bytes", "-1"), ("memory", "memory.limit_in_bytes", "-1")],
        "iops": [("blkio", "blkio.throttle.write_iops_device", "{device} 0")],
    },
    2: {
        "cpu": [("cpu", "cpu.max", "max")],
        "memory": [("memory", "memory.max", "max")],
        "iops": [("io", "io.max", "{device} wiops=max")],
    },
}


def burns() -> None:
    """Something uses all of a processor, also on a machine where others want it."""
    for _ in range(BURNERS):
        if os.fork() == 0:
            while True:
                pass


def hoards() -> None:
    """Something keeps memory that it does not need."""
    if os.fork() == 0:
        KEPT.append(b"\xff" * HOARD)
        signal.pause()


def exceeds(limit: str) -> None:
    """The limit that the window has is taken away."""
    hierarchy = cgroups.detect()
    assert hierarchy, "there are no control groups here"
    group = hierarchy.group(f"{os.environ['VX11_CELL']}/{os.environ['VX11_WINDOW']}")
    device = cgroups.device_of(Path(os.environ["TMPDIR"]))
    for controller, name, value in UNLIMITED[hierarchy.version][limit]:
        file = group.folders[controller] / name
        if file.exists():  # not every kernel counts swap
            file.write_text(value.format(device=device), encoding="ascii")


def squats() -> None:
    """The port of the service is taken before it is up."""
    KEPT.append(socket.create_server(("127.0.0.1", int(os.environ["PORT"]))))
    if os.fork() == 0:
        signal.pause()


def starts_late() -> None:
    """It takes its time."""
    time.sleep(DELAY_S)


def lacks_disk() -> None:
    """No file can grow beyond so much."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (DISK, DISK))


def ends_madre() -> None:
    """When the service is stopped, the madre that wants it dies."""
    service = os.fork()
    if service == 0:
        return
    signal.signal(signal.SIGTERM, lambda *_: _end_madre())
    os.waitpid(service, 0)
    sys.exit()


def _end_madre() -> None:
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "serve" in words and os.environ["VX11_CELL"] in words:
            process.kill()
    sys.exit()


KINDS: dict[str, Callable[[], None]] = {
    "burns": burns,
    "hoards": hoards,
    "exceeds-cpu": lambda: exceeds("cpu"),
    "exceeds-memory": lambda: exceeds("memory"),
    "exceeds-iops": lambda: exceeds("iops"),
    "squats": squats,
    "starts-late": starts_late,
    "lacks-disk": lacks_disk,
    "ends-madre": ends_madre,
}


def main() -> None:
    """Does the wrong, then becomes the service."""
    at = sys.argv.index("--")
    for kind in sys.argv[1:at]:
        KINDS[kind]()
    program = sys.argv[at + 1 :]
    os.execv(program[0], program)


if __name__ == "__main__":
    main()
