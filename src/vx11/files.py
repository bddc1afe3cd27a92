"""Small files that are replaced whole, looked at for changes, and private to their owner. Standard library only."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

Signature = tuple[int, int, int] | None


def signature(path: Path) -> Signature:
    """Inode, size and time of change in nanoseconds; None for a file that is not there. It differs after a change."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Others who change files of this folder wait for as long as the block runs.

    Raises:
        OSError: the folder cannot be read.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
        os.fsync(handle)
    finally:
        os.close(handle)


def write_private(path: Path, text: str, owner: os.stat_result) -> None:
    """Replaces a file whole, mode 0600, owned as another one is: who runs madre reads what root has written.

    Raises:
        OSError: the folder cannot be written, or the file cannot be given to that owner.
    """
    partial = path.with_name(f".{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        partial.unlink()
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        os.fchown(handle, owner.st_uid, owner.st_gid)
        file.write(text)
        file.flush()
        os.fsync(handle)
    partial.replace(path)
