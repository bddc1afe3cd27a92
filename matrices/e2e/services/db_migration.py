"""db-migration: moves a SQLite database from schema 1 to schema 2 while it goes on answering.

Schema 1 has people with one `name`; schema 2 splits it into `first_name` and `last_name` and adds a checksum a row. The
first start makes schema 1 with MIGRATION_ROWS rows. Rows are copied in transactions of 100, MIGRATION_PAUSE_MS apart,
and the copy itself is the record of how far it got: whenever the process ends, the next start goes on from the last
committed transaction.
"""

import argparse
import hashlib
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from _http import HttpError, Request, Server, whole_number

BATCH = 100
PAGE_LIMIT = 1000
# How long one connection waits for another's transaction, and the end of the service for the last one, in seconds.
BUSY_TIMEOUT_S = 5.0
STOP_LIMIT_S = 0.4

FIRST_NAMES = ("Ada", "Björn", "Chloé", "Dmitri", "Esra", "Femke", "Goran", "Hana")
LAST_NAMES = ("Ito", "de Vries", "Novák", "O'Brien", "van der Berg", "Öztürk", "Silva")

SCHEMA_1 = (
    "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL)",
    "CREATE TABLE migrations (version INTEGER PRIMARY KEY, started_at TEXT NOT NULL, finished_at TEXT,"
    " transactions INTEGER NOT NULL DEFAULT 0, worked_s REAL NOT NULL DEFAULT 0)",
    "PRAGMA user_version = 1",
)
SCHEMA_2_COPY = (
    "CREATE TABLE people_2 (id INTEGER PRIMARY KEY, first_name TEXT NOT NULL, last_name TEXT NOT NULL,"
    " checksum TEXT NOT NULL)"
)
SCHEMA_2 = ("DROP TABLE people", "ALTER TABLE people_2 RENAME TO people", "PRAGMA user_version = 2")

NEXT_ROWS = "SELECT id, name FROM people WHERE id > (SELECT coalesce(max(id), 0) FROM people_2) ORDER BY id LIMIT ?"
NOTE_TRANSACTION = "UPDATE migrations SET transactions = transactions + ?, worked_s = worked_s + ? WHERE version = 2"


def demo_name(number: int) -> str:
    """The name of row `number`; always the same, so that a suite can tell what the migration must give."""
    return f"{FIRST_NAMES[number % len(FIRST_NAMES)]} {LAST_NAMES[number % len(LAST_NAMES)]}-{number}"


def row_checksum(number: int, first_name: str, last_name: str) -> str:
    """SHA-256, in hexadecimal, of the three values with `|` between them, in UTF-8."""
    return hashlib.sha256(f"{number}|{first_name}|{last_name}".encode()).hexdigest()


def migrated(number: int, name: str) -> tuple[int, str, str, str]:
    """A row of schema 1 as a row of schema 2: the first word is the first name."""
    first_name, _, last_name = name.partition(" ")
    return number, first_name, last_name, row_checksum(number, first_name, last_name)


def now() -> str:
    """The time in UTC, to the millisecond."""
    seconds = time.time()
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(seconds % 1 * 1000):03}Z"


class Database:
    """The SQLite file. Every call opens a connection of its own, so any thread may call."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def connect(self) -> closing[sqlite3.Connection]:
        """A connection for a `with`; transactions are begun in so many words."""
        connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        connection.row_factory = sqlite3.Row
        return closing(connection)

    def create(self, rows: int) -> None:
        """Makes schema 1 with `rows` rows, all in one transaction; does nothing where there is a schema."""
        with self.connect() as connection:
            # Readers go on while the migration writes.
            connection.execute("PRAGMA journal_mode = WAL")
            with transaction(connection):
                if version(connection):
                    return
                for statement in SCHEMA_1:
                    connection.execute(statement)
                people = ((number, demo_name(number)) for number in range(1, rows + 1))
                connection.executemany("INSERT INTO people VALUES (?, ?)", people)


@contextmanager
def transaction(connection: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """Commits what is done within it, or nothing of it."""
    with connection:
        connection.execute(f"BEGIN {kind}")
        yield


def snapshot(connection: sqlite3.Connection) -> AbstractContextManager[None]:
    """Makes all that is read within it come from one moment."""
    return transaction(connection, "DEFERRED")


def version(connection: sqlite3.Connection) -> int:
    """The schema of the database; 0 when there is none yet."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def count(connection: sqlite3.Connection, table: str) -> int:
    """How many rows a table has; 0 when there is no such table."""
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchone() is None:
        return 0
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def rows_in_order(connection: sqlite3.Connection, offset: int = 0, limit: int = -1) -> Iterator[sqlite3.Row]:
    """The rows by id, in the schema that is in force; a limit of -1 means all."""
    return iter(connection.execute("SELECT * FROM people ORDER BY id LIMIT ? OFFSET ?", (limit, offset)))


