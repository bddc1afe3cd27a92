"""Streams of server-sent events: what happens to windows, told to clients as it happens.

A client may be slow; madre never waits for it and keeps no more than `WAITING` events for it. The form is that of
WHATWG HTML, "Server-sent events".
"""

import asyncio
import re
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable

from anyio import move_on_after
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from vx11.clock import NS
from vx11.madre import models, problems
from vx11.tokens import Bearer
from vx11.windows.events import KEPT, Event
from vx11.windows.manager import Windows
from vx11.windows.window import Window

MOST = 64
# All that is kept may be due at once to a client that comes late.
WAITING = KEPT + 100
ALIVE = 15.0
RETRY_AFTER = 5
COMMENT = ":\n\n"
EXAMPLE = """\
id: 5f0c11d2-7
event: closed
data: {"number": 7, "event": "closed", "at": "2026-11-21T10:00:30.004211973Z", "window": {"service": "web"}}

"""
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Streams:
    """The open streams of a madre.

    Args:
        windows: whose events they tell.
        view: a window as clients see it; must not wait.
    """

    def __init__(self, windows: Windows, view: Callable[[Window], models.WindowView]) -> None:
        self.windows = windows
        self.view = view
        self._run = secrets.token_hex(4)
        self._inboxes: set[Inbox] = set()
        self._ended = False

    def stream(self, bearer: Bearer, holds: Callable[[], bool], service: str | None, last_id: str | None) -> "Stream":
        """An answer that tells what happens for as long as the token is valid.

        Args:
            holds: whether the token still does; it may have been revoked.
            service: only of this service; None for all.
            last_id: the id of the last event that the client has; None or not known: it first gets the present windows.
        """
        return Stream(self, Inbox(service), bearer.expires, holds, self._number(last_id))

    def enter(self, inbox: "Inbox") -> bool:
        """Counts a stream in, False when there are too many."""
        if len(self._inboxes) >= MOST:
            return False
        self._inboxes.add(inbox)
        inbox.ended = self._ended
        return True

    def leave(self, inbox: "Inbox") -> None:
        """Counts it out."""
        self._inboxes.discard(inbox)

    def end(self) -> None:
        """Ends all of them, and those that come from now on: madre stops."""
        self._ended = True
        for inbox in self._inboxes:
            inbox.end()

    def id_of(self, number: int) -> str:
        """The id of an event; another madre numbers anew, so it says whose number it is."""
        return f"{self._run}-{number}"

    def _number(self, last_id: str | None) -> int | None:
        """The number in an id of this madre, None for any other text."""
        match = re.fullmatch(rf"{self._run}-([0-9]{{1,15}})", last_id or "")
        return int(match[1]) if match else None


class Inbox:
    """What one client is still to be told.

    Made in the event loop, filled from any thread. It takes no more once it is full, and ends then: what the client
    misses it gets when it comes again.
    """

    def __init__(self, service: str | None) -> None:
        self.service = service
        self.ended = False
        self._loop = asyncio.get_running_loop()
        self._events: deque[Event] = deque()
        self._news = asyncio.Event()

    def put(self, event: Event) -> None:
        """Takes an event, if it is of the service."""
        if self.ended or self.service not in (None, event.window.service):
            return
        if len(self._events) < WAITING:
            self._events.append(event)
        else:
            self.ended = True
        self._wake()

    def end(self) -> None:
        """Nothing more is told."""
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        self._loop.call_soon_threadsafe(self._news.set)

    async def next(self, timeout: float) -> Event | None:
        """The next event; None after so many seconds without one, or when it is ended."""
        if not self._events:
            self._news.clear()  # what comes just now sets it again later in the loop
            with move_on_after(timeout):
                await self._news.wait()
        return self._events.popleft() if self._events else None


class EventStream(StreamingResponse):
    """An answer of this kind, as the description of the API shows it."""

    media_type = "text/event-stream"


class Stream(EventStream):
    """The answer to one client."""

    def __init__(
        self, streams: Streams, inbox: Inbox, expires: int, holds: Callable[[], bool], after: int | None
    ) -> None:
        super().__init__(self._told(), headers=HEADERS)
        self._streams = streams
        self._windows, self._view = streams.windows, streams.view
        self._inbox = inbox
        self._expires = expires
        self._holds = holds
        self._after = after
        self._since = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers until the client goes, its token holds no more, it is too slow, or madre stops."""
        if not self._streams.enter(self._inbox):
            detail = f"{MOST} streams of events are open; try again in {RETRY_AFTER} s"
            refusal = problems.response("too_many_streams", detail, headers={"Retry-After": str(RETRY_AFTER)})
            await refusal(scope, receive, send)
            return
        try:
            with self._windows.events.listen(self._inbox.put, self._after) as self._since:
                await super().__call__(scope, receive, send)
        finally:
            self._streams.leave(self._inbox)

    async def _told(self) -> AsyncIterator[str]:
        if self._since != self._after:
            yield self._state()
        while not self._inbox.ended and (left := self._left()) > 0:
            event = await self._inbox.next(min(left, ALIVE))
            if not self._holds():
                return
            yield self._event(event) if event else COMMENT

    def _left(self) -> float:
        """Seconds until the token expires."""
        return self._expires - self._windows.clock.now().wall_ns / NS

    def _state(self) -> str:
        """The present windows. They are read after the listening began, so nothing is missed between."""
        now = self._windows.clock.now()
        wanted = [window for window in self._windows.windows() if self._inbox.service in (None, window.service)]
        return self._text(models.StateEvent(number=self._since, at=now.iso(), windows=list(map(self._view, wanted))))

    def _event(self, event: Event) -> str:
        window = self._view(event.window)
        return self._text(models.WindowEvent(number=event.number, event=event.kind, at=event.at.iso(), window=window))

    def _text(self, event: models.StateEvent | models.WindowEvent) -> str:
        return f"id: {self._streams.id_of(event.number)}\nevent: {event.event}\ndata: {event.model_dump_json()}\n\n"
