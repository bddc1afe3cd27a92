"""upload-service: each file whole or not at all, whatever ends the upload."""

from __future__ import annotations

import base64
import hashlib
import re
import resource
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    from tests.unit.services.conftest import Service, Start

PROGRAM = "upload_service.py"
CONTENT = bytes(range(256)) * 1024
BLOCK = 64 * 1024


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digest_of(content: bytes) -> dict[str, str]:
    return {"Content-Digest": f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"}


def in_blocks(content: bytes, size: int = 10_000) -> Iterator[bytes]:
    return (content[begin : begin + size] for begin in range(0, len(content), size))


def put(service: Service, name: str = "a.bin", content: bytes = CONTENT, **more: Any) -> httpx.Response:
    return service.http.put(f"/files/{name}", content=content, **more)


def files(service: Service) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.http.get("/files").json()["files"]
    return found


def temporary(service: Service) -> dict[str, int]:
    found: dict[str, int] = service.http.get("/temp").json()
    return found


@pytest.fixture
def service(start: Start, tmp_path: Path) -> Service:
    return start(PROGRAM, "--data", tmp_path / "data")


@contextmanager
def half_sent(service: Service, eventually: Callable[..., Any], name: str = "half.bin") -> Iterator[socket.socket]:
    """An upload of which the first half is on the disk, and the second never comes by itself."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as client:
        head = f"PUT /files/{name} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(CONTENT)}\r\n\r\n"
        client.sendall(head.encode() + CONTENT[: len(CONTENT) // 2])
        eventually(lambda: temporary(service)["bytes"] >= BLOCK)
        yield client


def send_for_ever(client: socket.socket) -> None:
    while True:
        client.sendall(CONTENT)


def test_a_file_of_stated_length_is_kept(service: Service, tmp_path: Path) -> None:
    answer = put(service).json()
    assert answer == {"name": "a.bin", "size": len(CONTENT), "sha256": sha256(CONTENT)}
    assert files(service) == [answer]
    assert (tmp_path / "data/files/a.bin").read_bytes() == CONTENT
    assert temporary(service) == {"count": 0, "bytes": 0}


@pytest.mark.parametrize("size", [1, 1000, BLOCK - 1, BLOCK, BLOCK + 1, len(CONTENT)])
def test_a_file_in_chunks_is_kept(service: Service, size: int) -> None:
    content = CONTENT[:3000] if size == 1 else CONTENT
    answer = service.http.put("/files/a.bin", content=in_blocks(content, size), headers=digest_of(content))
    assert answer.json()["sha256"] == sha256(content)
    assert files(service)[0]["size"] == len(content)


def test_an_empty_file_is_a_file(service: Service) -> None:
    assert put(service, content=b"").json()["sha256"] == sha256(b"")
    assert files(service)[0]["size"] == 0


def test_a_later_file_takes_the_place_of_the_earlier(service: Service) -> None:
    put(service)
    put(service, content=b"later")
    assert files(service) == [{"name": "a.bin", "size": 5, "sha256": sha256(b"later")}]


def test_what_is_not_what_was_promised_is_refused(service: Service) -> None:
    put(service, content=b"earlier")
    answer = put(service, headers=digest_of(b"something else"))
    assert answer.status_code == 422
    assert sha256(CONTENT) in answer.json()["error"]
    assert files(service)[0]["sha256"] == sha256(b"earlier")
    assert temporary(service)["count"] == 0


def test_what_changes_on_the_disk_shows(service: Service, tmp_path: Path) -> None:
    put(service)
    (tmp_path / "data/files/a.bin").write_bytes(b"rot")
    assert files(service)[0]["sha256"] == sha256(b"rot")


@pytest.mark.parametrize("header", ["", "garbage", "sha-512=:abcd:", "sha-256=:abcd:", "sha-256=abcd"])
def test_a_malformed_digest_is_refused(service: Service, header: str) -> None:
    answer = put(service, headers={"Content-Digest": header})
    assert answer.status_code == 400
    assert "RFC 9530" in answer.json()["error"]
    assert files(service) == []


@pytest.mark.parametrize("name", ["..%2Fa", "..", ".hidden", "a%20b", "%00", "x" * 101, "caf%C3%A9", "a%0A"])
def test_a_name_stays_in_its_folder(service: Service, name: str, tmp_path: Path) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as client:  # httpx would tidy the path up
        client.sendall(f"PUT /files/{name} HTTP/1.1\r\nContent-Length: 1\r\n\r\nx".encode())
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert b" 400 " in answer.splitlines()[0]
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("chunked", [True, False])
def test_a_file_that_is_too_large_is_refused(start: Start, tmp_path: Path, chunked: bool) -> None:
    service = start(PROGRAM, "--data", tmp_path, env={"UPLOAD_LIMIT": "1000"})
    content = CONTENT[:1001]
    answer = service.http.put("/files/a.bin", content=in_blocks(content) if chunked else content)
    assert answer.status_code == 413
    assert "1000 bytes" in answer.json()["error"]
    assert (files(service), temporary(service)["count"]) == ([], 0)
    assert put(service, content=content[:1000]).status_code == 200


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"hexadecimal"),
        (b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", b"hexadecimal"),
        (b"Transfer-Encoding: chunked\r\n\r\n\r\n", b"hexadecimal"),
        (b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n", b"longer than it says"),
        (b"Transfer-Encoding: gzip\r\n\r\n", b"'chunked' alone"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", b"not beside Content-Length"),
        (b"Content-Length: many\r\n\r\n", b"not a number"),
    ],
)
def test_a_malformed_body_is_refused(service: Service, head: bytes, message: bytes) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as client:
        client.sendall(b"PUT /files/a.bin HTTP/1.1\r\n" + head)
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert b" 400 " in answer.splitlines()[0]
    assert message in answer
    assert (files(service), temporary(service)["count"]) == ([], 0)


def test_chunks_may_have_extensions_and_trailers(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as client:
        client.sendall(b"PUT /files/a.bin HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n")
        client.sendall(b"3;name=value\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert b" 200 " in answer.splitlines()[0]
    assert files(service)[0]["sha256"] == sha256(b"abc0123456789")


def test_a_large_file_is_never_whole_in_memory(service: Service) -> None:
    content = bytes(1024 * 1024)
    answer = service.http.put("/files/large.bin", content=(content for _ in range(64)))
    assert answer.json()["size"] == 64 * len(content)
    assert files(service)[0]["size"] == 64 * len(content)
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    peak_kb = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert peak_kb
    assert int(peak_kb[1]) < 40 * 1024


def test_a_full_disk_is_told_and_leaves_nothing(service: Service) -> None:
    limits = (BLOCK, BLOCK)
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, limits)
    answer = put(service)
    assert answer.status_code == 507
    assert "File too large" in answer.json()["error"]
    assert (files(service), temporary(service)["count"]) == ([], 0)


def test_uploads_to_one_name_at_once_leave_one_of_them(service: Service) -> None:
    contents = [bytes([number]) * 500_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda content: put(service, content=content).status_code, contents))
    assert answers == [200] * 8
    assert files(service)[0]["sha256"] in map(sha256, contents)
    assert temporary(service)["count"] == 0


def test_a_client_that_goes_away_leaves_nothing(service: Service, eventually: Callable[..., Any]) -> None:
    with half_sent(service, eventually):
        assert (files(service), temporary(service)["count"]) == ([], 1)
    eventually(lambda: temporary(service)["count"] == 0)
    assert files(service) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_breaks_off_and_cleans_up(
    service: Service, eventually: Callable[..., Any], tmp_path: Path, number: signal.Signals
) -> None:
    put(service, "whole.bin")
    with half_sent(service, eventually) as client:
        service.process.send_signal(number)
        with suppress(ConnectionError):
            assert client.recv(4096) == b""
        assert service.process.wait(2) == 0
    assert [path.name for path in (tmp_path / "data").rglob("*") if path.is_file()] == ["whole.bin"]
    assert service.log.read_text().endswith("stopped\n")


def test_an_upload_that_never_pauses_is_broken_off_too(
    service: Service, eventually: Callable[..., Any], tmp_path: Path
) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as client:
        client.sendall(b"PUT /files/endless.bin HTTP/1.1\r\nContent-Length: 1000000000000\r\n\r\n" + CONTENT)
        eventually(lambda: temporary(service)["bytes"] >= BLOCK)
        service.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionError):
            send_for_ever(client)
    assert service.process.wait(2) == 0
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == []


def test_the_next_start_removes_what_a_killed_one_left(
    start: Start, service: Service, eventually: Callable[..., Any], tmp_path: Path
) -> None:
    put(service, "whole.bin")
    with half_sent(service, eventually):
        assert service.stop(signal.SIGKILL) == -signal.SIGKILL
    assert len(list((tmp_path / "data/temp").iterdir())) == 1
    again = start(PROGRAM, "--data", tmp_path / "data")
    assert temporary(again)["count"] == 0
    assert [item["sha256"] for item in files(again)] == [sha256(CONTENT)]


def test_a_folder_that_cannot_be_used_is_told(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    service = start(PROGRAM, "--data", tmp_path / "file", wait=False)
    assert service.process.wait(5) == 1
    assert "Give --data a folder" in service.log.read_text()
