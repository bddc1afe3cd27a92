"""Small files: replaced whole, private, owned as another one, one writer at a time."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vx11 import files


def test_a_signature_differs_after_every_change(tmp_path: Path) -> None:
    path = tmp_path / "file"
    found = [files.signature(path)]
    for text in ("a", "b", "ab"):
        files.write_private(path, text, tmp_path.stat())
        assert path.read_text(encoding="utf-8") == text
        found.append(files.signature(path))
    path.unlink()
    assert files.signature(path) is None
    assert found[0] is None
    assert len(set(found)) == 4


def test_a_private_file_is_its_owner_s_alone_whatever_was_there_before(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("open to all")
    path.chmod(0o644)
    (tmp_path / ".file.new").write_text("left behind by one that was killed")
    files.write_private(path, "private", tmp_path.stat())
    assert path.stat().st_mode & 0o777 == 0o600
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_it_is_given_to_who_owns_the_other(tmp_path: Path) -> None:
    other = tmp_path / "key"
    other.touch()
    os.chown(other, 65534, 65534)
    files.write_private(tmp_path / "file", "x", other.stat())
    status = (tmp_path / "file").stat()
    assert (status.st_uid, status.st_gid) == (65534, 65534)


def test_who_comes_second_waits(tmp_path: Path, eventually: Callable[..., Any]) -> None:
    order: list[str] = []
    began = threading.Event()

    def second() -> None:
        began.set()
        with files.locked_folder(tmp_path):
            order.append("second")

    with files.locked_folder(tmp_path):
        other = threading.Thread(target=second)
        other.start()
        assert began.wait(5)
        # The kernel lists who waits for a lock with an arrow (proc(5)).
        eventually(lambda: any("->" in line for line in Path("/proc/locks").read_text().splitlines()))
        order.append("first")
    other.join(5)
    assert order == ["first", "second"]
