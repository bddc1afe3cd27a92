"""The allowlist: which services may be opened, each with the digest of its catalogue entry and of what it builds."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from vx11 import yamlfile
from vx11.catalogue import contents
from vx11.catalogue.compose import Catalogue, Service
from vx11.catalogue.service import Model
from vx11.errors import InputError, Problem, Vx11Error

Reason = Literal["unlisted", "changed", "unreadable"]
# What may be a secret does not stand in the allowlist, although what it belongs to is known.
NOT_SHOWN = "(not shown)"
_MAY_BE_SECRET = re.compile("pass|secret|token|key|credential|authorization", re.IGNORECASE)
_SHORT = 12


class NotAllowed(Vx11Error):
    """A service is not on the allowlist, or its entry is not the one that was allowed.

    Attributes:
        reason: in a word.
        keys: which keys of the entry have changed, as far as that is known.
    """

    def __init__(self, message: str, reason: Reason, keys: Collection[str] = ()) -> None:
        super().__init__(message)
        self.reason = reason
        self.keys = tuple(keys)


class Allowed(Model):
    """One allowed service.

    Attributes:
        entry: what the digest is of, for people: each key with its value, without what may be a secret.
    """

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    entry: dict[str, str] = Field(default_factory=dict)


class Document(Model):
    """The file: `version: 1` and `services: {name: {sha256: hex, entry: {…}}}`."""

    version: Literal[1]
    services: dict[str, Allowed]


@dataclass(frozen=True)
class Change:
    """One key of an entry that is another one than it was; None where it was not, or is no more, there."""

    key: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.key}: added, {self.after}"
        if self.after is None:
            return f"{self.key}: removed, was {self.before}"
        return f"{self.key}: from {self.before} to {self.after}"


@dataclass(frozen=True)
class Difference:
    """How a service on the allowlist and one of the catalogue do not agree, or what an update did about it.

    Attributes:
        changes: what of the entry, where that can be told.
    """

    what: Literal["changed", "not in the catalogue", "not allowed", "added", "updated"]
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class Allowlist:
    """What may be opened."""

    path: Path
    services: Mapping[str, Allowed]

    @property
    def digests(self) -> Mapping[str, str]:
        """The digest of each service."""
        return {name: allowed.sha256 for name, allowed in self.services.items()}

    def check(self, service: Service) -> None:
        """Does nothing when the service may be opened, by its entry and its files as they are now.

        Raises:
            NotAllowed: it is not on the list, or is not what was allowed.
        """
        allowed = self.services.get(service.name)
        if allowed is None:
            raise NotAllowed(f"the service {service.name} is not on the allowlist", "unlisted")
        try:
            if allowed.sha256 == contents.digest(service, self.path):
                return
            keys = [change.key for change in self._changes(service)]
        except InputError as error:
            raise NotAllowed(str(error), "unreadable") from error
        raise NotAllowed(f"the catalogue entry of {service.name} is not the one that was allowed", "changed", keys)

    def difference(self, name: str, catalogue: Catalogue) -> Difference | None:
        """How a service differs; None when it does not.

        Raises:
            InputError: a file of it cannot be read.
        """
        service, allowed = catalogue.services.get(name), self.services.get(name)
        if service is None:
            return Difference("not in the catalogue")
        if allowed is None:
            return Difference("not allowed")
        if allowed.sha256 == contents.digest(service, self.path):
            return None
        return Difference("changed", tuple(self._changes(service)))

    def _changes(self, service: Service) -> Iterator[Change]:
        """Key by key; nothing when it is not known what was allowed, or what has changed is not shown."""
        before, after = self.services[service.name].entry, shown(service, self.path)
        for key in sorted({*before, *after}) if before else ():
            if before.get(key) != after.get(key):
                yield Change(key, before.get(key), after.get(key))


def load(path: Path) -> Allowlist:
    """Reads an allowlist.

    Raises:
        InputError: every problem of the file, each with its line.
    """
    document = yamlfile.parse(Document, yamlfile.load(path), path)
    return Allowlist(path, document.services)


def differences(allowlist: Allowlist, catalogue: Catalogue) -> dict[str, Difference]:
    """What of the two does not agree, by the name of the service.

    Raises:
        InputError: a file cannot be read.
    """
    names = sorted({*allowlist.services, *catalogue.services})
    found = {name: allowlist.difference(name, catalogue) for name in names}
    return {name: difference for name, difference in found.items() if difference}


def update(path: Path, catalogue: Catalogue, names: Collection[str] = ()) -> dict[str, Difference]:
    """Writes down the catalogue's present entries, atomically.

    Args:
        path: the allowlist; made when it is not there.
        catalogue: where the entries stand.
        names: services to allow. Without names the services already listed are refreshed, or, in a new file, all are
            allowed; nothing that was left out on purpose is ever added by itself.

    Returns:
        What was `added` or `updated`, by the name of the service.

    Raises:
        InputError: a name is not in the catalogue, or a file cannot be read.
    """
    is_new = not path.exists()
    before = Allowlist(path, {}) if is_new else load(path)
    wanted = list(names) or list(catalogue.services if is_new else before.services)
    unknown = [name for name in wanted if name not in catalogue.services]
    if unknown:
        message = "the catalogue has no service {}; remove it from the allowlist or name another"
        raise InputError(Problem(message.format(name), catalogue.path) for name in unknown)
    done = {name: before.difference(name, catalogue) for name in wanted}
    after = {**before.services, **{name: _allowed(catalogue.services[name], path) for name in wanted}}
    if after != before.services:
        _write(path, after)
    return {
        name: Difference("added" if difference.what == "not allowed" else "updated", difference.changes)
        for name, difference in done.items()
        if difference
    }


def _allowed(service: Service, path: Path) -> Allowed:
    return Allowed(sha256=contents.digest(service, path), entry=shown(service, path))


def shown(service: Service, path: Path) -> dict[str, str]:
    """An entry for people, key by key; what comes from a variable, or may be a secret, only as being there.

    Args:
        path: the allowlist.

    Raises:
        InputError: a file of it cannot be read.
    """
    found = {}
    for location, value in _leaves(json.loads(service.canonical), ()):
        key = yamlfile.dotted(location)
        text = value if isinstance(value, str) else json.dumps(value)
        may_be_secret = _MAY_BE_SECRET.search(key) or (key != "image" and _MAY_BE_SECRET.search(text))
        found[key] = NOT_SHOWN if location in service.variable or may_be_secret else text
    digests = contents.files(service, path)
    return found | {f"files of {key}": f"sha256 {digest[:_SHORT]}" for key, digest in digests.items()}


def _leaves(value: Any, location: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _leaves(item, (*location, key))
    if not isinstance(value, dict | list) or (not value and location):
        yield location, value


def _write(path: Path, services: Mapping[str, Allowed]) -> None:
    body = {"version": 1, "services": {name: services[name].model_dump() for name in sorted(services)}}
    heading = "---\n# Services that may be opened. Written by `vx11 allowlist update`.\n"
    partial = path.with_name(f".{path.name}.new")
    try:
        partial.write_text(heading + yaml.safe_dump(body, sort_keys=False, allow_unicode=True), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise InputError.of(f"cannot be written: {error.strerror}", path) from error
