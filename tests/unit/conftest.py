"""What unit tests share: short text files in the test's folder, and how hypothesis looks for examples.

The examples are the same at each run, so that a failure is one of the change that was made; and a slow machine is none.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

Write = Callable[[str, str], Path]
settings.register_profile("vx11", derandomize=True, deadline=None, database=None, max_examples=60)
settings.load_profile("vx11")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write(name, text)` makes a file in the test's folder, with its parents, and answers its path."""

    def make(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return make
