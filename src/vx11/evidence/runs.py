"""What the evidence of runs says about them, also while they go on: index, chain, verdicts."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INDEX, CHAIN = "index.json", "evidence.jsonl"


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
    try:
        runs: dict[str, dict[str, Any]] = json.loads((folder / INDEX).read_text(encoding="utf-8"))["runs"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return runs


def _read(folder: Path, entry: dict[str, Any]) -> Run:
    records = list(_records(folder / CHAIN))
    by_action: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        by_action.setdefault(record["action"], []).append(record)
    return Run(
        folder=folder,
        state=str(entry.get("state", "")),
        conductor=int(entry.get("conductor", 0)),
        planned=tuple(entry.get("cases", ())),
        started_ns=_when(by_action.get("run_started")),
        ended_ns=_when(by_action.get("run_finished")),
        verdicts=tuple(_verdict(folder, record) for record in by_action.get("verdict", ())),
        left=tuple(what for record in by_action.get("cell_ended", ()) for what in record["data"]["left"]),
    )


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """The records so far; the last one may be half written, and retention may have removed all."""
    try:
        with path.open("rb") as file:
            for line in file:
                yield json.loads(line)
    except (FileNotFoundError, ValueError):
        return


def _when(records: list[dict[str, Any]] | None) -> int | None:
    return int(records[-1]["wall_ns"]) if records else None


def _verdict(folder: Path, record: dict[str, Any]) -> CaseVerdict:
    """The chain has the verdict, the file of the last try what it was judged on; a case that never began has none."""
    case, data = record["subject"], record["data"]
    try:
        tried = json.loads((folder / "cases" / case / str(data["attempts"]) / "verdict.json").read_text("utf-8"))
    except (OSError, ValueError):
        tried = {}
    return CaseVerdict(
        case=case,
        verdict=data["verdict"],
        message=data["message"],
        attempts=data["attempts"] if tried else 0,
        duration=tried.get("duration"),
        asserts=tuple(tried.get("asserts", ())),
        metrics=tried.get("metrics", {}),
    )
