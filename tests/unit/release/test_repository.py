"""A git checkout: its state, its `.env` files, its history."""

from pathlib import Path
from typing import Any

import pytest

from vx11.errors import InputError
from vx11.release.repository import Repository, is_environment_file


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (".env", True),
        ("deep/er/.env", True),
        (".env.production", True),
        (".env.example", False),
        ("a/.env.sample", False),
        (".environment", False),
        ("x.env", False),
        (".env/readme", False),
    ],
)
def test_which_files_are_environments(name: str, expected: bool) -> None:
    assert is_environment_file(name) is expected


def test_its_state(git: Any) -> None:
    git("remote", "add", "origin", "https://me:secret@example.org/a.git")
    (git.path / "new file").write_text("x", encoding="utf-8")
    state = Repository(git.path).state()
    assert (state.branch, state.head) == ("main", git("rev-parse", "HEAD"))
    assert state.remotes == {"origin": "https://example.org/a.git"}
    assert (state.clean, state.changed) == (False, ("new file",))
    git.commit()
    git("checkout", "-q", "--detach")
    state = Repository(git.path).state()
    assert (state.branch, state.clean) == ("", True)


def test_one_without_a_commit(tmp_path: Path, git: Any) -> None:
    empty = type(git)(tmp_path / "empty")
    state = Repository(empty.path).state()
    assert (state.branch, state.head, state.clean) == ("main", "", True)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone"):
        with pytest.raises(InputError):
            Repository(path)


def test_files_that_are_ignored_are_left_out(git: Any) -> None:
    git.commit(__gitignore="ignored\n")
    for name in ("ignored", "new"):
        (git.path / name).write_text("x", encoding="utf-8")
    assert Repository(git.path).files() == [".gitignore", "README", "new"]


def test_an_environment_file_that_is_gone_since_is_told(git: Any) -> None:
    assert Repository(git.path).environment_files() == []
    git.commit(__env="A=1\n")
    assert Repository(git.path).environment_files() == [".env"]
    git.commit(__env=None)
    assert Repository(git.path).environment_files() == [".env"]


def test_one_on_another_branch_too(git: Any) -> None:
    git("checkout", "-q", "-b", "other")
    git.commit(__env="A=1\n")
    git("checkout", "-q", "main")
    assert Repository(git.path).environment_files() == [".env"]


def test_its_history_is_told_commit_by_commit(git: Any) -> None:
    first = git("rev-parse", "HEAD")
    second = git.commit(README="commit 0123456789012345678901234567890123456789\n")
    found = dict(Repository(git.path).history())
    assert list(found) == [second, first]
    assert "+hello" in found[first]
    assert "+commit 0123" in found[second]


def test_a_history_that_is_cut_off(tmp_path: Path, git: Any) -> None:
    git.commit(README="more\n")
    git("clone", "-q", "--depth", "1", f"file://{git.path}", str(tmp_path / "shallow"))
    assert not Repository(git.path).is_shallow()
    assert Repository(tmp_path / "shallow").is_shallow()
