"""A process with a network of its own is reached through a relay, as if there were nothing in between."""

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vx11.catalogue.limits import Limits
from vx11.engines import procfs

pytestmark = pytest.mark.root
WAITS = "import time; print('up', flush=True); time.sleep(60)"
LISTENS_LATER = """
import os, socket, sys, time
print('up', flush=True)
while not os.path.exists(os.environ['TMPDIR'] + '/listen'):
    time.sleep(0.01)
listener = socket.create_server((sys.argv[1], int(os.environ['PORT'])), family=int(sys.argv[2]))
print('listens', flush=True)
while os.path.exists(os.environ['TMPDIR'] + '/listen'):
    time.sleep(0.01)
listener.close()
print('stopped', flush=True)
time.sleep(60)
"""
# Reads to the end, then answers how much that was, and ends the connection.
COUNTS = """
import os, socket, threading
listener = socket.create_server(('127.0.0.1', int(os.environ['PORT'])), backlog=4096)
print('up', flush=True)
def serve(link):
    with link:
        count = 0
        while got := len(link.recv(1 << 20)):
            count += got
        link.sendall(str(count).encode())
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""
SAYS_MUCH_AND_ENDS = """
import os, socket
listener = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))
print('up', flush=True)
link, _ = listener.accept()
link.sendall(bytes(5_000_000))
os._exit(0)
"""
# The first it accepts is reset; the second says nothing, and its end is told.
RESETS = """
import os, socket, struct
listener = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))
print('up', flush=True)
link, _ = listener.accept()
link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
link.close()
link, _ = listener.accept()
try:
    link.recv(1)
    print('ended', flush=True)
except ConnectionResetError:
    print('reset', flush=True)
listener.accept()
"""
ASKS_ALONE = """
import os, socket, time, urllib.parse
where = urllib.parse.urlsplit(os.environ['WEB_URL'])
try:
    link = socket.create_connection((where.hostname, where.port), 5)
    print('got', link.recv(1), flush=True)
except ConnectionResetError:
    print('reset', flush=True)
