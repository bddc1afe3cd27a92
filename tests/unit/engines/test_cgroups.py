"""Control groups of both versions, over folders that hold what the kernel's hold."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vx11.engines import cgroups
from vx11.engines.cgroups import CgroupError, Group, Hierarchy

MIB = 1024 * 1024
V1 = ("cpu", "cpuacct", "memory", "pids", "blkio")
V2 = ("cpu", "memory", "io", "pids")
MakeGroup = Callable[..., Group]
Files = dict[str, str]


@pytest.fixture
def group(tmp_path: Path) -> MakeGroup:
    """`group(version, {"memory/memory.max": "5", …}, without=("io",))`: a group with these files."""

    def make(version: int, files: Files | None = None, without: tuple[str, ...] = ()) -> Group:
        folders = {}
        for controller in V1 if version == 1 else V2:
            # In version 1 cpu and cpuacct are usually mounted together, in version 2 all are one.
            place = "unified" if version == 2 else {"cpuacct": "cpu"}.get(controller, controller)
            folders[controller] = tmp_path / place / "vx11" / "c" / "w"
            folders[controller].mkdir(parents=True, exist_ok=True)
        for name, text in (files or {}).items():
            controller, _, file = name.partition("/")
            (folders[controller] / file).write_text(text, encoding="ascii")
        return Group(version, {name: folder for name, folder in folders.items() if name not in without})

    return make


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is written to the kernel, as (file, value), in order; a plain file would keep the last value alone."""
    seen: list[tuple[str, str]] = []
    monkeypatch.setattr(cgroups, "_write", lambda path, value: seen.append((path.name, value)))
    return seen


# Freeze -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def freezer(tmp_path: Path, group: MakeGroup) -> Callable[[int], Group]:
    """`freezer(version)`: a group with a freezer that obeys at once."""

    def make(version: int) -> Group:
        if version == 2:
            return group(2, {"cpu/cgroup.freeze": "0\n", "cpu/cgroup.events": "populated 1\nfrozen 1\n"})
        folder = tmp_path / "freezer"
        folder.mkdir()
        (folder / "freezer.state").write_text("THAWED\n", encoding="ascii")
        return Group(1, {**group(1).folders, "freezer": folder})

    return make


@pytest.mark.parametrize(
    ("version", "frozen", "thawed"),
    [
        (1, ("freezer.state", "FROZEN"), ("freezer.state", "THAWED")),
        (2, ("cgroup.freeze", "1"), ("cgroup.freeze", "0")),
    ],
)
def test_what_is_in_a_group_is_frozen_and_thawed(
    freezer: Callable[[int], Group],
    monkeypatch: pytest.MonkeyPatch,
    version: int,
    frozen: tuple[str, str],
    thawed: tuple[str, str],
) -> None:
    seen: list[tuple[str, str]] = []
    write = cgroups._write
    monkeypatch.setattr(cgroups, "_write", lambda path, value: (seen.append((path.name, value)), write(path, value)))
    found = freezer(version)
    assert found.can_freeze()
    found.thaw()
    assert seen == []  # it was not frozen
    found.freeze()
    assert found.is_frozen()
    assert set(seen) == {frozen}
    found.thaw()
    assert seen[-1] == thawed


@pytest.mark.parametrize("events", ["populated 1\nfrozen 0\n", ""])
def test_what_does_not_freeze_is_thawed_and_told(
    group: MakeGroup, monkeypatch: pytest.MonkeyPatch, events: str
) -> None:
    monkeypatch.setattr(cgroups, "_FREEZE_TIMEOUT", 0.01)
    found = group(2, {"cpu/cgroup.freeze": "0\n", "cpu/cgroup.events": events})
    with pytest.raises(CgroupError, match=r"was not frozen within 0\.01 s"):
        found.freeze()
    assert (found.folders["cpu"] / "cgroup.freeze").read_text(encoding="ascii") == "0"
    assert not found.is_frozen()


@pytest.mark.parametrize("version", [1, 2])
def test_without_a_freezer_nothing_is_frozen(group: MakeGroup, version: int) -> None:
    found = group(version)
    assert not found.can_freeze()
    assert not found.is_frozen()
    found.thaw()
    with pytest.raises(CgroupError, match="there is no freezer"):
        found.freeze()


