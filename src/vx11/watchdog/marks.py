"""Finds what runs and carries the mark of a cell.

Each function is told which windows are accounted for. It asks after it has listed what runs, since a window is written
down before anything is started for it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vx11.clock import Instant
from vx11.engines import cgroups, procfs
from vx11.watchdog import dockerapi
from vx11.watchdog.ending import Target

_LIVING = ("running", "paused", "restarting", "stopping")
Accounted = Callable[[str], bool]


@dataclass(frozen=True)
class Marked:
    """Something that runs and carries the mark of a cell.

    Attributes:
        deadline: what it was given at birth, None where it cannot be read any more.
    """

    target: Target
    service: str
    deadline: Instant | None


def containers(cell: str, accounted: Accounted) -> list[Marked]:
    """Containers of windows of the cell that are not accounted for.

    Raises:
        DaemonError: they could not be listed.
    """
    found = dockerapi.containers({"vx11.cell": cell})
    living = [item for item in found if item["State"] in _LIVING and item["Labels"].get("vx11.window")]
    return [_container(item) for item in living if not accounted(item["Labels"]["vx11.window"])]


def _container(item: dict[str, Any]) -> Marked:
    labels = item["Labels"]
    try:
        deadline = Instant.from_json(json.loads(labels["vx11.deadline"]))
    except (KeyError, TypeError, ValueError):
        deadline = None
    return Marked(Target(labels["vx11.window"], container=item["Id"]), labels.get("vx11.service", ""), deadline)


def groups(cell: str, hierarchy: cgroups.Hierarchy, accounted: Accounted) -> list[Marked]:
    """Control groups of windows of the cell that are not accounted for, and in which something lives."""
    found = []
    for name in hierarchy.names(cell):
        window = name.rpartition("/")[2]
        if not accounted(window):
            pids = hierarchy.group(name).members()
            found += [_processes(window, pids, name)] if pids else []
    return found


def processes(cell: str, accounted: Accounted) -> list[Marked]:
    """Processes of windows of the cell that are not accounted for; it looks at each process of the machine.

    A cell alone is no mark: who starts a madre may name it in the environment.
    """
    windows: dict[str, list[int]] = {}
    for pid in procfs.marked("VX11_CELL", cell):
        if window := procfs.environment(pid).get("VX11_WINDOW"):
            windows.setdefault(window, []).append(pid)
    found = [_processes(window, pids) for window, pids in windows.items() if not accounted(window)]
    return [item for item in found if item.deadline]


def _processes(window: str, pids: list[int], cgroup: str = "") -> Marked:
    """The first of them stands for all."""
    born = [(started, pid) for pid in pids if (started := procfs.start_time(pid))]
    started, pid = min(born, default=(0, 0))
    marks = [procfs.environment(pid) for pid in pids]
    deadlines = [deadline for mark in marks if (deadline := _deadline(mark.get("VX11_DEADLINE", "")))]
    service = next((mark["VX11_SERVICE"] for mark in marks if "VX11_SERVICE" in mark), "")
    return Marked(Target(window, pid=pid, start_time=started, cgroup=cgroup), service, min(deadlines, default=None))


def _deadline(text: str) -> Instant | None:
    """`boot_id:boot_ns` of a living process, which is of this boot."""
    boot, _, nanoseconds = text.rpartition(":")
    return Instant(int(nanoseconds), 0, boot) if boot and nanoseconds.isdecimal() else None
