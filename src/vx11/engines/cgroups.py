"""Control groups, version 1 and version 2, behind one face.

A `Group` is a set of folders, one for each controller (all the same one in version 2), and knows the files of its
version. Sources: Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst of the kernel. Standard library only.
"""

import contextlib
import os
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOUNT = Path("/sys/fs/cgroup")
PROC = Path("/proc")
PARENT = "vx11"
_ATTEMPTS = 20
_PERIOD_US = 100_000
_UNLIMITED_V1 = 1 << 60
_WANTED_V1 = ("cpu", "cpuacct", "memory", "pids", "blkio", "freezer")
_FREEZE_TIMEOUT, _FREEZE_LOOK = 2.0, 0.001
_WANTED_V2 = ("cpu", "memory", "io", "pids")


class CgroupError(Exception):
    """A control group could not be made, written or removed."""


@dataclass(frozen=True)
class Group:
    """One control group.

    Attributes:
        version: 1 or 2.
        folders: controller → its folder.
    """

    version: int
    folders: Mapping[str, Path]

    def join_files(self) -> list[Path]:
        """The files that a process writes its pid to in order to join."""
        return [folder / "cgroup.procs" for folder in dict.fromkeys(self.folders.values())]

    def members(self) -> list[int]:
        """Processes in the group, and in groups that they made below it."""
        places = os.walk(next(iter(self.folders.values())))
        return [int(word) for place, _, _ in places for word in _read(Path(place, "cgroup.procs")).split()]

    def apply(self, limits: Mapping[str, Any], device: str | None) -> None:
        """Writes limits: `cpu` processors, `memory` bytes, `pids`, `read_iops` and `write_iops` on `device` (MAJ:MIN).

        Raises:
            CgroupError: the kernel refused one.
        """
        for folder, name, value in self._settings(limits, device):
            if folder not in self.folders:
                raise CgroupError(f"there is no {folder} controller for {name}")
            _write(self.folders[folder] / name, value)

    def _settings(self, limits: Mapping[str, Any], device: str | None) -> Iterable[tuple[str, str, str]]:
        if "cpu" in limits:
            quota = str(round(limits["cpu"] * _PERIOD_US))
            if self.version == 1:
                yield "cpu", "cpu.cfs_period_us", str(_PERIOD_US)
                yield "cpu", "cpu.cfs_quota_us", quota
            else:
                yield "cpu", "cpu.max", f"{quota} {_PERIOD_US}"
        if "memory" in limits:
            yield from self._memory_settings(limits["memory"])
        if "pids" in limits:
            yield "pids", "pids.max", str(limits["pids"])
        if device:
            yield from self._io_settings(limits, device)

    def _memory_settings(self, count: int) -> Iterable[tuple[str, str, str]]:
        swap = "memory.memsw.limit_in_bytes" if self.version == 1 else "memory.swap.max"
        yield "memory", "memory.limit_in_bytes" if self.version == 1 else "memory.max", str(count)
        if "memory" in self.folders and (self.folders["memory"] / swap).exists():
            yield "memory", swap, str(count) if self.version == 1 else "0"

    def _io_settings(self, limits: Mapping[str, Any], device: str) -> Iterable[tuple[str, str, str]]:
        for name, v1, v2 in (("read_iops", "read_iops_device", "riops"), ("write_iops", "write_iops_device", "wiops")):
            if name in limits and self.version == 1:
                yield "blkio", f"blkio.throttle.{v1}", f"{device} {limits[name]}"
            elif name in limits:
                yield "io", "io.max", f"{device} {v2}={limits[name]}"

    def limits(self) -> dict[str, Any]:
        """The limits in force, read back; what is unlimited is left out."""
        return self._limits_v1() if self.version == 1 else self._limits_v2()

    def _limits_v1(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        quota, period = self._number("cpu", "cpu.cfs_quota_us"), self._number("cpu", "cpu.cfs_period_us")
        if quota and period and quota > 0:
            found["cpu"] = quota / period
        memory = self._number("memory", "memory.limit_in_bytes")
        if memory is not None and memory < _UNLIMITED_V1:
            found["memory"] = memory
        if (pids := self._number("pids", "pids.max")) is not None:
            found["pids"] = pids
        for name in ("read_iops", "write_iops"):
            rates = [int(line.split()[1]) for line in self._lines("blkio", f"blkio.throttle.{name}_device")]
            if rates:
                found[name] = min(rates)
        return found

    def _limits_v2(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        quota, _, period = self._text("cpu", "cpu.max").partition(" ")
        if quota.isdecimal():
            found["cpu"] = int(quota) / int(period)
        for name in ("memory", "pids"):
            if (value := self._number(name, f"{name}.max")) is not None:
                found[name] = value
        for line in self._lines("io", "io.max"):
            words = dict(word.split("=") for word in line.split()[1:])
            for name, key in (("read_iops", "riops"), ("write_iops", "wiops")):
                if words.get(key, "max") != "max":
                    found[name] = min(int(words[key]), found.get(name, int(words[key])))
        return found

    def usage(self) -> dict[str, int | None] | None:
        """Figures as `vx11.engines.port.Usage` names them; None when the group is gone."""
        found = self._usage_v1() if self.version == 1 else self._usage_v2()
        # Looked at last: what goes while it is read reads as zeros. The freezer has no figures, and may not be joined.
        counting = {folder for name, folder in self.folders.items() if name != "freezer"}
        return found if all(folder.exists() for folder in counting) else None

    def _usage_v1(self) -> dict[str, int | None]:
        operations = _by_kind(self._lines("blkio", "blkio.throttle.io_serviced"))
        transferred = _by_kind(self._lines("blkio", "blkio.throttle.io_service_bytes"))
        has_io = "blkio" in self.folders
        return {
            "cpu_ns": self._number("cpuacct", "cpuacct.usage") or 0,
            "memory": self._number("memory", "memory.usage_in_bytes") or 0,
            "memory_peak": self._number("memory", "memory.max_usage_in_bytes") or 0,
            "io_read_ops": operations.get("Read", 0) if has_io else None,
            "io_write_ops": operations.get("Write", 0) if has_io else None,
            "io_read_bytes": transferred.get("Read", 0) if has_io else None,
            "io_write_bytes": transferred.get("Write", 0) if has_io else None,
        }

    def _usage_v2(self) -> dict[str, int | None]:
        cpu = dict(line.split() for line in self._lines("cpu", "cpu.stat"))
        memory = self._number("memory", "memory.current") or 0
        totals: dict[str, int] = {}
        for line in self._lines("io", "io.stat"):
            for key, _, value in (word.partition("=") for word in line.split()):
                if value.isdecimal():  # io.cost adds figures of another kind, and devices without any share a line
                    totals[key] = totals.get(key, 0) + int(value)
        has_io = "io" in self.folders
        return {
            "cpu_ns": int(cpu.get("usage_usec", 0)) * 1000,
            "memory": memory,
            "memory_peak": self._number("memory", "memory.peak") or memory,
            "io_read_ops": totals.get("rios", 0) if has_io else None,
            "io_write_ops": totals.get("wios", 0) if has_io else None,
            "io_read_bytes": totals.get("rbytes", 0) if has_io else None,
            "io_write_bytes": totals.get("wbytes", 0) if has_io else None,
        }

    def can_freeze(self) -> bool:
        """Whether what is in the group can be paused as a whole."""
        return self._freezer() is not None

    def _freezer(self) -> Path | None:
        """The file that freezes; kernels before 5.2 have none in version 2."""
        folder = self.folders.get("freezer") if self.version == 1 else next(iter(self.folders.values()))
        file = folder / ("freezer.state" if self.version == 1 else "cgroup.freeze") if folder else None
        return file if file and file.exists() else None

    def freeze(self) -> None:
        """Has nothing in the group run until `thaw`; waits until nothing does.

        Raises:
            CgroupError: the kernel refused, or did not get it done.
        """
        limit = time.monotonic() + _FREEZE_TIMEOUT
        self._set_frozen("FROZEN", "1")
        while not self.is_frozen():
            if time.monotonic() > limit:
                self.thaw()
                raise CgroupError(f"what is in {self._freezer()} was not frozen within {_FREEZE_TIMEOUT:g} s")
            time.sleep(_FREEZE_LOOK)
            self._set_frozen("FROZEN", "1")  # version 1 may need it again, for what was just being started

    def thaw(self) -> None:
        """Has it run again; one that is not frozen, or not there, stays as it is.

        Raises:
            CgroupError: the kernel refused.
        """
        file = self._freezer()
        if file and _read(file).strip() not in ("", "THAWED", "0"):
            self._set_frozen("THAWED", "0")

    def _set_frozen(self, v1: str, v2: str) -> None:
        file = self._freezer()
        if file is None:
            raise CgroupError("there is no freezer among the control groups here")
        _write(file, v1 if self.version == 1 else v2)

    def is_frozen(self) -> bool:
        """Whether nothing in the group can run, as the kernel says."""
        file = self._freezer()
        if file is None:
            return False
        if self.version == 1:
            return _read(file).strip() == "FROZEN"
        return "frozen 1" in _read(file.with_name("cgroup.events")).splitlines()

    def remove(self) -> None:
        """Removes the group, with those below it; no process may be left in them.

        Raises:
            CgroupError: it could not be removed.
        """
        for folder in dict.fromkeys(self.folders.values()):
            _remove(folder)

    def _text(self, controller: str, name: str) -> str:
        return _read(self.folders[controller] / name).strip() if controller in self.folders else ""

    def _lines(self, controller: str, name: str) -> list[str]:
        return self._text(controller, name).splitlines()

    def _number(self, controller: str, name: str) -> int | None:
        text = self._text(controller, name)
        return int(text) if text.lstrip("-").isdecimal() else None


@dataclass(frozen=True)
class Hierarchy:
    """Where groups can be made on this machine.

    Attributes:
        version: 1 or 2.
        mounts: controller → the folder that groups are made below.
    """

    version: int
    mounts: Mapping[str, Path]

    def group(self, name: str) -> Group:
        """The group of this name, whether it is there or not."""
        return Group(self.version, {controller: mount / PARENT / name for controller, mount in self.mounts.items()})

    def create(self, name: str) -> Group:
        """Makes a group, with its parents.

        Raises:
            CgroupError: the kernel refused.
        """
        for mount in dict.fromkeys(self.mounts.values()):
            for left in reversed(range(_ATTEMPTS)):
                try:
                    self._make_path(mount, name)
                    break
                except CgroupError:  # a parent was empty for a moment, and another window or cell that ended removed it
                    if left == 0:
                        raise
        return self.group(name)

    def _make_path(self, mount: Path, name: str) -> None:
        folder = mount
        for part in (PARENT, *name.split("/")):
            if self.version == 2:
                _write(folder / "cgroup.subtree_control", " ".join(f"+{name}" for name in self.mounts))
            folder = folder / part
            _make(folder)

    def remove_parents(self, name: str) -> None:
        """Removes the folders above a group that are empty; others stay."""
        for mount in dict.fromkeys(self.mounts.values()):
            folder = (mount / PARENT / name).parent
            while folder != mount:
                try:
                    folder.rmdir()
                except OSError:
                    break
                folder = folder.parent

    def names(self, parent: str) -> list[str]:
        """Groups that exist below `parent`, as names for `group`."""
        found: set[str] = set()
        for mount in set(self.mounts.values()):
            with contextlib.suppress(OSError), os.scandir(mount / PARENT / parent) as items:
                found |= {f"{parent}/{item.name}" for item in items if item.is_dir()}
        return sorted(found)


def detect(mount: Path = MOUNT, mounts_file: Path = Path("/proc/self/mounts")) -> Hierarchy | None:
    """The hierarchy that groups can be made in, None where there is none that this user may write.

    In version 1 cpuacct or memory may be missing from the kernel; what is there is used.
    """
    if (mount / "cgroup.controllers").exists():
        there = _read(mount / "cgroup.controllers").split()
        hierarchy = Hierarchy(2, {name: mount for name in _WANTED_V2 if name in there})
    else:
        hierarchy = Hierarchy(1, _v1_mounts(mounts_file))
    return hierarchy if hierarchy.mounts and _may_write(hierarchy) else None


def of_container(
    container: str, pid: int, mounts_file: Path = Path("/proc/self/mounts"), mount: Path = MOUNT
) -> Group | None:
    """The group that an engine made for a container, found by a process in it; None where none is named after it.

    What the container makes below its group does not count: limits and usage are those of the whole.
    """
    paths = _paths_of(container, pid)
    if (mount / "cgroup.controllers").exists():
        folder = mount / paths.get("", "").lstrip("/")
        return Group(2, dict.fromkeys(_WANTED_V2, folder)) if paths and folder.is_dir() else None
    roots = _v1_mounts(mounts_file)
    folders = {name: root / paths[name].lstrip("/") for name, root in roots.items() if name in paths}
    folders = {name: folder for name, folder in folders.items() if folder.is_dir()}
    return Group(1, folders) if folders else None


def is_in_container(container: str, pid: int) -> bool:
    """Whether a process is in the group of a container, or below it."""
    return bool(_paths_of(container, pid))


def _paths_of(container: str, pid: int) -> dict[str, str]:
    """Controller → path of the group that is named after a container and holds a process; "" stands for version 2.

    Docker calls it ID or docker-ID.scope, Podman libpod-ID or libpod-ID.scope. In libpod-conmon-ID.scope is Podman's
    monitor, which is not of the container.
    """
    text = _read(PROC / str(pid) / "cgroup")
    if container not in text:
        return {}
    named = re.compile(rf".*/(?:[a-z]+-)?{re.escape(container)}(?:\.scope)?(?=/|$)")
    found: dict[str, str] = {}
    for _, controllers, path in (line.split(":", 2) for line in text.splitlines()):
        if match := named.match(path):
            found |= dict.fromkeys(controllers.split(","), match[0])
    return found


def _v1_mounts(mounts_file: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for line in _read(mounts_file).splitlines():
        _, folder, kind, options = line.split()[:4]
        if kind == "cgroup":
            found |= {name: Path(folder) for name in options.split(",") if name in _WANTED_V1}
    return {name: found[name] for name in _WANTED_V1 if name in found}


def _may_write(hierarchy: Hierarchy) -> bool:
    """Tries it: permissions, read-only mounts and the rules of version 2 cannot be foretold."""
    name = f"probe-{os.getpid()}"
    try:
        hierarchy.create(name).remove()
    except CgroupError:
        return False
    hierarchy.remove_parents(name)
    return True


def _by_kind(lines: Iterable[str]) -> dict[str, int]:
    """`8:0 Read 12` summed over devices, by kind."""
    totals: dict[str, int] = {}
    for words in (line.split() for line in lines):
        if len(words) == 3:
            totals[words[1]] = totals.get(words[1], 0) + int(words[2])
    return totals


def device_of(path: Path, sys_block: Path = Path("/sys/dev/block")) -> str | None:
    """The whole block device, MAJ:MIN, that holds a path; None where none does (tmpfs, overlay, network)."""
    status = path.stat()
    name = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    folder = sys_block / name
    if not folder.exists():
        return None
    if (folder / "partition").exists():
        return (folder.resolve().parent / "dev").read_text(encoding="ascii").strip()
    return name


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _write(path: Path, value: str) -> None:
    try:
        path.write_text(value, encoding="ascii")
    except OSError as error:
        raise CgroupError(f"cannot write {value!r} to {path}: {error.strerror}") from error


def _make(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise CgroupError(f"cannot make the control group {folder}: {error.strerror}") from error


def _remove(folder: Path) -> None:
    for place, _, _ in os.walk(folder, topdown=False):
        try:
            Path(place).rmdir()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise CgroupError(f"cannot remove the control group {place}: {error.strerror}") from error
