"""What the folder of a run says: its evidence, the verdicts of its tries, madre's records of their cells.

Of tries on hosts there are no such records: they stay there.

Reads leniently: a run may have been killed, and what suites left may be anything. What cannot be read is left out.
"""

import contextlib
import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, groupby
from pathlib import Path
from typing import Any

from vx11.conductor.judge import CaseResult, Judged, Verdict
from vx11.conductor.observations import Observed
from vx11.errors import InputError
from vx11.evidence.appending import KEEPER
from vx11.evidence.layout import CHAIN
from vx11.evidence.reading import records, segments

VERDICT_FILE = "verdict.json"
Json = dict[str, Any]
_UNREADABLE = (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError)


@dataclass(frozen=True)
class Started:
    """When and where a try began: CLOCK_BOOTTIME and wall time in nanoseconds, and the name of its cell or host."""

    boot_ns: int
    wall_ns: int
    place: str


@dataclass(frozen=True)
class Try:
    """One try of a case.

    Attributes:
        folder: its evidence.
        result: what it came to; without asserts and metrics where it was never judged.
        started: None when evidence does not say.
    """

    number: int
    folder: Path
    result: CaseResult
    started: Started | None

    @property
    def end_ns(self) -> int:
        """CLOCK_BOOTTIME at its end; 0 when nobody knows when it began."""
        return self.started.boot_ns + round(self.result.duration * 1e9) if self.started else 0


@dataclass(frozen=True)
class CaseRecord:
    """One planned case.

    Attributes:
        tries: in their order; none of a case that never began.
    """

    id: str
    description: str
    verdict: Verdict
    message: str
    tries: Sequence[Try]

    @property
    def result(self) -> CaseResult:
        """What it came to, with the tries before the last one."""
        if not self.tries:
            return CaseResult(self.id, self.verdict, self.message)
        *earlier, last = [item.result for item in self.tries]
        return replace(last, verdict=self.verdict, message=self.message, earlier=tuple(earlier))


@dataclass
class Record:
    """One run.

    Attributes:
        folder: its evidence.
        matrix: the file that was run.
        begun_ns, ended_ns: wall time in nanoseconds; both the same while it is not known how long it went.
        state: `finished`, `aborted`, or `running` of a run whose books were never closed.
        problem: why it could not go on, empty when it could.
        left: what could not be removed.
    """

    folder: Path
    test_id: str = ""
    matrix: str = ""
    planned: Sequence[str] = ()
    version: str = ""
    profile: str = ""
    time_scale: float = 1.0
    begun_ns: int = 0
    ended_ns: int = 0
    state: str = "running"
    problem: str = ""
    left: list[str] = field(default_factory=list)
    _descriptions: Mapping[str, str] = field(default_factory=dict)
    _started: dict[tuple[str, int], Started] = field(default_factory=dict)
    _verdicts: dict[str, tuple[Verdict, str]] = field(default_factory=dict)
    _engines: dict[str, str] = field(default_factory=dict)
    _cells: dict[str, "_CellRecords"] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of its bundle."""
        return Path(self.matrix).parent.name or self.test_id

    @property
    def engine(self) -> str:
        """What ran the services, and why; empty when no cell ever started, and no host was asked."""
        if self._engines:
            return "; ".join(f"{name}: {engine}" for name, engine in self._engines.items())
        for path in sorted(self.folder.glob("cells/*/evidence.jsonl")):
            with path.open("rb") as file:
                data = (_record(file.readline()) or {}).get("data", {})
            if "engine" in data:
                return f"{data['engine']} ({data.get('why', '')})"
        return ""

    @property
    def places(self) -> list[str]:
        """The names of the cells or hosts that had a case."""
        return sorted({started.place for started in self._started.values()})

    def verdicts(self) -> list[Verdict]:
        """One a planned case."""
        return [self._verdict(case)[0] for case in self.planned]

    def cases(self) -> Iterator[CaseRecord]:
        """The planned cases one after the other, each read when its turn comes."""
        for case in self.planned:
            verdict, message = self._verdict(case)
            tries = list(self._tries(case, verdict, message))
            yield CaseRecord(case, self._descriptions.get(case, ""), verdict, message, tries)

    def records(self, item: Try) -> list[Json]:
        """Madre's records of the time of a try; its cell had no other case then."""
        if item.started is None or item.result.host:
            return []
        cell = item.started.place
        if cell not in self._cells:
            self._cells[cell] = _CellRecords(self.folder / "cells" / cell / "evidence.jsonl")
        return self._cells[cell].between(item.started.boot_ns, item.end_ns)

    def _verdict(self, case: str) -> tuple[Verdict, str]:
        return self._verdicts.get(case, (Verdict.ABORTED, "the run ended before this case had a verdict"))

    def _tries(self, case: str, verdict: Verdict, message: str) -> Iterator[Try]:
        """Those whose folder is there, and those that evidence says began."""
        for number in count(1):
            folder = self.folder / "cases" / case / str(number)
            started = self._started.get((case, number))
            if started is None and not folder.is_dir():
                return
            result = _result(folder / VERDICT_FILE) or CaseResult(case, verdict, message, attempt=number)
            yield Try(number, folder, result, started)

    def take(self, record: Json) -> None:
        """Learns from one record of the run's own chain; what that says about itself is no part of the run."""
        if record["actor"] == KEEPER:
            return
        data, subject, wall = record["data"], str(record["subject"]), int(record["wall_ns"])
        self.ended_ns = wall
        match record["action"]:
            case "run_started":
                self.test_id, self.begun_ns = subject, wall
                self.matrix, self.planned = str(data["matrix"]), [str(case) for case in data["cases"]]
                self.version, self.profile = str(data["version"]), str(data["profile"])
                self.time_scale = float(data["time_scale"])
                self._descriptions = dict(data.get("descriptions", {}))
            case "case_started":
                place = data["host"] if "host" in data else data["cell"]
                started = Started(int(record["mono_ns"]), wall, str(place))
                self._started[subject, int(data["attempt"])] = started
            case "verdict":
                self._verdicts[subject] = (Verdict(data["verdict"]), str(data["message"]))
            case "host_asked":
                self._engines[subject] = f"{data['engine']['name']} ({data['engine']['why']})"
            case "cell_ended" | "host_ended":
                self.left += [str(what) for what in data["left"]]
            case "run_failed":
                self.problem = str(data["why"])
            case "run_finished":
                self.state = str(data["state"])


