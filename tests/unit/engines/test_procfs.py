"""Processes named exactly, found by their mark, and ended for good; real ones."""

import errno
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from vx11.engines import procfs

Start = Callable[..., "subprocess.Popen[bytes]"]
Eventually = Callable[..., object]
MARK = "VX11_TEST_MARK"
SLEEPS = "import signal; print('up', flush=True); signal.pause()"
FORKS = """
import os, time
print('up', flush=True)
for _ in range(5):
    os.fork()
    time.sleep(0.001)
time.sleep(60)
"""
STUBBORN = "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True)\nwhile True: signal.pause()"


@pytest.fixture
def mark() -> str:
    return f"test-{os.getpid()}-{time.monotonic_ns()}"


@pytest.fixture
def start(mark: str) -> Iterator[Start]:
    """`start(code, **environment)` runs Python with the mark, and waits until it says that it is up."""
    children: list[subprocess.Popen[bytes]] = []

    def begin(code: str = SLEEPS, **environment: str) -> "subprocess.Popen[bytes]":
        child = subprocess.Popen(
            [sys.executable, "-S", "-c", code],
            stdout=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], MARK: mark, **environment},
            start_new_session=True,
        )
        children.append(child)
        assert child.stdout
        assert child.stdout.readline() == b"up\n"
        return child

    yield begin
    procfs.end_all(lambda: procfs.marked(MARK, mark), 5)
    for child in children:
        child.wait(5)
        assert child.stdout
        child.stdout.close()


def started(pid: int) -> int:
    found = procfs.start_time(pid)
    assert found is not None
    return found


def zombie(child: "subprocess.Popen[bytes]") -> int:
    """Ends a child without collecting it; answers when it had started."""
    when = started(child.pid)
    handle = os.pidfd_open(child.pid)
    child.kill()
    select.select([handle], [], [], 5)
    os.close(handle)
    return when


def test_a_process_is_known_by_its_start(start: Start) -> None:
    child = start()
    when = started(child.pid)
    ticks = os.sysconf("SC_CLK_TCK")
    assert 0 <= time.clock_gettime(time.CLOCK_BOOTTIME) - when / ticks < 10
    assert procfs.start_time(child.pid) == when
    assert procfs.is_alive(child.pid, when)
    assert not procfs.is_alive(child.pid, when + 1)  # another one that got its pid


def test_who_is_gone_has_no_start(start: Start) -> None:
    child = start()
    when = started(child.pid)
    child.kill()
    child.wait()
    assert procfs.start_time(child.pid) is None
    assert not procfs.is_alive(child.pid, when)
    assert procfs.session_of(child.pid) is None
    assert procfs.parent_of(child.pid) is None
    assert procfs.environment(child.pid) == {}


def test_who_is_gone_is_not_missed_for_its_number_being_that_of_a_session(start: Start) -> None:
    child = start("import os, time\nif os.fork():\n    print('up', flush=True)\ntime.sleep(60)")
    when = started(child.pid)
    child.kill()
    child.wait()
    assert any(procfs.session_of(pid) == child.pid for pid in procfs.pids())
    assert procfs.wait_gone(child.pid, when, 0)
    assert not procfs.send(child.pid, when, signal.SIGKILL)


