"""How much madre takes: a larger body is refused before it is read, whatever is said of its length."""

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vx11.gateway.config import API_BODY

CHAT, EVENTS = "/operator/api/chat", "/api/v1/windows/events"
QUESTION = b'{"message": "hello"}'
MIB = 2**20


class Caller:
    """Who writes requests to madre as they like."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self.token = api.token(scopes=["operator:chat", "power:read"])

    @contextlib.contextmanager
    def begun(self, *headers: str, method: str = "POST", path: str = CHAT) -> Iterator[socket.socket]:
        """A request whose head has been sent."""
        host, _, port = self.api.cell.url.removeprefix("http://").rpartition(":")
        lines = [f"{method} {path} HTTP/1.1", "Host: madre", f"Authorization: Bearer {self.token}", *headers, "", ""]
        with socket.create_connection((host, int(port)), timeout=20) as link:
            link.sendall("\r\n".join(lines).encode())
            yield link

    def ask(self, body: bytes, *headers: str) -> Any:
        """The answer to a whole request: its status, and what it says."""
        with self.begun("Content-Type: application/json", *headers) as link:
            link.sendall(body)
            return answer(link)


def answer(link: socket.socket) -> tuple[int, Any]:
    """The next answer on a connection, and no byte more: its status and its JSON."""
    reader = link.makefile("rb", 0)
    status = int(reader.readline().split()[1])
    headers = dict(line.lower().split(b": ", 1) for line in iter(reader.readline, b"\r\n"))
    body = b""
    while len(body) < int(headers[b"content-length"]):
        body += reader.read(int(headers[b"content-length"]) - len(body))
    return status, json.loads(body)


def refusal(found: tuple[int, Any]) -> bool:
    """Whether an answer is the problem document for a body that is too large."""
    status, body = found
    return (status, body["status"], body["code"]) == (413, 413, "too_large") and "64 KiB" in body["detail"]


def chunk(data: bytes) -> bytes:
    """As HTTP writes it."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def padded(size: int) -> bytes:
    """A question of so many bytes."""
    return QUESTION.ljust(size)


@pytest.fixture
def caller(process_api: Any) -> Caller:
    """One who may ask questions and follow events."""
    return Caller(process_api)


def test_the_largest_body_is_taken_and_a_larger_one_is_not(caller: Caller) -> None:
    assert API_BODY == 65536
    for size, is_taken in ((API_BODY, True), (API_BODY + 1, False)):
        body = padded(size)
        pieces = b"".join(chunk(body[at : at + 1000]) for at in range(0, size, 1000)) + chunk(b"")
        for found in (
            caller.ask(body, f"Content-Length: {size}"),
            caller.ask(pieces, "Transfer-Encoding: chunked"),
            caller.ask(chunk(body) + chunk(b""), "Transfer-Encoding: chunked"),
        ):
            assert found[0] == 200 if is_taken else refusal(found)


@pytest.mark.parametrize("length", [API_BODY + 1, 10**10, 10**19])
@pytest.mark.parametrize("more", [(), ("Expect: 100-continue",)], ids=["", "asks before"])
def test_nobody_waits_for_a_body_that_says_that_it_is_too_large(
    caller: Caller, length: int, more: tuple[str, ...]
) -> None:
    with caller.begun(f"Content-Length: {length}", *more) as link:
        assert refusal(answer(link))


def test_nobody_waits_for_the_end_of_a_body_that_has_grown_too_large(caller: Caller) -> None:
    with caller.begun("Transfer-Encoding: chunked") as link:
        link.sendall(chunk(padded(API_BODY)))
        link.sendall(chunk(b" "))
        assert refusal(answer(link))


