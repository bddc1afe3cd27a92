"""The P0 tests where nobody answers: all of them fail, and none tells the token."""

from pathlib import Path

import pytest

from vx11.release.p0.running import CALLS, run

NOBODY = "http://127.0.0.1:1"
TOKEN = "a-token-of-somebody"


def test_where_nobody_answers() -> None:
    found = run(NOBODY, TOKEN)
    assert [check.what.split()[0] for check in found] == ["pytest"] * 6 + ["curl"] * len(CALLS)
    assert not any(check.holds for check in found)
    assert "refused" in found[0].detail
    assert found[-1].detail == "000"
    assert TOKEN not in str(found)


def test_without_curl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    *_, last = run(NOBODY, TOKEN)
    assert (last.what, last.holds) == ("curl runs", False)
    assert last.detail == "the program curl is needed, and is not installed"
