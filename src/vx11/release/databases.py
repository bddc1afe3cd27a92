"""SQLite files: which there are, how sound they are, what is in them. They are only read; nothing is left by it."""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

HEADER = b"SQLite format 3\0"
PRAGMAS = ("quick_check", "integrity_check", "foreign_key_check")
BUSY_TIMEOUT = 5.0
# Of so many findings the first are told.
MOST = 20
# In the header: whether it is written by way of a log beside it; see https://www.sqlite.org/fileformat2.html.
_READ_VERSION, _WITH_LOG = 19, 2


@dataclass(frozen=True)
class Database:
    """What a file was found to be.

    Attributes:
        findings: pragma → what it found wrong; nothing in all of them when it is sound.
        rows: table → number of rows; without those that cannot be counted.
    """

    path: Path
    size: int
    findings: dict[str, list[str]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Nothing is wrong with it."""
        return not any(self.findings.values())


def find(names: Iterable[str]) -> tuple[list[Path], list[str]]:
    """SQLite files among files, patterns and folders; and those of the names that nothing is there for."""
    found: set[Path] = set()
    missing = []
    for name in names:
        places = list(_places(Path(name).absolute()))
        if not any(place.exists() for place in places):
            missing.append(name)
        found.update(path.resolve() for place in places for path in _files(place) if _is_database(path))
    return sorted(found), missing


def _places(name: Path) -> Iterator[Path]:
    if any(sign in str(name) for sign in "*?["):
        yield from Path(name.anchor).glob(str(name.relative_to(name.anchor)))
    else:
        yield name


def _files(place: Path) -> Iterator[Path]:
    yield from place.rglob("*") if place.is_dir() else [place]


def _is_database(path: Path) -> bool:
    try:
        return path.is_file() and _header(path).startswith(HEADER)
    except OSError:
        return False


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(100)


def examine(path: Path) -> Database:
    """Checks one file and counts what is in it; what cannot be read is a finding."""
    findings: dict[str, list[str]] = {}
    rows: dict[str, int] = {}
    try:
        size = path.stat().st_size
    except OSError as error:
        return Database(path, 0, {"quick_check": [f"it cannot be read: {error.strerror}"]})
    for pragma in PRAGMAS:
        try:
            with _opened(path) as connection:
                findings[pragma] = _findings(connection, pragma)
                rows = rows or _rows(connection)
        except (OSError, sqlite3.Error) as error:
            findings[pragma] = [str(error)]
    return Database(path, size, findings, rows)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Read only; a file that is written by way of a log, and has none now, is opened so that none is made."""
    header = _header(path)
    if not header.startswith(HEADER):
        raise sqlite3.DatabaseError("it does not begin as an SQLite file does")
    rests = header[_READ_VERSION] == _WITH_LOG and not path.with_name(f"{path.name}-wal").exists()
    uri = f"file:{quote(str(path))}?mode=ro{'&immutable=1' if rests else ''}"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT)) as connection:
        yield connection


def _findings(connection: sqlite3.Connection, pragma: str) -> list[str]:
    """Both checks answer `ok` when there is nothing; that of foreign keys answers no row."""
    rows = connection.execute(f"PRAGMA {pragma}").fetchmany(MOST)
    if pragma != "foreign_key_check":
        return [str(row[0]) for row in rows if row[0] != "ok"]
    return [f"row {rowid} of {table} refers to nothing in {parent}" for table, rowid, parent, _ in rows]


def _rows(connection: sqlite3.Connection) -> dict[str, int]:
    names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    counted = {}
    for (name,) in names.fetchall():
        with contextlib.suppress(sqlite3.Error):  # what is wrong with it the pragmas tell
            quoted = str(name).replace('"', '""')
            counted[str(name)] = int(connection.execute(f'SELECT count(*) FROM "{quoted}"').fetchone()[0])  # noqa: S608
    return counted
