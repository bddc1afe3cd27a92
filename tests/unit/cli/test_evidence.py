"""`vx11 evidence …`: what it prints, and what it ends with."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from vx11 import cli
from vx11.errors import InputError
from vx11.evidence import show
from vx11.evidence.chain import Chain
from vx11.evidence.keys import Signer
from vx11.evidence.layout import CONDUCTOR, RunFolder

Run = Callable[..., Any]
STARTED = 1_795_242_600 * 10**9
WINDOW = "7f1d8a52-6d9c-4a7e-9a51-0d0a7c1f3b66"


@pytest.fixture
def run() -> Run:
    """`run(*words)` runs the command."""
    return lambda *words: CliRunner().invoke(cli.base.app, ["evidence", *map(str, words)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a run of two cases, one after the other in one cell, each with a window."""
    run = RunFolder(tmp_path / "evidence", "e2e-1", STARTED, Signer.of())
    run.index(state="running", cases=["TC-001", "TC-002"])
    about = {"matrix": "m.yml", "cases": ["TC-001", "TC-002"]}
    run.chain.append("conductor", "run_started", "e2e-1", about)
    cell = Chain(run.path / "cells" / "one" / "evidence.jsonl", Signer.of())
    for number in (1, 2):
        run.chain.append("conductor", "case_started", f"TC-00{number}", {"attempt": 1, "cell": "one"})
        cell.append("madre", "opened", f"{number}{WINDOW[1:]}", {"service": "web"})
        run.chain.append("conductor", "verdict", f"TC-00{number}", {"verdict": "passed", "message": "", "attempts": 1})
    cell.close()
    run.finish()
    run.index(state="finished", verdicts={"passed": 2}, head=run.chain.head)
    return run.path


def test_what_is_sound_ends_with_0_and_says_its_head(run: Run, folder: Path) -> None:
    done = run("verify", folder.parent)
    assert done.exit_code == 0
    assert "sound: " in done.output
    assert "head of heads.jsonl at record 2: " in done.output
    head = done.output.split()[-1]
    assert run("verify", folder.parent, "--anchor", head).exit_code == 0
    assert run("verify", folder.parent, "--anchor", f" {head.upper()}").exit_code == 0


def test_what_is_no_head_is_no_anchor(run: Run, folder: Path) -> None:
    failure = run("verify", folder.parent, "--anchor", "0" * 63).exception
    assert isinstance(failure, InputError)
    assert "is not a head: these are 64 hexadecimal characters" in str(failure)


def test_what_was_tampered_with_ends_with_1_and_says_where(run: Run, folder: Path) -> None:
    (folder / "evidence.pub").write_text("")
    done = run("verify", folder.parent)
    assert done.exit_code == 1
    assert f"wrong: {folder.name}/evidence.pub: was changed: its digest is not that of the manifest" in done.output


def test_what_is_not_sealed_to_its_end_ends_with_4(run: Run, tmp_path: Path) -> None:
    chain = Chain(tmp_path / "evidence.jsonl", Signer.of())
    chain.append("madre", "started", "default")
    done = run("verify", tmp_path)
    chain.close()
    assert done.exit_code == 4
    assert "unsealed: evidence.jsonl: unsealed since record 1 of 1: its writer goes on, or crashed" in done.output


def test_the_result_as_json(run: Run, folder: Path) -> None:
    found = json.loads(run("verify", folder, "--json").output)
    assert (found["state"], found["findings"], len(found["chains"])) == ("sound", [], 2)


def test_the_runs_are_listed(run: Run, folder: Path, tmp_path: Path) -> None:
    assert run("list", folder.parent).output == f"{folder.name}  finished  2 passed\n"
    assert run("list", tmp_path / "none").output == f"there is no run in {tmp_path / 'none'}\n"


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ([], ["run_started", "case_started", "opened", "verdict", "case_started", "opened", "verdict"]),
        (["--case", "TC-002"], ["case_started", "opened", "verdict"]),
        (["--window", "2f1d"], ["opened"]),
        (["--until", "2001-01-01T00:00:00Z"], []),
    ],
)
def test_records_are_shown_in_the_order_of_time(run: Run, folder: Path, options: list[str], shown: list[str]) -> None:
    done = run("show", folder, *options, "--json")
    found = [json.loads(line) for line in done.output.splitlines()]
    assert [record["action"] for record in found if record["action"] != "sealed"] == shown
    assert {record["chain"] for record in found} <= {"conductor", "one"}
    lines = run("show", folder, *options).output.splitlines()
    assert len(lines) == len(found)


def test_a_case_on_a_host_has_its_records_shown(run: Run, tmp_path: Path) -> None:
    made = RunFolder(tmp_path, "e2e-1", STARTED, Signer.of())
    made.chain.append("conductor", "case_started", "TC-001", {"attempt": 1, "host": "far"})
    made.chain.close()
    assert run("show", made.path, "--case", "TC-001").output.count("\n") == 1


def test_what_is_no_whole_record_is_not_shown(run: Run, folder: Path) -> None:
    shown = run("show", folder).output
    with (folder / "evidence.jsonl").open("ab") as file:
        file.write(b'{"seq":9,"hash":""}\n')
    assert run("show", folder).output == shown


def test_names_and_records_cannot_write_lines_of_their_own(run: Run, folder: Path) -> None:
    (folder.parent / os.fsdecode(b"x\xff\n\x1b[2Jsound: 9 records")).touch()
    done = run("verify", folder.parent)
    assert done.exit_code == 1
    assert "wrong: x\\udcff\\n\\x1b[2Jsound: 9 records: is not part of the evidence\n" in done.output
    chain = Chain(folder / "cells" / "one" / "evidence.jsonl")
    chain.append("madre", "opened", "w-1", {"service": "web\nsealed"})
    chain.close()
    assert run("show", folder, "--window", "w-1").output.count("\n") == 1


def test_a_run_that_goes_on_is_followed_to_its_end(folder: Path) -> None:
    (folder / CONDUCTOR).write_text("{}")
    shown = show.following(folder, show.Filter())
    assert next(shown).record["action"] == "run_started"
    (folder / CONDUCTOR).unlink()
    assert [item.record["action"] for item in shown].count("verdict") == 2


def test_an_archive_verifies(run: Run, folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "run.tar.gz"
    assert run("export", folder, "--out", archive).output == f"{archive}\n"
    assert run("verify", archive).exit_code == 0


def test_what_would_be_removed_is_said_and_stays(run: Run, folder: Path) -> None:
    done = run("prune", folder.parent, "--older-than", "1ms", "--dry-run")
    assert done.output.startswith(f"{folder.name}  would be removed, ")
    assert folder.is_dir()
    assert run("prune", folder.parent).output == "no run is older than 30d\n"
    assert run("prune", folder.parent, "--older-than", "1ms").exit_code == 0
    assert not folder.exists()
    assert run("verify", folder.parent).exit_code == 0
    assert run("list", folder.parent).output == f"{folder.name}  removed  2 passed\n"


def test_a_key_is_made_once(tmp_path: Path, run: Run) -> None:
    key = tmp_path / "evidence.key"
    made = run("new-key", "--key", key)
    assert (made.exit_code, made.stdout.strip()) == (0, f"made {key}: {Signer.of(key).public.id}")
    assert key.stat().st_mode & 0o777 == 0o600
    again = run("new-key", "--key", key)
    assert isinstance(again.exception, InputError)
    assert "there is one already" in str(again.exception)
