"""The list of revoked tokens: what is on it, for how long, and whose it is."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from vx11 import revocations, tokens
from vx11.errors import InputError

LATER = 4_000_000_000


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    tokens.new_key(path)
    return path


def test_without_a_list_nothing_is_revoked(key: Path) -> None:
    assert revocations.read(key) == {}


def test_what_is_revoked_stays_so_until_it_would_have_ended(key: Path) -> None:
    now = int(time.time())
    assert revocations.revoke(key, "for-good", None)
    assert revocations.revoke(key, "ended", now - tokens.LEEWAY - 1)
    assert revocations.revoke(key, "just-ended", now - 1)  # which madre's leeway would still let in
    assert revocations.revoke(key, "later", LATER)
    assert revocations.read(key) == {"for-good": None, "just-ended": now - 1, "later": LATER}


def test_it_is_a_private_file_beside_the_key(key: Path) -> None:
    revocations.revoke(key, "a", LATER)
    path = revocations.path_of(key)
    assert path == key.with_name("key.revoked")
    assert path.stat().st_mode & 0o777 == 0o600
    assert {item.name for item in key.parent.iterdir()} == {"key", "key.revoked"}


def test_to_revoke_again_changes_nothing_and_never_shortens(key: Path) -> None:
    revocations.revoke(key, "a", None)
    before = revocations.path_of(key).stat().st_ino
    assert not revocations.revoke(key, "a", LATER)
    assert revocations.read(key) == {"a": None}
    assert revocations.path_of(key).stat().st_ino == before


def test_many_revoke_at_the_same_time_and_none_is_lost(key: Path) -> None:
    names = [f"id-{number}" for number in range(20)]
    threads = [threading.Thread(target=revocations.revoke, args=(key, name, LATER)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert set(revocations.read(key)) == set(names)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "\x00",
        "[" * 100_000,
        '{"schema": 2, "revoked": {}}',
        '{"schema": 1, "revoked": []}',
        '{"schema": 1, "revoked": {"a": "soon"}}',
        '{"schema": 1, "revoked": {"a": true}}',
    ],
)
def test_what_is_no_list_is_told_and_never_written_over(key: Path, content: str) -> None:
    path = revocations.path_of(key)
    path.write_text(content)
    calls: list[Any] = [lambda: revocations.read(key), lambda: revocations.revoke(key, "a", None)]
    for call in calls:
        with pytest.raises(InputError, match=r"key\.revoked: this is not a list of revoked tokens"):
            call()
    assert path.read_text() == content


def test_a_list_that_cannot_be_read_or_written_is_told(key: Path) -> None:
    revocations.path_of(key).mkdir()
    with pytest.raises(InputError, match="the list of revoked tokens cannot be read: Is a directory"):
        revocations.read(key)
    with pytest.raises(InputError, match="the list of revoked tokens cannot be written: No such file"):
        revocations.revoke(key.parent / "gone" / "key", "a", None)


def test_the_file_can_be_read_by_people(key: Path) -> None:
    revocations.revoke(key, "a", LATER)
    text = revocations.path_of(key).read_text(encoding="utf-8")
    assert json.loads(text) == {"schema": 1, "revoked": {"a": LATER}}
    assert '  "a": 4000000000\n' in text
