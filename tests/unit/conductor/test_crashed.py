"""Recovery of runs whose conductor is gone: only what is theirs is ended, and their books are closed."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chains import whole
from vx11.catalogue import compose
from vx11.conductor import confidential, crashed
from vx11.conductor.cell import PART_OF
from vx11.conductor.conducted import Conducted, Guest, Visit
from vx11.conductor.crashed import Recovered
from vx11.engines import procfs
from vx11.errors import InputError
from vx11.evidence import audit, drafts
from vx11.evidence.audit import Trust
from vx11.evidence.chain import Chain
from vx11.evidence.keys import Signer
from vx11.evidence.layout import CONDUCTOR, RunFolder
from vx11.evidence.reading import LEFT_OUT, records
from vx11.statefiles import held_lock

STARTED = 1_795_242_600 * 10**9
ID = f"e2e-t{os.getpid()}"


@pytest.fixture
def note(tmp_path: Path) -> Conducted:
    """Of a run of this boot, whose conductor had this process's pid, and is gone."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    mine = Conducted.by_this_process(ID, ["one", "two"], [f"{ID}-1", f"{ID}-2"], "process")
    return replace(mine, temporary=str(temporary), start_time=mine.start_time - 1)


@pytest.fixture
def folder(tmp_path: Path, note: Conducted) -> Path:
    """Its folder: the first case has passed."""
    run = RunFolder(tmp_path / "evidence", ID, STARTED, Signer.of())
    note.write(run.path)
    run.index(state="running")
    run.chain.append("conductor", "verdict", "one", {"verdict": "passed"})
    run.chain.close()
    return run.path


