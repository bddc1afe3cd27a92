"""What the evidence of runs says about them, also while they go on: index, chain, verdicts."""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vx11.evidence.layout import CHAIN, INDEX, tombstone_of
from vx11.evidence.reading import records
from vx11.statefiles import read_json

# What says what a run has left in a cell, or on a host.
_ENDED = ("cell_ended", "host_ended")


@dataclass(frozen=True)
class CaseVerdict:
    """A case that has its verdict.

    Attributes:
        attempts: how often it was tried; 0 when it never began.
        duration: seconds of the last try; None when it never began.
        asserts: what was expected and observed, one by one.
        metrics: name → value.
    """

    case: str
    verdict: str
    message: str
    attempts: int
    duration: float | None
    asserts: tuple[dict[str, Any], ...]
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One run, as far as it has got.

    Attributes:
        state: as its index has it: running, finished, aborted.
        conductor: pid of who runs it, 0 when that is not known.
        planned: ids of its cases.
        started_ns, ended_ns: wall time; None when that has not happened, or its evidence is gone.
        left: what could not be removed at its end.
    """

    folder: Path
    state: str
    conductor: int
    planned: tuple[str, ...]
    started_ns: int | None
    ended_ns: int | None
    verdicts: tuple[CaseVerdict, ...]
    left: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """It came to its end, every case passed or was skipped for a reason, and nothing is left."""
        well = all(item.verdict in ("passed", "skipped") for item in self.verdicts)
        return self.state == "finished" and len(self.verdicts) == len(self.planned) and well and not self.left


@dataclass(frozen=True)
class Listed:
    """What a root knows of a run.

    Attributes:
        state: running, finished, aborted; removed, when all that is left is its tombstone.
        verdicts: how many cases have each.
    """

    test_id: str
    folder: str
    state: str
    verdicts: dict[str, int]

    def counts(self) -> str:
        """`11 passed, 1 failed`."""
        return ", ".join(f"{number} {verdict}" for verdict, number in self.verdicts.items())

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def listed(root: Path) -> list[Listed]:
    """The runs of a root, the oldest first."""
    found = []
    for test_id, entry in _index(root).items():
        folder = root / str(entry["folder"])
        is_removed = tombstone_of(folder).is_file() and not folder.is_dir()
        state = "removed" if is_removed else str(entry.get("state", ""))
        found.append(Listed(test_id, folder.name, state, dict(entry.get("verdicts", {}))))
    return sorted(found, key=lambda run: run.folder)


def of_folder(folder: Path) -> Run:
    """The run in a folder, as far as the folder itself tells."""
    return _read(folder, {})


def find(root: Path, test_id: str) -> Run | None:
    """The run of this id in an evidence root, or in one below it; None when no index has it."""
    for folder in _roots(root):
        entry = _index(folder).get(test_id)
        if entry is not None:
            return _read(folder / str(entry["folder"]), entry)
    return None


def _roots(root: Path) -> Iterator[Path]:
    """Folders with an index. The evidence of a run holds none, and is not looked through."""
    for folder, below, files in os.walk(root):
        if CHAIN in files:
            below.clear()
        elif INDEX in files:
            yield Path(folder)


def _index(folder: Path) -> dict[str, dict[str, Any]]:
    found = read_json(folder / INDEX)
    runs = found.get("runs") if isinstance(found, dict) else None
    return {
        name: entry
        for name, entry in (runs.items() if isinstance(runs, dict) else ())
        if isinstance(entry, dict) and isinstance(entry.get("folder"), str)
    }


def _read(folder: Path, entry: dict[str, Any]) -> Run:
    by_action: dict[str, list[dict[str, Any]]] = {}
    # Retention may have removed the chain.
    for record in records(folder / CHAIN) if (folder / CHAIN).exists() else ():
        by_action.setdefault(record["action"], []).append(record)
    return Run(
        folder=folder,
        state=str(entry.get("state", "")),
        conductor=int(entry.get("conductor", 0)),
        planned=tuple(entry.get("cases", ()) or _planned(by_action.get("run_started", []))),
        started_ns=_when(by_action.get("run_started")),
        ended_ns=_when(by_action.get("run_finished")),
        verdicts=tuple(_verdict(folder, record) for record in by_action.get("verdict", ())),
        left=tuple(what for name in _ENDED for record in by_action.get(name, ()) for what in record["data"]["left"]),
    )


def _planned(started: list[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(case for record in started for case in record["data"]["cases"])


def _when(records: list[dict[str, Any]] | None) -> int | None:
    return int(records[-1]["wall_ns"]) if records else None


def _verdict(folder: Path, record: dict[str, Any]) -> CaseVerdict:
    """The chain has the verdict, the file of the last try what it was judged on; a case that never began has none."""
    case, data = record["subject"], record["data"]
    tried = read_json(folder / "cases" / case / str(data["attempts"]) / "verdict.json") or {}
    return CaseVerdict(
        case=case,
        verdict=data["verdict"],
        message=data["message"],
        attempts=data["attempts"] if tried else 0,
        duration=tried.get("duration"),
        asserts=tuple(tried.get("asserts", ())),
        metrics=tried.get("metrics", {}),
    )
