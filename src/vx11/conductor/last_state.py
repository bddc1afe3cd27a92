"""What there was to see of a case when its time was over: its windows, what is not ready, the test of its suite."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vx11.client import Madre
from vx11.errors import Vx11Error
from vx11.units import show_duration

# A madre that hangs must not make the case longer than it may be.
ANSWER_TIMEOUT = 2.0
LINES = 5


def last_state(madre: Madre, folder: Path) -> str:
    """One line; raises nothing.

    Args:
        folder: of the case.
    """
    madre.http.timeout = ANSWER_TIMEOUT
    try:
        windows = madre.status()["windows"]
        said = "; ".join(_window(madre, window) for window in windows) or "no window was open"
    except Vx11Error as error:
        said = f"its windows are not known: {error}"
    return "; ".join([said, *_suites(folder)])


def _window(madre: Madre, window: dict[str, Any]) -> str:
    """`web was opening, not ready, 57.0 s left, it last said: …`."""
    words = [f"{window['service']} was {window['state']}"]
    if window["state"] == "opening":
        words.append("not ready")
    words.append("held" if window["hold"] else f"{show_duration(window['remaining_s'])} left")
    if window["state"] != "open" and (lines := _logs(madre, window["window_id"])):
        words.append(f"it last said: {' | '.join(lines)}")
    return ", ".join(words)


def _logs(madre: Madre, window: str) -> Sequence[str]:
    try:
        found = madre.call("GET", "/api/v1/windows/logs", params={"window": window, "tail": LINES})
    except Vx11Error:
        return ()
    return [str(line) for line in found["lines"]]


def _suites(folder: Path) -> Iterator[str]:
    """The test that each suite was at, of those that had not come to their end."""
    for path in sorted((folder / "suites").glob("*/progress.jsonl")):
        begun: dict[str, Any] | None = None
        for note in _notes(path):
            if note.get("event") == "test_begun":
                begun = note
            elif note.get("event") == "test_ended":
                begun = None
        if begun:
            since = (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - int(begun["ns"])) / 1e9
            yield f"the suite {path.parent.name} was at {begun['name']} for {show_duration(since)}"


def _notes(path: Path) -> Iterator[dict[str, Any]]:
    """What a suite noted; half a line at the end is one that is just written."""
    for line in path.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield json.loads(line)
