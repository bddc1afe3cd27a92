"""The records of a run, its own and those of its cells, in the order of time; also while it goes on."""

import heapq
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vx11.evidence.appending import KEEPER
from vx11.evidence.layout import CHAIN, CONDUCTOR, REPORT
from vx11.evidence.reading import record_of, segments

LOOK = 0.2
Record = dict[str, Any]


@dataclass(frozen=True)
class Filter:
    """Which records are wanted; all of them without.

    Attributes:
        case: those of this case, and madre's of its cell in the meantime.
        window: those about a window with this id, or one that begins so.
        since_ns, until_ns: wall time.
    """

    case: str = ""
    window: str = ""
    since_ns: int | None = None
    until_ns: int | None = None


@dataclass(frozen=True)
class Shown:
    """A record, and whose chain has it: `conductor`, or the name of a cell."""

    source: str
    record: Record

    @property
    def wall_ns(self) -> int:
        """When it was written."""
        return int(self.record["wall_ns"])


def chains(folder: Path) -> dict[str, Path]:
    """The chains of a run by whose they are; of a madre's folder its own alone."""
    own = {"conductor" if (folder / REPORT).is_dir() else "madre": folder / CHAIN}
    return own | {path.parent.name: path for path in sorted(folder.glob(f"cells/*/{CHAIN}"))}


def so_far(folder: Path, wanted: Filter) -> list[Shown]:
    """What is there, in the order of time."""
    return _Showing(folder, wanted).more()


def following(folder: Path, wanted: Filter) -> Iterator[Shown]:
    """What is there, then what is added, until the run's books are closed."""
    showing = _Showing(folder, wanted)
    while True:
        goes_on = (folder / CONDUCTOR).exists()
        yield from showing.more()
        if not goes_on:
            return
        time.sleep(LOOK)


class _Showing:
    def __init__(self, folder: Path, wanted: Filter) -> None:
        self._folder = folder
        self._wanted = wanted
        self._read: dict[Path, int] = {}
        # Cell → the case that it has, and whether that is the one that is wanted.
        self._has_case: dict[str, bool] = {}

    def more(self) -> list[Shown]:
        """What was added since the last time."""
        parts = [list(self._added(source, path)) for source, path in chains(self._folder).items()]
        merged = heapq.merge(*parts, key=lambda item: item.wall_ns)
        return [item for item in merged if self._is_wanted(item)]

    def _added(self, source: str, path: Path) -> Iterator[Shown]:
        for file in segments(path):
            if not file.exists():
                continue
            with file.open("rb") as lines:
                lines.seek(self._read.get(file, 0))
                for line in lines:
                    if not line.endswith(b"\n"):
                        break
                    self._read[file] = self._read.get(file, 0) + len(line)
                    if (record := record_of(line)) and _is_whole(record):
                        yield Shown(source, record)

    def _is_wanted(self, item: Shown) -> bool:
        wanted, record = self._wanted, item.record
        if record["actor"] == KEEPER and (wanted.case or wanted.window):
            return False
        if wanted.since_ns is not None and item.wall_ns < wanted.since_ns:
            return False
        if wanted.until_ns is not None and item.wall_ns > wanted.until_ns:
            return False
        if wanted.window and not str(record["subject"]).startswith(wanted.window):
            return False
        return not wanted.case or self._is_of_case(item)

    def _is_of_case(self, item: Shown) -> bool:
        record = item.record
        if item.source != "conductor":
            return self._has_case.get(item.source, False)
        is_of_it = str(record["subject"]) == self._wanted.case
        if record["action"] == "case_started":
            self._has_case[str(record["data"].get("cell"))] = is_of_it  # a host has its chain elsewhere
        return is_of_it


def _is_whole(record: Record) -> bool:
    """Whether it has what is shown of a record; whoever verifies the chain tells of others."""
    has_all = all(name in record for name in ("actor", "action", "subject"))
    return has_all and str(record.get("wall_ns")).isdecimal() and isinstance(record.get("data"), dict)


def printable(text: str) -> str:
    """One line, whatever is in it; nothing of it moves a terminal's cursor."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def line(item: Shown) -> str:
    """`17:27:11.042 conductor  case_started  TC-009  attempt=1 cell=…`."""
    at = time.gmtime(item.wall_ns // 10**9)
    moment = f"{time.strftime('%H:%M:%S', at)}.{item.wall_ns // 10**6 % 1000:03}"
    record = item.record
    about = " ".join(f"{name}={_short(value)}" for name, value in sorted(record["data"].items()))
    words: Sequence[str] = (moment, item.source, str(record["actor"]), str(record["action"]), str(record["subject"]))
    return printable("  ".join([*words, about]).rstrip())


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
