"""What the conductor gathers for a patch intent: failed tests, the state of git, when one is due."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vx11.client import Madre
from vx11.conductor import intents
from vx11.conductor.intents import Judgement, Tried
from vx11.conductor.judge import Judged
from vx11.conductor.seen import Call, Seen
from vx11.evidence.appending import EvidenceError
from vx11.evidence.chain import Chain

Write = Callable[[str, str], Path]
JUNIT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest" errors="1" failures="1" tests="4" timestamp="2026-11-21T10:00:00+00:00">
<testcase classname="flow" name="test_good" time="0.5"/>
<testcase classname="flow.TestIt" name="test_bad" time="0.25"><failure message="assert 1 == 2">E  assert 1 == 2
flow.py:7: AssertionError</failure></testcase>
<testcase classname="flow" name="test_left_out" time="0"><skipped message="not here"/></testcase>
<testcase classname="flow" name="test_setup" time="1.0"><error message="failed on setup">LookupError</error></testcase>
</testsuite></testsuites>
"""
HOLDS, BROKEN = Judged("a", "true", "true", holds=True), Judged("a", "true", None, holds=False, why="not observed")


def suite(**result: Any) -> Call:
    return Call("vx11_suite", {"name": "flow"}, 1, 2, failed=False, message="", result={"suite": "flow"} | result)


def test_failed_tests_have_their_traceback_and_their_time(write: Write, tmp_path: Path) -> None:
    write("suites/flow/junit.xml", JUNIT)
    bad, broken = intents.failed_tests(tmp_path)
    assert (bad.suite, bad.name, bad.message) == ("flow", "test_bad", "assert 1 == 2")
    assert bad.traceback.splitlines()[-1] == "flow.py:7: AssertionError"
    assert (broken.name, broken.traceback) == ("test_setup", "LookupError")
    assert bad.ended_ns is not None
    assert broken.ended_ns is not None
    assert (bad.ended_ns, broken.ended_ns - bad.ended_ns) == (1_795_255_200_750_000_000, 1_000_000_000)


@pytest.mark.parametrize("text", ["", "<testsuites><testsuite", "<other/>", JUNIT[:300]])
def test_a_report_that_was_cut_short_has_none(write: Write, tmp_path: Path, text: str) -> None:
    write("suites/flow/junit.xml", text)
    assert intents.failed_tests(tmp_path) == []
    assert intents.failed_tests(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("judged", "play_failure", "calls", "due"),
    [
        ([HOLDS], "", [], False),
        ([], "", [suite(expected_failure=False)], False),
        ([HOLDS, BROKEN], "", [], True),
        ([HOLDS], "a suite failed (suite_flow_passed)", [], True),
        ([HOLDS], "", [suite(expected_failure=True)], True),
    ],
)
def test_one_is_due(judged: list[Judged], play_failure: str, calls: list[Call], due: bool) -> None:
    assert Judgement(judged, "", play_failure).is_due(calls) is due


def git(folder: Path, *words: str) -> str:
    own = ("-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", str(folder), *own, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here")
def test_where_a_bundle_stands_in_git(write: Write, tmp_path: Path) -> None:
    bundle = write("repository/bundle/matrix.yml", "one\n").parent
    assert intents.revision(bundle) is None
    git(bundle.parent, "init", "-q")
    assert intents.revision(bundle) is None
    git(bundle.parent, "add", ".")
    git(bundle.parent, "commit", "-qm", "one")
    found = intents.revision(bundle)
    assert found is not None
    assert (found.root, found.commit, found.changed) == (bundle.parent, git(bundle, "rev-parse", "HEAD"), [])
    write("repository/bundle/matrix.yml", "two\n")
    write("repository/other.txt", "no part of the bundle\n")
    changed = intents.revision(bundle)
    assert changed is not None
    assert changed.changed == ["bundle/matrix.yml"]
    untracked = write("repository/untracked/matrix.yml", "one\n").parent
    assert intents.revision(untracked) is None


def test_logs_that_nobody_can_tell_say_why() -> None:
    windows = [{"window_id": "1", "service": "web"}]
    with Madre("http://127.0.0.1:9", "token") as madre:
        assert intents.logs(madre, windows)["web"][0].startswith("unknown: no madre answers")


def test_logs_are_kept_with_the_try_and_without_tokens(tmp_path: Path) -> None:
    intents.keep(tmp_path, {"web": ["starts", "Bearer eyJhbGciOi.eyJzdWIi.c2ln"], "cache": []})
    assert (tmp_path / "logs" / "web.log").read_text(encoding="utf-8") == "starts\nBearer [token]\n"
    assert (tmp_path / "logs" / "cache.log").read_text(encoding="utf-8") == ""
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(EvidenceError, match="evidence cannot be written to"):
        intents.keep(tmp_path / "file", {"web": ["starts"]})


def test_requests_of_suites_are_known_with_their_lines(tmp_path: Path) -> None:
    folder = tmp_path / "suites" / "flow"
    folder.mkdir(parents=True)
    line = {"suite": "flow", "url": "http://127.0.0.1:1/x", "begun_ns": "5", "ms": 2.0, "status": None, "error": "no"}
    (folder / "requests.jsonl").write_text(f"cut\n{json.dumps(line)}\n", encoding="utf-8")
    (found,) = intents.asked(tmp_path, 1_000)
    assert (found.url, found.status, found.error, found.ended_ns) == (line["url"], None, "no", 1_000 + 5 + 2_000_000)
    assert found.where == "suites/flow/requests.jsonl:2"


def test_a_mistake_in_the_explanation_is_recorded_and_takes_nothing_else(tmp_path: Path) -> None:
    chain = Chain(tmp_path / "evidence.jsonl")
    case = SimpleNamespace(id="TC-1")
    tried = Tried(tmp_path / "intents", "e2e-1", None, chain, case, tmp_path, 1, {})  # type: ignore[arg-type]
    judgement = Judgement((BROKEN,), "it failed", "")
    assert intents.write(tried, Seen(), judgement, {}) == (None, False)
    chain.close()
    record = json.loads((tmp_path / "evidence.jsonl").read_text(encoding="utf-8"))
    assert (record["action"], record["data"]["written"]) == ("patch_intent", False)
    assert record["data"]["why"].startswith("AttributeError(")
