"""Services in a network namespace of their own, and the relay that connects each with the host (`relay.py`).

What is published on 127.0.0.1, and the addresses of peers, are the same as without: the relay has them on both sides.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO

from vx11.engines import netns, procfs, relay

# Whether a process is a relay; it carries the marks of its window beside this one.
RELAY = "VX11_RELAY"
Child = subprocess.Popen[bytes]


def start(
    service: Callable[[], Child],
    inward: Iterable[int],
    outward: Iterable[int],
    marks: Mapping[str, str],
    log: IO[bytes],
) -> tuple[Child, Child | None]:
    """Starts a service in a namespace of its own, and its relay where there is something to pass on.

    Args:
        service: starts it.
        inward: ports of 127.0.0.1 on the host that lead to the same ports of the service.
        outward: ports inside that lead to the same ports of the host.
        marks: the environment of the relay.
        log: where it writes what goes wrong.

    Returns:
        The service and its relay.

    Raises:
        OSError: a port is taken, or one of them could not be started.
    """
    with ExitStack() as stack:
        on_host = [stack.enter_context(_bound(port)) for port in inward]
        host = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, host)

        def begin() -> tuple[Child, Child | None]:
            inside = [stack.enter_context(_bound(port)) for port in outward]
            for listener in inside:  # before the service begins, which may connect at once
                listener.listen(relay.BACKLOG)
            child = service()
            ways = [_way("in", item) for item in on_host] + [_way("out", item) for item in inside]
            try:
                return child, _relay(child, host, ways, marks, log) if ways else None
            except OSError:
                child.kill()
                child.wait()
                raise

        return netns.in_new(begin)


def _bound(port: int) -> socket.socket:
    found = socket.socket()
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((relay.LOOPBACK, port))
    except OSError:
        found.close()
        raise
    return found


def _way(kind: str, listener: socket.socket) -> tuple[str, int]:
    return f"{kind}:{listener.fileno()}:{listener.getsockname()[1]}", listener.fileno()


def _relay(service: Child, host: int, ways: list[tuple[str, int]], marks: Mapping[str, str], log: IO[bytes]) -> Child:
    with ExitStack() as stack:
        handle = os.pidfd_open(service.pid)
        stack.callback(os.close, handle)
        page = os.memfd_create("traffic", os.MFD_CLOEXEC)
        stack.callback(os.close, page)
        os.ftruncate(page, relay.COUNTERS.size)
        command = [sys.executable, "-I", "-S", relay.__file__, str(handle), str(host), *(word for word, _ in ways)]
        return subprocess.Popen(
            command,
            cwd="/",
            env={**marks, RELAY: "1"},
            stdin=subprocess.DEVNULL,
            stdout=page,
            stderr=log,
            pass_fds=(handle, host, *(file for _, file in ways)),
            start_new_session=True,
        )


def traffic(pid: int, started: int) -> tuple[int, int] | None:
    """Bytes that a relay has passed on to its service, and from it; None when it is gone."""
    if not procfs.is_alive(pid, started):
        return None
    try:
        data = Path(f"/proc/{pid}/fd/1").read_bytes()
    except OSError:
        return None
    if len(data) != relay.COUNTERS.size:
        return None
    received, sent = relay.COUNTERS.unpack(data)
    return int(received), int(sent)


def is_private(pid: int) -> bool:
    """Whether a process has a network of its own."""
    found = procfs.network_of(pid)
    return found is not None and found != procfs.network_of(os.getpid())


def set_network(pid: int, *, up: bool) -> None:
    """Has the network of a process carry traffic, or none: neither the relay nor itself gets through.

    Raises:
        OSError: the process is gone, or the kernel refused.
    """
    netns.inside(pid, partial(netns.set_link, netns.LOOPBACK, up=up))


def reachable(pid: int, ports: Iterable[int]) -> dict[str, bool]:
    """Addresses of a service on the host, each with whether it answers; one that it does not listen at answers inside.

    Raises:
        OSError: the process is gone.
    """
    found = {}
    for port in tuple(ports) or (netns.DISCARD,):
        inside = netns.inside(pid, partial(netns.reply, relay.LOOPBACK, port))
        answer = netns.reply(relay.LOOPBACK, port) if inside == netns.ACCEPTED else inside
        found[f"{relay.LOOPBACK}:{port}"] = answer == inside != ""
    return found
