"""Checks evidence: chains, the files of runs, and what a root says of its runs. Needs nothing but the public key."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import Any

import rfc8785

from vx11.evidence.appending import CONTINUED, KEEPER
from vx11.evidence.chain import statement
from vx11.evidence.keys import PublicKeys
from vx11.evidence.reading import (
    GENESIS,
    INTENT,
    RECOVERED,
    SEALED,
    WITNESSED,
    record_of,
    records,
    segments,
    strays,
    without_hash,
)

# What the chain of a run tells, and that of a madre does not.
_OF_RUN = ("run_started", RECOVERED)
_NOTABLE = (INTENT, RECOVERED)


class State(StrEnum):
    """What evidence is found to be: `unsealed` is neither sound nor tampered with, as after a crash."""

    SOUND = "sound"
    UNSEALED = "unsealed"
    TAMPERED = "tampered"


class Kind(StrEnum):
    """What is wrong."""

    CHANGED = "changed"
    MISSING = "missing"
    REORDERED = "reordered"
    REPEATED = "repeated"
    CUT = "cut"
    FOREIGN = "foreign"
    WRONG_KEY = "wrong_key"
    BAD_SEAL = "bad_seal"
    RESEALED = "resealed"
    REMOVED = "removed"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        where: the file, or the folder, relative to what was checked.
        record: the number of the record, where it is about one.
    """

    where: str
    kind: Kind
    message: str
    record: int | None = None

    def __str__(self) -> str:
        place = f"{self.where}, record {self.record}" if self.record else self.where
        return f"{place}: {self.message}"

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"where": self.where, "record": self.record, "kind": self.kind.value, "message": self.message}


@dataclass(frozen=True)
class ChainReport:
    """What a chain is found to be.

    Attributes:
        where: its first file, relative to what was checked.
        records: how many there are.
        head: the hash of the last one.
        sealed: up to which record it is sealed.
        closed: whether its last record is a seal, and says that its writer added nothing more.
        crashes: after which records its writer ended without closing it, and another went on.
        cut: whether it ends in half a line.
        keys: ids of the keys that it is sealed with.
        anchors: those that were looked for and are heads of records.
        witnessed: number → hash of records of the watchdog's chain that this one tells of.
        notable: its records of patch intents, and of a recovery.
        of_run: whether it is what a conductor wrote of a run.
    """

    where: str
    records: int = 0
    head: str = GENESIS
    sealed: int = 0
    closed: bool = False
    crashes: Sequence[int] = ()
    cut: bool = False
    keys: frozenset[str] = frozenset()
    findings: Sequence[Finding] = ()
    anchors: frozenset[str] = frozenset()
    witnessed: Mapping[int, str] = field(default_factory=dict)
    notable: Sequence[Mapping[str, Any]] = ()
    of_run: bool = False

    @property
    def state(self) -> State:
        """Tampered with, when anything is wrong; sound, when it is sealed to its end and closed."""
        if self.findings:
            return State.TAMPERED
        return State.SOUND if self.closed and not self.cut else State.UNSEALED

    @property
    def why(self) -> str:
        """In words what its state comes from."""
        if self.findings:
            return f"{len(self.findings)} findings"
        if self.state is State.SOUND:
            return f"sealed and closed at record {self.records}"
        if not self.records:
            return "nothing but what is no record" if self.cut else "empty"
        half = ", and half a line behind the last record" if self.cut else ""
        if self.sealed == self.records:
            return f"sealed up to record {self.records}, not closed{half}: its writer goes on, or crashed"
        return f"unsealed since record {self.sealed + 1} of {self.records}{half}: its writer goes on, or crashed"

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "where": self.where,
            "state": self.state.value,
            "why": self.why,
            "records": self.records,
            "head": self.head,
            "sealed": self.sealed,
            "closed": self.closed,
            "crashes": list(self.crashes),
            "keys": sorted(self.keys),
        }


def chain(path: Path, keys: PublicKeys, where: str = "", anchors: Iterable[str] = ()) -> ChainReport:
    """Reads a chain from its start.

    Args:
        keys: whose seals are good; with none of them, seals are not checked.
        where: how reports name it; the file's name without.
        anchors: heads that were noted elsewhere, and are looked for.

    Raises:
        OSError: it cannot be read.
    """
    reader = _Reader(where or path.name, keys, frozenset(anchors))
    for number, file in enumerate(segments(path), start=1):
        reader.read(file, is_first=number == 1)
    for file in strays(path):
        reader.find(Kind.MISSING, f"{file.name} is there, and the file that it continues is not")
    return reader.report()


