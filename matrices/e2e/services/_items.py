"""The store that legacy-api-v1 and modern-api-v2 share: one SQLite file below one folder, and two programs on it.

An item has an id, a name, a quantity, and a revision that each change adds one to. What one program has committed the
other one reads at once: each call opens a connection of its own, in WAL mode, and a change begins for writing.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from _http import HttpError, Request

# How long a call waits for another's transaction, in seconds.
BUSY_TIMEOUT_S = 5.0
LONGEST_NAME = 200
MOST = 2**53 - 1

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS items (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL,"
    " quantity INTEGER NOT NULL, revision INTEGER NOT NULL DEFAULT 1)"
)


@dataclass(frozen=True)
class Item:
    """A row of the store."""

    id: int
    name: str
    quantity: int
    revision: int

    def v1(self) -> dict[str, object]:
        """As the first generation shows it."""
        return {"id": self.id, "name": self.name, "quantity": self.quantity}

    def v2(self) -> dict[str, object]:
        """As the second one does."""
        return asdict(self)


class Store:
    """The file.

    Raises:
        OSError, sqlite3.Error: it cannot be used.
    """

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._path = data / "items.sqlite3"
        with locked(data), self.connection() as connection:
            # Two programs may start at the same moment, and the change of the mode does not wait for a lock.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(SCHEMA)

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection; what is begun on it is committed at the end, or not at all."""
        connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        with closing(connection), connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A connection that alone may write."""
        with self.connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    def add(self, name: str, quantity: int) -> Item:
        """A new item."""
        with self.transaction() as connection:
            row = connection.execute("INSERT INTO items (name, quantity) VALUES (?, ?) RETURNING *", (name, quantity))
            return Item(*row.fetchone())

    def get(self, item_id: int) -> Item:
        """An item.

        Raises:
            HttpError: 404.
        """
        with self.connection() as connection:
            return found(connection, item_id)

    def after(self, item_id: int, limit: int) -> list[Item]:
        """Items by id, from the first after `item_id` on; a limit of -1 means all."""
        with self.connection() as connection:
            rows = connection.execute("SELECT * FROM items WHERE id > ? ORDER BY id LIMIT ?", (item_id, limit))
            return [Item(*row) for row in rows]

    def change(self, item_id: int, name: str | None, quantity: int | None, revision: int | None = None) -> Item:
        """The item after what is given was changed.

        Args:
            revision: the item has to have this one; None for any.

        Raises:
            HttpError: 404; 412, it has another revision.
        """
        with self.transaction() as connection:
            before = found(connection, item_id)
            if revision not in (None, before.revision):
                raise HttpError(412, f"Item {item_id} is at revision {before.revision}, not {revision}; read it again.")
            row = connection.execute(
                "UPDATE items SET name = coalesce(?, name), quantity = coalesce(?, quantity), revision = revision + 1"
                " WHERE id = ? RETURNING *",
                (name, quantity, item_id),
            )
            return Item(*row.fetchone())

    def remove(self, item_id: int) -> None:
        """The item is gone.

        Raises:
            HttpError: 404.
        """
        with self.transaction() as connection:
            found(connection, item_id)
            connection.execute("DELETE FROM items WHERE id = ?", (item_id,))


def found(connection: sqlite3.Connection, item_id: int) -> Item:
    """An item.

    Raises:
        HttpError: 404.
    """
    row = connection.execute("SELECT * FROM items WHERE id = ?", (item_id,)).fetchone()
    if row is None:
        raise HttpError(404, f"There is no item {item_id}.")
    return Item(*row)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other programs out of a folder that they lock too; see flock(2)."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def open_store(service: str, data: Path, kind: type[Store] = Store) -> Store:
    """The store in the folder `data`, of this class.

    Raises:
        SystemExit: the folder or the file cannot be used; with the sentence to show.
    """
    try:
        return kind(data)
    except (OSError, sqlite3.Error) as error:
        raise SystemExit(f"{service} cannot use {data}: {error}. Give --data a folder it may write.") from error


def number(name: str, text: str) -> int:
    """A number, zero or more; `name` says what it is.

    Raises:
        HttpError: 400, the text is something else.
    """
    if not text.isdecimal() or len(text) > 15:
        raise HttpError(400, f"{name} is {text!r}; send a whole number, zero or more.")
    return int(text)


def id_of(request: Request) -> int:
    """The item that the path of a request names.

    Raises:
        HttpError: 400, it names none.
    """
    return number("the id of the item", request.name)


def name_of(body: dict[str, object]) -> str:
    """The field `name`.

    Raises:
        HttpError: 400, it is no name.
    """
    name = body.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not encodable(name):
        raise HttpError(400, f"name is {name!r}; send a text of 1 to {LONGEST_NAME} characters.")
    return name


def encodable(text: str) -> bool:
    """Whether it has UTF-8; JSON may carry half a surrogate pair, which has none."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def quantity_of(body: dict[str, object]) -> int:
    """The field `quantity`.

    Raises:
        HttpError: 400, it is no quantity.
    """
    quantity = body.get("quantity")
    if not isinstance(quantity, int) or isinstance(quantity, bool) or not 0 <= quantity <= MOST:
        raise HttpError(400, f"quantity is {quantity!r}; send a whole number, zero or more.")
    return quantity
