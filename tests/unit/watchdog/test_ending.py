"""What has to end ends: politely first, then for certain, by the daemon or past it; and it is looked whether it has."""

import dataclasses
import os
import secrets
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vx11.engines import bypass, cgroups, procfs
from vx11.watchdog import dockerapi, ending
from vx11.watchdog.ending import EndError, Target

Start = Any  # tests/unit/watchdog/conftest.py
FakeDaemon = Any
TargetOf = Callable[..., Target]
MARK = f"test-wd-{os.getpid()}"


@pytest.mark.parametrize(
    ("program", "grace", "result"),
    [
        ("polite", 5.0, 7),
        ("polite", 0.0, -signal.SIGKILL),
        ("stubborn", 0.1, -signal.SIGKILL),
        ("parent", 5.0, -signal.SIGTERM),
    ],
)
def test_processes_get_their_signal_then_the_kill(
    start: Start, target_of: TargetOf, program: str, grace: float, result: int
) -> None:
    child = start(program, window=MARK)
    ending.end(target_of(child, MARK), grace, None)
    assert child.wait(5) == result
    assert procfs.marked("VX11_WINDOW", MARK) == []


@pytest.mark.parametrize(
    ("stop_signal", "result"), [("SIGINT", -signal.SIGINT), ("INT", -signal.SIGINT), ("NOTHING", 7)]
)
def test_the_stop_signal_is_theirs_or_sigterm(start: Start, target_of: TargetOf, stop_signal: str, result: int) -> None:
    child = start("polite", window=MARK)
    ending.end(target_of(child, MARK, stop_signal=stop_signal), 5.0, None)
    assert child.wait(5) == result


def test_a_process_that_took_the_pid_meanwhile_is_left_alone(start: Start, target_of: TargetOf) -> None:
    child = start("polite", window="somebody-else")
    known = target_of(child, MARK)
    ending.end(Target(MARK, pid=known.pid, start_time=known.start_time - 1), 5.0, None)
    assert child.poll() is None


def test_processes_that_do_not_end_are_told(start: Start, target_of: TargetOf, monkeypatch: pytest.MonkeyPatch) -> None:
    child = start("polite", window=MARK)
    monkeypatch.setattr(ending, "KILL_TIMEOUT", 0.05)
    monkeypatch.setattr(procfs, "send", lambda *_: True)
    with pytest.raises(EndError, match=r"still there 0\.05 s after SIGKILL"):
        ending.end(target_of(child, MARK), 0.0, None)


def test_a_container_is_stopped_by_its_daemon_within_its_grace(daemon: FakeDaemon) -> None:
    container = daemon.run()
    ending.end(Target("w1", container=container), 4.0, None)
    assert daemon.running == set()
    look = f"GET /containers/{container}/json"
    assert daemon.asked == [look, f"POST /containers/{container}/stop?t=4", look]


def test_a_container_that_is_paused_is_resumed_first(daemon: FakeDaemon) -> None:
    container = daemon.run()
    daemon.paused.add(container)
    ending.end(Target("w1", container=container), 4.0, None)
    assert daemon.running == set()
    assert f"POST /containers/{container}/unpause" in daemon.asked


@pytest.mark.parametrize(("grace", "result"), [(5.0, 7), (0.0, -signal.SIGKILL)])
def test_processes_that_are_stopped_are_resumed_first(
    start: Start, target_of: TargetOf, eventually: Callable[..., Any], grace: float, result: int
) -> None:
    child = start("polite", window=MARK)
    child.send_signal(signal.SIGSTOP)
    eventually(lambda: procfs.is_stopped(child.pid))
    ending.end(target_of(child, MARK), grace, None)
    assert child.wait(5) == result


@pytest.mark.root
@pytest.mark.parametrize(("grace", "result"), [(5.0, 7), (0.0, -signal.SIGKILL)])
def test_processes_that_are_frozen_are_thawed_first(
    start: Start, target_of: TargetOf, group: cgroups.Group, grace: float, result: int
) -> None:
    child = start("polite", window=MARK)
    name = f"{MARK}/{join(group, child.pid)}"
    group.freeze()
    ending.end(replace(target_of(child, MARK), cgroup=name), grace, cgroups.detect())
    assert child.wait(5) == result


def test_a_container_that_ended_already_is_not_stopped(daemon: FakeDaemon) -> None:
    container = daemon.run()
    daemon.running.clear()
    ending.end(Target("w1", container=container), 4.0, None)
    ending.end(Target("w1", container="0" * 64), 4.0, None)  # nor one that was removed
    assert not any(asked.startswith("POST") for asked in daemon.asked)


@pytest.mark.parametrize(
    ("status", "raw", "why"),
    [
        (204, b"", "it still runs after the daemon said that it had stopped"),
        (500, b"", "the daemon answered 500: .*cannot stop it"),
        (204, b"nonsense", "the Docker daemon does not answer in HTTP"),
    ],
)
def test_a_daemon_is_not_believed_and_what_is_not_found_is_not_ended(
    daemon: FakeDaemon, status: int, raw: bytes, why: str
) -> None:
    container = daemon.run()
    daemon.obeys, daemon.stop_status, daemon.raw = False, status, raw
    with pytest.raises(EndError, match=f"{why}.*; the processes of container .* are not known on this machine"):
        ending.end(Target("w1", container=container), 0.0, None)


