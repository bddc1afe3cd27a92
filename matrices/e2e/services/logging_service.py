"""logging-service: an append-only log that answers only when a record is on the disk.

POST /records {"text"} -> {"sequence", "time_ns"}, after the record was written and forced to the disk;
GET /records?after=0&limit=100 -> {"total", "records": [{"sequence", "time_ns", "text"}]}, read from the file;
GET /status -> {"records", "dropped_bytes"}.

A record is one line of the file: CRC-32 in hexadecimal, a space, JSON. Sequence numbers begin with 1 and have no gap.
At start a torn tail, which a write that never ended left behind, is cut off and said in the log; it was never
acknowledged. A line that is damaged before others that are whole is no torn tail, and the service does not start.

BUG=buffers acknowledges records that it keeps in memory, and writes them 64 at a time.
"""

import argparse
import json
import os
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _http import HttpError, Request, Server, bug

PAGE_LIMIT = 1000
BUFFERED = 64

Record = dict[str, Any]


class Damaged(Exception):
    """The file holds what is neither a record nor a torn tail; the text says where."""


def to_line(record: Record) -> bytes:
    """A record as it stands in the file."""
    body = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def from_line(line: bytes) -> Record | None:
    """The record of a line; None when the line is not whole."""
    checksum, _, body = line.removesuffix(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(body):
        return None
    record: Record = json.loads(body)
    return record


class Log:
    """The file. Any thread may append and read.

    Attributes:
        total: records that are acknowledged.
        dropped_bytes: length of the torn tail that was cut off at the start.

    Raises:
        Damaged: a line before the last is not whole, or out of order.
        OSError: the file cannot be used.
    """

    def __init__(self, path: Path, kind: str = "") -> None:
        self._path = path
        self._kind = kind
        self._buffer: list[bytes] = []
        self._appending = threading.Lock()
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self.total, self._size = self._recover()
        self.dropped_bytes = os.fstat(self._handle).st_size - self._size
        os.ftruncate(self._handle, self._size)
        os.fsync(self._handle)
        sync_folder(path.parent)

    def _recover(self) -> tuple[int, int]:
        """How many records are whole, and where the last of them ends."""
        total = end = 0
        torn = False
        with self._path.open("rb") as lines:
            for line in lines:
                record = from_line(line)
                if torn or (record and record["sequence"] != total + 1):
                    raise Damaged(f"the line after record {total}, at byte {end}, is damaged, and others follow it")
                torn = record is None
                if record:
                    total, end = total + 1, end + len(line)
        return total, end

    def append(self, text: str) -> Record:
        """Writes a record and forces it to the disk; what could not be forced there is taken back.

        Raises:
            OSError: it was not written.
        """
        with self._appending:
            record: Record = {"sequence": self.total + 1, "time_ns": str(time.time_ns()), "text": text}
            self._write(to_line(record))
            self.total += 1
            return record

    def _write(self, line: bytes) -> None:
        if self._kind == "buffers":
            self._buffer.append(line)
            if len(self._buffer) < BUFFERED:
                return
            line = b"".join(self._buffer)
            self._buffer.clear()
        try:
            write_all(self._handle, line)
            os.fdatasync(self._handle)
        except OSError:
            os.ftruncate(self._handle, self._size)
            raise
        self._size += len(line)

    def read(self, after: int, limit: int) -> list[Record]:
        """At most `limit` records whose sequence number is greater than `after`, in order."""
        found: list[Record] = []
        for line in self._lines():
            record = from_line(line)
            assert record is not None  # only whole lines are acknowledged
            if record["sequence"] > after and len(found) < limit:
                found.append(record)
        return found

    def _lines(self) -> Iterator[bytes]:
        """The lines that are acknowledged."""
        with self._appending:
            size, buffered = self._size, list(self._buffer)
        with self._path.open("rb") as file:
            yield from file.read(size).splitlines(keepends=True)
        yield from buffered


def write_all(handle: int, data: bytes) -> None:
    """Writes all of it, in as few calls as it takes.

    Raises:
        OSError: it did not go.
    """
    with memoryview(data) as view:
        written = 0
        while written < len(view):
            written += os.write(handle, view[written:])


def sync_folder(folder: Path) -> None:
    """Forces the names of a folder's files to the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Api:
    """The routes."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def append(self, request: Request) -> dict[str, object]:
        """Acknowledges a record that is on the disk."""
        try:
            record = self._log.append(request.text("text"))
        except UnicodeEncodeError as error:
            raise HttpError(400, "The text holds half a surrogate pair, which has no UTF-8.") from error
        except OSError as error:
            raise HttpError(507, f"The record is not on the disk: {error.strerror}.") from error
        return {"sequence": record["sequence"], "time_ns": record["time_ns"]}

    def records(self, request: Request) -> dict[str, object]:
        """A page of records."""
        after, limit = number(request, "after", 0), number(request, "limit", 100)
        if limit > PAGE_LIMIT:
            raise HttpError(400, f"limit is {limit}; at most {PAGE_LIMIT} records come at a time, use after for more.")
        return {"total": self._log.total, "records": self._log.read(after, limit)}

    def status(self, _request: Request) -> dict[str, object]:
        """How many records there are, and what was cut off at the start."""
        return {"records": self._log.total, "dropped_bytes": self._log.dropped_bytes}


def number(request: Request, name: str, default: int) -> int:
    """A number, zero or more, from the query.

    Raises:
        HttpError: 400, it is something else.
    """
    value = request.query.get(name, str(default))
    if not value.isdecimal() or len(value) > 15:
        raise HttpError(400, f"{name} is {value!r}; send a whole number, zero or more.")
    return int(value)


def open_log(data: Path, kind: str) -> Log:
    """The log in the folder `data`.

    Raises:
        SystemExit: the folder or the file cannot be used; with the sentence to show.
    """
    path = data / "records.log"
    try:
        data.mkdir(parents=True, exist_ok=True)
        log = Log(path, kind)
    except OSError as error:
        raise SystemExit(f"logging-service cannot use {path}: {error}. Give --data a folder it may write.") from error
    except Damaged as error:
        raise SystemExit(f"logging-service does not touch {path}: {error}. Restore it, or move it away.") from error
    if log.dropped_bytes:
        said = f"logging-service cut off a torn tail of {log.dropped_bytes} bytes after record {log.total}"
        print(said, file=sys.stderr, flush=True)
    return log


def main() -> None:
    """Runs the service until it is told to stop."""
    parser = argparse.ArgumentParser(description="Keeps an append-only log, and answers when a record is on the disk.")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder of the log")
    api = Api(open_log(parser.parse_args().data, bug("buffers")))
    server = Server(
        "logging-service",
        {"/records": {"GET": api.records, "POST": api.append}, "/status": {"GET": api.status}},
    )
    server.run()


if __name__ == "__main__":
    main()
