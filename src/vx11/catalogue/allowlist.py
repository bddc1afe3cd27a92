"""The allowlist: which services may be opened, each with the digest of its catalogue entry."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field

from vx11 import yamlfile
from vx11.catalogue.compose import Catalogue, Service
from vx11.catalogue.service import Model
from vx11.errors import InputError, Problem, Vx11Error


class NotAllowed(Vx11Error):
    """A service is not on the allowlist, or its entry is not the one that was allowed."""


class Allowed(Model):
    """One allowed service."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Document(Model):
    """The file: `version: 1` and `services: {name: {sha256: hex}}`."""

    version: Literal[1]
    services: dict[str, Allowed]


@dataclass(frozen=True)
class Allowlist:
    """Names and digests of what may be opened."""

    path: Path
    digests: Mapping[str, str]

    def check(self, service: Service) -> None:
        """Does nothing when the service may be opened.

        Raises:
            NotAllowed: it is not on the list, or its entry has changed since.
        """
        allowed = self.digests.get(service.name)
        if allowed is None:
            raise NotAllowed(f"the service {service.name} is not on the allowlist")
        if allowed != service.sha256:
            raise NotAllowed(f"the catalogue entry of {service.name} is not the one that was allowed")


def load(path: Path) -> Allowlist:
    """Reads an allowlist.

    Raises:
        InputError: every problem of the file, each with its line.
    """
    document = yamlfile.parse(Document, yamlfile.load(path), path)
    return Allowlist(path, {name: item.sha256 for name, item in document.services.items()})


def differences(allowlist: Allowlist, catalogue: Catalogue) -> dict[str, str]:
    """What of the two does not agree: service → `changed`, `not in the catalogue`, `not allowed`."""
    found = {}
    for name in sorted({*allowlist.digests, *catalogue.services}):
        if name not in catalogue.services:
            found[name] = "not in the catalogue"
        elif name not in allowlist.digests:
            found[name] = "not allowed"
        elif allowlist.digests[name] != catalogue.services[name].sha256:
            found[name] = "changed"
    return found


def update(path: Path, catalogue: Catalogue, names: Collection[str] = ()) -> dict[str, str]:
    """Writes the digests of the catalogue's present entries, atomically.

    Args:
        path: the allowlist; made when it is not there.
        catalogue: where the entries stand.
        names: services to allow. Without names the services already listed are refreshed, or, in a new file, all are
            allowed; nothing that was left out on purpose is ever added by itself.

    Returns:
        service → `added` or `updated`.

    Raises:
        InputError: a name is not in the catalogue.
    """
    is_new = not path.exists()
    before = {} if is_new else dict(load(path).digests)
    wanted = list(names) or list(catalogue.services if is_new else before)
    unknown = [name for name in wanted if name not in catalogue.services]
    if unknown:
        message = "the catalogue has no service {}; remove it from the allowlist or name another"
        raise InputError(Problem(message.format(name), catalogue.path) for name in unknown)
    after = before | {name: catalogue.services[name].sha256 for name in wanted}
    if after != before:
        _write(path, after)
    return {name: "updated" if name in before else "added" for name in wanted if before.get(name) != after[name]}


def _write(path: Path, digests: Mapping[str, str]) -> None:
    body = {"version": 1, "services": {name: {"sha256": digests[name]} for name in sorted(digests)}}
    heading = "---\n# Services that may be opened. Written by `vx11 allowlist update`.\n"
    partial = path.with_name(f".{path.name}.new")
    try:
        partial.write_text(heading + yaml.safe_dump(body, sort_keys=False), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise InputError.of(f"cannot be written: {error.strerror}", path) from error
