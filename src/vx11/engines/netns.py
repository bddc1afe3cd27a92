"""Network namespaces (network_namespaces(7)): work done inside of one, and what its interfaces do there.

A namespace belongs to a thread, so all that is done inside of one is done by a thread that ends with it; what it starts
stays there. Interfaces are set by ioctl (netdevice(7)), so no program is needed. Standard library only.
"""

import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

LOOPBACK = "lo"
ANSWER_TIMEOUT = 0.25
# Nobody listens there (RFC 863), so a network that carries anything refuses it.
DISCARD = 9
ACCEPTED, REFUSED = "accepted", "refused"
_NEWNET = 0x40000000
_GET_FLAGS, _SET_FLAGS, _ADD_ROUTE = 0x8913, 0x8914, 0x890B
_UP = 1
_ROUTE_BY_GATEWAY = 3
_C = ctypes.CDLL(None, use_errno=True)
T = TypeVar("T")


def available() -> bool:
    """Whether this user may make namespaces; tried, since it cannot be foretold."""
    try:
        in_new(lambda: None)
    except OSError:
        return False
    return True


def in_new(work: Callable[[], T]) -> T:
    """Answers what `work` does in a namespace of its own, whose loopback interface is up.

    Raises:
        OSError: it could not be made; or what `work` raises.
    """

    def enter() -> None:
        _check(_C.unshare(_NEWNET), "a network namespace cannot be made")
        set_link(LOOPBACK, up=True)

    return _in_thread(enter, work)


def inside(pid: int, work: Callable[[], T]) -> T:
    """Answers what `work` does in the namespace of a process.

    Raises:
        OSError: it cannot be entered; or what `work` raises.
    """
    handle = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _in_thread(lambda: _check(_C.setns(handle, _NEWNET), "a network namespace cannot be entered"), work)
    finally:
        os.close(handle)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _in_thread(enter: Callable[[], None], work: Callable[[], T]) -> T:
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            enter()
            done.append(work())
        except BaseException as error:  # noqa: BLE001 - whoever waits for the thread gets it
            failed.append(error)

    thread = threading.Thread(target=run, name="netns", daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]


def links() -> list[str]:
    """The interfaces of the caller's namespace, loopback left out."""
    return [name for _, name in socket.if_nameindex() if name != LOOPBACK]


def set_link(name: str, *, up: bool) -> None:
    """Has an interface of the caller's namespace carry traffic, or none.

    Raises:
        OSError: the kernel refused.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        asked = struct.pack("16sH14x", name.encode(), 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(control, _GET_FLAGS, asked))[1]
        wanted = flags | _UP if up else flags & ~_UP
        fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sH14x", name.encode(), wanted))


def gateway() -> str:
    """The default gateway (IPv4) of the caller's namespace, empty without one."""
    lines = Path("/proc/thread-self/net/route").read_text(encoding="ascii").splitlines()[1:]
    found = [words[2] for words in map(str.split, lines) if words[1] == "00000000" and words[2] != "00000000"]
    return socket.inet_ntoa(struct.pack("=L", int(found[0], 16))) if found else ""


def add_gateway(address: str) -> None:
    """Makes an address the default gateway (IPv4) of the caller's namespace; see route(8).

    Raises:
        OSError: the kernel refused.
    """
    everything, by = _address("0.0.0.0"), _address(address)
    entry = struct.pack(
        "@L16s16s16sHhLPhPLLH", 0, everything, by, everything, _ROUTE_BY_GATEWAY, 0, 0, 0, 0, 0, 0, 0, 0
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _ADD_ROUTE, entry)


def _address(text: str) -> bytes:
    return struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(text))


def reply(host: str, port: int) -> str:
    """How a connection is answered: `accepted`, `refused`, or empty for silence and what cannot be reached."""
    try:
        socket.create_connection((host, port), ANSWER_TIMEOUT).close()
    except ConnectionRefusedError:
        return REFUSED
    except OSError:
        return ""
    return ACCEPTED