@dataclass
class _Reader:
    where: str
    keys: PublicKeys
    wanted: frozenset[str]
    count: int = 0
    head: str = GENESIS
    sealed: int = 0
    closed: bool = False
    cut: bool = False
    seen: list[int] = field(default_factory=list)
    gaps: list[int] = field(default_factory=list)
    crashes: list[int] = field(default_factory=list)
    rests: dict[str, bytes] = field(default_factory=dict)
    rests_at: dict[str, int] = field(default_factory=dict)
    told: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    anchors: set[str] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)
    witnessed: dict[int, str] = field(default_factory=dict)
    notable: list[dict[str, Any]] = field(default_factory=list)
    of_run: bool = False

    def find(self, kind: Kind, message: str, record: int | None = None) -> None:
        self.findings.append(Finding(self.where, kind, message, record))

    def read(self, file: Path, *, is_first: bool) -> None:
        """One file of it."""
        rest = b""
        is_start = not is_first
        with file.open("rb") as lines:
            for line in lines:
                record = record_of(line)
                if record is None:
                    rest += line
                    continue
                if rest:
                    self.find(Kind.CHANGED, "what stands before it is not a record", self.count + 1)
                    rest = b""
                if is_start and record.get("action") != CONTINUED:
                    self.find(Kind.FOREIGN, f"{file.name} does not say what it continues", self.count + 1)
                is_start = False
                self.take(record, line)
        self.cut = bool(rest)
        if b"\n" in rest:
            self.find(Kind.CHANGED, "is not a record", self.count + 1)
        elif rest:
            self.rests[file.name], self.rests_at[file.name] = rest, len(self.seen)

    def take(self, record: dict[str, Any], line: bytes) -> None:
        number = int(record["seq"])
        self.follows(number, record)
        try:
            is_canonical = rfc8785.dumps(record) + b"\n" == line
        except (ValueError, RecursionError):
            is_canonical = False
        if not is_canonical:
            self.find(Kind.CHANGED, "is not in canonical form", number)
        elif hashlib.sha256(without_hash(line[:-1], record["hash"])).hexdigest() != record["hash"]:
            self.find(Kind.CHANGED, "does not match its own hash", number)
        self.count, self.head = number, record["hash"]
        self.seen.append(number)
        if self.head in self.wanted:
            self.anchors.add(self.head)
        self.closed = False
        action = record.get("action")
        self.of_run = self.of_run or action in _OF_RUN
        if action in _NOTABLE and isinstance(record.get("data"), dict):
            self.notable.append(record)
        if record.get("actor") == KEEPER:
            self.keep(number, record)

    def follows(self, number: int, record: dict[str, Any]) -> None:
        """Whether it is the one after the one before it."""
        due = self.count + 1
        if number > due:
            self.gaps += range(due, min(number, due + 10_000))
        elif number < due:
            self.gaps.append(number)
        elif record.get("prev") != self.head:
            self.find(Kind.CHANGED, "does not follow the record before it, one of the two was written anew", number)

    def keep(self, number: int, record: dict[str, Any]) -> None:
        """What the chain says about itself."""
        data = record.get("data")
        if not isinstance(data, dict):
            return
        if record.get("action") == SEALED:
            self.seal(number, record, data)
        elif record.get("action") == WITNESSED and isinstance(data.get("count"), int):
            self.witnessed[data["count"]] = str(data.get("head"))
        elif record.get("action") == CONTINUED:
            self.crashes.append(number - 1)
            self.told |= {str(torn.get("file")): torn for torn in data.get("torn", ()) if isinstance(torn, dict)}

    def seal(self, number: int, record: dict[str, Any], data: dict[str, Any]) -> None:
        key_id = str(data.get("key"))
        self.used.add(key_id)
        if data.get("count") != number - 1 or data.get("head") != record.get("prev"):
            self.find(Kind.BAD_SEAL, "is a seal of something else", number)
            return
        if self.keys and not self.is_signed(number, key_id, record):
            return
        self.sealed, self.closed = number, bool(data.get("final"))

    def is_signed(self, number: int, key_id: str, record: dict[str, Any]) -> bool:
        key = self.keys.get(key_id)
        if key is None:
            self.find(Kind.WRONG_KEY, f"is sealed by the key {key_id}, not by {self.keys}", number)
            return False
        if not key.signed(statement(record), str(record["data"].get("signature"))):
            self.find(Kind.BAD_SEAL, "is a seal whose signature is wrong", number)
            return False
        return True

    def order(self) -> None:
        """Says of what does not follow whether it is gone, moved, or there twice."""
        times = Counter(self.seen)
        gone = sorted({number for number in self.gaps if not times[number]})
        for first, last in _ranges(gone):
            what = f"record {first} is" if first == last else f"records {first} to {last} are"
            self.find(Kind.MISSING, f"{what} missing", last + 1)
        for number in sorted({number for number in self.gaps if times[number] > 1}):
            self.find(Kind.REPEATED, f"stands there {times[number]} times", number)
        moved = sorted({number for number in self.gaps if times[number] == 1})
        for number in moved:
            self.find(Kind.REORDERED, "does not stand where it belongs", number)

    def torn(self) -> None:
        """Half lines are told by the file that follows them, and stay as they were."""
        for name, torn in self.told.items():
            rest = self.rests.get(name, b"")
            if (torn.get("bytes"), torn.get("sha256")) != (len(rest), hashlib.sha256(rest).hexdigest()):
                self.find(Kind.CHANGED, f"half a line at the end of {name} is not as it was when the chain went on")
        for name, rest_at in self.rests_at.items():
            # Where nothing was recorded since, whoever went on ended before he could tell.
            if name not in self.told and len(self.seen) > rest_at:
                self.find(Kind.FOREIGN, f"half a line at the end of {name}, which what follows does not tell of")

    def report(self) -> ChainReport:
        self.order()
        self.torn()
        return ChainReport(
            where=self.where,
            records=len(self.seen),
            head=self.head,
            sealed=self.sealed,
            closed=self.closed,
            crashes=tuple(self.crashes),
            cut=self.cut,
            keys=frozenset(self.used),
            findings=tuple(self.findings),
            anchors=frozenset(self.anchors),
            witnessed=self.witnessed,
            notable=self.notable,
            of_run=self.of_run,
        )


def _ranges(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    for _, group in groupby(enumerate(numbers), key=lambda item: item[1] - item[0]):
        found = [number for _, number in group]
        yield found[0], found[-1]


def sound_part(path: Path) -> list[dict[str, Any]]:
    """The records of a chain up to the first thing that is wrong with it; all of them when it is sound."""
    findings = chain(path, PublicKeys()).findings
    until = min((finding.record or 1 for finding in findings), default=None)
    return [record for record in records(path) if until is None or record["seq"] < until]