class Migration:
    """The way from schema 1 to schema 2, one transaction at a time, `pause_s` seconds apart."""

    def __init__(self, database: Database, pause_s: float) -> None:
        self._database = database
        self._pause_s = pause_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="migration", daemon=True)
        self._mark = 0.0
        self.error: str | None = None

    def start(self) -> None:
        """Begins, or goes on, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the transaction that is under way."""
        self._stopping.set()
        self._thread.join(STOP_LIMIT_S)

    def _run(self) -> None:
        try:
            with self._database.connect() as connection:
                if version(connection) < 2:
                    self._migrate(connection)
        except sqlite3.Error as error:
            self.error = str(error)
            print(f"db-migration failed: {error}; what is committed stays, start again to go on", file=sys.stderr)

    def _migrate(self, connection: sqlite3.Connection) -> None:
        self._mark = time.perf_counter()
        self._begin(connection)
        while self._copy_batch(connection):
            if self._stopping.wait(self._pause_s):
                return
        self._finish(connection)

    def _begin(self, connection: sqlite3.Connection) -> None:
        with transaction(connection):
            if connection.execute("SELECT 1 FROM migrations WHERE version = 2").fetchone() is None:
                connection.execute(SCHEMA_2_COPY)
                connection.execute("INSERT INTO migrations (version, started_at) VALUES (2, ?)", (now(),))

    def _copy_batch(self, connection: sqlite3.Connection) -> int:
        with transaction(connection):
            batch = connection.execute(NEXT_ROWS, (BATCH,)).fetchall()
            connection.executemany("INSERT INTO people_2 VALUES (?, ?, ?, ?)", (migrated(*row) for row in batch))
            connection.execute(NOTE_TRANSACTION, (bool(batch), self._lap()))
        return len(batch)

    def _finish(self, connection: sqlite3.Connection) -> None:
        with transaction(connection):
            for statement in SCHEMA_2:
                connection.execute(statement)
            connection.execute(NOTE_TRANSACTION, (0, self._lap()))
            connection.execute("UPDATE migrations SET finished_at = ? WHERE version = 2", (now(),))

    def _lap(self) -> float:
        """Seconds since it was last asked. The time of a commit is so counted with the transaction after it."""
        mark, self._mark = self._mark, time.perf_counter()
        return self._mark - mark


class Api:
    """The routes. Each answers from the database, in one snapshot."""

    def __init__(self, database: Database, migration: Migration) -> None:
        self._database = database
        self._migration = migration

    def status(self, _request: Request) -> dict[str, object]:
        """How far the migration is; the rate counts the time in which it ran, over all starts, pauses included."""
        with self._database.connect() as connection, snapshot(connection):
            done, total = version(connection) >= 2, count(connection, "people")
            note = connection.execute("SELECT * FROM migrations WHERE version = 2").fetchone()
            copied = total if done else count(connection, "people_2")
        transactions, worked_s = (note["transactions"], note["worked_s"]) if note else (0, 0.0)
        error = self._migration.error
        return {
            "state": "complete" if done else "failed" if error else "running",
            "error": error,
            "from": 1,
            "to": 2,
            "rows_total": total,
            "rows_done": copied,
            "transactions": transactions,
            "transaction_rate": transactions / worked_s if worked_s else 0.0,
            "started_at": note["started_at"] if note else None,
            "finished_at": note["finished_at"] if note else None,
        }

    def rows(self, request: Request) -> dict[str, object]:
        """A page of rows in the order of their ids."""
        offset, limit = page_number(request, "offset", 0), page_number(request, "limit", BATCH)
        if limit > PAGE_LIMIT:
            raise HttpError(400, f"limit is {limit}; at most {PAGE_LIMIT} rows come at a time, use offset for more.")
        with self._database.connect() as connection, snapshot(connection):
            page = [dict(row) for row in rows_in_order(connection, offset, limit)]
            return {"version": version(connection), "total": count(connection, "people"), "rows": page}

    def checksum(self, _request: Request) -> dict[str, object]:
        """SHA-256 over all rows by id, each as its values with `|` between them and a line feed after."""
        digest = hashlib.sha256()
        with self._database.connect() as connection, snapshot(connection):
            for row in rows_in_order(connection):
                digest.update(("|".join(map(str, row)) + "\n").encode())
            return {
                "version": version(connection),
                "rows": count(connection, "people"),
                "sha256": digest.hexdigest(),
            }

    def integrity(self, _request: Request) -> dict[str, object]:
        """What SQLite's own check says; `["ok"]` when all is well."""
        with self._database.connect() as connection:
            messages = [row[0] for row in connection.execute("PRAGMA integrity_check")]
        return {"integrity_check": messages}


def page_number(request: Request, name: str, default: int) -> int:
    """A number, zero or more, from the query.

    Raises:
        HttpError: 400, it is something else.
    """
    value = request.query.get(name, str(default))
    if not value.isdecimal() or len(value) > 15:
        raise HttpError(400, f"{name} is {value!r}; send a whole number, zero or more.")
    return int(value)


def open_database(data: Path) -> Database:
    """The database in the folder `data`, with at least schema 1.

    Raises:
        SystemExit: the folder or the file cannot be used; with the sentence to show.
    """
    rows = whole_number("MIGRATION_ROWS", 2000)
    path = data / "people.sqlite3"
    try:
        data.mkdir(parents=True, exist_ok=True)
        database = Database(path)
        database.create(rows)
    except (OSError, sqlite3.Error) as error:
        raise SystemExit(f"db-migration cannot use {path}: {error}. Give --data a folder it may write.") from error
    return database


def main() -> None:
    """Runs the service until it is told to stop."""
    parser = argparse.ArgumentParser(description="Migrates a SQLite database while it answers.")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder of the database")
    database = open_database(parser.parse_args().data)
    migration = Migration(database, whole_number("MIGRATION_PAUSE_MS", 0) / 1000)
    api = Api(database, migration)
    server = Server(
        "db-migration",
        {
            "/status": {"GET": api.status},
            "/rows": {"GET": api.rows},
            "/checksum": {"GET": api.checksum},
            "/integrity": {"GET": api.integrity},
        },
    )
    migration.start()
    server.run()
    migration.stop()


if __name__ == "__main__":
    main()
