"""Ends what a window runs, on whichever engine."""

import contextlib
import signal
import time
from dataclasses import dataclass
from typing import Any

from vx11 import signals
from vx11.engines import bypass, cgroups, procfs
from vx11.watchdog import dockerapi

KILL_TIMEOUT = 5.0


class EndError(Exception):
    """It still runs, or nobody can tell."""


@dataclass(frozen=True)
class Target:
    """What has to end.

    Attributes:
        window_id: the window that it belongs to; processes carry it as their mark.
        container: container id, empty for processes.
        pid, start_time: first process and its start (proc(5)); 0 where they are not known.
        cgroup: name of the control group of processes below the engine's own, empty without one.
    """

    window_id: str
    container: str = ""
    pid: int = 0
    start_time: int = 0
    cgroup: str = ""
    stop_signal: str = "SIGTERM"


def end(target: Target, grace: float, hierarchy: cgroups.Hierarchy | None) -> None:
    """Sends the stop signal, kills after `grace` seconds; returns when nothing of it runs.

    Args:
        grace: seconds; with 0 it is killed at once.

    Raises:
        EndError: it still runs, or nobody can tell.
    """
    if target.container:
        _end_container(target, grace)
    else:
        _end_processes(target, grace, hierarchy)


def _end_container(target: Target, grace: float) -> None:
    """By the daemon, or past it with what is left of the grace; counts only when it is seen not to run.

    The stop signal does not wait for the daemon where the first process is on this machine.
    """
    left = _ask(target, grace)
    try:
        state = dockerapi.state(target.container)
        if not _runs(state):
            return
        begun = time.monotonic()
        try:
            if state and state.get("Paused"):
                dockerapi.unpause(target.container)
            if left:
                dockerapi.stop(target.container, left)
            else:  # a second stop signal means to many programs that they should break off
                dockerapi.kill(target.container)
        finally:
            left = max(0.0, left - (time.monotonic() - begun))
        if _runs(dockerapi.state(target.container)):
            raise dockerapi.DaemonError("it still runs after the daemon said that it had stopped")
    except dockerapi.DaemonError as unable:
        number = _number(target.stop_signal)
        try:
            bypass.end(target.container, target.pid, target.start_time, number=number, grace=left, timeout=KILL_TIMEOUT)
        except bypass.BypassError as error:
            raise EndError(f"{unable}; {error}") from error


def _ask(target: Target, grace: float) -> float:
    """Signals the first process and waits for its end, within the grace; answers what is left of it for the daemon.

    What is paused handles no signal, so the whole grace is left.
    """
    pid, started = target.pid, target.start_time
    group = cgroups.of_container(target.container, pid)
    try:
        if group and group.is_frozen():
            return grace
        if not (grace and procfs.send(pid, started, _number(target.stop_signal))):
            return grace
    except PermissionError:
        return grace
    procfs.wait_gone(pid, started, grace)
    return 0.0


def _runs(state: dict[str, Any] | None) -> bool:
    """As the daemon says; one that it does not know does not. Podman says of what is paused that it does not run."""
    return state is not None and bool(state["Running"] or state.get("Paused"))


def _end_processes(target: Target, grace: float, hierarchy: cgroups.Hierarchy | None) -> None:
    pid, started = target.pid, target.start_time

    def members() -> list[int]:
        found = _members(target, hierarchy)
        _resume(target, found, hierarchy)
        return found

    members()
    if grace and procfs.send(pid, started, _number(target.stop_signal)):
        procfs.wait_gone(pid, started, grace)
    if not procfs.end_all(members, KILL_TIMEOUT):
        raise EndError(f"its processes are still there {KILL_TIMEOUT:g} s after SIGKILL")


def _members(target: Target, hierarchy: cgroups.Hierarchy | None) -> list[int]:
    """Living processes of a window: those that carry its mark, its first one with its session, and its group."""
    leads = procfs.is_alive(target.pid, target.start_time)
    found = procfs.belonging("VX11_WINDOW", target.window_id, session=target.pid if leads else None)
    if target.cgroup and hierarchy:
        found |= set(hierarchy.group(target.cgroup).members())
    living = {one for one in found if procfs.lives(one)}
    return sorted(living | {target.pid} if leads else living)


def _resume(target: Target, members: list[int], hierarchy: cgroups.Hierarchy | None) -> None:
    """What is paused handles no signal, and what is frozen in version 1 does not even die."""
    if target.cgroup and hierarchy:
        with contextlib.suppress(cgroups.CgroupError):  # it shows, since what is frozen does not end
            hierarchy.group(target.cgroup).thaw()
    procfs.continue_all(members)


def _number(stop_signal: str) -> int:
    """The stop signal, or SIGTERM for a name that means none here: whatever it is, the window has to end."""
    try:
        return signals.number(stop_signal)
    except ValueError:
        return signal.SIGTERM
