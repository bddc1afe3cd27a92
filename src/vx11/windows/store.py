"""State files: one JSON a window, written whole and renamed into place, so that a reader never sees half of one."""

import contextlib
import json
import os
import threading
from collections.abc import Container
from pathlib import Path

from vx11.clock import Instant
from vx11.errors import EnvironmentProblem
from vx11.statefiles import CLOSED_BY_WATCHDOG, LOGS, WATCHDOG_LOCK, WINDOWS, held_lock, write_json
from vx11.windows.window import Window

UNREADABLE = ".unreadable"
LOG_LIMIT = 10 * 1024 * 1024


class StateStore:
    """The state folder of one cell. madre alone writes it; the watchdog reads, and adds its own mark files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.windows = folder / WINDOWS
        self._logs = folder / LOGS
        self._generations = folder / "generations.json"
        self._lock = threading.Lock()
        try:
            self.windows.mkdir(parents=True, exist_ok=True)
            self._logs.mkdir(exist_ok=True)
            folder.chmod(0o700)
            _expect_own(folder)
        except OSError as error:
            raise EnvironmentProblem(
                f"the state folder {folder} cannot be used: {error.strerror}; name another with --state"
            ) from error

    def save(self, window: Window) -> None:
        """Writes a window's state.

        Raises:
            OSError: the disk is full or gone.
        """
        write_json(self.windows / f"{window.window_id}.json", window.to_json())

    def delete(self, window_id: str) -> None:
        """Forgets a window that is closed, with the watchdog's mark for it."""
        for suffix in (".json", CLOSED_BY_WATCHDOG):
            (self.windows / f"{window_id}{suffix}").unlink(missing_ok=True)

    def load_all(self) -> tuple[list[Window], dict[str, str]]:
        """All windows on record; and for each file that cannot be read, by the id in its name, why.

        Such a file is put aside, so that it can be looked at, and is told once.
        """
        windows: list[Window] = []
        broken: dict[str, str] = {}
        for path in sorted(self.windows.glob("*.json")):
            try:
                windows.append(Window.from_json(json.loads(path.read_text(encoding="utf-8"))))
            except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
                broken[path.stem] = f"the state file {path} cannot be read, and is put aside: {error!r}"
                with contextlib.suppress(OSError):  # then it is told at the next start again
                    path.rename(path.with_suffix(UNREADABLE))
        return windows, broken

    def closed_by_watchdog(self, window_id: str) -> bool:
        """Whether the watchdog says that it closed this window."""
        return (self.windows / f"{window_id}{CLOSED_BY_WATCHDOG}").exists()

    def closed_by_watchdog_at(self, window_id: str) -> Instant | None:
        """When the watchdog closed this window, None when it did not, or its mark cannot be read."""
        try:
            mark = json.loads((self.windows / f"{window_id}{CLOSED_BY_WATCHDOG}").read_text(encoding="utf-8"))
            return Instant.from_json(mark["closed"])
        except (OSError, KeyError, TypeError, ValueError):
            return None

    def next_generation(self, service: str) -> int:
        """A number that grows with each window of a service."""
        with self._lock:
            known: dict[str, int] = {}
            with contextlib.suppress(FileNotFoundError, TypeError, ValueError):
                found = dict(json.loads(self._generations.read_text(encoding="utf-8")))
                known = {name: int(number) for name, number in found.items()}
            known[service] = known.get(service, 0) + 1
            write_json(self._generations, known)
            return known[service]

    def keep_logs(self, window_ids: Container[str]) -> None:
        """Removes the logs of all other windows: the folder is in memory, and must not grow for ever."""
        for path in self._logs.glob("*.log"):
            if path.stem not in window_ids:
                path.unlink(missing_ok=True)

    def shorten_logs(self) -> None:
        """Empties logs that have grown beyond `LOG_LIMIT`; who writes them appends, and so goes on at the start."""
        for path in self._logs.glob("*.log"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_size > LOG_LIMIT:
                    os.truncate(path, 0)

    def watchdog_is_alive(self) -> bool:
        """Whether a watchdog holds its lock on this folder."""
        try:
            with held_lock(self.folder / WATCHDOG_LOCK):
                return False
        except BlockingIOError:
            return True


def _expect_own(folder: Path) -> None:
    """What stands in state files is ended by the watchdog, so nobody else may put them there."""
    for part in (folder, folder.parent):
        if part.stat().st_uid not in (0, os.geteuid()):
            raise EnvironmentProblem(f"the folder {part} belongs to somebody else; name another with --state")
