"""What tests of a closing share: databases, checkouts, and a release on a host where nobody answers."""

import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from vx11.client import Madre
from vx11.release.config import Closing, Release

NOBODY = "http://127.0.0.1:1"
SCHEMA = """
CREATE TABLE parent (id INTEGER PRIMARY KEY);
CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent (id), text TEXT);
CREATE INDEX by_text ON child (text);
INSERT INTO parent VALUES (1), (2);
"""


class Git:
    """A checkout in the making.

    Attributes:
        path: its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self("init", "-q", "-b", "main")

    def __call__(self, *words: str) -> str:
        """A command of git, which reads no settings of this user."""
        identity = ["-c", "user.name=tester", "-c", "user.email=tester@localhost", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(self.path), *identity, *words]
        environment = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "PATH": "/usr/bin:/bin"}
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()

    def commit(self, **files: str | None) -> str:
        """A commit of files, by their names with `__` for a dot; None removes one. Answers its id."""
        for name, text in files.items():
            path = self.path / name.replace("__", ".")
            path.unlink() if text is None else path.write_text(text, encoding="utf-8")
        self("add", "-A")
        self("commit", "-q", "--allow-empty", "-m", "change")
        return self("rev-parse", "HEAD")


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """A checkout with one commit."""
    found = Git(tmp_path / "tree")
    found.commit(README="hello\n")
    return found


@pytest.fixture
def database(tmp_path: Path) -> Callable[..., Path]:
    """`database("name", "more SQL")` makes a sound SQLite file with 2 parents and 200 children."""

    def make(name: str = "data.db", more: str = "", mode: str = "delete") -> Path:
        path = tmp_path / name
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA journal_mode = {mode}")
            connection.executescript(SCHEMA)
            rows = [(number, 1 + number % 2, f"{number:05}" * 20) for number in range(200)]
            connection.executemany("INSERT INTO child VALUES (?, ?, ?)", rows)
            connection.executescript(more)
            connection.commit()
        return path

    return make


@pytest.fixture
def release() -> Callable[..., Release]:
    """`release(maintenance=…)` answers a release on a host where nobody answers."""

    def make(evidence: tuple[Path, ...] = (), **closing: Any) -> Release:
        return Release(NOBODY, Madre(NOBODY, "token"), Closing(pace=0, **closing), evidence=evidence)

    return make
