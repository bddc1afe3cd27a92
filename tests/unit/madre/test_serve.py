"""The server stops when it is told to, whoever is connected."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import uvicorn
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from vx11.madre.serve import SHUTDOWN_GRACE, _Server

CHUNK = b"x" * 65536


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends as much as anybody takes."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0)
            yield CHUNK

    await StreamingResponse(endless())(scope, receive, send)


def test_who_takes_nothing_does_not_hold_it_up(eventually: Callable[..., Any]) -> None:
    listening, left = threading.Event(), threading.Event()
    config = uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=SHUTDOWN_GRACE)
    server = _Server(config, listening.set, left.set)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as bound, socket.socket() as client:
        bound.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        assert listening.wait(10)
        client.connect(bound.getsockname())
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        eventually(lambda: any(item.flow.write_paused for item in list(server.server_state.connections)))
        begun = time.monotonic()
        server.should_exit = True
        thread.join(SHUTDOWN_GRACE * 2)
        assert not thread.is_alive()
        assert time.monotonic() - begun < SHUTDOWN_GRACE / 2
        assert left.is_set()
