"""Which window an operator's question goes to; what is asked and answered is tested over HTTP."""

import socket
from types import SimpleNamespace
from typing import Any

import pytest

from vx11.clock import NS, Instant
from vx11.madre.operator import Operator
from vx11.windows.window import State, Window

NOW = Instant(1000 * NS, 5000 * NS, "boot-a")


def window(state: State, *endpoints: str) -> Window:
    return Window(
        cell="default",
        window_id="id",
        generation=1,
        service="llm",
        state=state,
        opened=NOW,
        deadline=NOW.plus(60),
        opened_by="anna",
        max_ttl=600,
        max_hold=600,
        grace=1,
        endpoints=endpoints,
    )


def operator(found: Window, speaker: str | None) -> Operator:
    windows: Any = SimpleNamespace(windows=lambda: [found])
    jobs: Any = None
    return Operator(windows, jobs, list, lambda: speaker)


@pytest.mark.parametrize("state", [State.OPENING, State.CLOSING, State.STUCK])
def test_only_what_is_open_is_asked(state: State) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        reply = operator(window(state, f"http://127.0.0.1:{server.getsockname()[1]}"), "llm").answer("hello", "s")
        assert (reply.intent, reply.said) == ("help", None)
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("speaker", [None, "web"])
def test_another_window_is_not_asked(speaker: str | None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert operator(window(State.OPEN, endpoint), speaker).answer("hello", "s").said is None
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("endpoints", [[], ["tcp://127.0.0.1:1"], ["grpc://127.0.0.1:1"]])
def test_a_window_without_http_is_answered_for(endpoints: list[str]) -> None:
    """As one is that was opened before its entry said that it answers operators."""
    reply = operator(window(State.OPEN, *endpoints), "llm").answer("hello", "s")
    assert (reply.intent, reply.said) == ("help", None)