@pytest.mark.parametrize("header", ["Content-Length: {}", "Transfer-Encoding: chunked"])
def test_what_is_refused_is_not_kept_and_the_connection_goes_on(caller: Caller, header: str) -> None:
    pid = caller.api.cell.core["madre"].pid

    def peak() -> int:
        """Bytes of memory that madre has used at most."""
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))

    assert caller.ask(QUESTION, f"Content-Length: {len(QUESTION)}")[0] == 200
    before = peak()
    is_chunked = "chunked" in header
    with caller.begun(header.format(64 * MIB)) as link:
        for _ in range(64):
            link.sendall(chunk(bytes(MIB)) if is_chunked else bytes(MIB))
        link.sendall(chunk(b"") if is_chunked else b"")
        assert refusal(answer(link))
        again = ("Content-Type: application/json", f"Content-Length: {len(QUESTION)}", "", "")
        head = f"POST {CHAT} HTTP/1.1\r\nHost: madre\r\nAuthorization: Bearer {caller.token}\r\n"
        link.sendall(head.encode() + "\r\n".join(again).encode() + QUESTION)
        assert answer(link)[0] == 200
    assert peak() - before < 16 * MIB


def test_less_than_was_said_is_never_answered_and_holds_nobody_up(caller: Caller) -> None:
    with caller.begun("Content-Type: application/json", "Content-Length: 1000") as link:
        link.sendall(QUESTION)
        assert caller.ask(QUESTION, f"Content-Length: {len(QUESTION)}")[0] == 200
        link.shutdown(socket.SHUT_WR)
        assert b"HTTP/1.1 200" not in link.recv(1000)


def test_more_than_was_said_is_another_request(caller: Caller) -> None:
    more = b"POST /api/v1/windows/open HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
    with caller.begun("Content-Type: application/json", f"Content-Length: {len(QUESTION)}") as link:
        link.sendall(QUESTION + b"  " + more)
        assert answer(link)[0] == 200
        rest = b"".join(iter(lambda: link.recv(65536), b""))
    assert rest.startswith(b"HTTP/1.1 400 ")
    assert rest.count(b"HTTP/1.1") == 1
    assert caller.api.status()["windows"] == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (("Content-Length: -1",), 400),
        (("Content-Length: +5",), 400),
        (("Content-Length: 0x5",), 400),
        (("Content-Length: many",), 400),
        ((f"Content-Length: {'9' * 5000}",), 400),
        (("Content-Length: 5", "Content-Length: 6"), 400),
        (("Content-Length: 5, 6",), 400),
        (("Transfer-Encoding: gzip",), 400),
        (("Content-Length: 10000000000", "Transfer-Encoding: chunked"), 413),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_no_length(caller: Caller, headers: tuple[str, ...], status: int) -> None:
    with caller.begun(*headers) as link:
        assert link.recv(65536).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_short_length_does_not_hide_a_long_body_in_chunks(caller: Caller) -> None:
    with caller.begun("Content-Length: 5", "Transfer-Encoding: chunked") as link:
        with contextlib.suppress(ConnectionError):
            link.sendall(chunk(padded(API_BODY + 1)))
        assert link.recv(65536).split()[1] in {b"400", b"413"}


def test_a_stranger_is_told_no_more_than_that(caller: Caller) -> None:
    caller.token = "nobody's"
    with caller.begun(f"Content-Length: {API_BODY + 1}") as link:
        status, body = answer(link)
        assert (status, body["code"]) == (401, "token_invalid")


def test_a_stream_of_events_ends_when_its_client_sends_without_end(
    caller: Caller, eventually: Callable[..., Any]
) -> None:
    log = caller.api.cell.folder / "madre.log"
    before = log.stat().st_size
    with caller.begun("Transfer-Encoding: chunked", method="GET", path=EVENTS) as link:
        said = link.recv(65536)
        assert said.startswith(b"HTTP/1.1 200 ")
        link.sendall(chunk(bytes(API_BODY)))
        caller.api.open(ttl=60)
        while b"opened" not in said:
            said += link.recv(65536)
        link.sendall(chunk(b"x"))
        with contextlib.suppress(ConnectionError):
            assert eventually(lambda: link.recv(65536) == b"")
    assert b"Traceback" not in log.read_bytes()[before:]
