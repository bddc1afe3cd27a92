"""The process engine: services as local processes, each in a session and, as root, a control group of its own.

What marks a process as ours is its environment, set before it runs its first instruction and readable in /proc as long
as it lives; children inherit it. Without writable control groups the engine claims no limits. As root each service has
a network of its own (`private.py`), unless its entry asks for that of the host.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from vx11 import signals
from vx11.catalogue.compose import Service
from vx11.catalogue.limits import Limits
from vx11.engines import cgroups, netns, private, procfs, relay
from vx11.engines.port import (
    STOP_SIGNAL,
    EngineError,
    Foreign,
    Found,
    Health,
    NoOwnNetwork,
    Running,
    Stamp,
    Usage,
    url_variable,
)
from vx11.statefiles import LOGS, write_json

CELL, WINDOW, SERVICE, GENERATION, DEADLINE = (
    f"VX11_{name}" for name in ("CELL", "WINDOW", "SERVICE", "GENERATION", "DEADLINE")
)
KILL_TIMEOUT = 5.0
REAP_TIMEOUT = 1.0
BIRTH_TIMEOUT = 1.0
PAUSE_TIMEOUT = 2.0
_LIMITS_BY_CONTROLLER = {"cpu": "limits.cpu", "memory": "limits.memory", "pids": "limits.pids"}
_JOIN = 'n=$1; shift; while [ "$n" -gt 0 ]; do echo $$ > "$1" || exit 125; shift; n=$((n-1)); done; exec "$@"'


class ProcessEngine:
    """Runs services as local processes.

    Args:
        state: folder of the cell's state; logs go below it.
        data: folder of named volumes.
        hierarchy: where control groups can be made; None for none.
    """

    name = "process"

    def __init__(
        self, cell: str, state: Path, data: Path, hierarchy: cgroups.Hierarchy | None, why: str = "asked for"
    ) -> None:
        self.why = why
        self._cell = cell
        self._logs = state / LOGS
        self._temporary = state / "tmp"
        self._data = data
        try:
            for folder in (self._logs, self._temporary, self._data):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EngineError(f"the process engine cannot use {error.filename}: {error.strerror}") from error
        self._hierarchy = hierarchy
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._addresses = state / "addresses.json"
        self._ports = _read_ports(self._addresses)
        self._lock = threading.Lock()
        self._has_networks = netns.available()
        self.capabilities = frozenset(self._capabilities())

    def _capabilities(self) -> set[str]:
        found = {"usage.cpu", "usage.memory", "pause"}
        if self._has_networks:
            found |= {"usage.network", "partition"}
        if self._hierarchy:
            mounts = self._hierarchy.mounts
            found |= {claim for controller, claim in _LIMITS_BY_CONTROLLER.items() if controller in mounts}
            if {"blkio", "io"} & set(mounts):
                found |= {"limits.iops", "usage.io"} if cgroups.device_of(self._data) else {"usage.io"}
        return found

    def setup(self) -> None:
        """Nothing: what a service needs is made for it alone."""

    def prepare(self, service: Service) -> None:
        """The entry has a process command, and the program exists."""
        if service.entry.vx11.process is None:
            raise EngineError(
                f"{service.name} has no x-vx11.process.command in {service.base}, which the process engine needs"
            )
        program = self._command(service)[0]
        if shutil.which(program, path=os.environ.get("PATH")) is None and not (service.base / program).is_file():
            raise EngineError(f"the program of {service.name} was not found: {program}")

    def _command(self, service: Service) -> list[str]:
        assert service.entry.vx11.process is not None  # prepare() has seen to it
        words = [word.replace("{python}", sys.executable) for word in service.entry.vx11.process.command]
        for mount in service.entry.volumes:
            if mount.type == "volume":
                folder = self._data / str(mount.source)
                words = [word.replace(f"{{volume:{mount.source}}}", str(folder)) for word in words]
        return words

    def start(self, service: Service, stamp: Stamp, limits: Limits, peers: Sequence[Service]) -> Running:
        """Starts the process inside its control group, with its stamp in the environment."""
        ports = {port.target: self._free_port(service.name, port.target) for port in service.entry.container_ports()}
        group = f"{self._cell}/{stamp.window_id}" if self._hierarchy else ""
        joins = self._make_group(group, limits) if self._hierarchy else []
        command = self._command(service)
        if joins:
            command = ["/bin/sh", "-c", _JOIN, "sh", str(len(joins)), *map(str, joins), *command]
        try:
            self._make_folders(service, stamp)
            child, passes = self._begin(command, service, stamp, ports, peers)
        except OSError as error:
            self._drop_group(group)
            raise EngineError(f"{service.name} could not be started: {error}") from error
        started = procfs.start_time(child.pid) or 0
        running = Running(
            self.name,
            stamp.window_id,
            pid=child.pid,
            start_time=started,
            cgroup=group,
            ports=ports,
            stop_signal=service.entry.stop_signal or STOP_SIGNAL,
        )
        _await_begin(child)
        self._reap(child)
        if passes:
            self._reap(passes)
        return _with_relay(running, passes.pid if passes else None)

    def _begin(
        self, command: Sequence[str], service: Service, stamp: Stamp, ports: Mapping[int, int], peers: Sequence[Service]
    ) -> tuple[private.Child, private.Child | None]:
        """The process, and the relay of its network where it has one."""
        with (self._logs / f"{stamp.window_id}.log").open("ab") as log:

            def begin() -> private.Child:
                return subprocess.Popen(
                    command,
                    cwd=service.base,
                    env=self._environment(service, stamp, ports, peers),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )

            if not self._is_private(service):
                return begin(), None
            outward = set(self._peer_ports(peers).values()) - set(ports.values())
            return private.start(begin, ports.values(), outward, _marks(stamp), log)

    def _is_private(self, service: Service) -> bool:
        """Whether it gets a network of its own; the relay passes on TCP alone."""
        assert service.entry.vx11.process is not None  # prepare() has seen to it
        wants = service.entry.vx11.process.network == "private"
        return self._has_networks and wants and all(port.protocol == "tcp" for port in service.entry.container_ports())

    def _make_group(self, name: str, limits: Limits) -> list[Path]:
        assert self._hierarchy is not None
        device = cgroups.device_of(self._data)
        try:
            group = self._hierarchy.create(name)
            group.apply(limits.to_json(), device)
        except cgroups.CgroupError as error:
            self._drop_group(name)
            raise EngineError(str(error)) from error
        return group.join_files()

    def _make_folders(self, service: Service, stamp: Stamp) -> None:
        (self._temporary / stamp.window_id).mkdir(exist_ok=True)
        for mount in service.entry.volumes:
            if mount.type == "volume":
                (self._data / str(mount.source)).mkdir(parents=True, exist_ok=True)

    def _environment(
        self, service: Service, stamp: Stamp, ports: Mapping[int, int], peers: Sequence[Service]
    ) -> dict[str, str]:
        """Nothing of madre's own environment but what finds programs and speaks a language."""
        found = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in os.environ}
        found["TMPDIR"] = str(self._temporary / stamp.window_id)
        found |= service.environment()
        for name, port in self._peer_ports(peers).items():
            found[url_variable(name)] = f"http://127.0.0.1:{port}"
        if ports:
            found["PORT"] = str(next(iter(ports.values())))
        return found | _marks(stamp)

    def _peer_ports(self, peers: Sequence[Service]) -> dict[str, int]:
        """Where each peer that has a port is on 127.0.0.1."""
        firsts = {peer.name: next(iter(peer.entry.container_ports()), None) for peer in peers}
        return {name: self._port(name, port.target) for name, port in firsts.items() if port}

    def _port(self, service: str, target: int) -> int:
        """The one port of a service's port in the cell, whether it runs or not; a later madre knows it too."""
        with self._lock:
            known = self._ports.get(f"{service}:{target}")
            return self._choose_port(service, target) if known is None else known

    def _free_port(self, service: str, target: int) -> int:
        """The same, for a service that starts: chosen anew when another program took it."""
        with self._lock:
            known = self._ports.get(f"{service}:{target}")
            return known if known is not None and _is_free(known) else self._choose_port(service, target)

    def _choose_port(self, service: str, target: int) -> int:
        chosen = _free_port(taken=set(self._ports.values()))
        self._ports[f"{service}:{target}"] = chosen
        try:
            write_json(self._addresses, self._ports)
        except OSError as error:
            raise EngineError(f"the addresses of the cell cannot be written: {error.strerror}") from error
        return chosen

    def _reap(self, child: subprocess.Popen[bytes]) -> None:
        """Collects the exit code when the process ends, so that no zombie is left."""
        with self._lock:
            self._children[child.pid] = child
        threading.Thread(target=child.wait, name=f"wait-{child.pid}", daemon=True).start()

    def health(self, running: Running) -> Health:
        """The first process decides, as PID 1 does in a container."""
        if procfs.is_alive(running.pid, running.start_time):
            return Health(alive=True)
        child = self._children.get(running.pid)
        return Health(alive=False, exit_code=_exit_code(child) if child else None)

    def surely_runs(self, running: Running) -> bool:
        """As the kernel says."""
        return procfs.is_alive(running.pid, running.start_time)

    def ask(self, running: Running, signal: str) -> bool:
        """Signals the first process, which handles that when it is not paused."""
        if self._freezer(running) or procfs.is_stopped(running.pid):
            self._try_to_resume(running)
        return procfs.send(running.pid, running.start_time, signals.number(signal))

    def stop(self, running: Running, signal: str, grace: float, *, asked: bool = False) -> bool:
        """Signals the first process, waits, then kills what is left of the window."""
        if not asked:
            self.ask(running, signal)
        obeyed = procfs.wait_gone(running.pid, running.start_time, grace)
        self._end(running, drain=relay.DRAIN)
        return obeyed

    def kill(self, running: Running) -> None:
        """Kills every process of the window until there is none."""
        self._end(running, drain=0.0)

    def _end(self, running: Running, *, drain: float) -> None:
        """Kills what is left; the relay has so many seconds to deliver what the service said last."""

        def members() -> list[int]:
            if self._freezer(running):  # in version 1 what is frozen does not even die
                self._try_to_resume(running)
            return self._members(running)

        if not procfs.end_all(members, KILL_TIMEOUT):
            raise EngineError(f"processes of {running.pid} are still there {KILL_TIMEOUT:g} s after SIGKILL")
        self._end_relay(running, drain)

    @staticmethod
    def _end_relay(running: Running, drain: float) -> None:
        if not procfs.wait_gone(running.relay, running.relay_start, drain):
            procfs.send(running.relay, running.relay_start, signal.SIGKILL)
            if not procfs.wait_gone(running.relay, running.relay_start, KILL_TIMEOUT):
                raise EngineError(f"the relay {running.relay} is still there {KILL_TIMEOUT:g} s after SIGKILL")

    def _members(self, running: Running) -> list[int]:
        """Living processes of a window: the first, which may not have joined its group yet, and the group.

        Without groups those that carry its mark, and the session of the first while it lives.
        """
        leads = procfs.is_alive(running.pid, running.start_time)
        if running.cgroup and self._hierarchy:
            found = self._alive_in(running.cgroup)
        else:
            found = procfs.belonging(WINDOW, running.window_id, session=running.pid if leads else None)
            found.discard(running.relay)
        return sorted(found | {running.pid} if leads else found)

    def _alive_in(self, group: str) -> set[int]:
        members = self._hierarchy.group(group).members() if self._hierarchy else []
        return {pid for pid in members if procfs.lives(pid)}

    def _freezer(self, running: Running) -> cgroups.Group | None:
        """The group by which all of it can be frozen, where there is one."""
        group = self._hierarchy.group(running.cgroup) if running.cgroup and self._hierarchy else None
        return group if group and group.can_freeze() else None

    def pause(self, running: Running) -> None:
        """By the freezer of its control group; without one every process of it is stopped by a signal."""
        freezer = self._freezer(running)
        try:
            if freezer:
                freezer.freeze()
            elif not procfs.halt_all(lambda: self._members(running), PAUSE_TIMEOUT):
                raise EngineError(f"processes of {running.pid} still run {PAUSE_TIMEOUT:g} s after SIGSTOP")
        except cgroups.CgroupError as error:
            raise EngineError(str(error)) from error

    def resume(self, running: Running) -> None:
        """Thaws the group, or continues the processes."""
        freezer = self._freezer(running)
        try:
            if freezer:
                freezer.thaw()
            else:
                procfs.continue_all(self._members(running))
        except cgroups.CgroupError as error:
            raise EngineError(str(error)) from error

    def _try_to_resume(self, running: Running) -> None:
        with contextlib.suppress(EngineError):  # it shows, since what is paused does not end
            self.resume(running)

    def is_paused(self, running: Running) -> bool:
        """As the freezer says, or all processes are stopped."""
        if freezer := self._freezer(running):
            return freezer.is_frozen()
        members = self._members(running)
        return bool(members) and all(procfs.is_stopped(pid) for pid in members)

    def partition(self, running: Running) -> None:
        """The loopback interface of its network, which the relay uses too, carries nothing any more."""
        self._set_network(running, up=False)

    def heal(self, running: Running) -> None:
        """The same interface carries traffic again, with the connections that outlived it."""
        self._set_network(running, up=True)

    def _set_network(self, running: Running, *, up: bool) -> None:
        self._expect_private(running)
        try:
            private.set_network(running.pid, up=up)
        except OSError as error:
            raise EngineError(f"the network of process {running.pid} could not be set: {error}") from error

    def reachable(self, running: Running) -> Mapping[str, bool]:
        """Its ports on the host."""
        self._expect_private(running)
        try:
            return private.reachable(running.pid, running.ports.values())
        except OSError as error:
            raise EngineError(f"the network of process {running.pid} could not be tried: {error}") from error

    @staticmethod
    def _expect_private(running: Running) -> None:
        if not private.is_private(running.pid):
            raise NoOwnNetwork(f"process {running.pid} has no network of its own")

    def remove(self, running: Running, window_id: str) -> None:
        """Removes the control group and the temporary files, and forgets the process."""
        self._end_relay(running, 0.0)
        self._drop_group(running.cgroup)
        if window_id:  # what has lost its mark has no folder of its own
            shutil.rmtree(self._temporary / window_id, ignore_errors=True)
        with self._lock:
            self._children.pop(running.pid, None)
            self._children.pop(running.relay, None)

    def _drop_group(self, name: str) -> None:
        if name and self._hierarchy:
            try:
                self._hierarchy.group(name).remove()
            except cgroups.CgroupError as error:
                raise EngineError(str(error)) from error
            self._hierarchy.remove_parents(name)

    def exec(self, running: Running, command: Sequence[str], timeout: float) -> int:
        """Runs a program as the service runs: environment, folder, network; ends it with its children in time."""

        def begin() -> private.Child:
            return subprocess.Popen(
                command,
                cwd=f"/proc/{running.pid}/cwd",
                env=procfs.environment(running.pid),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

        try:
            child = netns.inside(running.pid, begin) if private.is_private(running.pid) else begin()
        except OSError as error:
            raise EngineError(f"the health check {command[0]} did not run: {error}") from error
        try:
            return child.wait(timeout)
        except subprocess.TimeoutExpired as error:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            raise EngineError(f"the health check {command[0]} took longer than {timeout:g} s") from error

    def usage(self, running: Running) -> Usage | None:
        """From the control group, or summed over the processes where there is none; traffic as the relay counts it."""
        found = self._usage(running)
        passed = private.traffic(running.relay, running.relay_start) if found and running.relay else None
        return replace(found, net_rx_bytes=passed[0], net_tx_bytes=passed[1]) if found and passed else found

    def _usage(self, running: Running) -> Usage | None:
        if running.cgroup and self._hierarchy:
            figures = self._hierarchy.group(running.cgroup).usage()
            return Usage(**figures, source=f"cgroup v{self._hierarchy.version}") if figures else None  # type: ignore[arg-type]
        members = self._members(running)
        return _usage_of(members) if members else None

    def limits(self, running: Running) -> Limits:
        """Read back from the control group."""
        if running.cgroup and self._hierarchy:
            return Limits(**self._hierarchy.group(running.cgroup).limits())
        return Limits()

    def logs(self, running: Running, window_id: str, tail: int) -> list[str]:
        """The end of the window's log file."""
        try:
            text = (self._logs / f"{window_id}.log").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        return text.splitlines()[-tail:]

    def inventory(self, cell: str) -> list[Found]:
        """Processes of the cell, one entry a window: the process that leads its session; then what has none.

        That is groups without a process, and relays whose service has ended.
        """
        windows: dict[str, Found] = {}
        groups = self._groups(cell)
        processes = self._of_cell(cell, groups)
        relays = {marks.get(WINDOW, ""): pid for pid, marks in processes.items() if private.RELAY in marks}
        for pid, marks in processes.items():
            window, started = marks.get(WINDOW, ""), procfs.start_time(pid)
            known = window in windows and procfs.session_of(pid) != pid
            if started is None or known or private.RELAY in marks:
                continue
            group = f"{cell}/{window}" if self._hierarchy and window else ""
            running = Running(self.name, window, pid=pid, start_time=started, cgroup=group)
            generation = marks.get(GENERATION, "")
            windows[window] = Found(
                window,
                marks.get(SERVICE, ""),
                f"process {pid}",
                _with_relay(running, relays.get(window)),
                generation=int(generation) if generation.isdecimal() else 0,
            )
        for name in groups:
            window = name.rpartition("/")[2]
            running = _with_relay(Running(self.name, window, cgroup=name), relays.get(window))
            windows.setdefault(window, Found(window, "", f"control group {name}", running, alive=False))
        for window, pid in relays.items():
            running = _with_relay(Running(self.name, window), pid)
            windows.setdefault(window, Found(window, "", f"relay {pid}", running, alive=False))
        return list(windows.values())

    def _of_cell(self, cell: str, groups: Sequence[str]) -> dict[int, dict[str, str]]:
        """Living processes with their marks: by the marks, and by the groups, since marks can be lost.

        While a program replaces itself by another (execve(2)) its environment cannot be read for a moment.
        """
        found = {pid: procfs.environment(pid) for pid in procfs.marked(CELL, cell)}
        for name in groups:
            known = {CELL: cell, WINDOW: name.rpartition("/")[2]}
            found |= {pid: found.get(pid, {}) | known for pid in self._alive_in(name)}
        return found

    def _groups(self, cell: str) -> list[str]:
        return self._hierarchy.names(cell) if self._hierarchy else []

    def foreign(self, cell: str) -> list[Foreign]:
        """Nothing: which processes of a host are services cannot be told from outside."""
        return []

    def residue(self, cell: str) -> list[str]:
        """Processes, control groups, volumes and temporary files of the cell."""
        groups = self._groups(cell)
        processes = self._of_cell(cell, groups).items()
        found = [f"{'relay' if private.RELAY in marks else 'process'} {pid}" for pid, marks in processes]
        found += [f"control group {name}" for name in groups]
        found += [f"volume {folder.name}" for folder in sorted(self._data.iterdir())]
        return found + [f"temporary files {folder.name}" for folder in sorted(self._temporary.iterdir())]

    def remove_volumes(self, cell: str) -> None:
        """The folders of named volumes."""
        _empty(self._data)

    def purge(self, cell: str) -> None:
        """Kills and removes all that `residue` names."""

        def members() -> list[int]:
            groups = self._groups(cell)
            for name in groups:
                self._try_to_resume(Running(self.name, cgroup=name))
            return list(self._of_cell(cell, groups))

        if not procfs.end_all(members, KILL_TIMEOUT):
            raise EngineError(f"processes of the cell {cell} are still there {KILL_TIMEOUT:g} s after SIGKILL")
        for name in self._groups(cell):
            self._drop_group(name)
        self.remove_volumes(cell)
        _empty(self._temporary)


def _marks(stamp: Stamp) -> dict[str, str]:
    return {
        CELL: stamp.cell,
        WINDOW: stamp.window_id,
        SERVICE: stamp.service,
        GENERATION: str(stamp.generation),
        DEADLINE: f"{stamp.deadline.boot_id}:{stamp.deadline.boot_ns}",
    }


def _with_relay(running: Running, pid: int | None) -> Running:
    """A handle with the relay of its window, if there is one."""
    started = procfs.start_time(pid) if pid else None
    return replace(running, relay=pid, relay_start=started) if pid and started is not None else running


def _await_begin(child: subprocess.Popen[bytes]) -> None:
    """Waits until the program itself runs, so that others find it by its marks and in its groups.

    Popen answers before that: the shell has still to join the groups, and while a program is replaced by another
    (execve(2)) its environment cannot be read.
    """
    limit = time.monotonic() + BIRTH_TIMEOUT
    while child.poll() is None and not _has_begun(child.pid) and time.monotonic() < limit:
        time.sleep(0.001)


def _has_begun(pid: int) -> bool:
    command = procfs.command(pid)
    return bool(command) and _JOIN not in command and CELL in procfs.environment(pid)


def _exit_code(child: subprocess.Popen[bytes]) -> int | None:
    """The exit code of a process that has just ended; another thread collects it."""
    try:
        return child.wait(REAP_TIMEOUT)
    except subprocess.TimeoutExpired:
        return None


def _empty(folder: Path) -> None:
    try:
        for item in folder.iterdir():
            shutil.rmtree(item)
    except OSError as error:
        raise EngineError(f"{error.filename} could not be removed: {error.strerror}") from error


def _read_ports(path: Path) -> dict[str, int]:
    """Service and port → port on 127.0.0.1, as an earlier madre of the cell chose them."""
    try:
        found = dict(json.loads(path.read_text(encoding="utf-8")))
        return {name: int(port) for name, port in found.items()}
    except (OSError, TypeError, ValueError):
        return {}


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port(taken: set[int]) -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            number = int(probe.getsockname()[1])
        if number not in taken:
            return number


def _usage_of(members: Sequence[int]) -> Usage | None:
    """Sums over processes; the peak is the sum of their peaks, an upper bound."""
    cpu = memory = peak = 0
    seen = False
    for pid in members:
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                times, resident = process.cpu_times(), process.memory_info()
        except psutil.Error:
            continue
        seen = True
        cpu += round((times.user + times.system + times.children_user + times.children_system) * 1e9)
        memory += resident.rss
        peak += _peak_of(pid) or resident.rss
    return Usage(cpu, memory, peak, source="procfs") if seen else None


def _peak_of(pid: int) -> int | None:
    """VmHWM of proc(5), in bytes."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None
