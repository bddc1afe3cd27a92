"""Appends records to a hash chain: one a line, canonical JSON (RFC 8785), each with the hash of the one before.

Nanoseconds are text, since numbers above 2^53 break in other readers. A record's own hash is the sha256 over its
canonical form without the field `hash`. One writer a chain. Standard library only.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from vx11.errors import Vx11Error
from vx11.evidence.reading import End, end, records, segment, segments, with_hash
from vx11.statefiles import sync_folder

SCHEMA = 1
# What writes about the chain itself, and what it writes where it goes on behind half a line.
KEEPER, CONTINUED = "evidence", "continued"


class EvidenceError(Vx11Error):
    """A record could not be written."""


class Appender:
    """Appends to one chain; each record is on the disk before `append` returns.

    Those who append at the same time share a sync: while one waits for the disk, the others write, and the next sync is
    for all of them. A chain whose writer ended in the middle of a line goes on in a further file.

    Args:
        path: its first file.
        canonical: the canonical form of a record; a ValueError where it has none.

    Raises:
        EvidenceError: the file cannot be opened.
    """

    def __init__(self, path: Path, canonical: Callable[[dict[str, Any]], bytes]) -> None:
        self.path = path
        self._canonical = canonical
        self._changed = threading.Condition()
        self._syncing = False
        self._failures = 0
        self._is_torn = False
        self._lock = self._file = -1
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._open()
        except BlockingIOError as error:
            self._close_files()
            raise EvidenceError(
                f"another process writes the evidence in {path}; each needs a folder of its own"
            ) from error
        except OSError as error:
            self._close_files()
            raise EvidenceError(f"evidence cannot be written to {path}: {error.strerror}") from error

    def _open(self) -> None:
        """Finds where it ends; what stands behind that is left as it is, and told in a new file."""
        files = segments(self.path)
        ends = [end(file) for file in files]
        known = next((found for found, _ in reversed(ends) if found.count), End())
        last, rest = ends[-1]
        if rest:
            files.append(segment(self.path, len(files) + 1))
        self._file = os.open(files[-1], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        sync_folder(self.path.parent)
        goes_on = bool(rest) or (len(files) > 1 and not last.count)
        self._written = self._synced = replace(known, size=0) if goes_on else last
        self._found = self._written
        if goes_on:
            torn = [
                {"file": file.name, "bytes": len(rest), "sha256": hashlib.sha256(rest).hexdigest()}
                for file, (_, rest) in zip(files, ends, strict=False)
                if rest
            ]
            self.append(KEEPER, CONTINUED, self.path.stem, {"torn": torn})

    @property
    def count(self) -> int:
        """How many records are on the disk."""
        return self._synced.count

    @property
    def head(self) -> str:
        """The hash of the last record on the disk."""
        return self._synced.head

    def append(
        self, actor: str, action: str, subject: str, data: dict[str, Any] | None = None, *, sync: bool = True
    ) -> None:
        """Adds one record.

        Args:
            actor: who did it.
            action: what was done, one word or two with `_`.
            subject: to what: a window, a service, a case.
            data: whatever else is known; JSON.
            sync: return when it is on the disk; otherwise it is there after the next `sync`, or append that syncs.

        Raises:
            EvidenceError: it is not on the disk, or has no canonical form (a number above 2^53, for one).
        """
        with self._changed:
            mine = self._write(self._next(actor, action, subject, data or {}))
            if sync:
                self._await_disk(mine)

    def sync(self) -> None:
        """Returns when all that was added is on the disk.

        Raises:
            EvidenceError: it is not.
        """
        with self._changed:
            self._await_disk(self._written)

    def _await_disk(self, mine: End) -> None:
        failures = self._failures
        while self._failures == failures and mine.count > self._synced.count:
            if self._syncing:
                self._changed.wait()
            else:
                self._sync()
        if self._failures != failures:  # another one's sync failed, and took this record with it
            raise EvidenceError(f"evidence cannot be written to {self.path}")

    def _next(self, actor: str, action: str, subject: str, data: dict[str, Any]) -> dict[str, Any]:
        """The record that follows the last one, as it is now, without its hash."""
        return {
            "schema": SCHEMA,
            "seq": self._written.count + 1,
            "wall_ns": str(time.time_ns()),
            "mono_ns": str(time.clock_gettime_ns(time.CLOCK_BOOTTIME)),
            "actor": actor,
            "action": action,
            "subject": subject,
            "data": data,
            "prev": self._written.head,
        }

    def _write(self, record: dict[str, Any]) -> End:
        try:
            body = self._canonical(record)
        except ValueError as error:
            raise EvidenceError(f"this cannot be recorded: {record['action']} of {record['subject']}: {error}") from error
        digest = hashlib.sha256(body).hexdigest()
        line = with_hash(body, digest) + b"\n"
        try:
            if self._is_torn:
                self._cut()
            if os.write(self._file, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._is_torn = True
            with contextlib.suppress(OSError):  # then it is cut before the next record
                self._cut()
            raise EvidenceError(f"evidence cannot be written to {self.path}: {error.strerror}") from error
        self._written = End(record["seq"], digest, self._written.size + len(line))
        return self._written

    def _cut(self) -> None:
        """Removes what is behind the last record: half a line must not be the start of the next one."""
        os.ftruncate(self._file, self._written.size)
        self._is_torn = False

    def _sync(self) -> None:
        """Brings to the disk what is written by now; meanwhile others may write more."""
        end, self._syncing = self._written, True
        self._changed.release()
        problem = None
        try:
            os.fdatasync(self._file)
        except OSError as error:
            problem = error
        finally:
            self._changed.acquire()
            self._syncing = False
            self._changed.notify_all()
        if problem is None:
            self._synced = end
            return
        # Nobody knows what of it is on the disk, so that none of it may be part of the chain.
        self._written = self._synced
        self._failures += 1
        self._is_torn = True
        with contextlib.suppress(OSError):
            self._cut()
        raise EvidenceError(f"evidence cannot be written to {self.path}: {problem.strerror}") from problem

    def last_of(self, actions: Collection[str]) -> dict[str, dict[str, Any]]:
        """Of each subject the last record of one of these actions."""
        return {record["subject"]: record for record in records(self.path) if record["action"] in actions}

    def close(self) -> None:
        """Closes the file."""
        self._close_files()

    def _close_files(self) -> None:
        for handle in {self._file, self._lock} - {-1}:
            os.close(handle)
