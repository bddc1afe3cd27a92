"""Streams of events: bounded, patient with nobody, and ended by whatever should end them."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from vx11.clock import NS, Clock, Instant
from vx11.madre import streams
from vx11.madre.models import WindowView
from vx11.madre.streams import MOST, WAITING, Streams
from vx11.tokens import Bearer
from vx11.windows.events import Events, Kind
from vx11.windows.window import State, Window

NEVER = 4_000_000_000
LIMIT = 5.0


class WallClock(Clock):
    """Stands still."""

    def __init__(self) -> None:
        self.wall_ns = time.time_ns()

    def now(self) -> Instant:
        return Instant(10**12, self.wall_ns, "boot-a")


class Room:
    """Streams over windows in memory."""

    def __init__(self) -> None:
        self.clock = WallClock()
        self.events = Events()
        self.present: list[Window] = []
        self.streams = Streams(self, lambda window: WindowView.of(window, None, self.clock.now()))  # type: ignore[arg-type] - as many windows as streams need

    def windows(self) -> list[Window]:
        return self.present

    def window(self, service: str = "web") -> Window:
        now = self.clock.now()
        return Window(
            cell="t-cell",
            window_id=f"id-of-{service}",
            generation=1,
            service=service,
            state=State.OPEN,
            opened=now,
            deadline=now.plus(60),
            opened_by="anna",
            max_ttl=3600,
            max_hold=3600,
            grace=5,
        )

    def publish(self, kind: Kind = Kind.HELD, service: str = "web") -> None:
        self.events.publish(kind, self.window(service), self.clock.now())


class Client:
    """Whoever reads a stream; while `reads` is not set, it takes nothing."""

    def __init__(
        self, room: Room, service: str | None = None, last_id: str | None = None, expires: int = NEVER
    ) -> None:
        self.holds = True
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.text = ""
        self.done = False
        self.reads = asyncio.Event()
        self.reads.set()
        self.gone = asyncio.Event()
        bearer = Bearer("anna", frozenset(), "id-1", expires)
        self._answer = room.streams.stream(bearer, lambda: self.holds, service, last_id)
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "asgi": {"spec_version": "2.3"}}
        await self._answer(scope, self._receive, self._send)

    async def _receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self.reads.wait()
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        else:
            self.text += message["body"].decode()
            self.done = not message.get("more_body")

    def told(self) -> list[dict[str, Any]]:
        """The fields of each event, comments left out; `data` is read."""
        blocks = [block for block in self.text.split("\n\n") if block and not block.startswith(":")]
        found = [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]
        return [item | {"data": json.loads(item["data"])} for item in found]

    def kinds(self) -> list[str]:
        return [item["event"] for item in self.told()]

    async def until(self, check: Callable[[], object]) -> None:
        """Lets the loop go on until it is so."""
        async with asyncio.timeout(LIMIT):
            while not check():
                await asyncio.sleep(0)

    async def end(self) -> None:
        """Until the stream has ended."""
        async with asyncio.timeout(LIMIT):
            await self.task


def in_a_loop(test: Callable[[Room], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test that is a coroutine, with a room of its own."""

    def run() -> None:
        asyncio.run(test(Room()))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@in_a_loop
async def test_it_begins_with_what_is_there_and_goes_on(room: Room) -> None:
    room.publish()
    room.present = [room.window()]
    client = Client(room)
    await client.until(client.told)
    room.publish(Kind.CLOSED)
    await client.until(lambda: len(client.told()) == 2)
    state, closed = client.told()
    assert client.status == 200
    assert client.headers[b"content-type"].startswith(b"text/event-stream")
    assert (client.headers[b"cache-control"], client.headers[b"x-accel-buffering"]) == (b"no-store", b"no")
    assert (state["event"], state["data"]["number"]) == ("state", 1)
    assert [window["service"] for window in state["data"]["windows"]] == ["web"]
    assert (closed["event"], closed["data"]["event"], closed["data"]["number"]) == ("closed", "closed", 2)
    assert closed["data"]["window"]["window_id"] == "id-of-web"
    run = state["id"].removesuffix("-1")
    assert closed["id"] == f"{run}-2"
    client.gone.set()
    await client.end()


@in_a_loop
async def test_what_happens_while_it_begins_is_not_missed(room: Room) -> None:
    client = Client(room)
    client.reads.clear()
    await client.until(lambda: room.events._listeners)
    room.publish(Kind.OPENED)
    client.reads.set()
    await client.until(lambda: client.kinds() == ["state", "opened"])
    client.gone.set()
    await client.end()


@in_a_loop
async def test_only_one_service(room: Room) -> None:
    room.present = [room.window("web"), room.window("db")]
    client = Client(room, service="db")
    await client.until(client.told)
    for service in ("web", "db", "web"):
        room.publish(service=service)
    await client.until(lambda: len(client.told()) == 2)
    state, held = (item["data"] for item in client.told())
    assert [window["service"] for window in state["windows"]] == ["db"]
    assert (held["window"]["service"], held["number"]) == ("db", 2)
    room.streams.end()
    await client.end()
    assert len(client.told()) == 2


