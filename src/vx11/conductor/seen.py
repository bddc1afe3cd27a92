"""What was seen of a case: what its playbook called, its windows, their usage over time, madre's evidence."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

STEPS, USAGE = "steps.jsonl", "usage.jsonl"
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """One call of a module of ours, as its action plugin wrote it down.

    Attributes:
        args: its options.
        begun_ns, ended_ns: CLOCK_BOOTTIME.
        result: what it returned.
        line: its number in the file of calls; the first is 1.
    """

    module: str
    args: Json
    begun_ns: int
    ended_ns: int
    failed: bool
    message: str
    result: Json
    line: int = 0

    @property
    def took_ms(self) -> float:
        """Milliseconds."""
        return (self.ended_ns - self.begun_ns) / 1e6


@dataclass(frozen=True)
class Cleaned:
    """What the clean-up showed.

    Attributes:
        solo_madre: whether only the core ran at its end, by madre's word and by the conductor's own look.
        entry_answers: whether the entry answered before it.
        leaked: what carried the cell's mark, or ran on the host, after it and not before the case; None when nobody
            could tell.
        recovery_ms: from the end of the playbook to the proof of SOLO_MADRE.
        intent: the folder of the patch intent, None when there is none.
        intent_complete: whether it has every section.
        bundle_unchanged: whether the files of the bundle are as they were before the case.
        evidence_bytes: what the case left in evidence; None where a part of that is out of reach.
    """

    solo_madre: bool
    entry_answers: bool
    leaked: Sequence[str] | None = ()
    recovery_ms: float = 0.0
    intent: Path | None = None
    intent_complete: bool = False
    bundle_unchanged: bool = True
    evidence_bytes: int | None = 0


@dataclass(frozen=True)
class Seen:
    """All of it.

    Attributes:
        windows: the case's windows, open and closed, as madre's API describes them, in the order of their opening.
        samples: looks at the windows while the playbook ran, each `{"ns", "windows"}`; a window has in addition
            `answers`, whether its service answered at its address, where that was tried.
        evidence: madre's records since the case began; none on a host, where they stay.
        residue: what carries the cell's mark, or runs on the host, before the clean-up.
        cycle: services that need one another in a circle, by the catalogue and the case together; empty without.
        ready_checked: services that have a readiness check.
        cleaned: None before the clean-up.
    """

    calls: Sequence[Call] = ()
    windows: Sequence[Json] = ()
    samples: Sequence[Json] = ()
    evidence: Sequence[Json] = ()
    residue: Sequence[str] = ()
    cycle: Sequence[str] = ()
    ready_checked: frozenset[str] = frozenset()
    cleaned: Cleaned | None = None

    def of(self, module: str) -> list[Call]:
        """The calls of one module."""
        return [call for call in self.calls if call.module == module]

    def records(self, action: str) -> list[Json]:
        """Madre's records of one action."""
        return [record for record in self.evidence if record["action"] == action]

    def ttl(self, window: Json) -> float | None:
        """Seconds that a window was opened for, as evidence says, else the first look at it; None when neither does."""
        found = [r for r in self.records("opening") if r["subject"] == window["window_id"]]
        if found:
            return float(found[0]["data"]["ttl_s"])
        looks = self.looks(window)
        return seconds_between(looks[0]["opened_at"], looks[0]["expires_at"]) if looks else None

    def looks(self, window: Json) -> list[Json]:
        """What a window was at each look at it."""
        return [w for look in self.samples for w in look["windows"] if w["window_id"] == window["window_id"]]


def calls(folder: Path) -> list[Call]:
    """Reads the calls of a case; what cannot be read is left out, as of a playbook that was killed."""
    return [found for number, line in _numbered(folder / STEPS) if (found := _call(line, number))]


def samples(folder: Path) -> list[Json]:
    """Reads the looks at its windows."""
    return [line for _, line in _numbered(folder / USAGE)]


def requests(path: Path) -> list[tuple[int, Json]]:
    """Reads the requests of a suite to windows, each with the number of its line."""
    return _numbered(path)


def _call(line: Json, number: int) -> Call | None:
    try:
        return Call(
            str(line["module"]),
            dict(line["args"]),
            int(line["begun_ns"]),
            int(line["ended_ns"]),
            bool(line["failed"]),
            str(line.get("msg") or ""),
            dict(line["result"]),
            number,
        )
    except (KeyError, OverflowError, TypeError, ValueError):
        return None


def _numbered(path: Path) -> list[tuple[int, Json]]:
    """The lines of a file that are JSON objects, with their numbers."""
    found: list[tuple[int, Json]] = []
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            item = json.loads(line)
        except (RecursionError, ValueError):
            continue
        if isinstance(item, dict):
            found.append((number, item))
    return found


def seconds_between(begin: str, end: str) -> float:
    """Seconds between two times in ISO 8601."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()
