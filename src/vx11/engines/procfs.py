"""Processes as /proc shows them: exact identity, marks in the environment, ending them for good.

A process is named by pid and start time, since pids are reused (proc(5), pidfd_open(2)). Standard library only.
"""

import errno
import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

PROC = Path("/proc")
_GONE = (ProcessLookupError, FileNotFoundError)


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the third on (state); None when there is no such process."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def start_time(pid: int) -> int | None:
    """Start of a process in clock ticks since boot, None when there is no such process."""
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def is_alive(pid: int, started: int) -> bool:
    """True while exactly this process runs; a zombie does not."""
    fields = _stat(pid)
    return fields is not None and int(fields[19]) == started and _runs(fields)


def lives(pid: int) -> bool:
    """True while a process of this number runs."""
    fields = _stat(pid)
    return fields is not None and _runs(fields)


def _runs(fields: list[str]) -> bool:
    """A process whose first thread has ended looks like a zombie while its other threads go on."""
    return fields[0] not in ("Z", "X") or int(fields[17]) > 1


def session_of(pid: int) -> int | None:
    """The session a process belongs to."""
    fields = _stat(pid)
    return int(fields[3]) if fields else None


def parent_of(pid: int) -> int | None:
    """The process that started it, or adopted it."""
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def pids() -> Iterator[int]:
    """All processes now."""
    with os.scandir(PROC) as folders:
        names = [folder.name for folder in folders]
    yield from (int(name) for name in names if name.isdecimal())


def command(pid: int) -> list[str]:
    """The words a process was started with; empty when there is no such process, or it is a kernel thread."""
    try:
        text = (PROC / str(pid) / "cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.split("\0")[:-1]


def environment(pid: int) -> dict[str, str]:
    """The environment a process was started with; empty when it may not be read, or is a kernel thread."""
    pairs = (item.decode(errors="replace").partition("=") for item in _variables(pid))
    return {name: value for name, equals, value in pairs if name and equals}


def _variables(pid: int) -> list[bytes]:
    return _environ(pid).split(b"\0")


def _environ(pid: int) -> bytes:
    """Unbuffered, since all processes are looked at each second."""
    try:
        handle = os.open(f"{PROC}/{pid}/environ", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return b"".join(iter(lambda: os.read(handle, 65536), b""))
    except OSError:
        return b""
    finally:
        os.close(handle)


def marked(name: str, value: str) -> list[int]:
    """Living processes whose environment says NAME=VALUE."""
    wanted = f"\0{name}={value}\0".encode()
    return [pid for pid in pids() if wanted in b"\0" + _environ(pid) + b"\0" and lives(pid)]


def belonging(name: str, value: str, session: int | None) -> set[int]:
    """Living processes whose environment says NAME=VALUE, and those of a session.

    The session finds what has lost its mark: programs that show a title of their own write it over their environment
    (PostgreSQL, nginx).
    """
    found = set(marked(name, value))
    if session is not None:
        found |= {pid for pid in pids() if session_of(pid) == session and lives(pid)}
    return found


def traffic(pid: int) -> tuple[int, int] | None:
    """Bytes received and sent over the interfaces of its network, loopback left out; None when it is gone."""
    try:
        lines = (PROC / str(pid) / "net/dev").read_text(encoding="ascii", errors="replace").splitlines()[2:]
    except OSError:
        return None
    counts = [words.split() for name, _, words in (line.partition(":") for line in lines) if name.strip() != "lo"]
    return sum(int(words[0]) for words in counts), sum(int(words[8]) for words in counts)


def network_of(pid: int) -> int | None:
    """What tells the network namespace of a process from others; None when it is gone or may not be looked at."""
    try:
        return (PROC / str(pid) / "ns/net").stat().st_ino
    except OSError:
        return None


def _open(pid: int) -> int | None:
    """A file descriptor of a process; None when it is gone, or was never known (0).

    Kernels such as 6.1 say EINVAL while the number of what is gone is still that of a session or group of others.
    """
    try:
        return os.pidfd_open(pid) if pid else None
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL):
            return None
        raise


def is_stopped(pid: int) -> bool:
    """Whether a stop signal keeps a process from running; one that has ended does not run either."""
    fields = _stat(pid)
    return fields is None or fields[0] in ("T", "t") or not _runs(fields)


def halt_all(members: Callable[[], list[int]], timeout: float) -> bool:
    """SIGSTOPs whatever `members` names, again and again, until all of it is stopped.

    Args:
        members: names living processes; asked anew each round, since they may fork.
        timeout: seconds.

    Returns:
        True when all of it is.
    """
    limit = time.monotonic() + timeout
    while running := [pid for pid in members() if not is_stopped(pid)]:
        if time.monotonic() > limit:
            return False
        _signal_all(running, signal.SIGSTOP)
    return True


def continue_all(pids: Iterable[int]) -> None:
    """SIGCONTs those of some processes that are stopped."""
    _signal_all([pid for pid in pids if is_stopped(pid)], signal.SIGCONT)


def _signal_all(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        started = start_time(pid)
        if started is not None:
            send(pid, started, number)


def send(pid: int, started: int, number: int) -> bool:
    """Signals exactly this process; False when it is gone."""
    handle = _open(pid)
    if handle is None:
        return False
    try:
        if not is_alive(pid, started):
            return False
        signal.pidfd_send_signal(handle, number)
    except _GONE:
        return False
    finally:
        os.close(handle)
    return True


def wait_gone(pid: int, started: int, timeout: float) -> bool:
    """Waits until a process ended, without polling; True when it has, False after `timeout` seconds."""
    handle = _open(pid)
    if handle is None:
        return True
    try:
        if not is_alive(pid, started):
            return True
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(max(0.0, timeout) * 1000))
    finally:
        os.close(handle)


def end_all(members: Callable[[], list[int]], timeout: float) -> bool:
    """SIGKILLs whatever `members` names, again and again, until it names nothing.

    Args:
        members: names the living processes that have to end; asked anew each round, since they may fork.
        timeout: seconds.

    Returns:
        True when none is left.
    """
    limit = time.monotonic() + timeout
    while living := members():
        if time.monotonic() > limit:
            return False
        identities = [(pid, start_time(pid)) for pid in living]
        for pid, started in identities:
            if started is not None:
                send(pid, started, signal.SIGKILL)
        for pid, started in identities:
            if started is not None:
                wait_gone(pid, started, min(1.0, max(0.0, limit - time.monotonic())))
    return True