@pytest.fixture
def part(note: Conducted, eventually: Callable[..., Any]) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that belongs to its second cell."""
    with subprocess.Popen(["sleep", "60"], env={PART_OF: f"{ID}-2"}) as process:
        eventually(lambda: procfs.marked(PART_OF, f"{ID}-2"))
        yield process
        process.kill()


def entry(folder: Path) -> Any:
    return json.loads((folder.parent / "index.json").read_text())["runs"][ID]


def test_what_is_of_the_run_ends_and_its_books_are_closed(folder: Path, note: Conducted, part: Any) -> None:
    left = Path(note.temporary) / f"vx11-{ID}-1-abcdefgh"
    kept = [Path(note.temporary) / name for name in (f"vx11-{ID}-11-abcdefgh", f"vx11-{ID}-1-abc", "else")]
    for path in (left, *kept):
        path.mkdir()
    assert crashed.recover(folder.parent) == [Recovered(ID, ["two"])]
    assert part.wait(10) == -9
    assert (left.exists(), [path.exists() for path in kept]) == (False, [True, True, True])
    found = entry(folder)
    assert (found["state"], found["verdicts"]) == ("aborted", {"passed": 1, "aborted": 1})
    assert whole(folder / "evidence.jsonl") == found["records"]
    assert crashed.recover(folder.parent) == []


SECRET, KEY = "plum-cake-4711", "0123456789abcdef" * 4
CATALOGUE = "services: {{web: {{image: web, environment: {{DB_PASSWORD: {}}}}}}}\n"


@pytest.fixture
def catalogue(folder: Path, tmp_path: Path) -> Path:
    """That of the run, whose second case is broken off; what it wrote has a secret."""
    path = tmp_path / "bundle" / "catalogue.yml"
    path.parent.mkdir()
    path.write_text(CATALOGUE.format(SECRET), encoding="utf-8")
    told = confidential.mark(confidential.values(compose.load(path)), Signer.of())
    chain = Chain(folder / "evidence.jsonl", Signer.of())
    chain.append("conductor", "run_started", ID, {"matrix": str(path.parent / "matrix.yml"), "secrets": told})
    chain.close()
    return path


@pytest.fixture
def left(folder: Path, note: Conducted) -> Path:
    """The temporary folder of its first cell, which said a secret, and in which the second case was going on."""
    left = Path(note.temporary) / f"vx11-{ID}-1-abcdefgh"
    left.mkdir()
    (left / "key").write_text(f"{KEY}\n")
    (left / "madre.log").write_text(f"{SECRET}, she said\n")
    (folder / "cells" / f"{ID}-1").mkdir(parents=True)
    draft = left / "drafts" / "two" / "1"
    drafts.begin(draft, folder / "cases" / "two" / "1")
    (draft / "playbook.yml").write_text(f"- tell: {SECRET} {KEY}\n", encoding="utf-8")
    return left


def test_what_was_going_on_is_taken_in_without_secrets(folder: Path, catalogue: Path, left: Path) -> None:
    assert crashed.recover(folder.parent) == [Recovered(ID, ["two"])]
    assert (folder / "cases/two/1/playbook.yml").read_text() == "- tell: [redacted] [redacted]\n"
    assert (folder / f"cells/{ID}-1/madre.log").read_text() == "[redacted], she said\n"
    assert "left_out" not in entry(folder)
    assert not left.exists()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda path: path.unlink(), "are not known: CATALOGUE is gone, or cannot be used any more"),
        (lambda path: path.write_text("services: {web: {}}\n"), "are not known: CATALOGUE is gone, or cannot"),
        (lambda path: path.write_text(CATALOGUE.format("another-one")), "may not be known: CATALOGUE does not"),
        (
            lambda path: path.write_text(CATALOGUE.format(f"{SECRET}, API_KEY: another-one")),
            "may not be known: CATALOGUE does not say those that the run began with",
        ),
    ],
    ids=["gone", "broken", "changed", "more"],
)
def test_what_cannot_be_cleared_is_left_out(
    folder: Path, catalogue: Path, left: Path, change: Callable[[Path], object], why: str
) -> None:
    change(catalogue)
    (done,) = crashed.recover(folder.parent)
    assert why.replace("CATALOGUE", str(catalogue)) in done.left_out
    assert done.left_out in str(done)
    assert entry(folder)["left_out"] == done.left_out
    (told,) = (one["data"] for one in records(folder / "evidence.jsonl") if one["action"] == "run_recovered")
    assert told["left_out"] == done.left_out
    note = f"evidence.jsonl: {LEFT_OUT}: {done.left_out}"
    assert note in audit.check(folder, Trust.by(Signer.of())).notes
    assert [list((folder / name).rglob("*.*")) for name in ("cases", "cells")] == [[], []]
    assert not left.exists()


def test_what_has_gone_with_a_reboot_leaves_no_link(folder: Path, note: Conducted, catalogue: Path, left: Path) -> None:
    shutil.rmtree(left)
    replace(note, boot_id="of another boot").write(folder)
    assert crashed.recover(folder.parent) == [Recovered(ID, ["two"])]
    assert list((folder / "cases" / "two").iterdir()) == []


def test_secrets_stand_in_the_catalogue_in_files_and_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", "passed-on")
    (tmp_path / "web.env").write_text("TOKEN=of-a-file\nCOLOUR=green\n")
    path = tmp_path / "catalogue.yml"
    environment = f"[API_KEY, DB_PASSWORD={SECRET}, COLOUR=red]"
    path.write_text(f"services: {{web: {{image: web, env_file: [web.env], environment: {environment}}}}}\n")
    assert confidential.values(compose.load(path)) == ["of-a-file", "passed-on", SECRET]
    (tmp_path / "web.env").write_bytes(b"TOKEN=\xff")
    with pytest.raises(InputError, match="web: its env_file cannot be read"):
        confidential.values(compose.load(path))


def test_the_mark_of_secrets_takes_the_key_to_make(tmp_path: Path) -> None:
    mine, other = Signer.of(), Signer.of(tmp_path / "other.key")
    assert confidential.mark([SECRET], mine) == confidential.mark([SECRET], mine)
    marks = {confidential.mark(known, key) for known in ([], [SECRET], [SECRET, "b"]) for key in (mine, other)}
    assert len(marks) == 6


def test_a_run_of_another_boot_ends_nothing(folder: Path, note: Conducted, part: Any) -> None:
    replace(note, boot_id="of another boot").write(folder)
    assert crashed.recover(folder.parent) == [Recovered(ID, ["two"])]
    assert part.poll() is None
    assert entry(folder)["state"] == "aborted"


@pytest.mark.parametrize(
    ("hosts", "message"),
    [
        (None, "windows on the hosts a may be open until their time is over"),
        ("b vx11_url=http://127.0.0.1:9", "does not have it any more"),
        ("a vx11_url=http://127.0.0.1:9", "no madre answers at http://127.0.0.1:9"),
    ],
    ids=["no-inventory", "no-host", "no-answer"],
)
def test_what_may_be_open_on_hosts_keeps_the_books_open(
    folder: Path, note: Conducted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hosts: str | None, message: str
) -> None:
    """Also after this machine was started anew: the hosts were not."""
    monkeypatch.setenv("VX11_TOKEN", "t")
    inventory = tmp_path / "hosts"
    if hosts:
        inventory.write_text(hosts)
    visit = Visit(str(inventory), None, [Guest("a", "conductor", "2026-11-21T10:00:00.000000000Z")])
    replace(note, visit=visit, boot_id="of another boot").write(folder)
    assert Conducted.read(folder / CONDUCTOR).visit == visit
    (found,) = crashed.recover(folder.parent)
    assert [message in left for left in found.left] == [True], found
    assert (folder / CONDUCTOR).exists()


@pytest.mark.parametrize("how", ["by its process", "by its chain", "somebody else recovers"])
def test_a_run_that_is_conducted_or_being_recovered_is_left_alone(
    folder: Path, note: Conducted, part: Any, how: str
) -> None:
    if how == "by its process":
        replace(note, start_time=note.start_time + 1).write(folder)
        assert crashed.recover(folder.parent) == []
    elif how == "by its chain":
        writing = Chain(folder / "evidence.jsonl")
        assert crashed.recover(folder.parent) == []
        writing.close()
    else:
        with held_lock(folder.parent / crashed.LOCK):
            assert crashed.recover(folder.parent) == []
    assert part.poll() is None
    assert entry(folder)["state"] == "running"
    assert (folder / CONDUCTOR).is_file()


def test_a_last_line_that_is_cut_stays_as_it_is_and_the_chain_goes_on_behind_it(folder: Path) -> None:
    chain = folder / "evidence.jsonl"
    with chain.open("ab") as file:
        file.write(b'{"action":"verd')
    before = chain.read_bytes()
    assert crashed.recover(folder.parent) == [Recovered(ID, ["two"])]
    assert chain.read_bytes() == before
    assert whole(chain) == entry(folder)["records"]
    assert whole(folder.parent / "heads.jsonl") == 2


def test_what_is_damaged_is_told_and_nothing_is_added(folder: Path) -> None:
    chain = folder / "evidence.jsonl"
    chain.write_bytes(chain.read_bytes().replace(b"passed", b"failed"))
    before = chain.read_bytes()
    (done,) = crashed.recover(folder.parent)
    assert done.damage == "evidence.jsonl, record 1: does not match its own hash"
    assert done.aborted == ["one", "two"]
    assert chain.read_bytes() == before
    found = entry(folder)
    assert (found["state"], found["records"], found["damage"]) == ("aborted", 0, [done.damage])
    assert whole(folder.parent / "heads.jsonl") == 2


def test_a_folder_that_a_link_leads_to_stays(folder: Path, note: Conducted, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.mkdir()
    (Path(note.temporary) / f"vx11-{ID}-1-abcdefgh").symlink_to(target)
    crashed.recover(folder.parent)
    assert target.is_dir()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"schema": 2}, "its schema is not known"),
        ({"cells": ["../.."]}, "it names cells that no cell can have"),
        ({"engine": "steam"}, "there is no engine 'steam'"),
        ({"colour": "red"}, "it says not who conducts the run"),
    ],
)
def test_a_note_that_cannot_be_used_is_told_and_nothing_is_done(
    folder: Path, part: Any, change: dict[str, Any], why: str
) -> None:
    path = folder / CONDUCTOR
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    (found,) = crashed.recover(folder.parent)
    assert why in found.left[0]
    assert part.poll() is None
    assert path.is_file()
    assert entry(folder)["state"] == "running"


def test_a_root_without_runs_stays_as_it_is(tmp_path: Path) -> None:
    assert crashed.recover(tmp_path / "none") == []
    assert crashed.recover(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
