"""Eyes on an engine: when the closing of each window began and ended, as Docker or the kernel tells it, not madre."""

import contextlib
import json
import os
import select
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import docker

from vx11.conductor.cell import Cell
from vx11.engines import procfs

from .audit import Seen, now

LOOK = 0.05


# The signal of a kill, as Docker and as Podman write it.
KILL = ("9", "SIGKILL")


class Eye(Protocol):
    """What was seen until now, by window."""

    seen: dict[str, Seen]


class DockerEye:
    """Hears the daemon's events about containers of a cell; stop signals that do not go through it are not heard.

    Args:
        client: a connection of its own.
    """

    def __init__(self, cell: str, client: docker.DockerClient) -> None:
        self.seen: dict[str, Seen] = {}
        self._stream = client.events(decode=True, filters={"type": "container", "label": f"vx11.cell={cell}"})
        self._thread = threading.Thread(target=self._listen, name="eye", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        for event in self._stream:
            self._hear(event["Action"], event["Actor"]["Attributes"], now())

    def _hear(self, action: str, about: Mapping[str, str], at: float) -> None:
        window = about["vx11.window"]
        saw = self.seen.get(window, Seen())
        if action == "kill" and about.get("signal") not in KILL:  # which may have been asked to end before
            self.seen[window] = Seen(min(saw.begun, at), saw.ended)
        elif action == "die":
            self.seen[window] = Seen(saw.begun, min(saw.ended, at))

    def close(self) -> None:
        """Stops listening."""
        self._stream.close()
        self._thread.join()


class ProcessEye:
    """Waits for the first process of each window in a cell to end (pidfd_open(2)).

    Args:
        windows: the folder of the cell's state files, which name the processes.
    """

    def __init__(self, windows: Path) -> None:
        self.seen: dict[str, Seen] = {}
        self._windows = windows
        self._handles: dict[int, str] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="eye", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        poll = select.poll()
        while not self._stopping.is_set():
            for handle in self._new():
                poll.register(handle, select.POLLIN)
            for handle, _ in poll.poll(LOOK * 1000):
                self.seen[self._handles[handle]] = Seen(ended=now())
                poll.unregister(handle)
        for handle in self._handles:
            os.close(handle)

    def _new(self) -> Iterator[int]:
        known = set(self._handles.values())
        for path in self._windows.glob("*.json"):
            if path.stem not in known and (handle := _handle_of(path)) is not None:
                self._handles[handle] = path.stem
                yield handle

    def close(self) -> None:
        """Stops watching."""
        self._stopping.set()
        self._thread.join()


def _handle_of(path: Path) -> int | None:
    """A handle on the process of a state file; None while there is none, or when it is gone."""
    try:
        engine: Mapping[str, Any] | None = json.loads(path.read_text(encoding="utf-8"))["engine"]
        if not engine:
            return None
        handle = os.pidfd_open(engine["pid"])
    except (OSError, ValueError, KeyError):
        return None
    if procfs.start_time(engine["pid"]) == engine["start_time"]:
        return handle
    os.close(handle)
    return None


@contextlib.contextmanager
def on(cell: Cell) -> Iterator[Eye]:
    """An eye on the engine of a cell, for as long as the block runs."""
    if cell.engine.name == "docker":
        client = docker.from_env()
        eye: DockerEye | ProcessEye = DockerEye(cell.name, client)
        try:
            yield eye
        finally:
            eye.close()
            client.close()
    else:
        eye = ProcessEye(cell.folder / "state" / cell.name / "windows")
        try:
            yield eye
        finally:
            eye.close()
