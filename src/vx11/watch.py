"""Shows what happens to windows, as it happens: a live table on a terminal, lines in a pipe, objects for programs."""

import json
import sys
import time
from collections.abc import Iterable
from typing import Any, Protocol

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vx11 import units
from vx11.client import Madre

LOST = "madre does not answer; trying again"
LATEST = 8


class View(Protocol):
    """Who is told."""

    def show(self, event: dict[str, Any]) -> None:
        """Something happened."""

    def answers(self, now: bool) -> None:
        """madre has stopped answering, or answers again."""


def run(madre: Madre, *, as_json: bool) -> None:
    """Shows events without end.

    Raises:
        MadreUnreachable, MadreRefused: as `Madre.events` does.
    """
    console = Console()
    if as_json:
        _follow(madre, Objects())
    elif sys.stdout.isatty() and console.is_interactive:
        view = LiveTable(console)
        with view.live:
            _follow(madre, view)
    else:
        _follow(madre, Lines())


def _follow(madre: Madre, view: View) -> None:
    for event in madre.events(answers=view.answers):
        view.show(event)


class Lines:
    """A line for each thing that happens."""

    def show(self, event: dict[str, Any]) -> None:
        """Printed at once."""
        for line in lines(event):
            typer.echo(line)

    def answers(self, now: bool) -> None:
        """Told apart from what happens."""
        if not now:
            typer.echo(LOST, err=True)


class Objects(Lines):
    """An object a line, as madre sent it."""

    def show(self, event: dict[str, Any]) -> None:
        """Printed at once."""
        typer.echo(json.dumps(event))


class LiveTable:
    """The present windows, and below them what happened last.

    Attributes:
        live: draws it, each second from a thread of its own, while it is entered.
    """

    def __init__(self, console: Console) -> None:
        # Replaced as a whole, never changed: the other thread may just be reading it.
        self._windows: dict[str, tuple[dict[str, Any], float]] = {}
        self._latest: tuple[str, ...] = ()
        self._lost = False
        self.live = Live(get_renderable=self._render, console=console, refresh_per_second=1)

    def show(self, event: dict[str, Any]) -> None:
        """The table has the windows as they are now."""
        if event["event"] == "state":
            self._windows = _received(event["windows"])
        else:
            known = self._windows | _received([event["window"]])
            self._windows = {key: item for key, item in known.items() if item[0]["state"] != "closed"}
            self._latest = (*self._latest, *lines(event))[-LATEST:]
        self.live.refresh()

    def answers(self, now: bool) -> None:
        """Said for as long as madre does not."""
        self._lost = not now
        self.live.refresh()

    def _render(self) -> Group:
        # The time left goes on from what madre said last.
        now = time.monotonic()
        shown = [
            window | {"remaining_s": max(0.0, window["remaining_s"] - (now - received))}
            for window, received in self._windows.values()
        ]
        said = [*self._latest, *([LOST] if self._lost else [])]
        below = Text("\n".join(["", *said]) if said else "", no_wrap=True, overflow="ellipsis")
        return Group(table(shown) if shown else Text("nothing is open"), below)


def _received(windows: Iterable[dict[str, Any]]) -> dict[str, tuple[dict[str, Any], float]]:
    """Windows by their ids, each with the monotonic time at which it was heard of."""
    now = time.monotonic()
    return {window["window_id"]: (window, now) for window in windows}


def table(windows: Iterable[dict[str, Any]]) -> Table:
    """A row a window."""
    shown = Table("SERVICE", "STATE", "LEFT", "HOLD", "ENDPOINTS", "WINDOW", box=None, pad_edge=False)
    for item in windows:
        state = f"{item['state']} ({item['reason']})" if item["reason"] else item["state"]
        state += f": {item['detail']}" if item["state"] == "stuck" else ""
        left = units.show_duration(item["remaining_s"])
        shown.add_row(
            item["service"], state, left, "yes" if item["hold"] else "", " ".join(item["endpoints"]), item["window_id"]
        )
    return shown


def lines(event: dict[str, Any]) -> list[str]:
    """An event for people: a line, or one for each window that is there as a stream begins."""
    when = f"{event['at'][:19]}Z"
    if event["event"] != "state":
        return [f"{when} {_told(event['event'], event['window'])}"]
    return [f"{when} {_told(window['state'], window)}" for window in event["windows"]] or [f"{when} nothing is open"]


def _told(what: str, window: dict[str, Any]) -> str:
    known = f"{window['service']} {what}" + (f" ({window['reason']})" if window["reason"] else "")
    if what == "stuck":
        return f"{known}: {window['detail']}"
    if what == "closed":
        return f"{known} after {units.show_duration(window['open_s'])}"
    if what == "closing":
        return known
    held = ", held" if window["hold"] and what != "held" else ""
    due = max(window["expires_at"], window["hold_until"] or "")
    where = " ".join(window["endpoints"]) if what in ("open", "opened") else ""
    return f"{known}{held} until {due[:19]}Z  {where}".rstrip()
