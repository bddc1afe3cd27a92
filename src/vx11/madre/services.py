"""Catalogue and allowlist as they stand on disk now: read again before an open whenever either file has changed."""

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from vx11 import files
from vx11.catalogue import allowlist, compose
from vx11.catalogue.allowlist import Allowlist, NotAllowed
from vx11.catalogue.compose import Catalogue, Service
from vx11.catalogue.service import Condition, Need
from vx11.errors import InputError
from vx11.windows.errors import ServiceUnknown

log = logging.getLogger(__name__)


class FileServices:
    """Services of two files.

    Args:
        dependencies: what services need beyond what their entries say.

    Raises:
        InputError: one of them is wrong at the start. If one becomes wrong later, nothing is allowed until it is
            mended.
    """

    def __init__(
        self, catalogue: Path, allowed: Path, dependencies: Mapping[str, Sequence[str]] = MappingProxyType({})
    ) -> None:
        self._paths = (catalogue, allowed)
        self._dependencies = dependencies
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
                raise NotAllowed(f"nothing may be opened until this is mended: {self._broken}", "unreadable")
            service = self._catalogue.services.get(name)
            if service is None:
                raise ServiceUnknown(f"the catalogue has no service {name}")
            self._allowlist.check(service)
            return self._with_more(service)

    def problems(self) -> dict[str, str]:
        """Why services that are on the allowlist may not be opened all the same, by their names."""
        with self._lock:
            self._refresh()
            if self._broken:
                return {"catalogue and allowlist": str(self._broken)}
            found = {name: self._problem(name) for name in self._allowlist.services}
            return {name: why for name, why in found.items() if why}

    def _problem(self, name: str) -> str:
        if name not in self._catalogue.services:
            return f"the catalogue has no service {name}, which is on the allowlist"
        try:
            self._allowlist.check(self._catalogue.services[name])
        except NotAllowed as error:
            return str(error)
        return ""

    def allowed(self) -> list[str]:
        """Names of the services that may be opened now."""
        with self._lock:
            self._refresh()
            names = () if self._broken else self._allowlist.services
            return sorted(name for name in names if not self._problem(name))

    def language(self) -> str | None:
        """Name of the service that answers operators in words of its own, if there is one that may be opened now."""
        with self._lock:
            self._refresh()
            services = {} if self._broken else self._catalogue.services
            names = (name for name, service in services.items() if service.entry.vx11.operator)
            return next((name for name in names if not self._problem(name)), None)

    def _with_more(self, service: Service) -> Service:
        """With what it needs beyond its entry; an entry's own condition stands."""
        more = {}
        for name in self._dependencies.get(service.name, ()):
            other = self._catalogue.services.get(name)
            checked = other is not None and (other.entry.vx11.ready or other.entry.healthcheck)
            more[name] = Need(condition=Condition.HEALTHY if checked else Condition.STARTED)
        entry = service.entry.model_copy(update={"depends_on": more | service.entry.depends_on})
        return replace(service, entry=entry) if more else service

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

    def _signature(self) -> tuple[files.Signature, ...]:
        return tuple(map(files.signature, self._paths))
