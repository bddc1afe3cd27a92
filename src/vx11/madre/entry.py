"""Tells the gateway of the cell which windows are open, and which tokens are revoked, as soon as that changes."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from vx11.gateway.config import WEB, Link
from vx11.gateway.runtime import GatewayGone, Runtime
from vx11.windows.events import Event
from vx11.windows.manager import Windows
from vx11.windows.window import State, Window

log = logging.getLogger(__name__)
LOOK_EVERY = 1.0
# How long the answer to an open may wait for the gateway; it is told again for as long as the window is open.
AWAITED = 2.0


class Entry:
    """The gateway, as madre sees it.

    Args:
        windows: those of the cell.
        url: how clients reach the gateway.
        link: what it is.
        revoked: the ids of tokens that do not count any more.
    """

    def __init__(self, windows: Windows, url: str, link: Link, revoked: Callable[[], Collection[str]]) -> None:
        self._windows = windows
        self._url = url.rstrip("/")
        self._runtime = Runtime(link.socket)
        self._revocations = link.revoked
        self._revoked = revoked
        self._changed = threading.Condition()
        self._is_stale = self._is_stopping = False
        # What is open, by the newest event, service → window.
        self._open: dict[str, Window] = {}
        self._led: dict[str, str] = {}
        # Whether the gateway answered when it was looked at last; None before that.
        self._answered: bool | None = None
        self._thread = threading.Thread(target=self._run, name="entry", daemon=True)

    @contextmanager
    def kept_in_step(self) -> Iterator[None]:
        """For as long as the block runs the gateway follows the windows; then it stays as it is, for the next madre."""
        with self._windows.events.listen(self._happened):
            self._thread.start()
            try:
                yield
            finally:
                with self._changed:
                    self._is_stopping = True
                    self._changed.notify_all()
                self._thread.join()

    def _happened(self, event: Event) -> None:
        window = event.window
        with self._changed:
            if window.state is State.OPEN:
                self._open[window.service] = window
            elif window.service in self._open and self._open[window.service].window_id == window.window_id:
                del self._open[window.service]
            self._is_stale = True
            self._changed.notify_all()

    @property
    def is_alive(self) -> bool:
        """Whether the gateway answers, as of the last second or so."""
        return bool(self._answered)

    def await_led(self, window: Window) -> None:
        """Returns when the gateway leads to a window, or after a moment; at once where it cannot."""
        until = time.monotonic() + AWAITED
        with self._changed:
            while _port(window) and self._answered is not False and self._led.get(window.service) != window.window_id:
                if not self._changed.wait(until - time.monotonic()):
                    return

    def endpoints(self, window: Window) -> tuple[str, ...]:
        """Where clients reach a window; nowhere, when none of its ports speaks HTTP."""
        return (f"{self._url}/svc/{window.service}/",) if _port(window) else ()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._is_stale:  # nothing has happened lately, so that the list is no older than any event
                    self._open = {w.service: w for w in self._windows.windows() if w.state is State.OPEN}
                is_open, self._is_stale = dict(self._open), False
            self._keep_in_step(is_open)
            with self._changed:
                if not self._is_stale and not self._is_stopping:
                    self._changed.wait(LOOK_EVERY)
                if self._is_stopping:
                    return

    def _keep_in_step(self, is_open: Mapping[str, Window]) -> None:
        try:
            known = self._runtime.ports()
            wanted = {name: _port(is_open[name]) if name in is_open else 0 for name in known}
            # A window that follows another one at the same port is another one all the same.
            other = {name for name, w in is_open.items() if self._led.get(name, w.window_id) != w.window_id}
            self._runtime.lead(dict.fromkeys(other & known.keys(), 0))
            self._runtime.lead({name: port for name, port in wanted.items() if port != known[name] or name in other})
            revoked = set(self._revoked())
            if revoked != self._runtime.revoked(self._revocations):
                self._runtime.revoke(sorted(revoked), self._revocations)
        except GatewayGone as error:
            if self._answered is not False:
                log.warning("%s; windows cannot be reached through it", error)
            with self._changed:
                self._answered = False
                self._changed.notify_all()
            return
        if self._answered is False:
            log.warning("the gateway answers again")
        with self._changed:
            self._answered = True
            self._led = {name: window.window_id for name, window in is_open.items() if name in known}
            self._changed.notify_all()


def _port(window: Window) -> int:
    """That of the port that is led to; 0 without one."""
    urls = map(urlsplit, window.endpoints)
    return next((url.port or 0 for url in urls if url.scheme in WEB), 0)
