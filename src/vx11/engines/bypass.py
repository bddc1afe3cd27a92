"""Ends containers without their daemon, which may be stopped, hang, or restart while containers go on (live-restore).

A container's processes are found by its first process and by the control group that names it, so nothing else is ever
touched. Standard library only: the watchdog uses it too.
"""

from vx11.engines import cgroups, procfs


class BypassError(Exception):
    """What should have ended still runs, or cannot be found on this machine."""


def members(container: str, pid: int, started: int) -> list[int]:
    """Living processes of a container; empty when its first process is gone, or is on another machine."""
    if not procfs.is_alive(pid, started):
        return []
    group = cgroups.of_process(pid)
    if group is None or not all(container in str(folder) for folder in group.folders.values()):
        return []
    found = {one for one in group.members() if procfs.is_alive(one, procfs.start_time(one) or 0)}
    return sorted(found | {pid})


def end(container: str, pid: int, started: int, *, number: int, grace: float, timeout: float) -> None:
    """Signals the first process, waits for `grace` seconds, then kills all; returns when nothing of it runs.

    Args:
        number: the stop signal; with a grace of 0 it is not sent.
        timeout: seconds that the kernel has to end what was killed.

    Raises:
        BypassError: its processes are not known here, or still run.
    """
    if not pid:
        raise BypassError(f"the processes of container {container[:12]} are not known on this machine")
    if grace and members(container, pid, started) and procfs.send(pid, started, number):
        procfs.wait_gone(pid, started, grace)
    if not procfs.end_all(lambda: members(container, pid, started), timeout):
        raise BypassError(f"processes of container {container[:12]} are still there {timeout:g} s after SIGKILL")
