"""State files: whole or not at all, and a broken one hides no other."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vx11.errors import EnvironmentProblem
from vx11.statefiles import WATCHDOG_LOCK, held_lock
from vx11.windows.store import StateStore
from vx11.windows.window import State, Window

Eventually = Callable[..., Any]


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path / "state" / "default")


@pytest.fixture
def window(room: Any) -> Window:
    opened: Window = room.open()
    return opened


def test_the_folder_is_made_and_private(store: StateStore) -> None:
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert store.load_all() == ([], {})


def test_what_is_saved_is_loaded_and_what_is_deleted_is_gone(store: StateStore, window: Window) -> None:
    other = replace(window, window_id="other")
    store.save(window)
    store.save(other)
    store.save(replace(other, state=State.CLOSING))
    loaded, broken = store.load_all()
    assert {item.window_id: item.state for item in loaded} == {window.window_id: State.OPEN, "other": State.CLOSING}
    assert broken == {}
    store.delete("other")
    store.delete("other")
    assert [item.window_id for item in store.load_all()[0]] == [window.window_id]


def test_nothing_but_whole_files_lies_in_the_folder(store: StateStore, window: Window) -> None:
    for number in range(5):
        store.save(replace(window, close_attempts=number))
    (path,) = store.windows.iterdir()
    assert json.loads(path.read_text(encoding="utf-8"))["close_attempts"] == 4


def test_a_reader_never_sees_half_a_file(store: StateStore, window: Window, monkeypatch: pytest.MonkeyPatch) -> None:
    store.save(window)
    seen: list[State] = []
    sync = os.fsync

    def look_first(handle: int) -> None:
        seen.extend(item.state for item in store.load_all()[0])
        sync(handle)

    monkeypatch.setattr(os, "fsync", look_first)
    store.save(replace(window, state=State.CLOSING))
    # While the new one is written the old one stands; once the folder is synced the new one does.
    assert seen == [State.OPEN, State.CLOSING]


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"schema": 1',
        "[]",
        "5",
        "null",
        "{}",
        '{"schema": 4}',
        "\udcff",
    ],
)
def test_a_broken_file_is_reported_and_hides_no_other(store: StateStore, window: Window, content: str) -> None:
    store.save(window)
    broken = store.windows / "broken.json"
    broken.write_bytes(content.encode(errors="surrogateescape"))
    loaded, told = store.load_all()
    assert [item.window_id for item in loaded] == [window.window_id]
    assert list(told) == ["broken"]
    assert told["broken"].startswith(f"the state file {broken} cannot be read, and is put aside: ")
    assert broken.with_suffix(".unreadable").read_bytes() == content.encode(errors="surrogateescape")
    assert store.load_all() == (loaded, {})


@pytest.mark.parametrize("name", ["engine", "opened", "limits", "endpoints", "hold_until", "not_enforced"])
@pytest.mark.parametrize("value", [5, "text", [1], {"ports": []}])
def test_a_field_of_another_kind_never_stops_madre(store: StateStore, window: Window, name: str, value: object) -> None:
    store.save(window)
    path = store.windows / "odd.json"
    path.write_text(json.dumps(window.to_json() | {"window_id": "odd", name: value}), encoding="utf-8")
    loaded, told = store.load_all()
    assert window.window_id in [item.window_id for item in loaded]
    assert len(loaded) + len(told) == 2


def test_generations_of_a_service_grow_also_after_a_restart(store: StateStore) -> None:
    assert [store.next_generation("web"), store.next_generation("web"), store.next_generation("db")] == [1, 2, 1]
    again = StateStore(store.folder)
    assert again.next_generation("web") == 3


@pytest.mark.parametrize("content", ["", "[]", "5", '{"web": "x"}', "garbage"])
def test_broken_generations_stop_no_opening(store: StateStore, content: str) -> None:
    store.next_generation("web")
    (store.folder / "generations.json").write_text(content, encoding="utf-8")
    assert store.next_generation("web") >= 1
    assert store.next_generation("web") >= 2


def test_the_watchdog_is_alive_while_it_holds_its_lock(store: StateStore) -> None:
    assert not store.watchdog_is_alive()
    with held_lock(store.folder / WATCHDOG_LOCK):
        assert store.watchdog_is_alive()
        assert store.watchdog_is_alive()  # asking takes nothing away from it
    assert not store.watchdog_is_alive()


def test_the_mark_of_the_watchdog_goes_with_the_window(store: StateStore, window: Window) -> None:
    store.save(window)
    assert not store.closed_by_watchdog(window.window_id)
    (store.windows / f"{window.window_id}.closed-by-watchdog").write_text("{}", encoding="utf-8")
    assert store.closed_by_watchdog(window.window_id)
    assert len(store.load_all()[0]) == 1  # the mark is no state file
    store.delete(window.window_id)
    assert not store.closed_by_watchdog(window.window_id)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"closed": 5}', '{"closed": {"wall_ns": 1}}'])
def test_a_mark_that_cannot_be_read_still_says_who_closed_it(store: StateStore, window: Window, content: str) -> None:
    (store.windows / f"{window.window_id}.closed-by-watchdog").write_text(content, encoding="utf-8")
    assert store.closed_by_watchdog(window.window_id)
    assert store.closed_by_watchdog_at(window.window_id) is None


def test_a_mark_says_when(store: StateStore, window: Window) -> None:
    assert store.closed_by_watchdog_at(window.window_id) is None
    mark = {"window_id": window.window_id, "closed": window.deadline.to_json()}
    path = store.windows / f"{window.window_id}.closed-by-watchdog"
    path.write_text(json.dumps(mark), encoding="utf-8")
    assert store.closed_by_watchdog_at(window.window_id) == window.deadline


@pytest.mark.root
def test_a_folder_of_somebody_else_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", 12345, 12345)
    with pytest.raises(EnvironmentProblem, match=r"the folder .*state belongs to somebody else; name another with"):
        StateStore(tmp_path / "state" / "default")


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(
        EnvironmentProblem, match=r"the state folder .*file/default cannot be used: .*name another with"
    ):
        StateStore(tmp_path / "file" / "default")


def test_logs_of_windows_that_are_forgotten_go(store: StateStore) -> None:
    logs = store.folder / "logs"
    for name in ("old", "kept"):
        (logs / f"{name}.log").write_text("said\n", encoding="utf-8")
    store.keep_logs({"kept"})
    assert [path.name for path in logs.iterdir()] == ["kept.log"]


def test_a_log_beyond_its_limit_starts_anew(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vx11.windows.store.LOG_LIMIT", 10)
    small, large = (store.folder / "logs" / f"{name}.log" for name in ("small", "large"))
    small.write_text("0123456789", encoding="utf-8")
    with large.open("a", encoding="utf-8") as writer:
        writer.write("0123456789a")
        writer.flush()
        store.shorten_logs()
        assert (small.stat().st_size, large.stat().st_size) == (10, 0)
        writer.write("goes on")
    assert large.read_text(encoding="utf-8") == "goes on"
