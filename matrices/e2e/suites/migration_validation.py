"""TC-003: the migration of db-migration ends, loses nothing, and gives what it should.

What a row must be is worked out here, on its own, from what services/db_migration.py promises.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

DEADLINE_S = 20.0
PAUSE_S = 0.05
PAGE = 500
ROWS_A_TRANSACTION = 100

FIRST_NAMES = ["Ada", "Björn", "Chloé", "Dmitri", "Esra", "Femke", "Goran", "Hana"]
LAST_NAMES = ["Ito", "de Vries", "Novák", "O'Brien", "van der Berg", "Öztürk", "Silva"]

Json = dict[str, Any]


@pytest.fixture
def migration(window: Callable[[str], Any]) -> Iterator[httpx.Client]:
    """A client of the case's db-migration."""
    with httpx.Client(base_url=window("db-migration").url, timeout=10) as client:
        yield client


@pytest.fixture
def rows(migration: httpx.Client) -> list[Json]:
    """All rows after the migration."""
    status = settled(migration)
    assert status["state"] == "complete", status
    pages = range(0, status["rows_total"], PAGE)
    return [row for offset in pages for row in ask(migration, f"/rows?offset={offset}&limit={PAGE}")["rows"]]


def ask(migration: httpx.Client, path: str) -> Json:
    """What the service says at a path."""
    answer: Json = migration.get(path).raise_for_status().json()
    return answer


def settled(migration: httpx.Client) -> Json:
    """The status at the end of the migration, else the last before the deadline; `looks` counts how often it asked."""
    deadline = time.monotonic() + DEADLINE_S
    looks = 1
    while (status := ask(migration, "/status"))["state"] == "running" and time.monotonic() < deadline:
        time.sleep(PAUSE_S)
        looks += 1
    return {**status, "looks": looks}


def expected_row(number: int) -> Json:
    """What the migration must make of row `number`."""
    first_name = FIRST_NAMES[number % len(FIRST_NAMES)]
    last_name = f"{LAST_NAMES[number % len(LAST_NAMES)]}-{number}"
    checksum = hashlib.sha256(f"{number}|{first_name}|{last_name}".encode()).hexdigest()
    return {"id": number, "first_name": first_name, "last_name": last_name, "checksum": checksum}


def test_the_migration_completes(
    migration: httpx.Client, observe: Callable[..., None], metric: Callable[..., None]
) -> None:
    status: Json = {}
    try:
        status = settled(migration)
    finally:
        observe("migration_complete", status.get("state") == "complete")
    metric("db_transaction_rate", status["transaction_rate"], "1/s")
    assert status["state"] == "complete", status
    assert status["rows_done"] == status["rows_total"] > 0
    assert status["transactions"] == math.ceil(status["rows_total"] / ROWS_A_TRANSACTION)
    assert status["started_at"] <= status["finished_at"]


def test_every_row_is_as_it_should_be(migration: httpx.Client, rows: list[Json]) -> None:
    total = ask(migration, "/status")["rows_total"]
    assert rows == [expected_row(number) for number in range(1, total + 1)]


def test_the_checksum_is_of_these_rows(migration: httpx.Client, rows: list[Json]) -> None:
    text = "".join(f"{row['id']}|{row['first_name']}|{row['last_name']}|{row['checksum']}\n" for row in rows)
    expected = {"version": 2, "rows": len(rows), "sha256": hashlib.sha256(text.encode()).hexdigest()}
    assert ask(migration, "/checksum") == expected


def test_the_database_is_intact(migration: httpx.Client) -> None:
    assert ask(migration, "/integrity") == {"integrity_check": ["ok"]}