@in_a_loop
async def test_who_comes_again_is_told_what_it_missed(room: Room) -> None:
    first = Client(room)
    await first.until(first.told)
    first.gone.set()
    await first.end()
    room.publish(Kind.OPENING)
    room.publish(Kind.OPENED)
    again = Client(room, last_id=first.told()[0]["id"])
    await again.until(lambda: again.kinds() == ["opening", "opened"])
    assert [item["data"]["number"] for item in again.told()] == [1, 2]
    again.gone.set()
    await again.end()


@in_a_loop
async def test_an_id_that_is_not_of_this_madre_begins_anew(room: Room) -> None:
    room.publish()
    own = room.streams.id_of(1)
    run = own.removesuffix("-1")
    strange = [
        f"0{run[1:]}x-1",
        "0-1",
        "1",
        "",
        run,
        f"{run}-",
        f"{run}--1",
        f"{run}-2",
        f"{run}-²",
        f"{run}-{'9' * 5000}",
    ]
    for last_id in strange:
        client = Client(room, last_id=last_id)
        await client.until(client.told)
        assert client.kinds() == ["state"], last_id
        client.gone.set()
        await client.end()


@in_a_loop
async def test_a_slow_client_holds_nobody_up_and_costs_no_more_than_is_said(room: Room) -> None:
    slow, quick = Client(room), Client(room)
    await slow.until(lambda: slow.told() and quick.told())
    slow.reads.clear()
    for number in range(1, 3 * WAITING):
        room.publish()
        await quick.until(lambda number=number: f"-{number}\n" in quick.text[-2000:])
    (inbox,) = (inbox for inbox in room.streams._inboxes if inbox.ended)
    assert len(inbox._events) <= WAITING
    slow.reads.set()
    await slow.end()
    assert slow.done  # properly, so that it comes again with the last id it has
    assert not quick.done
    quick.gone.set()
    await quick.end()


@in_a_loop
async def test_all_that_is_kept_goes_into_a_stream(room: Room) -> None:
    first = room.streams.id_of(0)
    for _ in range(streams.KEPT):
        room.publish()
    client = Client(room, last_id=first)
    await client.until(lambda: f"-{streams.KEPT}\n" in client.text)
    assert len(client.told()) == streams.KEPT
    client.gone.set()
    await client.end()


@in_a_loop
async def test_the_end_of_the_token_is_the_end(room: Room) -> None:
    expires = room.clock.wall_ns // NS + 1
    client = Client(room, expires=expires)
    await client.until(client.told)
    assert not client.done
    room.clock.wall_ns = expires * NS
    room.publish()
    await client.end()
    assert client.done


@in_a_loop
async def test_a_quiet_stream_ends_with_its_token_too(room: Room) -> None:
    client = Client(room, expires=room.clock.wall_ns // NS)
    await client.end()
    assert client.done


@in_a_loop
async def test_when_madre_stops_all_streams_end_and_none_begins(room: Room) -> None:
    clients = [Client(room) for _ in range(5)]
    for client in clients:
        await client.until(client.told)
    room.streams.end()
    for client in [*clients, Client(room)]:
        await client.end()
        assert client.done


@in_a_loop
async def test_there_is_a_limit_and_who_goes_makes_room(room: Room) -> None:
    clients = [Client(room) for _ in range(MOST)]
    for client in clients:
        await client.until(client.told)
    refused = Client(room)
    await refused.end()
    assert (refused.status, json.loads(refused.text)["code"]) == (503, "too_many_streams")
    assert refused.headers[b"retry-after"]
    clients[0].gone.set()
    await clients[0].end()
    late = Client(room)
    await late.until(late.told)
    assert late.status == 200
    room.streams.end()
    for client in (*clients[1:], late):
        await client.end()
    assert room.events._listeners == []


def test_a_quiet_stream_says_that_it_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "ALIVE", 0.01)

    async def quiet(room: Room) -> None:
        client = Client(room)
        await client.until(lambda: client.text.count(":\n\n") >= 3)
        assert client.kinds() == ["state"]
        client.gone.set()
        await client.end()

    asyncio.run(quiet(Room()))


@in_a_loop
async def test_a_token_that_holds_no_more_is_told_nothing_more(room: Room) -> None:
    client = Client(room)
    await client.until(client.told)
    client.holds = False
    room.publish()
    await client.end()
    assert client.done
    assert client.kinds() == ["state"]


@in_a_loop
async def test_that_is_seen_where_nothing_happens_too(room: Room) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(streams, "ALIVE", 0.01)
        client = Client(room)
        client.holds = False
        await client.end()
    assert client.done
