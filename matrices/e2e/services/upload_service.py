"""upload-service: takes files of any size, and keeps each one whole or not at all.

PUT /files/NAME, of a stated length or in chunks -> {"name", "size", "sha256"}; the header `Content-Digest` (RFC 9530,
sha-256) is checked where it is sent. GET /files -> {"files": [{"name", "size", "sha256"}]}, worked out from what is on
the disk now; GET /temp -> {"count", "bytes"} of the temporary files. A file has at most UPLOAD_LIMIT bytes.

An upload goes block by block to a temporary file, which gets its name when it is complete and on the disk. At a stop
signal uploads under way are broken off and their temporary files removed; the next start removes those of a process
that was killed.

BUG=leaks_temp: temporary files are never removed. BUG=writes_in_place: a file has its name from its first byte on.
BUG=hangs_at_stop: a stop signal is noticed, and nothing follows.
"""

import argparse
import base64
import hashlib
import os
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _body import Body, BodyTooLarge
from _http import HttpError, Request, Routes, Server, body_told, bug, whole_number

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")


class Store:
    """The files, and the temporary ones beside them.

    Args:
        data: the folder of both.
        limit: bytes that a file may have.
        fault: the BUG it has; empty for none.

    Raises:
        OSError: the folder cannot be used.
    """

    def __init__(self, data: Path, limit: int, fault: str = "") -> None:
        self._files = data / "files"
        self._temporary = data / "temp"
        self._limit = limit
        self._fault = fault
        for folder in (self._files, self._temporary):
            folder.mkdir(parents=True, exist_ok=True)

    def save(self, name: str, body: Body, expected: bytes | None) -> dict[str, object]:
        """Writes a body to the file `name`, in the place of an earlier one.

        Args:
            name: of the file.
            body: what is written.
            expected: its SHA-256, None when nobody said.

        Raises:
            HttpError: the body is malformed or too large, is not what was expected, or the disk cannot take it.
            ConnectionError: it was broken off.
        """
        with body_told(), _disk_told(), self._new_file(name) as path:
            size, digest = self._write(path, body)
            if expected not in (None, digest.digest()):
                raise HttpError(
                    422, f"The SHA-256 of what came is {digest.hexdigest()}, and not that of Content-Digest."
                )
            path.replace(self._files / name)
            _sync(self._files)
        return {"name": name, "size": size, "sha256": digest.hexdigest()}

    def files(self) -> list[dict[str, object]]:
        """Name, size and SHA-256 of each file, as it is on the disk."""
        return [_described(path) for path in sorted(self._files.iterdir())]

    def temporary(self) -> list[int]:
        """The sizes of the temporary files."""
        return [_size(path) for path in self._temporary.iterdir()]

    def clean(self) -> None:
        """Removes the temporary files of uploads that have ended."""
        for path in self._temporary.iterdir():
            self._remove(path)

    @contextmanager
    def _new_file(self, name: str) -> Iterator[Path]:
        """Where an upload is written; whatever of it has no name at the end is removed."""
        if self._fault == "writes_in_place":
            yield self._files / name
            return
        path = self._temporary / secrets.token_hex(8)
        try:
            yield path
        finally:
            self._remove(path)

    def _write(self, path: Path, body: Body) -> tuple[int, "hashlib._Hash"]:
        size, digest = 0, hashlib.sha256()
        with path.open("wb") as file:
            for block in body.blocks():
                size += len(block)
                if size > self._limit:
                    raise BodyTooLarge(f"The file is larger than {self._limit} bytes.")
                digest.update(block)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        return size, digest

    def _remove(self, path: Path) -> None:
        if self._fault != "leaks_temp":
            path.unlink(missing_ok=True)


@contextmanager
def _disk_told() -> Iterator[None]:
    try:
        yield
    except (ConnectionError, TimeoutError):
        raise  # the client's end, not the disk's
    except OSError as error:
        raise HttpError(507, f"The file cannot be kept: {error.strerror}.") from error


def _sync(folder: Path) -> None:
    """Makes the names in a folder survive a crash of the machine."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _described(path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return {"name": path.name, "size": file.tell(), "sha256": digest.hexdigest()}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # its upload has just ended
        return 0


class Uploads:
    """The uploads under way, which a stop breaks off. Any thread may call."""

    def __init__(self) -> None:
        self._bodies: set[Body] = set()
        self._stopping = False
        self._lock = threading.Lock()

    @contextmanager
    def under_way(self, body: Body) -> Iterator[None]:
        """Makes `break_off` reach a body that is read within it.

        Raises:
            HttpError: 503, the service stops.
        """
        with self._lock:
            if self._stopping:
                raise HttpError(503, "The service stops, and takes no upload any more.")
            self._bodies.add(body)
        try:
            yield
        finally:
            with self._lock:
                self._bodies.remove(body)

    def break_off(self) -> None:
        """Ends all that are under way."""
        with self._lock:
            self._stopping = True
            for body in self._bodies:
                body.break_off()


class Api:
    """The routes."""

    def __init__(self, store: Store, uploads: Uploads) -> None:
        self._store = store
        self._uploads = uploads

    def put(self, request: Request) -> dict[str, object]:
        """Takes a file."""
        if not NAME.fullmatch(request.name):
            raise HttpError(400, f"{request.name!r} cannot name a file; use letters, digits, dots, _ and -.")
        with self._uploads.under_way(request.stream):
            return self._store.save(request.name, request.stream, expected_digest(request))

    def files(self, _request: Request) -> dict[str, object]:
        """What lies on the disk."""
        return {"files": self._store.files()}

    def temporary(self, _request: Request) -> dict[str, object]:
        """How many temporary files there are, and how large they are together."""
        sizes = self._store.temporary()
        return {"count": len(sizes), "bytes": sum(sizes)}


def expected_digest(request: Request) -> bytes | None:
    """The SHA-256 that a request states; None when it states none.

    Raises:
        HttpError: 400, the header is malformed or has none that is known.
    """
    header = request.headers.get("Content-Digest")
    if header is None:
        return None
    found = DIGEST.search(header)
    if not found:
        raise HttpError(400, "Content-Digest has no SHA-256; send sha-256=:BASE64: as in RFC 9530, or leave it out.")
    return base64.b64decode(found[1])


def open_store(data: Path, fault: str) -> Store:
    """The store in the folder `data`, without what a killed process left there.

    Raises:
        SystemExit: the folder cannot be used; with the sentence to show.
    """
    try:
        store = Store(data, whole_number("UPLOAD_LIMIT", 1024**3), fault)
        store.clean()
    except OSError as error:
        raise SystemExit(f"upload-service cannot use {data}: {error}. Give --data a folder it may write.") from error
    return store


def main() -> None:
    """Runs the service until it is told to stop."""
    parser = argparse.ArgumentParser(description="Takes files, and keeps each one whole or not at all.")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder of the files")
    fault = bug("leaks_temp", "writes_in_place", "hangs_at_stop")
    store, uploads = open_store(parser.parse_args().data, fault), Uploads()
    api = Api(store, uploads)
    routes: Routes = {
        "/files": {"GET": api.files},
        "/files/": {"PUT": api.put},
        "/temp": {"GET": api.temporary},
    }
    hangs = threading.Event().wait
    Server("upload-service", routes, hangs if fault == "hangs_at_stop" else uploads.break_off).run()
    store.clean()


if __name__ == "__main__":
    main()
