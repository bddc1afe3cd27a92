"""Catalogue and allowlist as they stand on disk now: read again before an open whenever either file has changed."""

import logging
import threading
from pathlib import Path

from vx11.catalogue import allowlist, compose
from vx11.catalogue.allowlist import Allowlist, NotAllowed
from vx11.catalogue.compose import Catalogue, Service
from vx11.errors import InputError
from vx11.windows.errors import ServiceUnknown

log = logging.getLogger(__name__)


class FileServices:
    """Services of two files.

    Raises:
        InputError: one of them is wrong at the start. If one becomes wrong later, nothing is allowed until it is
            mended.
    """

    def __init__(self, catalogue: Path, allowed: Path) -> None:
        self._paths = (catalogue, allowed)
        self._lock = threading.Lock()
        self._seen = self._signature()
        self._catalogue: Catalogue = compose.load(catalogue)
        self._allowlist: Allowlist = allowlist.load(allowed)
        self._broken: InputError | None = None

    def get(self, name: str) -> Service:
        """The service of this name.

        Raises:
            ServiceUnknown: the catalogue has none.
            NotAllowed: the allowlist does not have it, or not with this entry, or a file cannot be read.
        """
        with self._lock:
            self._refresh()
            if self._broken:
                raise NotAllowed(f"nothing may be opened until this is mended: {self._broken}")
            service = self._catalogue.services.get(name)
            if service is None:
                raise ServiceUnknown(f"the catalogue has no service {name}")
            self._allowlist.check(service)
            return service

    def _refresh(self) -> None:
        seen = self._signature()
        if seen == self._seen:
            return
        try:
            self._catalogue, self._allowlist = compose.load(self._paths[0]), allowlist.load(self._paths[1])
            self._broken = None
        except InputError as error:
            log.error("%s", error)
            self._broken = error
        self._seen = seen

    def _signature(self) -> tuple[tuple[int, int, int] | None, ...]:
        """Inode, size and time of change; None for a file that is not there."""
        found: list[tuple[int, int, int] | None] = []
        for path in self._paths:
            try:
                status = path.stat()
                found.append((status.st_ino, status.st_size, status.st_mtime_ns))
            except OSError:
                found.append(None)
        return tuple(found)
