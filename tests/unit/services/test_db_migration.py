"""db-migration: complete, correct, and the same after any interruption."""

from __future__ import annotations

import hashlib
import signal
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.services.conftest import Service, Start

LIMIT_S = 60.0
# A pause that no test sits out: the migration commits one transaction and then rests until it is stopped.
REST = {"MIGRATION_PAUSE_MS": "600000"}


def status(service: Service) -> dict[str, Any]:
    answer: dict[str, Any] = service.http.get("/status").raise_for_status().json()
    return answer


def wait_for(service: Service, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + LIMIT_S
    while not wanted(seen := status(service)):
        assert time.monotonic() < deadline, f"last seen: {seen}"
        time.sleep(0.005)
    return seen


def complete(seen: dict[str, Any]) -> bool:
    return bool(seen["state"] == "complete")


def at_work(seen: dict[str, Any]) -> bool:
    return bool(seen["rows_done"] > 0)


def expected_checksum(rows: int) -> str:
    """The checksum of the whole table, worked out from the promise alone."""
    first = ["Ada", "Björn", "Chloé", "Dmitri", "Esra", "Femke", "Goran", "Hana"]
    last = ["Ito", "de Vries", "Novák", "O'Brien", "van der Berg", "Öztürk", "Silva"]
    whole = hashlib.sha256()
    for number in range(1, rows + 1):
        row = f"{number}|{first[number % 8]}|{last[number % 7]}-{number}"
        whole.update(f"{row}|{hashlib.sha256(row.encode()).hexdigest()}\n".encode())
    return whole.hexdigest()


def query(data: Path, statement: str) -> Any:
    with closing(sqlite3.connect(data / "people.sqlite3")) as connection:
        return connection.execute(statement).fetchone()[0]


def test_it_migrates_all_rows(start: Start, tmp_path: Path) -> None:
    service = start("db_migration.py", "--data", tmp_path / "data")
    seen = wait_for(service, complete)
    assert (seen["from"], seen["to"], seen["rows_total"], seen["rows_done"]) == (1, 2, 2000, 2000)
    assert seen["transactions"] == 20
    assert seen["transaction_rate"] > 0
    assert seen["started_at"] <= seen["finished_at"]
    whole = service.http.get("/checksum").json()
    assert whole == {"version": 2, "rows": 2000, "sha256": expected_checksum(2000)}
    assert service.http.get("/integrity").json() == {"integrity_check": ["ok"]}


def test_the_file_says_its_version(start: Start, tmp_path: Path) -> None:
    service = start("db_migration.py", "--data", tmp_path / "data")
    wait_for(service, complete)
    assert service.stop() == 0
    assert query(tmp_path / "data", "PRAGMA user_version") == 2
    assert query(tmp_path / "data", "SELECT count(*) FROM sqlite_schema WHERE name = 'people_2'") == 0


def test_rows_come_in_pages(start: Start, tmp_path: Path) -> None:
    service = start("db_migration.py", "--data", tmp_path / "data", env={"MIGRATION_ROWS": "250"})
    wait_for(service, complete)
    page = service.http.get("/rows?offset=240&limit=20").json()
    assert (page["version"], page["total"]) == (2, 250)
    assert [row["id"] for row in page["rows"]] == list(range(241, 251))
    assert page["rows"][0] | {"checksum": ""} == {
        "id": 241, "first_name": "Björn", "last_name": "O'Brien-241", "checksum": "",
    }  # fmt: skip
    assert len(service.http.get("/rows").json()["rows"]) == 100
    assert service.http.get("/rows?offset=1000").json()["rows"] == []


@pytest.mark.parametrize("query", ["offset=-1", "offset=x", "limit=1001", "limit=", "limit=1e3"])
def test_a_wrong_page_is_refused(start: Start, tmp_path: Path, query: str) -> None:
    answer = start("db_migration.py", "--data", tmp_path / "data").http.get(f"/rows?{query}")
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["error"]


@pytest.mark.parametrize("rows", [0, 1, 99, 100, 101])
def test_any_number_of_rows_is_migrated(start: Start, tmp_path: Path, rows: int) -> None:
    service = start("db_migration.py", "--data", tmp_path / "data", env={"MIGRATION_ROWS": str(rows)})
    seen = wait_for(service, complete)
    assert (seen["rows_done"], seen["transactions"]) == (rows, -(-rows // 100))
    assert service.http.get("/checksum").json()["sha256"] == expected_checksum(rows)


def test_it_answers_from_the_old_schema_while_it_works(start: Start, tmp_path: Path) -> None:
    service = start("db_migration.py", "--data", tmp_path / "data", env=REST)
    seen = wait_for(service, at_work)
    assert (seen["state"], seen["rows_done"], seen["finished_at"]) == ("running", 100, None)
    page = service.http.get("/rows?limit=2").json()
    assert page["version"] == 1
    assert page["rows"] == [{"id": 1, "name": "Björn de Vries-1"}, {"id": 2, "name": "Chloé Novák-2"}]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)])
