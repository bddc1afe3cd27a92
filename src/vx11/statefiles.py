"""What madre and the watchdog agree on about the state folder of a cell. Standard library only."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MADRE_LOCK = "madre.lock"
WATCHDOG_LOCK = "watchdog.lock"
WINDOWS = "windows"
LOGS = "logs"
JOBS = "jobs"
CLOSED_BY_WATCHDOG = ".closed-by-watchdog"


@contextlib.contextmanager
def held_lock(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on a file for as long as the block runs; the kernel releases it if we die.

    Raises:
        BlockingIOError: somebody else holds it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def write_json(path: Path, data: Any) -> None:
    """Writes a file whole: under another name, to the disk, then renamed into place.

    Raises:
        OSError: the disk is full or gone.
    """
    partial = partial_of(path)
    with partial.open("w", encoding="utf-8") as file:
        json.dump(data, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent)


def partial_of(path: Path) -> Path:
    """The name that a file has while it is written; a writer that was killed leaves it."""
    return path.with_name(f"{path.name}.new")


def sync_folder(folder: Path) -> None:
    """Brings to the disk which files a folder has.

    Raises:
        OSError: the disk is gone.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_json(path: Path) -> Any:
    """What a file says; None when there is none, or it is not JSON."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, RecursionError, ValueError):
        return None