def read(folder: Path) -> Record:
    """Reads what a run left.

    Raises:
        InputError: the folder is not that of a run.
    """
    found = Record(folder.resolve())
    try:
        for record in records(folder / CHAIN):
            _learn(found, record)
    except OSError as error:
        raise InputError.of(f"this is not the folder of a run: {error.strerror}", folder / CHAIN) from error
    if not found.test_id:
        raise InputError.of("this is not the evidence of a run: no record says that one started", folder)
    return found


def _learn(run: Record, record: Json) -> None:
    with contextlib.suppress(*_UNREADABLE):  # whoever verifies the chain tells of such
        run.take(record)


def _record(line: bytes) -> Json | None:
    """A record of a chain; None of what is none."""
    try:
        found: Json = json.loads(line)
        about = {"mono_ns": int(found["mono_ns"]), "action": str(found["action"]), "subject": str(found["subject"])}
        return {**about, "data": dict(found["data"])}
    except _UNREADABLE:
        return None


def _result(path: Path) -> CaseResult | None:
    """What a try came to; None when it has no verdict that can be read."""
    try:
        found = json.loads(path.read_bytes())
        return CaseResult(
            str(found["case"]),
            Verdict(found["verdict"]),
            str(found["message"]),
            float(found["duration"]),
            tuple(_judged(item) for item in found["asserts"]),
            {str(name): Observed(it["value"], it["unit"], it["source"]) for name, it in found["metrics"].items()},
            tuple(str(name) for name in found["missing_metrics"]),
            int(found["attempt"]),
            intent=None if found.get("intent") is None else str(found["intent"]),
            host=None if found.get("host") is None else str(found["host"]),
        )
    except (OSError, *_UNREADABLE):
        return None


def _judged(item: Json) -> Judged:
    observed = None if item["observed"] is None else str(item["observed"])
    return Judged(str(item["name"]), str(item["expected"]), observed, bool(item["holds"]), str(item["why"]))


class _CellRecords:
    """madre's records of one cell by time; where they lie is kept, not they."""

    def __init__(self, path: Path) -> None:
        self._times: list[int] = []
        self._places: list[tuple[Path, int]] = []
        for file in segments(path):
            if file.exists():  # madre may never have written any
                self._keep(file)

    def _keep(self, path: Path) -> None:
        place = 0
        with path.open("rb") as file:
            for line in file:
                if found := _record(line):
                    self._times.append(int(found["mono_ns"]))
                    self._places.append((path, place))
                place += len(line)

    def between(self, begin: int, end: int) -> list[Json]:
        """Those from `begin` to `end`, nanoseconds on CLOCK_BOOTTIME."""
        first, last = bisect_left(self._times, begin), bisect_right(self._times, end)
        found = []
        for path, places in groupby(self._places[first:last], key=lambda place: place[0]):
            with path.open("rb") as file:
                for _, place in places:
                    file.seek(place)
                    found.append(_record(file.readline()))
        return [record for record in found if record]