# Apply --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "limits", "device", "wanted"),
    [
        (1, {}, "8:0", []),
        (1, {"cpu": 0.5}, None, [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "50000")]),
        (1, {"cpu": 2.25}, None, [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "225000")]),
        (1, {"memory": 256 * MIB}, None, [("memory.limit_in_bytes", "268435456")]),
        (1, {"pids": 20}, None, [("pids.max", "20")]),
        (
            1,
            {"read_iops": 100, "write_iops": 50},
            "8:16",
            [("blkio.throttle.read_iops_device", "8:16 100"), ("blkio.throttle.write_iops_device", "8:16 50")],
        ),
        (2, {}, "8:0", []),
        (2, {"cpu": 0.5}, None, [("cpu.max", "50000 100000")]),
        (2, {"memory": 256 * MIB}, None, [("memory.max", "268435456")]),
        (2, {"pids": 20}, None, [("pids.max", "20")]),
        (2, {"read_iops": 100, "write_iops": 50}, "8:16", [("io.max", "8:16 riops=100"), ("io.max", "8:16 wiops=50")]),
        (2, {"write_iops": 50}, "8:16", [("io.max", "8:16 wiops=50")]),
        (2, {"read_iops": 100}, None, []),  # no device holds the data; reading back shows that it is unlimited
    ],
)
def test_limits_are_written_as_each_version_wants_them(
    group: MakeGroup,
    written: list[tuple[str, str]],
    version: int,
    limits: dict[str, Any],
    device: str | None,
    wanted: list[tuple[str, str]],
) -> None:
    group(version).apply(limits, device)
    assert written == wanted


def test_swap_counts_as_memory_where_the_kernel_accounts_it(group: MakeGroup, written: list[tuple[str, str]]) -> None:
    group(1, {"memory/memory.memsw.limit_in_bytes": "0"}).apply({"memory": 4096}, None)
    group(2, {"memory/memory.swap.max": "max"}).apply({"memory": 4096}, None)
    assert written == [
        ("memory.limit_in_bytes", "4096"),
        ("memory.memsw.limit_in_bytes", "4096"),  # memory and swap together, after memory: it may not be less
        ("memory.max", "4096"),
        ("memory.swap.max", "0"),  # swap alone
    ]


@pytest.mark.parametrize(
    ("version", "without", "limits", "message"),
    [
        (1, "cpu", {"cpu": 1}, "there is no cpu controller for cpu.cfs_period_us"),
        (1, "memory", {"memory": 1}, "there is no memory controller for memory.limit_in_bytes"),
        (1, "blkio", {"read_iops": 1}, "there is no blkio controller for blkio.throttle.read_iops_device"),
        (2, "memory", {"memory": 1}, "there is no memory controller for memory.max"),
        (2, "io", {"write_iops": 1}, "there is no io controller for io.max"),
        (2, "pids", {"pids": 1}, "there is no pids controller for pids.max"),
    ],
)
def test_a_controller_that_is_missing_is_named(
    group: MakeGroup, version: int, without: str, limits: dict[str, Any], message: str
) -> None:
    with pytest.raises(CgroupError) as refused:
        group(version, without=(without,)).apply(limits, "8:0")
    assert str(refused.value) == message


def test_what_the_kernel_refuses_is_told_with_the_file(group: MakeGroup) -> None:
    made = group(2)
    (made.folders["cpu"] / "cpu.max").mkdir()
    with pytest.raises(CgroupError, match=r"cannot write '100000 100000' to .*/cpu\.max: Is a directory"):
        made.apply({"cpu": 1}, None)


