"""The body of a request: read whole where it is small, or block by block while it still comes."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from email.message import Message
from io import BufferedIOBase

BLOCK = 64 * 1024
# What is read and thrown away of a body that nobody wanted, so that the client sees the answer and not a reset.
DRAIN_LIMIT = 1024 * 1024
# The size of a chunk is a short line, and so is each trailer.
LINE_LIMIT = 1024


class BodyError(Exception):
    """A body is not one of HTTP; the text says why."""


class BodyTooLarge(BodyError):
    """A body is larger than may be."""


class BrokenOff(ConnectionError):
    """The connection ended before the body did."""


class Body:
    """A body of a stated length or in chunks (RFC 9112, sections 6 and 7.1); each byte can be read once.

    Args:
        headers: of the request.
        source: where the body is read from.
        connection: what `source` reads.

    Raises:
        BodyError: the headers do not say how long it is.
    """

    def __init__(self, headers: Message, source: BufferedIOBase, connection: socket.socket) -> None:
        self._source = source
        self._connection = connection
        self._broken = False
        coding = headers.get("Transfer-Encoding")
        # Two lengths are how requests are smuggled past a proxy.
        if coding is not None and (coding.lower() != "chunked" or "Content-Length" in headers):
            raise BodyError("Transfer-Encoding is taken as 'chunked' alone, and not beside Content-Length.")
        self._rest = self._chunked() if coding else self._sized(_length(headers))

    def blocks(self) -> Iterator[bytes]:
        """The body as it comes, in blocks of at most 64 KiB.

        Raises:
            BodyError: a chunk is malformed.
            BrokenOff: the client, or `break_off`, ended the connection.
            TimeoutError: the client was silent for too long.
        """
        return self._rest

    def whole(self, limit: int) -> bytes:
        """All of it, for a body of at most `limit` bytes.

        Raises:
            BodyError: it is larger, or malformed.
            BrokenOff: the client ended the connection.
        """
        read = bytearray()
        for block in self._rest:
            read += block
            if len(read) > limit:
                raise BodyTooLarge(f"The body is larger than {limit} bytes.")
        return bytes(read)

    def drain(self) -> None:
        """Throws away what nobody read, within a limit."""
        thrown = 0
        for block in self._rest:
            thrown += len(block)
            if thrown > DRAIN_LIMIT:
                break

    def break_off(self) -> None:
        """Ends the connection under who reads; any thread may call."""
        self._broken = True
        with suppress(OSError):  # the client may be quicker
            self._connection.shutdown(socket.SHUT_RDWR)

    def _sized(self, length: int) -> Iterator[bytes]:
        while length:
            block = self._read(min(length, BLOCK))
            length -= len(block)
            yield block

    def _chunked(self) -> Iterator[bytes]:
        while size := self._chunk_size():
            yield from self._sized(size)
            self._end_of_line()
        while self._line():
            pass  # trailers mean nothing here

    def _chunk_size(self) -> int:
        size = self._line().partition(b";")[0].strip()
        if not size or len(size) > 12 or not all(digit in b"0123456789abcdefABCDEF" for digit in size):
            raise BodyError("A chunk does not begin with its size in hexadecimal.")
        return int(size, 16)

    def _end_of_line(self) -> None:
        if self._line():
            raise BodyError("A chunk is longer than it says.")

    def _line(self) -> bytes:
        line = self._source.readline(LINE_LIMIT)
        if self._broken or not line.endswith(b"\n"):
            raise BrokenOff("the connection ended within a chunk")
        return line.rstrip(b"\r\n")

    def _read(self, size: int) -> bytes:
        # read1 answers what has come instead of waiting for a full block.
        block = self._source.read1(size)
        if self._broken or not block:
            raise BrokenOff("the connection ended before the body did")
        return block


def _length(headers: Message) -> int:
    length = headers.get("Content-Length", "0")
    if not length.isdecimal() or len(length) > 15:
        raise BodyError("Content-Length is not a number of bytes.")
    return int(length)