time.sleep(60)
"""


def at(started: Any) -> tuple[str, int]:
    return ("127.0.0.1", started.running.ports[8080])


def connected(bench: Any, started: Any) -> socket.socket:
    """A connection, as soon as the service takes one."""

    def attempt() -> socket.socket | None:
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection(at(started), 10)
        return None

    found: socket.socket = bench.until(attempt)
    return found


def is_refused(started: Any) -> bool:
    try:
        socket.create_connection(at(started), 5).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it was just taken, as the listener closed
        pass
    return False


@pytest.mark.parametrize(
    ("address", "family"),
    [("127.0.0.1", socket.AF_INET), ("", socket.AF_INET), ("::1", socket.AF_INET6), ("::", socket.AF_INET6)],
    ids=["loopback", "any", "loopback6", "any6"],
)
def test_it_listens_while_the_service_listens(process_bench: Any, address: str, family: int) -> None:
    entry = process_bench.entry(LISTENS_LATER)
    entry["x-vx11"]["process"]["command"] += [address, str(int(family))]
    started = process_bench.start(process_bench.service(entry))
    process_bench.says(started, "up")
    assert is_refused(started)
    switch = process_bench.folder / "state/tmp" / started.stamp.window_id / "listen"
    switch.touch()
    process_bench.says(started, "listens")
    process_bench.until(lambda: not is_refused(started), 2)
    switch.unlink()
    process_bench.says(started, "stopped")
    process_bench.until(lambda: is_refused(started), 2)  # the first that is refused inside makes the relay look again
    switch.touch()


def test_each_side_may_end_what_it_says(process_bench: Any) -> None:
    started = process_bench.run(COUNTS)
    with connected(process_bench, started) as link:
        for _ in range(10):
            link.sendall(bytes(500_000))
        link.shutdown(socket.SHUT_WR)
        assert link.recv(100) == b"5000000"
        assert link.recv(100) == b""


def test_what_the_service_said_last_is_delivered(process_bench: Any) -> None:
    started = process_bench.run(SAYS_MUCH_AND_ENDS)
    with connected(process_bench, started) as link:
        process_bench.ends(started)
        got = 0
        while part := link.recv(65536):
            got += len(part)
        assert got == 5_000_000


def test_resets_pass_in_both_directions(process_bench: Any) -> None:
    started = process_bench.run(RESETS)
    with pytest.raises(ConnectionResetError), connected(process_bench, started) as link:  # at once, or a moment later
        link.recv(1)
    with connected(process_bench, started) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    process_bench.says(started, "reset")


def test_a_peer_that_does_not_run_ends_the_connection(process_bench: Any, web: dict[str, Any]) -> None:
    services = process_bench.services({"web": web, "asking": process_bench.entry(ASKS_ALONE, vx11={"peers": ["web"]})})
    started = process_bench.start(services["asking"], peers=[services["web"]])
    process_bench.says(started, "reset")


def test_a_peer_of_the_same_name_is_the_service_itself(process_bench: Any) -> None:
    entry = process_bench.entry(COUNTS, vx11={"peers": ["it"]})
    service = process_bench.service(entry)
    started = process_bench.start(service, peers=[service])
    process_bench.says(started, "up")
    connected(process_bench, started).close()


def test_many_connections_need_no_threads(process_bench: Any) -> None:
    started = process_bench.run(COUNTS)
    connected(process_bench, started).close()
    links = [socket.create_connection(at(started), 10) for _ in range(400)]
    try:
        for link in links:
            link.sendall(b"x")
            link.shutdown(socket.SHUT_WR)
        assert {link.recv(10) for link in links} == {b"1"}
        assert len(list(Path(f"/proc/{started.running.relay}/task").iterdir())) == 1
    finally:
        for link in links:
            link.close()
    files = Path(f"/proc/{started.running.relay}/fd")
    process_bench.until(lambda: len(list(files.iterdir())) < 20)


def test_it_passes_on_at_the_rate_of_a_disk(process_bench: Any) -> None:
    """Two hundred megabytes a second; the best of some tries, since others use the machine too."""
    started = process_bench.run(COUNTS)
    connected(process_bench, started).close()
    data, count = bytes(1 << 20), 100

    def rate() -> float:
        with socket.create_connection(at(started), 10) as link:
            begun = time.monotonic()
            for _ in range(count):
                link.sendall(data)
            link.shutdown(socket.SHUT_WR)
            assert link.recv(100) == str(len(data) * count).encode()
            return len(data) * count / 1e6 / (time.monotonic() - begun)

    process_bench.until(lambda: rate() > 200, 30)


def test_who_takes_nothing_holds_nobody_up(process_bench: Any) -> None:
    """And nothing of what he does not take is lost."""
    code = COUNTS.replace("link.sendall(str(count).encode())", "link.sendall(bytes(8_000_000))")
    started = process_bench.run(code)
    with connected(process_bench, started) as lazy:
        lazy.shutdown(socket.SHUT_WR)
        process_bench.until(lambda: process_bench.engine.usage(started.running).net_tx_bytes > 100_000)
        with connected(process_bench, started) as quick:
            quick.shutdown(socket.SHUT_WR)
            assert _length(quick) == 8_000_000
        assert _length(lazy) == 8_000_000


def _length(link: socket.socket) -> int:
    got = 0
    while part := link.recv(1 << 20):
        got += len(part)
    return got


def test_an_idle_relay_uses_nothing(process_bench: Any, web: dict[str, Any]) -> None:
    started = process_bench.start(process_bench.service(web))
    connected(process_bench, started).close()

    def spent() -> int:
        return sum(int(ticks) for ticks in _stat(started.running.relay)[11:13])

    process_bench.until(lambda: _stat(started.running.relay)[0] == "S")
    before = spent()
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        threading.Event().wait(0.1)
    assert spent() - before <= 1  # hundredths of a second


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def test_it_carries_the_marks_of_its_window_and_is_not_counted_to_it(process_bench: Any) -> None:
    started = process_bench.start(process_bench.service(process_bench.entry(WAITS)), Limits(pids=1))
    process_bench.says(started, "up")
    relay, window = started.running.relay, started.stamp.window_id
    marks = procfs.environment(relay)
    assert (marks["VX11_CELL"], marks["VX11_WINDOW"]) == (process_bench.cell, window)
    assert window not in _group(relay)
    assert window in _group(started.running.pid)
    assert f"relay {relay}" in process_bench.engine.residue(process_bench.cell)
    (found,) = process_bench.engine.inventory(process_bench.cell)
    assert (found.running.pid, found.running.relay) == (started.running.pid, relay)


def _group(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8")


@pytest.mark.parametrize("way", ["stop", "kill", "crash"])
def test_it_ends_with_its_service(process_bench: Any, web: dict[str, Any], way: str) -> None:
    started = process_bench.start(process_bench.service(web))
    relay = (started.running.relay, started.running.relay_start)
    with connected(process_bench, started):  # also when somebody keeps his connection
        if way == "crash":
            process_bench.crash(started)
            assert procfs.wait_gone(*relay, 3)
        else:
            getattr(process_bench.engine, way)(
                *([started.running, "SIGTERM", 2] if way == "stop" else [started.running])
            )
            assert not procfs.is_alive(*relay)


def test_one_that_is_left_is_found_and_removed(process_bench: Any) -> None:
    """Its service has ended, and it was kept from seeing that."""
    started = process_bench.run(WAITS)
    relay = (started.running.relay, started.running.relay_start)
    process_bench.says(started, "up")
    procfs.send(*relay, signal.SIGSTOP)
    process_bench.crash(started)
    process_bench.ends(started)
    (found,) = process_bench.engine.inventory(process_bench.cell)
    assert (found.alive, found.running.relay) == (False, relay[0])
    process_bench.engine.remove(found.running, found.window_id)
    assert not procfs.is_alive(*relay)
    assert process_bench.engine.inventory(process_bench.cell) == []


OUTLIVED = """
import sys, uuid
from pathlib import Path
from vx11.catalogue import compose
from vx11.catalogue.limits import Limits
from vx11.clock import Clock
from vx11.engines import select
from vx11.engines.port import Stamp
folder, cell = Path(sys.argv[1]), sys.argv[2]
service = compose.load(folder / 'bundle/catalogue.yml').services['it']
engine = select.make('process', cell, folder / 'state', folder / 'data')
stamp = Stamp(cell, str(uuid.uuid4()), 1, 'it', Clock().now().plus(60))
print(engine.start(service, stamp, Limits(), []).ports[8080], flush=True)
import os, signal
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_outlives_madre(process_bench: Any) -> None:
    process_bench.service(process_bench.entry(COUNTS))
    command = [sys.executable, "-c", OUTLIVED, str(process_bench.folder), process_bench.cell]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (found,) = process_bench.engine.inventory(process_bench.cell)
    try:

        def count() -> bytes:
            with (
                contextlib.suppress(ConnectionRefusedError),
                socket.create_connection(("127.0.0.1", int(done.stdout)), 5) as link,
            ):
                link.sendall(b"abc")
                link.shutdown(socket.SHUT_WR)
                return link.recv(10)
            return b""

        assert process_bench.until(count) == b"3"
        assert process_bench.engine.usage(found.running).net_rx_bytes >= 3
    finally:
        process_bench.engine.kill(found.running)
        process_bench.engine.remove(found.running, found.window_id)
    assert process_bench.engine.inventory(process_bench.cell) == []


def test_side_by_side_each_has_its_own_network(process_bench: Any, make_entry: Callable[..., Any]) -> None:
    """Two that listen at the same port of theirs do not meet."""
    code = COUNTS.replace("int(os.environ['PORT'])", "8080").replace("print('up'", "print('up', os.getpid()")
    both = [process_bench.run(code) for _ in range(2)]
    for started in both:
        process_bench.says(started, "up")
    assert len({procfs.network_of(started.running.pid) for started in both}) == 2