def test_an_interrupted_migration_goes_on(start: Start, tmp_path: Path, number: signal.Signals, code: int) -> None:
    data = tmp_path / "data"
    first = start("db_migration.py", "--data", data, env=REST)
    begun = wait_for(first, at_work)
    assert first.stop(number) == code
    assert query(data, "PRAGMA user_version") == 1
    assert query(data, "SELECT count(*) FROM people_2") == 100

    # The size was settled at the first start; what the environment says now changes nothing.
    second = start("db_migration.py", "--data", data, env={"MIGRATION_ROWS": "7"})
    seen = wait_for(second, complete)
    assert (seen["rows_total"], seen["rows_done"], seen["transactions"]) == (2000, 2000, 20)
    assert seen["started_at"] == begun["started_at"]
    assert second.http.get("/checksum").json()["sha256"] == expected_checksum(2000)
    assert second.http.get("/integrity").json() == {"integrity_check": ["ok"]}


def test_kills_at_any_moment_lose_nothing(start: Start, tmp_path: Path) -> None:
    for _ in range(5):
        assert start("db_migration.py", "--data", tmp_path, env={"MIGRATION_ROWS": "20000"}).stop(signal.SIGKILL) < 0
    service = start("db_migration.py", "--data", tmp_path)
    seen = wait_for(service, complete)
    assert (seen["rows_done"], seen["transactions"]) == (20_000, 200)
    assert service.http.get("/checksum").json()["sha256"] == expected_checksum(20_000)
    assert service.http.get("/integrity").json() == {"integrity_check": ["ok"]}


def test_a_complete_migration_is_left_alone(start: Start, tmp_path: Path) -> None:
    first = start("db_migration.py", "--data", tmp_path)
    before = wait_for(first, complete)
    assert first.stop() == 0
    assert status(start("db_migration.py", "--data", tmp_path)) == before


def test_a_failed_migration_says_so(start: Start, tmp_path: Path) -> None:
    first = start("db_migration.py", "--data", tmp_path, env=REST)
    wait_for(first, at_work)
    assert first.stop() == 0
    with closing(sqlite3.connect(tmp_path / "people.sqlite3")) as connection, connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON people_2 BEGIN SELECT raise(ABORT, 'no room'); END")
    seen = wait_for(start("db_migration.py", "--data", tmp_path), lambda seen: seen["state"] != "running")
    assert (seen["state"], seen["error"]) == ("failed", "no room")


def test_a_folder_that_cannot_be_used_is_told(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    service = start("db_migration.py", "--data", tmp_path / "file", wait=False)
    assert service.process.wait(5) == 1
    assert "Give --data a folder" in service.log.read_text()


def test_a_file_that_is_no_database_is_told(start: Start, tmp_path: Path) -> None:
    (tmp_path / "people.sqlite3").write_text("no database " * 100)
    service = start("db_migration.py", "--data", tmp_path, wait=False)
    assert service.process.wait(5) == 1
    assert "not a database" in service.log.read_text()


def test_without_a_folder_it_shows_its_usage(start: Start) -> None:
    service = start("db_migration.py", wait=False)
    assert service.process.wait(5) == 2
    assert "--data DIR" in service.log.read_text()
