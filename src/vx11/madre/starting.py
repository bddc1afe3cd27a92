"""How the process of a test is begun: as a child of madre, or by a unit that systemd starts for it.

Either way it goes on only when madre has written down who it is: one that dies in between leaves nothing that nobody
knows of. The process stays the same, and so do its number and its start.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from vx11.engines import procfs

GO = b"go\n"
NICE = 5
# Seconds; what systemd starts has to import Python first, on a host that gives it little.
START_LIMIT = 30.0
_GATE = ["/bin/sh", "-c", 'read -r go && exec "$@" </dev/null', "vx11-test"]


@dataclass(frozen=True)
class Waiting:
    """A process that waits to be let go.

    Attributes:
        pid, started: which one; the start in clock ticks since boot.
    """

    pid: int
    started: int
    go: Callable[[], None]


# The words of `vx11 run`, and where it writes what it says; lets nothing go that was not told to.
Starter = Callable[[Sequence[str], Path], AbstractContextManager[Waiting]]


def child(environment: Mapping[str, str]) -> Starter:
    """Starts children of this process.

    Args:
        environment: what they see.
    """

    @contextmanager
    def start(words: Sequence[str], log: Path) -> Iterator[Waiting]:
        command = [*_GATE, sys.executable, "-m", "vx11", "run", *words]
        with log.open("wb") as file:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                cwd="/",
                env=environment,
                start_new_session=True,
            )
        threading.Thread(target=process.wait, name="test", daemon=True).start()  # no zombie stays behind
        os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
        gate = process.stdin
        assert gate is not None
        with contextlib.suppress(BrokenPipeError), gate:  # it may be cancelled already
            yield Waiting(process.pid, procfs.start_time(process.pid) or 0, lambda: _write(gate.fileno()))

    return start


def unit(path: Path) -> Starter:
    """Has systemd start them, as what it starts for a connection to this socket, see `runner`."""

    @contextmanager
    def start(words: Sequence[str], log: Path) -> Iterator[Waiting]:
        with socket.socket(socket.AF_UNIX) as link, log.open("wb") as file:
            link.settimeout(START_LIMIT)
            link.connect(str(path))
            socket.send_fds(link, [json.dumps({"run": list(words)}).encode() + b"\n"], [file.fileno()])
            told = json.loads(link.makefile("rb").readline() or b"null")
            if told is None:
                raise OSError(0, "what was started for it has ended at once", str(path))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                yield Waiting(told["pid"], told["started"], lambda: link.sendall(GO))

    return start


def _write(gate: int) -> None:
    os.write(gate, GO)
