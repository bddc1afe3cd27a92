"""The note of who conducts a run and what it has started: enough to end all of it when the conductor has died.

It lies in the run's folder from before anything is started until the books are closed. What a run starts is known by
the names of its cells: cores and plays carry them in their environment, windows by the engine's marks, and temporary
folders in their names. On hosts, plays and folders have such names too; windows are known by who opened them, and when.
So the note is whole before there is anything to end.
"""

import json
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

from vx11.clock import Clock
from vx11.engines import procfs
from vx11.engines.select import EngineName
from vx11.evidence.layout import CONDUCTOR
from vx11.statefiles import write_json

SCHEMA = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Guest:
    """What a run is on a host that is not its own.

    Attributes:
        name: of the host.
        subject: of the token; who opens windows there.
        since: when the host was found in SOLO_MADRE, by its own clock, ISO 8601.
    """

    name: str
    subject: str
    since: str


@dataclass(frozen=True)
class Visit:
    """The hosts that a run has, and where their addresses and tokens stand.

    Attributes:
        inventory: the path.
        limit: the pattern that chose hosts from it.
    """

    inventory: str
    limit: str | None
    guests: Sequence[Guest]


@dataclass(frozen=True)
class Conducted:
    """One run.

    Attributes:
        cases: ids of those that are planned.
        cells: names of its cells; on hosts, the marks of what it runs here for each.
        engine: of its cells; `auto` until it is chosen, before which no engine was used, and on hosts.
        temporary: the folder that the cells have theirs in.
        boot_id: the boot that `pid` and `start_time` (clock ticks, see proc(5)) belong to.
        pid, start_time: the conductor.
        visit: the hosts; None where there are none.
    """

    test_id: str
    cases: Sequence[str]
    cells: Sequence[str]
    engine: EngineName
    temporary: str
    boot_id: str
    pid: int
    start_time: int
    visit: Visit | None = None

    @classmethod
    def by_this_process(
        cls, test_id: str, cases: Sequence[str], cells: Sequence[str], engine: EngineName
    ) -> "Conducted":
        """A run that this process conducts."""
        pid = os.getpid()
        started = procfs.start_time(pid) or 0
        return cls(test_id, cases, cells, engine, tempfile.gettempdir(), Clock().boot_id, pid, started)

    def on(self, engine: str) -> "Conducted":
        """The same, with the engine that was chosen.

        Raises:
            ValueError: there is no such engine.
        """
        for name in get_args(EngineName):
            if name == engine:
                return replace(self, engine=name)
        raise ValueError(f"there is no engine {engine!r}")

    def write(self, folder: Path) -> None:
        """Writes the note into the run's folder.

        Raises:
            OSError: the disk is full or gone.
        """
        write_json(folder / CONDUCTOR, {"schema": SCHEMA, **asdict(self)})

    @classmethod
    def read(cls, path: Path) -> "Conducted":
        """Reads a note.

        Raises:
            OSError: it is not there, or cannot be read.
            ValueError: it is none, or of a version that is not known.
        """
        found = json.loads(path.read_text(encoding="utf-8"))
        try:
            if found.pop("schema") != SCHEMA:
                raise ValueError("its schema is not known")
            note = cls(**found | {"visit": _visit(found.get("visit"))}).on(found["engine"])
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"it says not who conducts the run: {error}") from error
        if not all(isinstance(name, str) and _NAME.fullmatch(name) for name in note.cells):
            raise ValueError("it names cells that no cell can have")
        return note

    def is_of_this_boot(self) -> bool:
        """Whether what it started can still run on this machine."""
        return self.boot_id == Clock().boot_id

    def is_conducted(self) -> bool:
        """Whether its conductor lives, as far as this machine can see."""
        return self.is_of_this_boot() and procfs.is_alive(self.pid, self.start_time)


def _visit(found: dict[str, Any] | None) -> Visit | None:
    return None if found is None else Visit(**found | {"guests": [Guest(**guest) for guest in found["guests"]]})
