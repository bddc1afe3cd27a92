"""Passes connections on between the host and a service in a network namespace of its own. A program of its own:

    python -I -S relay.py SERVICE HOST WAY…

It runs in the namespace of the service. All that it needs is handed to it open, as numbers of file descriptors: SERVICE
is the pidfd of the service, HOST the network namespace of the host, and each WAY one of

    in:FD:PORT   FD is bound to a port of the host; who connects there is passed on to PORT in the namespace
    out:FD:PORT  FD listens in the namespace; who connects there is passed on to PORT of the host

A port of the host listens only while the service itself listens inside and the loopback interface there is up, so that
whoever probes it sees the service and not the relay. Standard output is a page that counts the bytes passed on to the
service, then those from it. The relay ends when the service has ended and its last bytes are delivered. Nothing but the
standard library, and little of it: it has to start quickly and to stay small.
"""

import contextlib
import errno
import fcntl
import mmap
import os
import resource
import select
import socket
import struct
import sys
import time
from collections.abc import Callable

LOOPBACK, LOOPBACK_6 = "127.0.0.1", "::1"
CHUNK = 64 * 1024
BACKLOG = 4096
# Seconds between two looks; each is longer by 2 %. The tables are read after so many looks in any case.
LOOK_FIRST, LOOK_LAST, LOOK_GROWTH, LOOKS = 0.002, 0.25, 1.02, 50
DRAIN = 1.0
COUNTERS = struct.Struct("=QQ")
_NEWNET = 0x40000000
_GET_FLAGS, _UP = 0x8913, 1
_LINK_EVENTS = 1
_LISTENS = "0A"
_RESET = struct.pack("ii", 1, 0)
# Local addresses as the kernel writes them (proc(5)): any, and loopback.
_LOCAL = {"00000000": LOOPBACK, "0100007F": LOOPBACK}
_LOCAL_6 = {"0" * 32: LOOPBACK_6, "0" * 24 + "01000000": LOOPBACK_6, "0000000000000000FFFF00000100007F": LOOPBACK}
Handler = Callable[[int], None]