# Read back ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "files", "limits"),
    [
        (1, {}, {}),
        (1, {"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, {"cpu": 0.5}),
        (1, {"cpu/cpu.cfs_quota_us": "75000\n", "cpu/cpu.cfs_period_us": "50000\n"}, {"cpu": 1.5}),
        (1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, {}),
        (1, {"memory/memory.limit_in_bytes": "268435456\n"}, {"memory": 268435456}),
        (1, {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, {}),  # unlimited on 4 KiB pages
        (1, {"memory/memory.limit_in_bytes": "9223372036854710272\n"}, {}),  # unlimited on 64 KiB pages
        (1, {"pids/pids.max": "20\n"}, {"pids": 20}),
        (1, {"pids/pids.max": "max\n"}, {}),
        (
            1,
            {
                "blkio/blkio.throttle.read_iops_device": "8:0 300\n8:16 100\n253:0 200\n",
                "blkio/blkio.throttle.write_iops_device": "8:0 50\n",
            },
            {"read_iops": 100, "write_iops": 50},
        ),
        (1, {"blkio/blkio.throttle.read_iops_device": ""}, {}),
        (1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n", "pids/pids.max": "max\n"}, {}),
        (2, {}, {}),
        (2, {"cpu/cpu.max": "50000 100000\n"}, {"cpu": 0.5}),
        (2, {"cpu/cpu.max": "max 100000\n"}, {}),
        (2, {"memory/memory.max": "268435456\n"}, {"memory": 268435456}),
        (2, {"memory/memory.max": "max\n"}, {}),
        (2, {"pids/pids.max": "20\n"}, {"pids": 20}),
        (2, {"pids/pids.max": "max\n"}, {}),
        (2, {"io/io.max": ""}, {}),
        (2, {"io/io.max": "8:0 rbps=max wbps=max riops=100 wiops=max\n"}, {"read_iops": 100}),
        (
            2,
            {"io/io.max": "8:16 rbps=max wbps=max riops=300 wiops=70\n8:0 rbps=1048576 wbps=max riops=100 wiops=80\n"},
            {"read_iops": 100, "write_iops": 70},
        ),
        (
            2,
            {"io/io.max": "253:0 riops=900\n8:16 wiops=50\n8:0 rbps=max wbps=max riops=max wiops=max\n"},
            {"read_iops": 900, "write_iops": 50},
        ),
        (2, {"io/io.max": "8:0 rbps=1048576 wbps=2097152 riops=max wiops=max\n"}, {}),  # bytes are no operations
        (2, {"cpu/cpu.max": "max\n", "memory/memory.max": "0\n"}, {"memory": 0}),
        (
            2,  # all of them together
            {
                "cpu/cpu.max": "150000 100000\n",
                "memory/memory.max": "67108864\n",
                "memory/memory.swap.max": "0\n",
                "pids/pids.max": "50\n",
                "io/io.max": "259:0 rbps=max wbps=max riops=300 wiops=200\n",
            },
            {"cpu": 1.5, "memory": 67108864, "pids": 50, "read_iops": 300, "write_iops": 200},
        ),
        (2, {"io/io.max": "8:16 riops=max wiops=70\n8:0 riops=5 wiops=max\n"}, {"read_iops": 5, "write_iops": 70}),
    ],
)
def test_limits_are_read_back_and_what_is_unlimited_is_left_out(
    group: MakeGroup, version: int, files: Files, limits: dict[str, Any]
) -> None:
    assert group(version, files).limits() == limits


@pytest.mark.parametrize("version", [1, 2])
def test_what_is_applied_is_what_is_read_back(group: MakeGroup, version: int) -> None:
    made = group(version)
    limits = {"cpu": 0.25, "memory": 64 * MIB, "pids": 7, "write_iops": 40}
    made.apply(limits, "8:0")
    assert made.limits() == limits


@pytest.mark.parametrize("version", [1, 2])
def test_a_group_that_is_gone_has_no_limits_and_no_usage(tmp_path: Path, version: int) -> None:
    gone = Group(version, dict.fromkeys(V1 if version == 1 else V2, tmp_path / "gone"))
    assert gone.limits() == {}
    assert gone.usage() is None
    assert gone.members() == []
    gone.remove()  # removed twice is removed


# Usage --------------------------------------------------------------------------------------------------------------

USED_V1 = {
    "cpuacct/cpuacct.usage": "1500000000\n",
    "memory/memory.usage_in_bytes": "1048576\n",
    "memory/memory.max_usage_in_bytes": "2097152\n",
    "blkio/blkio.throttle.io_serviced": "8:0 Read 5\n8:0 Write 7\n8:0 Sync 1\n8:0 Total 12\n8:16 Read 3\nTotal 15\n",
    "blkio/blkio.throttle.io_service_bytes": "8:0 Read 4096\n8:0 Write 8192\n8:16 Write 100\nTotal 12388\n",
}
USED_V2 = {
    "cpu/cpu.stat": "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\nnr_periods 0\n",
    "memory/memory.current": "1048576\n",
    "memory/memory.peak": "2097152\n",
    "io/io.stat": "8:0 rbytes=4096 wbytes=8192 rios=5 wios=7 dbytes=0 dios=0\n"
    "8:16 rbytes=0 wbytes=100 rios=3 wios=0 dbytes=0 dios=0\n",
}
USED = {
    "cpu_ns": 1_500_000_000,
    "memory": 1048576,
    "memory_peak": 2097152,
    "io_read_ops": 8,
    "io_write_ops": 7,
    "io_read_bytes": 4096,
    "io_write_bytes": 8292,
}


@pytest.mark.parametrize(("version", "files"), [(1, USED_V1), (2, USED_V2)])
def test_what_was_used_is_summed_over_devices(group: MakeGroup, version: int, files: Files) -> None:
    assert group(version, files).usage() == USED


@pytest.mark.parametrize(
    ("version", "files", "changed"),
    [
        # Kernels before 5.19 know no peak.
        (2, {key: text for key, text in USED_V2.items() if "peak" not in key}, {"memory_peak": 1048576}),
        # With io.cost there are further words, and a device without traffic has none.
        (
            2,
            USED_V2 | {"io/io.stat": "253:0\n8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0 cost.vrate=100.00\n"},
            {"io_read_bytes": 1, "io_write_bytes": 2, "io_read_ops": 3, "io_write_ops": 4},
        ),
        # Devices without traffic may run into the line of the next one that has some (canonical/lxd#10052).
        (
            2,
            USED_V2 | {"io/io.stat": "7:7 7:6 8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n(unknown) 7:5 "},
            {"io_read_bytes": 1, "io_write_bytes": 2, "io_read_ops": 3, "io_write_ops": 4},
        ),
        (2, USED_V2 | {"io/io.stat": ""}, dict.fromkeys([name for name in USED if name.startswith("io_")], 0)),
        (1, USED_V1 | {"cpuacct/cpuacct.usage": ""}, {"cpu_ns": 0}),
    ],
)
def test_kernels_differ_in_what_they_tell(
    group: MakeGroup, version: int, files: Files, changed: dict[str, int]
) -> None:
    assert group(version, files).usage() == USED | changed


@pytest.mark.parametrize(("version", "files", "controller"), [(1, USED_V1, "blkio"), (2, USED_V2, "io")])
def test_without_a_controller_for_it_input_and_output_are_unknown_not_zero(
    group: MakeGroup, version: int, files: Files, controller: str
) -> None:
    found = group(version, files, without=(controller,)).usage()
    assert found
    assert {name: found[name] for name in found if name.startswith("io_")} == {
        "io_read_ops": None,
        "io_write_ops": None,
        "io_read_bytes": None,
        "io_write_bytes": None,
    }


# Members and folders --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "members"), [("", []), ("12\n", [12]), ("12\n7\n100\n", [12, 7, 100])])
def test_members_are_the_processes_in_it(group: MakeGroup, text: str, members: list[int]) -> None:
    assert group(2, {"cpu/cgroup.procs": text}).members() == members


def test_a_process_joins_each_folder_once(group: MakeGroup, tmp_path: Path) -> None:
    def places(version: int) -> list[str]:
        return [str(path.relative_to(tmp_path)) for path in group(version).join_files()]

    assert places(1) == [f"{name}/vx11/c/w/cgroup.procs" for name in ("cpu", "memory", "pids", "blkio")]
    assert places(2) == ["unified/vx11/c/w/cgroup.procs"]


def test_a_group_that_is_not_empty_cannot_be_removed(group: MakeGroup) -> None:
    made = group(2, {"cpu/cgroup.procs": "12\n"})
    with pytest.raises(CgroupError, match=r"cannot remove the control group .*/w: Directory not empty"):
        made.remove()


def test_members_are_also_those_of_groups_below(group: MakeGroup) -> None:
    made = group(2, {"cpu/cgroup.procs": "12\n"})
    (made.folders["cpu"] / "a" / "b").mkdir(parents=True)
    (made.folders["cpu"] / "a" / "cgroup.procs").write_text("", encoding="ascii")
    (made.folders["cpu"] / "a" / "b" / "cgroup.procs").write_text("13\n14\n", encoding="ascii")
    assert made.members() == [12, 13, 14]


@pytest.mark.parametrize("version", [1, 2])
def test_groups_below_are_removed_with_it(group: MakeGroup, version: int) -> None:
    made = group(version)
    for folder in made.folders.values():
        (folder / "a" / "b").mkdir(parents=True, exist_ok=True)
    made.remove()
    assert not any(folder.exists() for folder in made.folders.values())


@pytest.fixture
def version_1(tmp_path: Path) -> Hierarchy:
    mounts = {name: tmp_path / name for name in ("cpu", "memory")}
    for mount in mounts.values():
        mount.mkdir()
    return Hierarchy(1, mounts)


def test_groups_are_made_below_one_parent_listed_and_removed(version_1: Hierarchy, tmp_path: Path) -> None:
    one = version_1.create("cell/w1")
    version_1.create("cell/w2")
    version_1.create("other/w3")
    assert one.folders["memory"] == tmp_path / "memory" / "vx11" / "cell" / "w1"
    assert one.folders["cpu"].is_dir()
    assert version_1.names("cell") == ["cell/w1", "cell/w2"]
    assert version_1.names("nobody") == []
    one.remove()
    version_1.remove_parents("cell/w1")
    assert version_1.names("cell") == ["cell/w2"]  # what others use stays
    version_1.group("cell/w2").remove()
    version_1.remove_parents("cell/w2")
    assert [path.name for path in (tmp_path / "cpu" / "vx11").iterdir()] == ["other"]
    version_1.group("other/w3").remove()
    version_1.remove_parents("other/w3")
    assert list((tmp_path / "cpu").iterdir()) == []


def test_a_group_that_is_in_one_place_alone_is_found(version_1: Hierarchy, tmp_path: Path) -> None:
    (tmp_path / "memory" / "vx11" / "cell" / "half").mkdir(parents=True)
    assert version_1.names("cell") == ["cell/half"]


def test_making_a_group_twice_is_fine(version_1: Hierarchy) -> None:
    assert version_1.create("cell/w1") == version_1.create("cell/w1")


def test_in_version_2_each_parent_passes_its_controllers_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[tuple[str, str, bool]] = []

    def note(path: Path, value: str) -> None:
        passed.append((str(path.relative_to(tmp_path)), value, (path.parent / "vx11").exists()))

    monkeypatch.setattr(cgroups, "_write", note)
    made = Hierarchy(2, {"cpu": tmp_path, "memory": tmp_path}).create("cell/w1")
    assert made.folders["cpu"] == made.folders["memory"] == tmp_path / "vx11" / "cell" / "w1"
    assert made.folders["cpu"].is_dir()
    assert [(place, value) for place, value, _ in passed] == [
        ("cgroup.subtree_control", "+cpu +memory"),
        ("vx11/cgroup.subtree_control", "+cpu +memory"),
        ("vx11/cell/cgroup.subtree_control", "+cpu +memory"),
    ]
    assert passed[0][2] is False  # before there is a child that would have to have them


def test_a_group_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="ascii")
    with pytest.raises(CgroupError, match=r"cannot make the control group .*file/vx11: Not a directory"):
        Hierarchy(1, {"cpu": tmp_path / "file"}).create("cell/w1")


# Detect ---------------------------------------------------------------------------------------------------------------


def mounts_of(tmp_path: Path, *lines: str) -> Path:
    """A file like /proc/self/mounts; {} stands for the test's folder."""
    path = tmp_path / "mounts"
    path.write_text("".join(f"{line.format(tmp_path)}\n" for line in lines), encoding="ascii")
    return path


HYBRID = (
    "sysfs /sys sysfs rw,nosuid 0 0",
    "tmpfs {}/cg tmpfs ro,mode=755 0 0",
    "cgroup2 {}/cg/unified cgroup2 rw,nsdelegate 0 0",
    "cgroup {}/cg/systemd cgroup rw,xattr,name=systemd 0 0",
    "cgroup {}/cg/cpu,cpuacct cgroup rw,nosuid,cpu,cpuacct 0 0",
    "cgroup {}/cg/pids cgroup rw,pids 0 0",
    "cgroup {}/cg/blkio cgroup rw,blkio 0 0",
    "cgroup {}/cg/devices cgroup rw,devices 0 0",
)


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """The folders of a machine with version 1, memory left out of the kernel."""
    for name in ("systemd", "cpu,cpuacct", "pids", "blkio", "devices"):
        (tmp_path / "cg" / name).mkdir(parents=True)
    return tmp_path / "cg"


def test_version_1_is_found_with_the_controllers_that_are_there(tmp_path: Path, mounted: Path) -> None:
    found = cgroups.detect(mounted, mounts_of(tmp_path, *HYBRID))
    assert found == Hierarchy(
        1,
        {
            "cpu": mounted / "cpu,cpuacct",
            "cpuacct": mounted / "cpu,cpuacct",
            "pids": mounted / "pids",
            "blkio": mounted / "blkio",
        },
    )
    assert list((mounted / "pids").iterdir()) == []  # trying it left nothing behind


def test_version_1_that_cannot_be_written_is_none(tmp_path: Path, mounted: Path) -> None:
    (mounted / "pids").rmdir()
    (mounted / "pids").write_text("", encoding="ascii")
    assert cgroups.detect(mounted, mounts_of(tmp_path, *HYBRID)) is None


@pytest.mark.parametrize("lines", [(), ("cgroup {}/cg/devices cgroup rw,devices 0 0",), HYBRID[:4]])
def test_without_a_controller_of_use_there_is_none(tmp_path: Path, mounted: Path, lines: tuple[str, ...]) -> None:
    assert cgroups.detect(mounted, mounts_of(tmp_path, *lines)) is None


@pytest.mark.parametrize(
    ("controllers", "found"),
    [
        ("cpuset cpu io memory hugetlb pids rdma misc\n", ["cpu", "memory", "io", "pids"]),
        ("cpu memory\n", ["cpu", "memory"]),
        ("memory pids\n", ["memory", "pids"]),
    ],
)
def test_version_2_is_found_with_the_controllers_that_are_there(
    tmp_path: Path, controllers: str, found: list[str]
) -> None:
    (tmp_path / "cgroup.controllers").write_text(controllers, encoding="ascii")
    hierarchy = cgroups.detect(tmp_path, tmp_path / "no-mounts")
    assert hierarchy == Hierarchy(2, dict.fromkeys(found, tmp_path))
    assert hierarchy.names("probe") == []


@pytest.mark.parametrize("controllers", ["", "cpuset rdma\n"])
def test_version_2_without_a_controller_of_use_is_none(tmp_path: Path, controllers: str) -> None:
    (tmp_path / "cgroup.controllers").write_text(controllers, encoding="ascii")
    assert cgroups.detect(tmp_path, tmp_path / "no-mounts") is None


def test_version_2_that_does_not_pass_controllers_on_is_none(tmp_path: Path) -> None:
    """As in a container, or in a group that has processes itself: writing is refused."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory io pids\n", encoding="ascii")
    (tmp_path / "cgroup.subtree_control").mkdir()
    assert cgroups.detect(tmp_path, tmp_path / "no-mounts") is None


# The groups of containers ---------------------------------------------------------------------------------------------


@pytest.fixture
def process_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    """`process_in(text)`: a pid whose /proc/PID/cgroup says so."""
    monkeypatch.setattr(cgroups, "PROC", tmp_path / "proc")

    def make(text: str) -> int:
        (tmp_path / "proc/77").mkdir(parents=True)
        (tmp_path / "proc/77/cgroup").write_text(text, encoding="ascii")
        return 77

    return make


def test_the_group_of_a_container_in_version_1(tmp_path: Path, mounted: Path, process_in: Callable[[str], int]) -> None:
    for controller in ("cpu,cpuacct", "pids"):
        (mounted / controller / "docker" / "abc").mkdir(parents=True)
    pid = process_in(
        "12:devices:/docker/abc\n9:pids:/docker/abc/below\n5:cpu,cpuacct:/docker/abc\n4:blkio:/docker/abc\n"
        "2:memory:/elsewhere\n1:name=systemd:/docker/abc\n0::/docker/abc\n"
    )
    found = cgroups.of_container("abc", pid, mounts_of(tmp_path, *HYBRID), mounted)
    assert found == Group(
        1,
        {
            "cpu": mounted / "cpu,cpuacct/docker/abc",
            "cpuacct": mounted / "cpu,cpuacct/docker/abc",
            "pids": mounted / "pids/docker/abc",  # blkio has no such folder here, memory is that of others
        },
    )
    assert cgroups.of_container("ab", pid, mounts_of(tmp_path, *HYBRID), mounted) is None


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("/docker/abc", "/docker/abc"),  # Docker without systemd
        ("/system.slice/docker-abc.scope", "/system.slice/docker-abc.scope"),  # Docker with systemd
        ("/docker/abc/init.scope", "/docker/abc"),  # systemd inside
        ("/docker/outer/docker/abc", "/docker/outer/docker/abc"),  # Docker in Docker
        ("/machine.slice/libpod-abc.scope/container", "/machine.slice/libpod-abc.scope"),  # Podman with crun
        ("/libpod_parent/libpod-abc", "/libpod_parent/libpod-abc"),  # Podman without systemd
    ],
)
def test_the_group_of_a_container_in_version_2(
    tmp_path: Path, process_in: Callable[[str], int], path: str, group: str
) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory io pids\n", encoding="ascii")
    pid = process_in(f"0::{path}\n")
    assert cgroups.of_container("abc", pid, tmp_path / "no-mounts", tmp_path) is None
    (tmp_path / path[1:]).mkdir(parents=True)
    found = cgroups.of_container("abc", pid, tmp_path / "no-mounts", tmp_path)
    assert found == Group(2, dict.fromkeys(V2, tmp_path / group[1:]))
    assert cgroups.is_in_container("abc", pid)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/docker/abcd",
        "/docker/0abc",
        "/machine.slice/libpod-conmon-abc.scope",
        "/abc.slice",
        "/docker/abc.service",
    ],
)
def test_what_is_not_of_the_container_is_not_taken_for_it(
    tmp_path: Path, process_in: Callable[[str], int], path: str
) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory io pids\n", encoding="ascii")
    (tmp_path / path[1:]).mkdir(parents=True, exist_ok=True)
    pid = process_in(f"0::{path}\n")
    assert not cgroups.is_in_container("abc", pid)
    assert cgroups.of_container("abc", pid, tmp_path / "no-mounts", tmp_path) is None


@pytest.mark.parametrize("version", [1, 2])
def test_a_process_that_is_gone_is_in_no_group(
    tmp_path: Path, mounted: Path, process_in: Callable[[str], int], version: int
) -> None:
    if version == 2:
        (mounted / "cgroup.controllers").write_text("cpu memory io pids\n", encoding="ascii")
    gone = process_in("") + 1
    assert cgroups.of_container("abc", gone, mounts_of(tmp_path, *HYBRID), mounted) is None
    assert not cgroups.is_in_container("abc", gone)


# Devices --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def number(tmp_path: Path) -> str:
    """MAJ:MIN of the file system that the tests write to."""
    device = tmp_path.stat().st_dev
    return f"{os.major(device)}:{os.minor(device)}"


def test_the_device_of_a_path_is_the_whole_disk(tmp_path: Path, number: str) -> None:
    disk = tmp_path / "devices" / "sda"
    (disk / "sda1").mkdir(parents=True)
    (disk / "dev").write_text("8:0\n", encoding="ascii")
    (disk / "sda1" / "partition").write_text("1\n", encoding="ascii")
    block = tmp_path / "block"
    block.mkdir()
    (block / number).symlink_to(disk / "sda1")
    assert cgroups.device_of(tmp_path, block) == "8:0"


def test_a_disk_without_partitions_is_itself(tmp_path: Path, number: str) -> None:
    (tmp_path / "block" / number).mkdir(parents=True)
    assert cgroups.device_of(tmp_path, tmp_path / "block") == number


def test_a_file_system_in_memory_has_no_device(tmp_path: Path) -> None:
    assert cgroups.device_of(tmp_path, tmp_path / "block") is None
    assert cgroups.device_of(Path("/proc")) is None
