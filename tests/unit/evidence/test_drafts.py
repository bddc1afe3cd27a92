"""What is on its way into evidence, and has secrets until it is there."""

import json
import os
from html import escape
from pathlib import Path
from urllib.parse import quote

import pytest

from vx11.evidence import drafts
from vx11.evidence.keys import Signer
from vx11.evidence.layout import RunFolder
from vx11.evidence.redact import Redactor

SECRET = 'plum "cake" & \\ é'
SPELLED = [SECRET, json.dumps(SECRET), json.dumps(SECRET, ensure_ascii=False), escape(SECRET), repr(SECRET), quote(SECRET)]


@pytest.fixture
def redactor() -> Redactor:
    return Redactor([SECRET])


@pytest.mark.parametrize("spelled", SPELLED)
def test_a_secret_is_taken_out_however_a_file_spells_it(tmp_path: Path, redactor: Redactor, spelled: str) -> None:
    path = tmp_path / "said.txt"
    path.write_text(f"up with {spelled}", encoding="utf-8")
    drafts.take_in_file(path, tmp_path / "kept.txt", redactor)
    kept = (tmp_path / "kept.txt").read_text(encoding="utf-8")
    assert "cake" not in kept
    assert kept.startswith("up with ")


def test_what_a_try_writes_lies_elsewhere_until_it_is_over(tmp_path: Path, redactor: Redactor) -> None:
    run = RunFolder(tmp_path / "evidence", "e2e-1", 1_795_242_600 * 10**9, Signer.of(), redactor)
    private = tmp_path / "private"
    with run.attempt("TC-001", 1, private) as folder:
        assert folder == run.folder_of("TC-001", 1)
        (folder / "suites" / "empty").mkdir()
        (folder / "said.txt").write_text(SECRET, encoding="utf-8")
        (folder / "latest").symlink_to("said.txt")
        os.mkfifo(folder / "pipe")
        assert [path for path in run.path.rglob("*") if path.is_file() and "said" in path.name] == []
    assert (folder / "said.txt").read_text(encoding="utf-8") == "[redacted]"
    assert (folder / "latest").readlink() == Path("said.txt")
    assert (folder / "suites" / "empty").is_dir()
    assert sorted(os.listdir(folder)) == ["latest", "said.txt", "suites"]
    assert not folder.is_symlink()
    assert [path for path in private.rglob("*") if not path.is_dir()] == []
    run.chain.close()


def test_what_broke_off_is_taken_in_again(tmp_path: Path, redactor: Redactor) -> None:
    draft, place = tmp_path / "private" / "TC-001" / "1", tmp_path / "cases" / "TC-001" / "1"
    drafts.begin(draft, place)
    (draft / "said.txt").write_text(SECRET, encoding="utf-8")
    (draft / "latest").symlink_to("said.txt")
    place.unlink()
    place.mkdir()
    (place / "said.txt").write_text("[reda", encoding="utf-8")
    (place / "latest").symlink_to("said.txt")
    assert list(drafts.below(tmp_path / "private")) == [draft]
    drafts.take_in(draft, place, redactor)
    assert (place / "said.txt").read_text(encoding="utf-8") == "[redacted]"
    assert list(drafts.below(tmp_path / "private")) == []
