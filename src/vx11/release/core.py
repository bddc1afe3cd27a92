"""The processes of a host's core, as its machine shows them, and its systemd units."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from vx11.release import outside, programs
from vx11.release.config import Release
from vx11.statefiles import MADRE_LOCK, WATCHDOG_LOCK


@dataclass(frozen=True)
class Part:
    """A process of the core."""

    name: str
    pid: int

    def environment(self) -> dict[str, str] | None:
        """What it was started with; None when this user may not know, or it is gone."""
        try:
            return psutil.Process(self.pid).environ()
        except (psutil.Error, OSError):
            return None


def is_here(host: str) -> bool:
    """Whether a name or an address is one of this machine.

    Raises:
        OSError: the name is not known.
    """
    own = {item.address.partition("%")[0] for items in psutil.net_if_addrs().values() for item in items}
    asked = {str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    return all(address.startswith("127.") or address == "::1" or address in own for address in asked)


def parts(release: Release) -> list[Part]:
    """Those that can be found: who listens at the entry, who has the locks of the core, main processes of units."""
    found = {pid: unit for unit in release.closing.core for pid in _main_process(unit)}
    if is_here(release.host):
        found |= dict.fromkeys(_listening(release.port), "entry")
    if release.state:
        found |= _holding({release.state / MADRE_LOCK: "madre", release.state / WATCHDOG_LOCK: "watchdog"})
    return [Part(name, pid) for pid, name in sorted(found.items())]


def _listening(port: int) -> Iterator[int]:
    yield from (pid for listener, pid in outside.listening() if listener.port == port and pid)


def _holding(locks: dict[Path, str]) -> dict[int, str]:
    """Who has these files open; each part has its own for as long as it runs, and madre now and then the other's."""
    names = {str(path.resolve()): name for path, name in locks.items()}
    found: dict[int, str] = {}
    for process in psutil.process_iter():
        try:
            held = {names[file.path] for file in process.open_files() if file.path in names}
        except (psutil.Error, OSError):
            continue
        if held:
            found[process.pid] = min(held)
    return found


def _main_process(unit: str) -> Iterator[int]:
    pid = _systemctl("show", "--property=MainPID", "--value", unit)
    if pid.isdecimal() and int(pid):
        yield int(pid)


def unit_state(unit: str) -> str:
    """What systemd says of a unit: `active` when it runs.

    Raises:
        EnvironmentProblem: there is no systemd here.
    """
    return _systemctl("is-active", unit)


def _systemctl(*words: str) -> str:
    done = programs.run("systemctl", *words)
    return done.stdout.strip() or done.stderr.strip()
