"""What answers from outside: the listening sockets of this machine, tried from a network namespace of its own."""

import contextlib
import ipaddress
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import psutil

from vx11.engines import netns
from vx11.errors import EnvironmentProblem
from vx11.release import programs

# For measuring networks (RFC 2544), so that nobody has it in use; this many pairs of addresses fit.
_RANGE, _PAIRS = ipaddress.IPv4Address("198.18.0.0"), 2**15
_INSIDE = "vx11in"
# A port at which hardly anybody listens, and how often it is asked for a sign of life.
_DISCARD, _TRIES = 9, 3


@dataclass(frozen=True, order=True)
class Listener:
    """A listening TCP socket of this machine."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def listeners() -> list[Listener]:
    """Those of the caller's network namespace."""
    return sorted({listener for listener, _ in listening()})


def listening() -> Iterator[tuple[Listener, int | None]]:
    """The same, each with every process that listens; None for one that this user may not know."""
    for one in psutil.net_connections("tcp"):
        if one.status == psutil.CONN_LISTEN and one.laddr:
            yield Listener(one.laddr.ip, one.laddr.port), one.pid


def targets(listener: Listener, host: Sequence[str]) -> list[str]:
    """Where a listener is tried from outside.

    Args:
        host: the addresses of this machine as the outside knows them.

    Returns:
        Its own address; where it has none that leads here from elsewhere (all of them, or loopback), those of the host.
    """
    address = ipaddress.ip_address(listener.address)
    return list(host) if address.is_unspecified or address.is_loopback else [listener.address]


def answering(found: Iterable[Listener]) -> dict[Listener, str]:
    """Tries each listener from a network namespace that a pair of interfaces joins to this one; needs root.

    Returns:
        Listener → the address at which it answered, empty where it did not.

    Raises:
        OSError, EnvironmentProblem: such a network cannot be made.
    """

    def tried() -> dict[Listener, str]:
        with _joined() as host:
            _await_answer(host[0])
            return {one: answered(targets(one, host), one.port) for one in found}

    return netns.in_new(tried)


def answered(addresses: Iterable[str], port: int) -> str:
    """The first of these addresses at which a port takes a connection; empty when none does."""
    return next((one for one in addresses if netns.reply(one, port) == netns.ACCEPTED), "")


def _await_answer(address: str) -> None:
    """Interfaces are up a moment after they were told to be, and what is sent before that is lost.

    Any answer tells that they are; none at all may be a firewall's.
    """
    for _ in range(_TRIES):
        if netns.reply(address, _DISCARD):
            return


@contextlib.contextmanager
def _joined() -> Iterator[list[str]]:
    """Joins the caller's namespace to that of this process; answers the addresses at the other end.

    The interfaces go with the namespace, whatever happens.
    """
    pair, name = secrets.randbelow(_PAIRS), f"vx11o{os.getpid() % 10**9}"
    there, here = str(_RANGE + 4 * pair + 1), str(_RANGE + 4 * pair + 2)
    prefix = f"fd{secrets.token_hex(1)}:{secrets.token_hex(2)}:{secrets.token_hex(2)}:"
    pid = str(os.getpid())
    _ip("link", "add", _INSIDE, "type", "veth", "peer", "name", name, "netns", pid)
    try:
        netns.inside(os.getpid(), lambda: _address(name, f"{there}/30", f"{prefix}:1/64"))
        _address(_INSIDE, f"{here}/30", f"{prefix}:2/64")
        netns.add_gateway(there)
        with contextlib.suppress(EnvironmentProblem):
            _ip("-6", "route", "add", "default", "via", f"{prefix}:1")
        yield [there, f"{prefix}:1"]
    finally:
        _ip("link", "delete", _INSIDE)


def _address(name: str, address: str, address6: str) -> None:
    """Where a machine has no IPv6 nobody listens on it either."""
    _ip("address", "add", address, "dev", name)
    with contextlib.suppress(EnvironmentProblem):
        _ip("-6", "address", "add", address6, "dev", name, "nodad")
    netns.set_link(name, up=True)


def _ip(*words: str) -> None:
    done = programs.run("ip", *words)
    if done.returncode:
        raise EnvironmentProblem(f"ip {' '.join(words)}: {done.stderr.strip()}")
