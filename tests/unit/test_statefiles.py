"""What madre and the watchdog agree on: whole files, and one holder of a lock."""

import json
import os
from pathlib import Path

import pytest

from vx11.statefiles import held_lock, write_json


def test_a_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_json(path, {"a": 1})
    before = path.stat().st_ino
    with path.open(encoding="utf-8") as reader:
        write_json(path, {"a": 2})
        assert json.load(reader) == {"a": 1}  # who had it open still reads the whole old one
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": 2}
    assert path.stat().st_ino != before
    assert os.listdir(tmp_path) == ["state.json"]  # noqa: PTH208 - names are all that is asked


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": 1}


def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        write_json(tmp_path / "gone" / "state.json", {})


def test_a_lock_has_one_holder_and_is_free_afterwards(tmp_path: Path) -> None:
    lock = tmp_path / "madre.lock"
    with held_lock(lock), pytest.raises(BlockingIOError), held_lock(lock):
        pytest.fail("two held the lock")
    with held_lock(lock):
        assert lock.stat().st_mode & 0o777 == 0o600


def test_a_lock_is_released_when_its_block_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), held_lock(tmp_path / "lock"):
        raise RuntimeError
    with held_lock(tmp_path / "lock"):
        pass
