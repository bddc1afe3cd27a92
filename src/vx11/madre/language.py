"""Asks the language service, which answers operators in words of its own while its window is open.

It is a service like any other: whatever it does, madre waits for it no longer than `LIMIT` seconds in all, takes no
more than `MOST` bytes from it, goes nowhere that it leads to, and tells it nothing but the question.
"""

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from vx11.errors import Vx11Error

HOST, PATH = "127.0.0.1", "/chat"
LIMIT = 5.0
# Bytes of an answer with its headers.
MOST = 64 * 1024
HEADERS = {"Content-Type": "application/json", "Accept": "application/json", "Connection": "close"}


class NoAnswer(Vx11Error):
    """The language service did not answer, or not as it has to."""


class _Answer(BaseModel):
    """What it has to answer; other keys mean nothing."""

    reply: str = Field(min_length=1)


def ask(port: int, question: Mapping[str, Any]) -> str:
    """Asks what listens at a port of this host; answers its reply.

    Raises:
        NoAnswer: says why, in words that are not the service's.
    """
    try:
        with contextlib.closing(_Link(time.monotonic() + LIMIT)) as link:
            link.connect((HOST, port))
            body = _asked(link, json.dumps(question).encode("ascii"))
    except TimeoutError as error:
        raise NoAnswer(f"its answer was not complete after {LIMIT:g} s") from error
    except OSError as error:
        raise NoAnswer(f"the connection failed: {error.strerror or type(error).__name__}") from error
    except http.client.HTTPException as error:
        raise NoAnswer(f"what it answered is not HTTP ({type(error).__name__})") from error
    try:
        return _Answer.model_validate_json(body).reply
    except ValidationError as error:
        raise NoAnswer("its answer is not a JSON object with a reply") from error


def _asked(link: socket.socket, question: bytes) -> bytes:
    connection = http.client.HTTPConnection(HOST)
    connection.sock = link
    connection.request("POST", PATH, question, HEADERS)
    with connection.getresponse() as answer:
        if answer.status != http.client.OK:
            raise NoAnswer(f"it answered {answer.status}")
        return answer.read(MOST)


class _Link(socket.socket):
    """A connection with an end in time and in size, however slowly, and however much, the other side sends.

    Args:
        until: when it ends, by `time.monotonic`.
    """

    def __init__(self, until: float) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM)
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # head and body are sent one after the other
        self._until = until
        self._taken = 0
        self._hurry()

    def _hurry(self) -> None:
        """Has the next call end in time.

        Raises:
            TimeoutError: it is time.
        """
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.settimeout(left)

    def sendall(self, *args: Any) -> None:
        """As a socket does, in the time that is left."""
        self._hurry()
        super().sendall(*args)

    def recv_into(self, *args: Any) -> int:
        """As a socket does, in the time that is left.

        Raises:
            NoAnswer: it was too much.
        """
        self._hurry()
        count = super().recv_into(*args)
        self._taken += count
        if self._taken > MOST:
            raise NoAnswer(f"its answer is larger than {MOST // 1024} KiB")
        return count
