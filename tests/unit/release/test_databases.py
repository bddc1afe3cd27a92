"""SQLite files: found by their header, checked, counted, and left as they were."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from vx11.release.databases import examine, find

MakeDatabase = Callable[..., Path]


def beside(path: Path) -> list[str]:
    return sorted(one.name for one in path.parent.iterdir())


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_sound_one_and_nothing_is_left_beside_it(database: MakeDatabase, mode: str) -> None:
    path = database(mode=mode)
    before = beside(path), path.read_bytes()
    found = examine(path)
    assert found.sound
    assert found.rows == {"parent": 2, "child": 200}
    assert found.size == path.stat().st_size
    assert set(found.findings) == {"quick_check", "integrity_check", "foreign_key_check"}
    assert (beside(path), path.read_bytes()) == before


def test_one_in_use_is_seen_with_what_was_just_written(database: MakeDatabase) -> None:
    path = database(mode="wal")
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("INSERT INTO parent VALUES (3)")
        writer.commit()
        assert path.with_name("data.db-wal").stat().st_size > 0
        assert examine(path).rows["parent"] == 3


def test_a_page_that_was_overwritten(database: MakeDatabase) -> None:
    path = database()
    content = bytearray(path.read_bytes())
    content[3 * 4096 : 4 * 4096] = b"\xa5" * 4096
    path.write_bytes(content)
    found = examine(path)
    assert not found.sound
    assert found.findings["quick_check"]
    assert found.findings["integrity_check"]


def test_an_index_that_lacks_rows_is_found_by_the_thorough_check_alone(database: MakeDatabase) -> None:
    other = "UPDATE sqlite_schema SET sql = 'CREATE INDEX by_text ON child (text, id)' WHERE name = 'by_text';"
    path = database(more=f"PRAGMA writable_schema = ON; {other}")
    assert examine(path).findings["integrity_check"]


def test_a_row_that_refers_to_nothing(database: MakeDatabase) -> None:
    found = examine(database(more="DELETE FROM parent WHERE id = 2"))
    assert not found.findings["integrity_check"]
    assert found.findings["foreign_key_check"][0] == "row 1 of child refers to nothing in parent"
    assert not found.sound


@pytest.mark.parametrize("content", [b"", b"no database at all", b"SQLite format 3\0" + b"\xff" * 200])
def test_what_is_none_is_not_sound(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.db"
    path.write_bytes(content)
    assert not examine(path).sound


def test_one_that_is_gone_is_not_sound(tmp_path: Path) -> None:
    assert not examine(tmp_path / "gone.db").sound


def test_they_are_found_by_their_header(tmp_path: Path, database: MakeDatabase) -> None:
    (tmp_path / "below").mkdir()
    first, second = database("below/first"), database("second.db")
    (tmp_path / "third.db").write_text("text", encoding="utf-8")
    assert find([str(tmp_path)]) == ([first, second], [])
    assert find([f"{tmp_path}/*/f*"]) == ([first], [])
    assert find([str(second), f"{tmp_path}/*.db"]) == ([second], [])
    assert find([f"{tmp_path}/none*", f"{tmp_path}/gone.db"]) == ([], [f"{tmp_path}/none*", f"{tmp_path}/gone.db"])
