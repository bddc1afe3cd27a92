"""How a release is closed: `closing.yml`, and what the configuration of a madre adds to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from vx11 import yamlfile
from vx11.client import Madre
from vx11.units import Seconds

FLAGS = ("VX11_BROWSER_TESTS", "VX11_REMOTE_LLM", "VX11_SMOKE_TESTS")
Port = Annotated[int, Field(ge=1, le=65535)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Outside(_Model):
    """An address of the host as others see it, and ports that are tried there beside the entry's."""

    address: Annotated[str, Field(min_length=1)]
    ports: tuple[Port, ...] = Field(min_length=1)


class Closing(_Model):
    """What is looked at; all of it optional.

    Attributes:
        tree: a git checkout.
        secrets: findings of detect-secrets that people have looked at; `.secrets.baseline` in the tree without.
        databases: files, patterns, or folders in which SQLite files are found by their header.
        evidence: folders of evidence, which have to verify.
        maintenance: the command that runs after a task; without it the evidence is pruned.
        flags: environment variables that have to be off.
        outside: where to connect to from here, when here is outside.
        management_ports: ports that may answer from outside beside the entry.
        core: systemd units that have to be active.
        pace: seconds between two requests that count on the rate limit.
    """

    tree: Path | None = None
    secrets: Path | None = None
    databases: tuple[str, ...] = ()
    evidence: tuple[Path, ...] = ()
    maintenance: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    flags: tuple[str, ...] = FLAGS
    outside: tuple[Outside, ...] = ()
    management_ports: tuple[Port, ...] = (22,)
    core: tuple[str, ...] = ()
    pace: Seconds = 1.0


def load(path: Path) -> Closing:
    """The configuration in a file; relative paths start from its folder.

    Raises:
        InputError: every problem of it, with its line.
    """
    closing = yamlfile.parse(Closing, yamlfile.load(path) or {}, path)
    folder = path.parent.absolute()
    return closing.model_copy(
        update={
            "tree": closing.tree and folder / closing.tree,
            "secrets": closing.secrets and folder / closing.secrets,
            "databases": tuple(str(folder / name) for name in closing.databases),
            "evidence": tuple(folder / root for root in closing.evidence),
        }
    )


@dataclass(frozen=True)
class Release:
    """The release that is closed, and the host on which.

    Attributes:
        url: the entry.
        madre: a client of it.
        closing: what is looked at.
        inputs: name → file of what the release is made with.
        places: folders that the host writes to, and that may have databases.
        evidence: folders of evidence, those that are not there left out.
        state: the folder with the locks of the core's processes; None when it is not known.
    """

    url: str
    madre: Madre
    closing: Closing = field(default_factory=Closing)
    inputs: Mapping[str, Path] = field(default_factory=dict)
    places: tuple[Path, ...] = ()
    evidence: tuple[Path, ...] = ()
    state: Path | None = None

    @property
    def port(self) -> int:
        """That of the entry."""
        url = self.madre.http.base_url
        return url.port or (443 if url.scheme == "https" else 80)

    @property
    def host(self) -> str:
        """The name or address of the entry's host."""
        return self.madre.http.base_url.host
