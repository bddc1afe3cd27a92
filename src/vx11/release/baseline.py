"""What a release starts from: git, what runs, databases, inputs; looked at and frozen, not judged."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vx11 import __version__
from vx11.clock import iso
from vx11.errors import Vx11Error
from vx11.evidence.layout import digest
from vx11.release import core, databases
from vx11.release.config import Release
from vx11.release.databases import Database
from vx11.release.repository import Repository, State


@dataclass(frozen=True)
class Running:
    """What runs, and how it is.

    Attributes:
        answers: whether the entry does.
        told: what madre says: cell, engine, solo_madre, watchdog, windows (service, state); None when it says nothing.
        why: why it says nothing.
        units: systemd unit → what systemd says of it.
    """

    url: str
    answers: bool
    told: dict[str, Any] | None
    why: str
    units: dict[str, str]


@dataclass(frozen=True)
class Input:
    """A file that the release is made with; its digest is empty when it is not there."""

    name: str
    path: Path
    size: int
    sha256: str


@dataclass(frozen=True)
class Baseline:
    """What was found.

    Attributes:
        taken: ISO 8601, UTC.
        git: None when no tree is named.
        searched: where databases were looked for.
    """

    taken: str
    version: str
    git: State | None
    running: Running
    searched: tuple[str, ...]
    databases: tuple[Database, ...]
    inputs: tuple[Input, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        git = asdict(self.git) | {"clean": self.git.clean} if self.git else None
        found = [
            asdict(one) | {"path": str(one.path), "sound": one.sound, "tables": len(one.rows)} for one in self.databases
        ]
        inputs = [asdict(one) | {"path": str(one.path)} for one in self.inputs]
        told = {"git": git, "running": asdict(self.running), "databases": found, "inputs": inputs}
        return {"schema": 1, "taken": self.taken, "version": self.version, "searched": list(self.searched)} | told


def take(release: Release) -> Baseline:
    """Looks at all of it.

    Raises:
        InputError: the tree is no git checkout.
    """
    names = (*release.closing.databases, *map(str, release.places))
    return Baseline(
        taken=iso(time.time_ns()),
        version=__version__,
        git=Repository(release.closing.tree).state() if release.closing.tree else None,
        running=running(release),
        searched=names,
        databases=tuple(map(databases.examine, databases.find(names)[0])),
        inputs=tuple(_input(name, path) for name, path in release.inputs.items()),
    )


def running(release: Release) -> Running:
    """What runs on the host just now; whoever does not answer is told."""
    told, why = None, ""
    try:
        status = release.madre.status()
    except Vx11Error as error:
        why = str(error)
    else:
        windows = [{"service": one["service"], "state": one["state"]} for one in status["windows"]]
        told = {name: status[name] for name in ("cell", "solo_madre", "watchdog")}
        told |= {"engine": status["engine"]["name"], "windows": windows}
    units = {unit: _unit(unit) for unit in release.closing.core}
    return Running(release.url, release.madre.is_alive(), told, why, units)


def _unit(unit: str) -> str:
    try:
        return core.unit_state(unit)
    except Vx11Error as error:
        return str(error)


def _input(name: str, path: Path) -> Input:
    is_there = path.is_file()
    return Input(name, path, path.stat().st_size if is_there else 0, digest(path) if is_there else "")
