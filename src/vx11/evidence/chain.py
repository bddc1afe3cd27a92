"""A hash chain in a file: one record a line, canonical JSON (RFC 8785), each with the hash of the one before.

Nanoseconds are text, since numbers above 2^53 break in other readers. A record's own hash is the sha256 over its
canonical form without the field `hash`. One writer a chain.
"""

import contextlib
import errno
import fcntl
import hashlib
import itertools
import json
import os
import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rfc8785

from vx11.errors import Vx11Error

SCHEMA = 1
GENESIS = "0" * 64


class EvidenceError(Vx11Error):
    """A record could not be written."""


@dataclass(frozen=True)
class Finding:
    """What is wrong with a chain, and at which record (the first is 1)."""

    record: int
    message: str


@dataclass(frozen=True)
class _End:
    """Where a chain ends: how many records it has, the hash of the last one, and its size in bytes."""

    count: int
    head: str
    size: int


class Chain:
    """Appends to one chain; each record is on the disk before `append` returns.

    Those who append at the same time share a sync: while one waits for the disk, the others write, and the next sync is
    for all of them.

    Raises:
        EvidenceError: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._changed = threading.Condition()
        self._syncing = False
        self._failures = 0
        self._is_torn = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._written = self._synced = _last(path)
        except BlockingIOError as error:
            os.close(self._file)
            raise EvidenceError(
                f"another process writes the evidence in {path}; each needs a folder of its own"
            ) from error
        except OSError as error:
            raise EvidenceError(f"evidence cannot be written to {path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            os.close(self._file)
            raise EvidenceError(f"the evidence in {path} is damaged: {error}; move it away and keep it") from error

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
            mine = self._write(actor, action, subject, data)
            if sync:
                self._await_disk(mine)

    def sync(self) -> None:
        """Returns when all that was added is on the disk.

        Raises:
            EvidenceError: it is not.
        """
        with self._changed:
            self._await_disk(self._written)

    def _await_disk(self, mine: _End) -> None:
        failures = self._failures
        while self._failures == failures and mine.count > self._synced.count:
            if self._syncing:
                self._changed.wait()
            else:
                self._sync()
        if self._failures != failures:  # another one's sync failed, and took this record with it
            raise EvidenceError(f"evidence cannot be written to {self.path}")

    def _write(self, actor: str, action: str, subject: str, data: dict[str, Any] | None) -> _End:
        record: dict[str, Any] = {
            "schema": SCHEMA,
            "seq": self._written.count + 1,
            "wall_ns": str(time.time_ns()),
            "mono_ns": str(time.clock_gettime_ns(time.CLOCK_BOOTTIME)),
            "actor": actor,
            "action": action,
            "subject": subject,
            "data": data or {},
            "prev": self._written.head,
        }
        try:
            record["hash"] = hash_of(record)
            line = rfc8785.dumps(record) + b"\n"
        except rfc8785.CanonicalizationError as error:
            raise EvidenceError(f"this cannot be recorded: {action} of {subject}: {error}") from error
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
        self._written = _End(record["seq"], record["hash"], self._written.size + len(line))
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
        return {record["subject"]: record for record in _records(self.path) if record["action"] in actions}

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)


def hash_of(record: dict[str, Any]) -> str:
    """sha256 over the canonical form of a record without its own hash."""
    return hashlib.sha256(rfc8785.dumps({key: value for key, value in record.items() if key != "hash"})).hexdigest()


def verify(path: Path) -> tuple[int, list[Finding]]:
    """Reads a chain from its start.

    Returns:
        The number of records, and what is wrong; nothing when the chain is sound.
    """
    findings: list[Finding] = []
    head, number = GENESIS, 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                findings.append(Finding(number, "is cut off: who wrote it ended before it was whole"))
                return number - 1, findings
            try:
                record = json.loads(line)
                found = _check(record, number, head)
                if rfc8785.dumps(record) + b"\n" != line:
                    found.append("is not in canonical form")
            except (ValueError, KeyError, TypeError, rfc8785.CanonicalizationError):
                findings.append(Finding(number, "is not a record"))
                break
            findings += [Finding(number, message) for message in found]
            head = record["hash"]
    return number, findings


def sound_part(path: Path) -> list[dict[str, Any]]:
    """The records of a chain up to the first thing that is wrong with it; all of them when it is sound."""
    _, findings = verify(path)
    until = findings[0].record - 1 if findings else None
    return list(itertools.islice(_records(path), until))


def _check(record: dict[str, Any], number: int, head: str) -> list[str]:
    found = []
    if record["seq"] != number:
        found.append(f"has the sequence number {record['seq']}")
    if record["prev"] != head:
        found.append("does not follow the record before it")
    if record["hash"] != hash_of(record):
        found.append("does not match its own hash")
    return found


def _records(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            yield json.loads(line)


def _last(path: Path) -> _End:
    """The end of a chain that is there already."""
    count, head, size = 0, GENESIS, 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                raise ValueError("its last line is cut")
            record = json.loads(line)
            count, head, size = int(record["seq"]), str(record["hash"]), size + len(line)
    return _End(count, head, size)