class Loop:
    """Waits for files, and calls who is concerned."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, tuple[int, Handler]] = {}

    def watch(self, file: int, events: int, handler: Handler) -> None:
        """Calls `handler` with what happens to a file; without events never, not even for its end."""
        known = self._handlers.get(file)
        if known and not events:
            self._epoll.unregister(file)
            del self._handlers[file]
        elif known and known[0] != events:
            self._epoll.modify(file, events)
        elif not known and events:
            self._epoll.register(file, events)
        if events:
            self._handlers[file] = (events, handler)

    def turn(self, timeout: float | None) -> None:
        """Waits once, so many seconds at most."""
        for file, event in self._epoll.poll(timeout):
            if file in self._handlers:  # the one before may have ended it
                self._handlers[file][1](event)


class Page:
    """Counts bytes where another process can read them."""

    def __init__(self, file: int) -> None:
        self._page = mmap.mmap(file, COUNTERS.size)
        self._counts = [0, 0]

    def add(self, *, inside: bool, count: int) -> None:
        """So many bytes went to the inside, or came from there."""
        self._counts[0 if inside else 1] += count
        COUNTERS.pack_into(self._page, 0, *self._counts)


class End:
    """One end of a connection that is passed on.

    Attributes:
        pending: what could not be sent to it yet.
        ended: nothing more comes from it.
        shut: nothing more is sent to it.
    """

    def __init__(self, link: socket.socket, *, inside: bool) -> None:
        self.link = link
        self.inside = inside
        self.connecting = False
        self.pending = b""
        self.ended = False
        self.shut = False


class Passage:
    """Two ends, each of which is sent what comes from the other; an end is closed for writing as its other one is.

    Args:
        gone: called when it is over.

    Attributes:
        refused: called when the far side refuses the connection.
    """

    buffer = memoryview(bytearray(CHUNK))

    def __init__(self, loop: Loop, page: Page, near: End, far: End, gone: Callable[["Passage"], None]) -> None:
        self._loop = loop
        self._page = page
        self._ends = ((near, far), (far, near))
        self._gone = gone
        self.refused: Callable[[], None] = lambda: None

    @property
    def is_delivered(self) -> bool:
        """Whether all that came from the inside has been sent, and its end; or nothing can come any more."""
        return all(end.shut or end.connecting or other.connecting for end, other in self._ends if not end.inside)

    def connect(self, address: tuple[str, int]) -> None:
        """Begins to connect the far end."""
        far = self._ends[0][1]
        far.connecting = True
        number = far.link.connect_ex(address)
        if number in (0, errno.EINPROGRESS):
            self._watch()
        else:
            self._not_connected(number)

    def _watch(self) -> None:
        connecting = any(end.connecting for end, _ in self._ends)
        for end, other in self._ends:
            events = select.EPOLLOUT if end.connecting or end.pending else 0
            if not (connecting or end.ended or other.pending):
                events |= select.EPOLLIN
            self._loop.watch(end.link.fileno(), events, self._handler(end, other))

    def _handler(self, end: End, other: End) -> Handler:
        def handle(event: int) -> None:
            if end.connecting:
                self._connected(end)
                return
            try:
                if event & select.EPOLLOUT:
                    self._send(end, end.pending)
                    self._pass_end(other, end)
                elif event & select.EPOLLIN:
                    self._receive(end, other)
                else:
                    raise ConnectionResetError
            except BlockingIOError:
                return
            except OSError:
                self._fail()
                return
            if all(each.shut for each, _ in self._ends):
                self._close()
            else:
                self._watch()

        return handle

    def _connected(self, end: End) -> None:
        if number := end.link.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._not_connected(number)
        else:
            end.connecting = False
            self._watch()

    def _not_connected(self, number: int) -> None:
        if number == errno.ECONNREFUSED:
            self.refused()
        self._fail()

    def _receive(self, end: End, other: End) -> None:
        count = end.link.recv_into(self.buffer)
        if count:
            self._send(other, self.buffer[:count])
        else:
            end.ended = True
            self._pass_end(end, other)

    def _send(self, end: End, data: memoryview | bytes) -> None:
        try:
            count = end.link.send(data)
        except BlockingIOError:
            count = 0
        self._page.add(inside=end.inside, count=count)
        end.pending = bytes(data[count:])

    @staticmethod
    def _pass_end(ended: End, other: End) -> None:
        if ended.ended and not other.pending and not other.shut:
            other.shut = True
            other.link.shutdown(socket.SHUT_WR)

    def _fail(self) -> None:
        """Both ends are told by a reset, as if there were nothing in between."""
        for end, _ in self._ends:
            end.link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._close()

    def _close(self) -> None:
        for end, _ in self._ends:
            self._loop.watch(end.link.fileno(), 0, _ignore)
            end.link.close()
        self._gone(self)


class Way:
    """A listening port, and where its connections are passed on to.

    Attributes:
        address: the other side; for a way in known only while the service listens.
    """

    def __init__(self, file: int, port: int, *, inward: bool) -> None:
        self.listener = socket.socket(fileno=file)
        self.listener.setblocking(False)
        self.port = port
        self.inward = inward
        self.address: tuple[str, int] | None = None if inward else (LOOPBACK, port)


class Relay:
    """Everything that is passed on for one service."""

    def __init__(self, service: int, host: int, ways: list[Way], page: Page) -> None:
        self._loop = Loop()
        self._page = page
        self._host = host
        self._ways = ways
        self._passages: set[Passage] = set()
        self._links = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        self._links.bind((0, _LINK_EVENTS))
        self._is_up = _is_up()
        self._ends_at: float | None = None
        self._pause = LOOK_FIRST
        self._seen, self._looked = "", 0.0
        self._loop.watch(self._links.fileno(), select.EPOLLIN, self._link_changed)
        self._loop.watch(service, select.EPOLLIN, lambda _: self._leave(service))
        for way in ways:
            if way.address:
                self._accept_at(way)

    def run(self) -> None:
        """Until the service has ended, and what it said last is delivered."""
        while self._ends_at is None:
            self._loop.turn(self._look())
        while (left := self._ends_at - time.monotonic()) > 0 and not all(item.is_delivered for item in self._passages):
            self._loop.turn(left)

    def _leave(self, service: int) -> None:
        self._loop.watch(service, 0, _ignore)
        for way in self._ways:
            self._loop.watch(way.listener.fileno(), 0, _ignore)
            way.listener.close()
        self._ends_at = time.monotonic() + DRAIN

    def _link_changed(self, event: int) -> None:
        with contextlib.suppress(OSError):  # nothing more, or more than fitted: what counts is how it is now
            while self._links.recv(CHUNK):
                pass
        self._is_up = _is_up()
        if not self._is_up:
            for way in self._ways:
                self._shut(way)
        self._look_again()

    def _shut(self, way: Way) -> None:
        """A way in listens no more, and keeps its port."""
        if way.inward and way.address:
            way.address = None
            self._loop.watch(way.listener.fileno(), 0, _ignore)
            with contextlib.suppress(OSError):
                way.listener.shutdown(socket.SHUT_RDWR)
            self._look_again()

    def _look_again(self) -> None:
        self._pause, self._seen = LOOK_FIRST, ""

    def _look(self) -> float | None:
        """Looks whether the service listens where it did not before; answers the seconds until it is to look again.

        The tables of connections take long to read, and the count of sockets tells when one of them has changed.
        """
        waiting = [way for way in self._ways if way.inward and way.address is None]
        if not (waiting and self._is_up):
            return None
        seen, now = _sockets(), time.monotonic()
        if seen != self._seen or now - self._looked > LOOKS * self._pause:
            self._seen, self._looked = seen, now
            listening = _listening()
            for way in waiting:
                if way.port in listening:
                    way.address = (listening[way.port], way.port)
                    way.listener.listen(BACKLOG)
                    self._accept_at(way)
        self._pause = min(LOOK_LAST, self._pause * LOOK_GROWTH)
        return self._pause

    def _accept_at(self, way: Way) -> None:
        self._loop.watch(way.listener.fileno(), select.EPOLLIN, lambda _: self._accept(way))

    def _accept(self, way: Way) -> None:
        assert way.address is not None  # it listens
        try:
            link, _ = way.listener.accept()
            other = self._socket(way.address) if way.inward else _socket_at(self._host)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS) and self._passages:
                self._loop.watch(way.listener.fileno(), 0, _ignore)  # until one of the others is over
            return
        for each in (link, other):
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        near, far = End(link, inside=not way.inward), End(other, inside=way.inward)
        passage = Passage(self._loop, self._page, near, far, self._gone)
        passage.refused = lambda: self._shut(way)
        self._passages.add(passage)
        passage.connect(way.address)

    @staticmethod
    def _socket(address: tuple[str, int]) -> socket.socket:
        return socket.socket(socket.AF_INET6 if address[0] == LOOPBACK_6 else socket.AF_INET)

    def _gone(self, passage: Passage) -> None:
        self._passages.discard(passage)
        if self._ends_at is None:
            for way in self._ways:
                if way.address:
                    self._accept_at(way)


def _ignore(event: int) -> None:
    """Nothing."""


def _socket_at(namespace: int) -> socket.socket:
    """A socket of another network namespace."""
    import ctypes  # services without peers do not need it

    c = ctypes.CDLL(None, use_errno=True)
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if c.setns(namespace, _NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "the network of the host cannot be entered")
        try:
            return socket.socket()
        finally:
            c.setns(own, _NEWNET)
    finally:
        os.close(own)


def _is_up() -> bool:
    """Whether the loopback interface carries traffic."""
    with socket.socket() as control:
        answer = fcntl.ioctl(control, _GET_FLAGS, struct.pack("16sH14x", b"lo", 0))
    return bool(struct.unpack("16sH14x", answer)[1] & _UP)


def _read(name: str) -> str:
    try:
        file = os.open(f"/proc/self/net/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # there may be no IPv6
        return ""
    try:
        return b"".join(iter(lambda: os.read(file, CHUNK), b"")).decode("ascii")
    finally:
        os.close(file)


def _sockets() -> str:
    """Changes whenever a socket of TCP comes or goes."""
    lines = (_read("sockstat") + _read("sockstat6")).splitlines()
    return "".join(line for line in lines if line.startswith("TCP"))


def _listening() -> dict[int, str]:
    """Ports that something in the namespace listens at, each with the address to reach it by; IPv4 before IPv6."""
    found: dict[int, str] = {}
    for name, local in (("tcp6", _LOCAL_6), ("tcp", _LOCAL)):
        for words in map(str.split, _read(name).splitlines()[1:]):
            address, _, port = words[1].partition(":")
            if words[3] == _LISTENS and address in local:
                found[int(port, 16)] = local[address]
    return found


def main() -> None:
    """Entry point."""
    service, host, *words = sys.argv[1:]
    ways = []
    for word in words:
        kind, file, port = word.split(":")
        ways.append(Way(int(file), int(port), inward=kind == "in"))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    Relay(int(service), int(host), ways, Page(1)).run()
    os._exit(0)  # what is left ends with the process


if __name__ == "__main__":
    main()
