"""Ends containers without their daemon, which may be stopped, hang, or restart while containers go on (live-restore).

A container's processes are found by the control group that is named after it, so nothing else is ever touched, and none
is missed whose first process is dead (`pid: host`). Standard library only: the watchdog uses it too.
"""

import contextlib
import re

from vx11.engines import cgroups, procfs

_ID = re.compile(r"[0-9a-f]{64}")


class BypassError(Exception):
    """What should have ended still runs, or cannot be found on this machine."""


def members(container: str) -> list[int]:
    """Living processes of a container on this machine.

    Raises:
        BypassError: it is not the whole id of a container, and could name groups of another kind.
    """
    if not _ID.fullmatch(container):
        raise BypassError(f"{container!r} is not the whole id of a container")
    return [pid for pid in procfs.pids() if cgroups.is_in_container(container, pid) and procfs.lives(pid)]


def end(container: str, pid: int, started: int, *, number: int, grace: float, timeout: float) -> None:
    """Signals the first process, waits for `grace` seconds, then kills all; returns when nothing of it runs.

    Args:
        pid, started: the first process; 0 where it is not known.
        number: the stop signal; with a grace of 0 it is not sent.
        timeout: seconds that the kernel has to end what was killed.

    Raises:
        BypassError: its processes are not known here, may not be ended, or still run.
    """
    living = members(container)
    if not (pid or living):
        raise BypassError(f"the processes of container {container[:12]} are not known on this machine")
    first, began = (pid, started) if pid else _oldest(living)
    try:
        _thawed(container)
        if grace and first in living and procfs.send(first, began, number):
            procfs.wait_gone(first, began, grace)
        ended = procfs.end_all(lambda: _thawed(container), timeout)
    except PermissionError as error:
        raise BypassError(f"the processes of container {container[:12]} may not be ended by this user") from error
    if not ended:
        raise BypassError(f"processes of container {container[:12]} are still there {timeout:g} s after SIGKILL")


def _thawed(container: str) -> list[int]:
    """The living processes of a container, none of which is kept from handling a signal."""
    living = members(container)
    group = cgroups.of_container(container, living[0]) if living else None
    if group:
        with contextlib.suppress(cgroups.CgroupError):  # it shows, since what is frozen does not end
            group.thaw()
    return living


def _oldest(living: list[int]) -> tuple[int, int]:
    """The process that started first, with its start time."""
    began, pid = min((procfs.start_time(pid) or 0, pid) for pid in living)
    return pid, began
