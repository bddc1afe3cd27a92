"""The Docker API as the watchdog speaks it: what a daemon says, and whatever one may say instead."""

import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from vx11.watchdog import dockerapi
from vx11.watchdog.dockerapi import DaemonError

FakeDaemon = Any  # tests/unit/watchdog/conftest.py


def test_containers_are_those_with_all_the_labels(daemon: FakeDaemon) -> None:
    first = daemon.run({"vx11.cell": "a", "vx11.window": "w1"})
    daemon.run({"vx11.cell": "b", "vx11.window": "w1"})
    second = daemon.run({"vx11.cell": "a"})
    daemon.running.discard(second)  # one that ended is told too
    found = [(item["Id"], item["State"]) for item in dockerapi.containers({"vx11.cell": "a"})]
    assert found == [(first, "running"), (second, "exited")]
    (item,) = dockerapi.containers({"vx11.cell": "a", "vx11.window": "w1"})
    assert item["Id"] == first


def test_the_state_of_one_that_is_not_there_is_none(daemon: FakeDaemon) -> None:
    state = dockerapi.state(daemon.run())
    assert state is not None
    assert state["Running"] is True
    assert dockerapi.state("0" * 64) is None


@pytest.mark.parametrize("status", [204, 304, 404])
def test_a_stop_tells_the_grace(daemon: FakeDaemon, status: int) -> None:
    daemon.stop_status = status
    dockerapi.stop("abc", 4.0)
    assert daemon.asked == ["POST /containers/abc/stop?t=4"]


def test_a_stop_that_failed_says_why(daemon: FakeDaemon) -> None:
    daemon.stop_status = 500
    with pytest.raises(DaemonError, match=r"the daemon answered 500: .*cannot stop it"):
        dockerapi.stop("abc", 0.0)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"HTTP/1.0 500 Oh\r\n\r\nno", "the daemon answered 500: no"),
        (b'HTTP/1.0 200 OK\r\n\r\n[{"Id": "a"', "is cut or no JSON"),
        (b"HTTP/1.0 200 OK\r\n", "is cut or no JSON"),
        (b"SSH-2.0-OpenSSH\r\n", "does not answer in HTTP"),
        (b"\r\n\r\n", "does not answer in HTTP"),
    ],
)
def test_an_answer_that_is_none_is_told(daemon: FakeDaemon, raw: bytes, why: str) -> None:
    daemon.raw = raw
    with pytest.raises(DaemonError, match=why):
        dockerapi.containers({"vx11.cell": "a"})


def test_a_daemon_that_hangs_is_given_up(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dockerapi, "ANSWER_TIMEOUT", 0.05)
    monkeypatch.setattr(dockerapi, "CONNECT_TIMEOUT", 60.0)
    daemon.silent = threading.Event()
    try:
        with pytest.raises(DaemonError, match="does not answer: timed out"):
            dockerapi.state("abc")
    finally:
        daemon.silent.set()


def test_where_there_is_no_socket_there_is_no_container(no_daemon: None) -> None:
    assert dockerapi.address() == ""
    assert dockerapi.containers({"vx11.cell": "a"}) == []
    with pytest.raises(DaemonError, match="its socket, which is not there"):
        dockerapi.state("abc")


def test_a_socket_that_nobody_listens_on_is_a_daemon_that_is_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "left.sock"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/left.sock")
    with pytest.raises(DaemonError, match="Connection refused"):
        dockerapi.containers({"vx11.cell": "a"})


def test_a_daemon_may_be_reached_over_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.getsockname()[1]}")
        asked: list[bytes] = []

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                asked.append(connection.recv(1000).splitlines()[0])
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n[]")

        thread = threading.Thread(target=answer)
        thread.start()
        assert dockerapi.containers({}) == []
        thread.join(5)
    assert asked[0].startswith(b"GET /containers/json?all=true&filters=%7B%22label")


def test_an_address_of_another_kind_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://host")
    with pytest.raises(DaemonError, match="nothing can be called at ssh://host"):
        dockerapi.containers({})