@pytest.mark.parametrize("number", [errno.ESRCH, errno.EINVAL])
def test_kernels_differ_in_how_they_say_that_a_process_is_gone(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(os, "pidfd_open", _raises(OSError(number, os.strerror(number))))
    assert procfs.wait_gone(os.getpid(), 0, 0)
    assert not procfs.send(os.getpid(), 0, signal.SIGCONT)


def test_that_no_file_can_be_opened_is_not_taken_for_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pidfd_open", _raises(OSError(errno.EMFILE, "Too many open files")))
    with pytest.raises(OSError, match="Too many open files"):
        procfs.wait_gone(os.getpid(), 0, 0)


def _raises(error: OSError) -> Callable[[int], int]:
    def refuse(_: int) -> int:
        raise error

    return refuse


def test_a_zombie_is_not_alive_and_not_found(start: Start, mark: str) -> None:
    child = start()
    when = zombie(child)
    assert not procfs.is_alive(child.pid, when)
    assert procfs.marked(MARK, mark) == []


def test_what_goes_on_in_other_threads_is_alive(start: Start, mark: str, eventually: Eventually) -> None:
    """Its first thread has ended, and it looks like a zombie; see pthread_exit(3)."""
    child = start(
        "import ctypes, os, threading, time\n"
        "def rest():\n"
        "    while open('/proc/self/stat').read().rpartition(')')[2].split()[0] != 'Z':\n"
        "        time.sleep(0.001)\n"
        "    os.write(1, b'alone\\n')\n"
        "    time.sleep(60)\n"
        "threading.Thread(target=rest).start()\n"
        "print('up', flush=True)\n"
        "ctypes.CDLL(None).pthread_exit(None)\n"
    )
    assert child.stdout
    assert child.stdout.readline() == b"alone\n"
    when = started(child.pid)
    assert procfs.is_alive(child.pid, when)
    assert procfs.lives(child.pid)
    assert procfs.wait_gone(child.pid, when, 0) is False
    assert procfs.end_all(lambda: [child.pid] if procfs.lives(child.pid) else [], 5) is True
    assert not procfs.is_alive(child.pid, when)


@pytest.mark.parametrize("name", ["plain", "a) R 1 2 (b", "with space"])
def test_a_name_cannot_forge_what_is_read(start: Start, name: str) -> None:
    code = f"open('/proc/self/comm', 'w').write({name!r}); {SLEEPS}"
    child = start(code)
    assert procfs.parent_of(child.pid) == os.getpid()
    assert procfs.session_of(child.pid) == child.pid
    assert procfs.is_alive(child.pid, started(child.pid))


def test_the_environment_is_the_one_it_was_started_with(start: Start, mark: str) -> None:
    child = start(EMPTY="", EQUALS="a=b=c", LINES="a\nb")
    found = procfs.environment(child.pid)
    assert found[MARK] == mark
    assert (found["EMPTY"], found["EQUALS"], found["LINES"]) == ("", "a=b=c", "a\nb")


def test_marked_finds_exactly_those_with_the_mark_and_their_children(start: Start, mark: str) -> None:
    parent = start(
        "import subprocess, sys, signal\n"
        "code = 'import signal; signal.pause()'\n"
        "child = subprocess.Popen([sys.executable, '-S', '-c', code], start_new_session=True)\n"
        "print('up', flush=True); signal.pause()"
    )
    start(**{MARK: f"{mark}-longer"})
    start(**{MARK: "other", "X": f"{MARK}={mark}"})
    found = procfs.marked(MARK, mark)
    assert parent.pid in found
    assert len(found) == 2
    procfs.end_all(lambda: procfs.marked(MARK, f"{mark}-longer") + procfs.marked("X", f"{MARK}={mark}"), 5)


def test_belonging_finds_who_lost_the_mark_by_the_session(start: Start, mark: str) -> None:
    child = start(**{MARK: "lost"})
    assert procfs.belonging(MARK, mark, session=None) == set()
    assert procfs.belonging(MARK, mark, session=child.pid) == {child.pid}
    other = start()
    assert procfs.belonging(MARK, mark, session=child.pid) == {child.pid, other.pid}
    child.kill()


def test_pids_are_all_there_are(start: Start) -> None:
    child = start()
    assert {os.getpid(), child.pid, 1} <= set(procfs.pids())


# Signals --------------------------------------------------------------------------------------------------------------


def test_a_signal_reaches_exactly_the_process_that_is_meant(start: Start) -> None:
    child = start()
    when = started(child.pid)
    assert procfs.send(child.pid, when - 1, signal.SIGKILL) is False
    assert child.poll() is None
    assert procfs.send(child.pid, when, signal.SIGTERM) is True
    assert child.wait(5) == -signal.SIGTERM
    assert procfs.send(child.pid, when, signal.SIGTERM) is False


def test_a_process_that_was_never_known_is_gone() -> None:
    assert procfs.send(0, 0, signal.SIGTERM) is False
    assert procfs.wait_gone(0, 0, 5) is True


def test_waiting_ends_with_the_process_or_the_time(start: Start, eventually: Eventually) -> None:
    child = start()
    when = started(child.pid)
    begun = time.monotonic()
    assert procfs.wait_gone(child.pid, when, 0.05) is False
    assert time.monotonic() - begun >= 0.05
    assert procfs.wait_gone(child.pid, when - 1, 5) is True  # that one is gone already
    child.kill()
    assert procfs.wait_gone(child.pid, when, 5) is True  # though nobody has collected it
    child.wait()
    assert procfs.wait_gone(child.pid, when, 5) is True


# The end --------------------------------------------------------------------------------------------------------------


def test_end_all_ends_who_does_not_want_to(start: Start, mark: str) -> None:
    children = [start(STUBBORN) for _ in range(3)]
    assert procfs.end_all(lambda: procfs.marked(MARK, mark), 5) is True
    assert {child.wait(5) for child in children} == {-signal.SIGKILL}


def test_end_all_ends_who_forks_meanwhile(start: Start, mark: str) -> None:
    start(
        "import os, time\n"
        "print('up', flush=True)\n"
        "while True:\n"
        "    if os.fork() == 0:\n"
        "        os.setsid(); time.sleep(0.002)\n"
        "    else:\n"
        "        time.sleep(60)\n"
    )
    assert procfs.end_all(lambda: procfs.marked(MARK, mark), 10) is True
    assert procfs.marked(MARK, mark) == []


def test_halt_all_halts_who_forks_meanwhile_and_continue_all_lets_them_go_on(start: Start, mark: str) -> None:
    child = start(FORKS)

    def members() -> list[int]:
        return procfs.marked(MARK, mark)

    assert procfs.halt_all(members, 5)
    halted = members()
    assert child.pid in halted
    assert all(procfs.is_stopped(pid) for pid in halted)
    procfs.continue_all(halted)
    assert not any(procfs.is_stopped(pid) for pid in halted)


def test_halt_all_gives_up_after_its_time(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    child = start()
    monkeypatch.setattr(procfs, "send", lambda *_: True)
    assert not procfs.halt_all(lambda: [child.pid], 0.02)


def test_who_is_gone_does_not_run(start: Start) -> None:
    child = start()
    assert not procfs.is_stopped(child.pid)
    zombie(child)
    assert procfs.is_stopped(child.pid)


def test_end_all_with_nobody_left_is_done() -> None:
    assert procfs.end_all(list, 0) is True


def test_end_all_gives_up_after_its_time(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    child = start()
    monkeypatch.setattr(procfs, "send", lambda *_: True)  # as if it could not be killed, as in an uninterruptible sleep
    begun = time.monotonic()
    assert procfs.end_all(lambda: [child.pid], 0.1) is False
    assert 0.1 <= time.monotonic() - begun < 3
    assert child.poll() is None


def test_end_all_kills_nobody_who_took_a_pid_meanwhile(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, then it ends and its pid is another's: the start it had when it was named decides."""
    child = start()
    when = started(child.pid)
    starts = iter([when - 1, when - 1, when - 1])
    monkeypatch.setattr(procfs, "start_time", lambda pid: next(starts))
    named = iter([[child.pid], []])
    assert procfs.end_all(lambda: next(named), 5) is True
    assert child.poll() is None