@pytest.fixture
def group() -> Iterator[cgroups.Group]:
    """A control group that names a container, as a daemon makes them."""
    hierarchy = cgroups.detect()
    assert hierarchy is not None
    name = f"{MARK}/{secrets.token_hex(32)}"
    yield hierarchy.create(name)
    hierarchy.group(name).remove()
    hierarchy.remove_parents(name)


def join(group: cgroups.Group, pid: int) -> str:
    """Puts a process into the group; answers the id of the container that it names."""
    for file in group.join_files():
        file.write_text(str(pid), encoding="ascii")
    return group.join_files()[0].parent.name


@pytest.mark.root
@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize(
    ("program", "grace", "result"),
    [("polite", 5.0, 7), ("polite", 0.0, -signal.SIGKILL), ("stubborn", 0.1, -signal.SIGKILL)],
)
def test_without_a_daemon_a_container_ends_by_what_its_group_names(
    no_daemon: None,
    start: Start,
    target_of: TargetOf,
    group: cgroups.Group,
    is_known: bool,
    program: str,
    grace: float,
    result: int,
) -> None:
    child, beside = start(program), start("stubborn")
    container = join(group, child.pid)
    known = target_of(child, "w1", container=container) if is_known else Target("w1", container=container)
    ending.end(known, grace, None)
    assert child.wait(5) == result
    assert beside.poll() is None
    assert bypass.members(container) == []


@pytest.mark.root
def test_what_outlives_the_first_process_of_a_container_ends_too(
    no_daemon: None, start: Start, target_of: TargetOf, group: cgroups.Group
) -> None:
    first, other = start("polite"), start("stubborn")
    for child in (first, other):
        container = join(group, child.pid)
    ending.end(target_of(first, "w1", container=container), 5.0, None)
    assert (first.wait(5), other.wait(5)) == (7, -signal.SIGKILL)


@pytest.mark.root
def test_a_daemon_that_fails_is_passed_by(
    daemon: FakeDaemon, start: Start, target_of: TargetOf, group: cgroups.Group
) -> None:
    child = start("stubborn")
    container = join(group, child.pid)
    daemon.containers[container] = {}
    daemon.running.add(container)
    daemon.stop_status = 500
    ending.end(target_of(child, "w1", container=container), 0.1, None)
    assert child.wait(5) == -signal.SIGKILL


@pytest.mark.root
def test_a_daemon_that_hangs_costs_nothing_of_the_grace(
    daemon: FakeDaemon, start: Start, target_of: TargetOf, group: cgroups.Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dockerapi, "ANSWER_TIMEOUT", 0.5)
    child = start("polite")
    container = join(group, child.pid)
    daemon.silent = threading.Event()
    try:
        ending.end(target_of(child, "w1", container=container), 0.4, None)
        assert child.wait(5) == 7
    finally:
        daemon.silent.set()


@pytest.mark.root
def test_a_grace_that_the_daemon_has_used_up_is_not_given_again(
    daemon: FakeDaemon, start: Start, target_of: TargetOf, group: cgroups.Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dockerapi, "STOP_MARGIN", 0.1)
    child = start("polite")
    container = join(group, child.pid)
    daemon.containers[container] = {}
    daemon.running.add(container)
    daemon.hangs_at_stop = threading.Event()
    unknown = dataclasses.replace(target_of(child, "w1", container=container), pid=0, start_time=0)
    try:
        ending.end(unknown, 0.2, None)
        assert child.wait(5) == -signal.SIGKILL
    finally:
        daemon.hangs_at_stop.set()


def test_a_container_whose_first_process_is_gone_has_ended(no_daemon: None, start: Start, target_of: TargetOf) -> None:
    child = start("polite")
    known = target_of(child, "w1", container=secrets.token_hex(32))
    child.terminate()
    child.wait(5)
    ending.end(known, 5.0, None)


@pytest.mark.parametrize("container", ["docker", "/", "abc", "0" * 63])
def test_what_is_no_whole_id_names_nothing(no_daemon: None, container: str) -> None:
    with pytest.raises(EndError, match="is not the whole id of a container"):
        ending.end(Target("w1", container=container, pid=os.getpid(), start_time=1), 0.0, None)


@pytest.mark.root
def test_a_group_of_processes_ends_with_what_left_its_marks(start: Start, cell: str, tmp_path: Path) -> None:
    hierarchy = cgroups.detect()
    assert hierarchy is not None
    name = f"{cell}/w1"
    group = hierarchy.create(name)
    try:
        child = start("stubborn")  # it carries no mark at all
        join(group, child.pid)
        ending.end(Target(MARK, cgroup=name), 5.0, hierarchy)
        assert child.wait(5) == -signal.SIGKILL
    finally:
        group.remove()
        hierarchy.remove_parents(name)
