"""The engine port: what windows ask of whatever runs services.

Every call has a time limit of its own. What an engine cannot do it does not list under `capabilities`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from vx11.catalogue.compose import Service
from vx11.catalogue.limits import Limits
from vx11.clock import Instant
from vx11.errors import Vx11Error

# What asks a service to end where neither its entry nor its image says.
STOP_SIGNAL = "SIGTERM"
# What an engine may be able to do; cases name these under `requires`.
CAPABILITIES = (
    "limits.cpu",
    "limits.memory",
    "limits.pids",
    "limits.iops",
    "usage.cpu",
    "usage.memory",
    "usage.io",
    "usage.network",
    "partition",
    "pause",
)


class EngineError(Vx11Error):
    """The engine refused, failed, or did not answer in time."""


class NoOwnNetwork(EngineError):
    """It has no network of its own that could be reached from here, or does not run."""


@dataclass(frozen=True)
class Stamp:
    """What is put on a service at birth, so that whoever finds it knows whose it is and when it must end."""

    cell: str
    window_id: str
    generation: int
    service: str
    deadline: Instant


@dataclass(frozen=True)
class Running:
    """The handle of something that was started; state files hold it, so it is plain data.

    Attributes:
        engine: name of the engine that started it.
        window_id: the window that it belongs to.
        container: container id, for engines that have containers.
        pid, start_time: first process and its start in clock ticks since boot (proc(5)); both, because pids are reused.
            Zero where the engine runs on another machine.
        cgroup: name of its control group below the engine's own, empty without one.
        ports: port of the service → port on 127.0.0.1.
        relay, relay_start: the process that connects its network with the host's, and its start; zero without one.
        stop_signal: what asks it to end: as the catalogue says, else its image, else SIGTERM.
    """

    engine: str
    window_id: str = ""
    container: str = ""
    pid: int = 0
    start_time: int = 0
    cgroup: str = ""
    ports: dict[int, int] = field(default_factory=dict)
    relay: int = 0
    relay_start: int = 0
    stop_signal: str = STOP_SIGNAL

    def to_json(self) -> dict[str, Any]:
        """The form that state files hold."""
        return asdict(self) | {"ports": {str(port): at for port, at in self.ports.items()}}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Running":
        """Reads what `to_json` wrote."""
        return cls(**(data | {"ports": {int(port): at for port, at in data["ports"].items()}}))


@dataclass(frozen=True)
class Health:
    """Whether something still runs, and if not, how it ended as far as the engine knows."""

    alive: bool
    exit_code: int | None = None


@dataclass(frozen=True)
class Usage:
    """Cumulative and present figures of one window; None where the engine cannot measure it.

    Attributes:
        cpu_ns: processor time since the start, in nanoseconds.
        memory, memory_peak: bytes now, and at most since the start.
        net_rx_bytes, net_tx_bytes: received and sent over a network of its own; what it says to itself is left out.
        source: where the figures were read.
    """

    cpu_ns: int
    memory: int
    memory_peak: int
    io_read_ops: int | None = None
    io_write_ops: int | None = None
    io_read_bytes: int | None = None
    io_write_bytes: int | None = None
    net_rx_bytes: int | None = None
    net_tx_bytes: int | None = None
    source: str = ""


@dataclass(frozen=True)
class Found:
    """Something that carries the mark of a cell.

    Attributes:
        what: how it is named in messages, such as `container vx11-default-web-0f3a`.
        generation: of its window, as its stamp says; 0 where the stamp cannot be read.
        alive: whether it runs; what was made but never started, and what has ended and was not removed, does not.
    """

    window_id: str
    service: str
    what: str
    running: Running
    generation: int = 0
    alive: bool = True


@dataclass(frozen=True)
class Foreign:
    """Something that the engine runs and that is not the cell's."""

    what: str
    running: Running


class Engine(Protocol):
    """What runs services. Calls block; each raises `EngineError` when it fails."""

    name: str
    why: str
    capabilities: frozenset[str]

    def setup(self) -> None:
        """Makes what the cell needs once, such as its network."""

    def prepare(self, service: Service) -> None:
        """Makes sure that the service can be started: its image or program is there."""

    def start(self, service: Service, stamp: Stamp, limits: Limits, peers: Sequence[Service]) -> Running:
        """Starts a service that is prepared; it carries its stamp from the first moment, and knows its peers."""

    def health(self, running: Running) -> Health:
        """Whether it runs."""

    def surely_runs(self, running: Running) -> bool:
        """Whether it is known at a glance, without a daemon, that it runs."""

    def ask(self, running: Running, signal: str) -> bool:
        """Sends the stop signal at once, without the daemon; False where that cannot be done, and `stop` has to."""

    def stop(self, running: Running, signal: str, grace: float, *, asked: bool = False) -> bool:
        """Asks it to end, kills it after `grace` seconds; returns when nothing of it runs. What is paused is resumed.

        An engine that does not answer is passed by where its processes are on this machine.

        Args:
            asked: it has had its signal already; a second one means to many programs that they should break off.

        Returns:
            Whether its first process is known to have ended by itself, without being killed.
        """

    def kill(self, running: Running) -> None:
        """Ends it at once; returns when nothing of it runs. Passes by an engine that does not answer, like `stop`."""

    def remove(self, running: Running, window_id: str) -> None:
        """Takes away what is left of something that ended."""

    def pause(self, running: Running) -> None:
        """Has nothing of it run until `resume`; what is paused already stays so."""

    def resume(self, running: Running) -> None:
        """Has it run again; what is not paused just goes on."""

    def is_paused(self, running: Running) -> bool:
        """Whether the kernel lets nothing of it run."""

    def partition(self, running: Running) -> None:
        """Cuts its network until `heal`: nobody reaches it, and it reaches nobody.

        This, `heal` and `reachable` raise `NoOwnNetwork` for what shares the network of its host.
        """

    def heal(self, running: Running) -> None:
        """Has its network carry traffic again, at the same addresses; raises when it has to be closed instead."""

    def reachable(self, running: Running) -> Mapping[str, bool]:
        """Addresses of its own network, each with whether a connection is answered now, if only by a refusal."""

    def exec(self, running: Running, command: Sequence[str], timeout: float) -> int:
        """Runs a program beside the service, in its surroundings; returns its exit code."""

    def usage(self, running: Running) -> Usage | None:
        """What it has used; None when it is gone. Cheap: it is asked for each window at each sample."""

    def limits(self, running: Running) -> Limits:
        """The limits in force, as the kernel says them."""

    def logs(self, running: Running, window_id: str, tail: int) -> list[str]:
        """The last lines that it wrote."""

    def inventory(self, cell: str) -> list[Found]:
        """Everything that was started, or made to be, and carries the mark of the cell, whether it runs or not."""

    def foreign(self, cell: str) -> list[Foreign]:
        """What else this engine runs, beyond what the cell's mark covers; empty for a named cell.

        The core is not foreign.
        """

    def residue(self, cell: str) -> list[str]:
        """Whatever carries the cell's mark, running or not: containers, networks, volumes, processes, groups."""

    def remove_volumes(self, cell: str) -> None:
        """Removes the named volumes of the cell; for test cells, between cases."""

    def purge(self, cell: str) -> None:
        """Removes all that `residue` names; for cells that end for good."""


def url_variable(service: str) -> str:
    """The name of the variable that tells a service where another one is: `auth-service` → `AUTH_SERVICE_URL`."""
    return f"{service.upper().replace('-', '_')}_URL"


def mark_of(running: Running) -> str:
    """How a running thing is named in messages."""
    return f"container {running.container[:12]}" if running.container else f"process {running.pid}"
