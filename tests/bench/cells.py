"""A cell to measure: a real madre and watchdog over a catalogue made for the purpose; nothing of it stays."""

import contextlib
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tests.conftest import entry
from vx11.catalogue import allowlist, compose
from vx11.client import Madre
from vx11.conductor.cell import Cell
from vx11.conductor.matrix import ALLOWLIST, CATALOGUE
from vx11.engines.select import EngineName
from vx11.statefiles import WINDOWS

OPEN, CLOSE = (f"/api/v1/windows/{verb}" for verb in ("open", "close"))
LOOK = 0.02
# A host has its state in a tmpfs and its evidence on a disk; so has a cell here, where there is a tmpfs.
TMPFS = Path("/dev/shm")
# A service that only waits, on either engine, for measurements of everything but the service.
WAITS = ["sleep", "3600"]
Found = TypeVar("Found")


class BenchError(Exception):
    """Something could not be measured, so no figure of it may be shown."""


@dataclass(frozen=True)
class Bench:
    """A running cell under measurement.

    Attributes:
        bundle: the folder of its catalogue.
        services: the services as madre reads them.
        madre: a client whose connections are kept alive; threads may share it.
        evidence: the folder that madre writes evidence below.
    """

    cell: Cell
    bundle: Path
    services: Mapping[str, compose.Service]
    madre: Madre
    evidence: Path

    def open(self, service: str, **more: Any) -> dict[str, Any]:
        """Opens a window; answers when it is ready."""
        return self.madre.post(OPEN, service=service, **more)

    def close(self, service: str, **more: Any) -> dict[str, Any]:
        """Closes it; answers when it is closed."""
        return self.madre.post(CLOSE, service=service, **more)

    def kill_madre(self) -> None:
        """SIGKILL; the watchdog is left alone with the windows."""
        madre = self.cell.core.pop("madre")
        madre.kill()
        madre.wait()
        if madre.stdout:
            madre.stdout.close()

    @property
    def windows(self) -> Path:
        """The folder of the state files."""
        return self.cell.folder / "state" / self.cell.name / WINDOWS

    def states(self) -> list[dict[str, Any]]:
        """The state files of all windows, while none of them closes."""
        return [json.loads(path.read_text(encoding="utf-8")) for path in self.windows.glob("*.json")]

    def has_windows(self) -> bool:
        """Whether any window is not closed."""
        return any(self.windows.glob("*.json"))

    def records(self) -> list[dict[str, Any]]:
        """What madre has written to its evidence."""
        files = sorted(self.evidence.rglob("*.jsonl"))
        return [json.loads(line) for path in files for line in path.read_text(encoding="utf-8").splitlines()]


def waiting(count: int) -> dict[str, Any]:
    """So many entries of services that only wait."""
    waits = entry("sleep", command=WAITS, ports=[], vx11={"process": {"command": WAITS}})
    return {f"waits-{number}": waits for number in range(count)}


@contextlib.contextmanager
def started(engine: EngineName, entries: Mapping[str, Any]) -> Iterator[Bench]:
    """A running cell whose catalogue has these entries, all of them allowed, with their images there.

    Raises:
        BenchError: something of the cell was left when it ended.
        Vx11Error: it did not start.
    """
    scratch = Path(tempfile.mkdtemp(prefix="vx11-bench-"))
    try:
        catalogue = scratch / CATALOGUE
        catalogue.write_text(yaml.safe_dump({"services": dict(entries)}), encoding="utf-8")
        services = compose.load(catalogue)
        allowlist.update(scratch / ALLOWLIST, services)
        evidence = scratch / "evidence"
        with _cell(scratch, engine, evidence) as cell:
            cell.engine.prepare(next(iter(services.services.values())))  # all entries have the same image
            cell.start()
            with cell.madre() as madre:
                until(lambda: madre.status()["watchdog"], "the watchdog is alive")
                yield Bench(cell, scratch, services.services, madre, evidence)
    finally:
        shutil.rmtree(scratch)


@contextlib.contextmanager
def _cell(bundle: Path, engine: EngineName, evidence: Path) -> Iterator[Cell]:
    usual, tempfile.tempdir = tempfile.tempdir, str(state_root())
    try:
        cell = Cell(f"b-{secrets.token_hex(4)}", bundle, engine, evidence)
    finally:
        tempfile.tempdir = usual
    left: list[str] = []
    try:
        yield cell
    finally:
        cell.stop()
        left = cell.purge()
    if left:
        raise BenchError(f"the cell {cell.name} left behind: {', '.join(left)}")


def state_root() -> Path:
    """Where the folders of cells are made."""
    return TMPFS if TMPFS.is_mount() and os.access(TMPFS, os.W_OK) else Path(tempfile.gettempdir())


def until(check: Callable[[], Found], what: str, limit: float = 30.0) -> Found:
    """What `check` answers as soon as it is true.

    Raises:
        BenchError: it was not within `limit` seconds.
    """
    end = time.monotonic() + limit
    while not (found := check()):
        if time.monotonic() > end:
            raise BenchError(f"{what}: not so within {limit:g} s")
        time.sleep(LOOK)
    return found
