"""`vx11 window list --watch` against a real cell: in a pipe, for programs, on a terminal, and how it ends."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from vx11 import tokens
from vx11.conductor.cell import Cell
from vx11.watch import LOST

LIMIT = 20.0
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (.*)\n")
Eventually = Callable[..., Any]


@pytest.fixture
def cell(stays: Any) -> Iterator[Any]:
    """The cell that tests share; each leaves it in SOLO_MADRE, with a madre."""
    yield stays
    with stays.madre() as madre:
        assert madre.solo_madre()["solo_madre"]


class Watch:
    """A running watch.

    Attributes:
        screen: what it wrote to its terminal.
    """

    def __init__(self, cell: Cell, arguments: list[str], *, terminal: bool, token: str) -> None:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("VX11_")}
        env = ours | {"VX11_URL": cell.url, "VX11_TOKEN": token, "TERM": "xterm", "COLUMNS": "160", "LINES": "40"}
        command = [sys.executable, "-m", "vx11", "window", "list", "--watch", *arguments]
        self.screen = ""
        self._terminal, inside = pty.openpty() if terminal else (-1, subprocess.PIPE)
        self.process = subprocess.Popen(
            command,
            stdin=inside if terminal else subprocess.DEVNULL,
            stdout=inside,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
            process_group=0,
        )
        if terminal:
            os.close(inside)
            os.set_blocking(self._terminal, False)

    def line(self) -> str:
        """The next line, without its time."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        found = LINE.fullmatch(line)
        assert found, (line, self.process.poll() is not None and self.errors())
        return found[1]

    def read(self) -> str:
        """All that came to the terminal until now."""
        with suppress(OSError):  # nothing new, or it has ended
            self.screen += os.read(self._terminal, 65536).decode()
        return self.screen

    def frame(self) -> str:
        """What the table shows now."""
        return self.read().rpartition("SERVICE")[2]

    def errors(self) -> str:
        """All that it said on stderr, once it has ended."""
        assert self.process.stderr
        return self.process.stderr.read()

    def interrupt(self) -> int:
        """As Ctrl-C does; answers its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(LIMIT)

    def end(self) -> None:
        """Whatever became of it."""
        if self.process.poll() is None:
            self.process.kill()
        with self.process:
            self.process.wait()
        if self._terminal >= 0:
            os.close(self._terminal)


@pytest.fixture
def watch(cell: Any) -> Iterator[Callable[..., Watch]]:
    """`watch(*arguments, terminal=False)` begins to watch the cell; it ends with the test at the latest."""
    begun: list[Watch] = []

    def begin(*arguments: str, terminal: bool = False, token: str = "") -> Watch:
        begun.append(Watch(cell, list(arguments), terminal=terminal, token=token or cell.token))
        return begun[-1]

    yield begin
    for one in begun:
        one.end()


def test_in_a_pipe_a_line_for_each_thing(cell: Any, watch: Callable[..., Watch]) -> None:
    shown = watch()
    assert shown.line() == "nothing is open"
    (url,) = cell.post("open", service="web", ttl=300)["endpoints"]
    assert re.fullmatch(r"web opening until \S+Z", shown.line())
    assert re.fullmatch(rf"web opened until \S+Z  {re.escape(url)}", shown.line())
    cell.post("hold", service="web", hold=True)
    assert re.fullmatch(r"web held until \S+Z", shown.line())
    cell.post("close", service="web")
    assert shown.line() == "web closing (requested)"
    assert re.fullmatch(r"web closed \(requested\) after \d+\.\d s", shown.line())
    assert shown.interrupt() == 130
    assert shown.errors() == ""


def test_it_begins_with_what_is_open(cell: Any, watch: Callable[..., Watch]) -> None:
    cell.post("open", service="web", ttl=300)
    assert watch().line().startswith("web open until ")


def test_for_programs_an_object_a_line(cell: Any, watch: Callable[..., Watch]) -> None:
    shown = watch("--json")
    assert shown.process.stdout
    state = json.loads(shown.process.stdout.readline())
    assert (state["event"], state["windows"]) == ("state", [])
    opened = cell.post("open", service="web", ttl=300)
    for kind in ("opening", "opened"):
        event = json.loads(shown.process.stdout.readline())
        assert (event["event"], event["window"]["window_id"]) == (kind, opened["window_id"])
    assert shown.interrupt() == 130
    assert shown.errors() == ""


def test_when_nobody_reads_any_more_it_ends_quietly(cell: Any, watch: Callable[..., Watch]) -> None:
    shown = watch()
    shown.line()
    assert shown.process.stdout
    shown.process.stdout.close()
    cell.post("open", service="web", ttl=300)
    assert shown.process.wait(LIMIT) == 1
    assert shown.errors() == ""


def test_it_goes_on_after_a_restart(cell: Any, watch: Callable[..., Watch]) -> None:
    cell.post("open", service="web", ttl=300)
    shown = watch()
    shown.line()
    cell.end_madre()
    cell.start_madre()
    assert shown.line().startswith("web open until ")
    cell.post("close", service="web")
    assert shown.line() == "web closing (requested)"
    assert shown.interrupt() == 130
    assert shown.errors() == f"{LOST}\n"


def test_on_a_terminal_the_time_left_runs(cell: Any, watch: Callable[..., Watch], eventually: Eventually) -> None:
    shown = watch(terminal=True)
    eventually(lambda: "nothing is open" in shown.read(), LIMIT)
    opened = cell.post("open", service="web", ttl=59)
    eventually(lambda: re.search(r"\dZ web opened until ", shown.read()), LIMIT)
    assert opened["window_id"] in shown.screen
    assert opened["endpoints"][0] in shown.screen
    cell.end_madre()
    try:
        # Nobody can be asked now.
        eventually(lambda: LOST in shown.read(), LIMIT)
        begun = len(shown.screen)
        eventually(lambda: len(set(re.findall(r"5\d\.\d s", shown.read()[begun:]))) >= 3, LIMIT)
    finally:
        cell.start_madre()
    eventually(lambda: LOST not in shown.frame(), LIMIT)
    cell.post("close", service="web")
    eventually(lambda: "web closed (requested) after " in shown.read(), LIMIT)
    assert shown.interrupt() == 130
    assert shown.errors() == ""
    assert shown.read().rindex("\x1b[?25h") > shown.screen.rindex("\x1b[?25l")  # the cursor is back


def test_it_ends_with_its_token(cell: Any, watch: Callable[..., Watch]) -> None:
    key = tokens.read_key(cell.folder / "key")
    shown = watch(token=tokens.issue(key, subject="me", scopes=["power:read"], ttl=5, cell=cell.name))
    assert shown.line() == "nothing is open"
    assert shown.process.wait(LIMIT) == 1
    assert shown.errors() == "vx11: invalid or expired token\n"


def test_what_is_watched_is_told_as_it_closes(watch: Callable[..., Watch]) -> None:
    shown = watch("--closed")
    assert shown.process.wait(LIMIT) == 2
    assert "--closed" in shown.errors()
