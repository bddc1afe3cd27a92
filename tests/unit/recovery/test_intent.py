"""A patch intent: nine sections whatever is known, whole or not there, and told when something is missing."""

import json
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from vx11.errors import InputError
from vx11.evidence.redact import Redactor
from vx11.recovery import findings, intent
from vx11.recovery.failure import (
    Assert,
    Call,
    CleanUp,
    FailedTest,
    Failure,
    OtherCase,
    Past,
    Revision,
    Service,
)
from vx11.recovery.intent import IntentError, build, missing, render, write

MakeFailure = Callable[..., Failure]
MakeWindow = Callable[..., dict[str, Any]]
NOW = 1_764_000_001_000_000_000
CHECKOUT = Path(__file__).resolve().parents[3]
HEADINGS = [f"{number}. {name}" for number, name in enumerate(intent.SECTIONS, start=1)]
LINES = st.text(st.sampled_from("a1.-+#=|\\`~*_[]<>!&: \n\r\x00\ud800{}%"), min_size=1, max_size=60)
TRACE = [
    "Traceback (most recent call last):",
    '  File "/srv/vx11/web.py", line 12, in do',
    '  File "/usr/lib/python3.11/json.py", line 9, in load',
    "ValueError: no JSON",
]
HOSTILE = LINES | st.sampled_from(["## 1. Metadata", "```\n## 9. Sign-off\n```", "{{ 1 }}", "| a | b |\n| --- | --- |"])


@pytest.fixture
def full(make_failure: MakeFailure, make_window: MakeWindow) -> Failure:
    """A failure of which all is known."""
    usage = {"cpu_percent": 12.34, "memory_peak_bytes": 34 * 1024**2, "io_read_ops": 10, "io_write_ops": 10}
    records = [
        {"action": "opened", "subject": "id-of-web", "data": {"service": "web"}, "wall_ns": str(NOW - 9), "seq": 3},
        {
            "action": "closed",
            "subject": "id-of-web",
            "data": {"service": "web", "reason": "crashed", "detail": "it ended by itself with exit code 1"},
            "wall_ns": str(NOW - 7),
            "seq": 4,
        },
    ]
    return make_failure(
        judged_ns=NOW,
        windows=[
            make_window(
                usage=usage,
                resources={"memory": 64 * 1024**2, "cpu": 0.5},
                reason="crashed",
                detail="it ended by itself with exit code 1",
            )
        ],
        asserts=[Assert("hop_ms", "< 100", "104 ms", holds=False, why="expected < 100"), Assert("x", "1", "1", True)],
        calls=[Call("vx11_window", {"service": "web"}, NOW - 5, NOW - 4, failed=True, message="it is gone")],
        tests=[FailedTest("flow", "test_it", "web answered 500", "E   assert 500 == 200", NOW - 6)],
        logs={"web": ["starts", *TRACE]},
        records=records,
        services=[Service("web", program=["python3", "web.py"], needed_by=["gateway"])],
        others=[OtherCase("TC-001", "passed", "", ["web"]), OtherCase("TC-002", "failed", "", ["cache"])],
        revision=Revision(Path("/the repo"), "0123abcd", ["bundle/matrix.yml"]),
        clean_up=CleanUp(True, True, (), 0.4),
    )


def headings(text: str, level: str = "h2") -> list[str]:
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    return [after.content for token, after in pairwise(tokens) if token.tag == level and token.nesting == 1]


def test_all_that_is_known_stands_in_it(full: Failure) -> None:
    found = build(full, NOW)
    assert found.metadata.intent_id == "PI-20251124T160001Z-e2e-1.TC-011"
    assert found.failure_summary.error_code == "window_crashed"
    assert found.failure_summary.detected_at.endswith("00.999999993Z")
    primary = found.root_cause.primary
    assert (primary.cause, primary.suspect, primary.kind) == ("crashed", "web", "service")
    assert primary.confidence > 70
    assert primary.derived.startswith("-4 before any sign, +8 exit_code, +1 traceback, in all ")
    assert found.root_cause.signature == "crashed of web: exit code 1 / ValueError in do"
    assert found.root_cause.other_cases == ["TC-001, which uses it too: passed"]
    assert [point.number for point in found.technical_details.evidence_points] == [1, 2, 3, 4, 5]
    assert [item.deviation for item in found.technical_details.deviations] == ["+4.0 %"]
    assert found.proposed_patch.changes[0].file == "/srv/vx11/web.py"
    assert found.proposed_patch.changes[0].line == 12
    assert found.impact.systems[2].text == "other services: gateway (depends on web)"
    assert [row.current for row in found.impact.resources] == [
        "12.3 % of one core, limit 0.5",
        "34.0 MiB at most, limit 64.0 MiB",
        "10.0 a second",
    ]


def test_what_speaks_for_and_against_is_told_with_its_place(full: Failure) -> None:
    found = build(full, NOW).root_cause
    assert [(ground.sign, ground.where) for ground in found.primary.supports] == [
        ("exit_code", "madre's record 4"),
        ("traceback", "logs/web.log:5"),
    ]
    against = {one.cause: [(ground.sign, ground.where) for ground in one.contradicts] for one in found.alternatives}
    assert ("exit_code", "madre's record 4") in against["bug"]
    assert found.something_else + sum(one.confidence for one in [found.primary, *found.alternatives]) in range(97, 104)
    text = render(build(full, NOW))
    assert "its log has a stack trace: ValueError in do (web.py:12) (logs/web.log:5)" in text.replace("\\", "")


def test_the_same_failure_is_known_again(full: Failure, make_failure: MakeFailure, tmp_path: Path) -> None:
    write(tmp_path, replace(full, test_id="e2e-0", case="TC-001"), NOW - 10**10)
    write(tmp_path, replace(full, test_id="e2e-0", case="TC-002"), NOW - 10**9)
    write(tmp_path, replace(full, case="TC-003"), NOW)
    write(tmp_path, make_failure(test_id="e2e-0", play_failure="task 'x': no"), NOW)
    (tmp_path / "PI-broken").mkdir()
    again = replace(full, explained=intent.explained(tmp_path), past=Past(runs=2))
    found = build(again, NOW).root_cause
    assert found.other_cases[0] == "TC-003 failed in the same way: PI-20251124T160001Z-e2e-1.TC-003"
    assert found.earlier_runs == [
        f"first seen at {build(full, NOW).failure_summary.detected_at}, in TC-001 of the run e2e-0: "
        "PI-20251124T155951Z-e2e-0.TC-001",
        f"seen 2 times before this, last at {build(full, NOW).failure_summary.detected_at}: "
        "PI-20251124T160000Z-e2e-0.TC-002",
        "2 earlier runs of this case lie in this evidence root, and 3 intents of other runs",
    ]
    assert build(full, NOW).root_cause.earlier_runs[0].startswith("not seen before: ")


def test_the_schema_is_that_of_the_repository_and_is_printed() -> None:
    kept = json.loads((CHECKOUT / "matrices" / "intent.schema.json").read_text(encoding="utf-8"))
    assert kept == intent.schema(), "vx11 intent schema > matrices/intent.schema.json"
    command = [sys.executable, "-m", "vx11", "intent", "schema"]
    assert json.loads(subprocess.run(command, capture_output=True, timeout=60, check=True).stdout) == kept


def test_what_is_written_fits_the_schema(full: Failure, make_failure: MakeFailure, tmp_path: Path) -> None:
    for failure in (full, make_failure(case="TC-000")):
        data = json.loads((write(tmp_path, failure, NOW) / intent.DATA).read_text(encoding="utf-8"))
        jsonschema.validate(data, intent.schema())
        del data["rollback"]
        with pytest.raises(jsonschema.ValidationError, match="'rollback' is a required property"):
            jsonschema.validate(data, intent.schema())


def test_steps_back_are_shell_commands(full: Failure) -> None:
    commands = [shlex.split(step.command) for step in build(full, NOW).rollback]
    assert commands == [
        ["vx11", "solo-madre"],
        ["git", "-C", "/the repo", "diff", "0123abcd", "--", "/bundle"],
        ["git", "-C", "/the repo", "checkout", "--no-overlay", "0123abcd", "--", "/bundle"],
        ["vx11", "allowlist", "check", "--catalogue", "/bundle/catalogue.yml", "--allowlist", "/bundle/allowlist.yml"],
        ["vx11", "run", "/bundle/matrix.yml", "--case", "TC-011", "||", "test", "$?", "-eq", "1"],
        ["vx11", "solo-madre", "--check"],
    ]


def test_nothing_known_leaves_no_section_out(make_failure: MakeFailure, tmp_path: Path) -> None:
    folder = write(tmp_path, make_failure(message="", description=""), NOW)
    text = (folder / intent.MARKDOWN).read_text(encoding="utf-8")
    assert headings(text) == HEADINGS
    assert missing(folder) == []
    for section in text.split("\n## ")[1:-1]:
        assert "unknown" in section or "none" in section.lower() or "[ ]" in section or "windows" in section, section


def test_its_patch_is_yaml_that_is_not_to_be_applied(full: Failure) -> None:
    block = render(build(full, NOW)).partition("```yaml\n")[2].partition("\n```")[0]
    assert block.splitlines()[0] == "# do not apply automatically"
    patch = yaml.safe_load(block)
    assert (patch["type"], patch["target"], patch["apply_automatically"]) == ("code", "web", False)
    assert set(patch["changes"][0]) == {"file", "line", "from", "to", "why"}


@given(texts=st.lists(HOSTILE, min_size=6, max_size=6))
def test_no_text_of_others_makes_or_hides_a_section(
    make_failure: MakeFailure, make_window: MakeWindow, tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    one, two, three, four, five, six = texts
    failure = make_failure(
        description=one,
        message=two,
        play_failure=two,
        windows=[make_window(detail=one, reason="crashed")],
        asserts=[Assert("hop_ms", three, four, holds=False, why=five)],
        tests=[FailedTest("flow", six, three, four, NOW)],
        logs={"web": [five, six]},
    )
    folder = write(tmp_path_factory.mktemp("intents"), failure, NOW)
    text = (folder / intent.MARKDOWN).read_text(encoding="utf-8")
    assert headings(text) == HEADINGS
    assert missing(folder) == []


def test_it_is_whole_and_for_owner_and_group(full: Failure, tmp_path: Path) -> None:
    folder = write(tmp_path / "new" / "root", full, NOW)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        "PATCH_INTENT.md": 0o640,
        "intent.json": 0o640,
    }
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750
    assert list(folder.parent.iterdir()) == [folder]
    data = json.loads((folder / intent.DATA).read_text(encoding="utf-8"))
    assert data["schema"] == 1
    assert data["proposed_patch"]["changes"][0]["from"] == "unknown"
    assert intent.Intent.model_validate(data) == build(full, NOW)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda folder: None, ""),
        (
            lambda folder: (folder / "PATCH_INTENT.md").write_text("so"),
            "as it was written (PATCH_INTENT.md was changed)",
        ),
        (lambda folder: (folder / "PATCH_INTENT.md").unlink(), "not as it was written (PATCH_INTENT.md is gone)"),
        (lambda folder: (folder / "intent.json").write_text("{}"), "intent.json is no intent"),
    ],
    ids=["as it was", "changed", "gone", "no data"],
)
def test_one_that_is_not_as_its_evidence_has_it_is_told(
    full: Failure, tmp_path: Path, change: Callable[[Path], object], told: str
) -> None:
    attempt = tmp_path / "attempt"
    folder = write(tmp_path / "intents", replace(full, evidence=attempt), NOW)
    assert "its evidence is not there" in intent.named(tmp_path / "intents", "PI-").doubt()
    assert intent.keep(folder, attempt) == attempt / "intent"
    assert {path.name: path.read_bytes() for path in (attempt / "intent").iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }
    change(folder)
    doubt = intent.named(tmp_path / "intents", "PI-").doubt()
    assert (told in doubt, bool(doubt)) == (True, bool(told))


def test_one_that_cannot_be_kept_is_told(full: Failure, tmp_path: Path) -> None:
    folder = write(tmp_path / "intents", full, NOW)
    (tmp_path / "attempt").touch()
    with pytest.raises(IntentError, match="cannot be kept as evidence"):
        intent.keep(folder, tmp_path / "attempt")


def test_what_cannot_be_written_leaves_nothing(full: Failure, tmp_path: Path) -> None:
    write(tmp_path, full, NOW)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(IntentError, match="cannot be written"):
        write(tmp_path, full, NOW)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_later_try_has_an_intent_of_its_own(full: Failure, make_failure: MakeFailure, tmp_path: Path) -> None:
    first, second = write(tmp_path, full, NOW), write(tmp_path, make_failure(attempt=2), NOW)
    assert second.name == f"{first.name}.2"


@pytest.mark.parametrize("number", range(1, 10))
def test_a_section_that_was_cut_out_is_missing(full: Failure, tmp_path: Path, number: int) -> None:
    folder = write(tmp_path, full, NOW)
    path = folder / intent.MARKDOWN
    head, *sections = path.read_text(encoding="utf-8").split("\n## ")
    title = sections[number - 1].partition("\n")[0]
    del sections[number - 1]
    path.write_text("\n## ".join([head, *sections]), encoding="utf-8")
    assert missing(folder) == [intent.SECTIONS[number - 1]]
    path.write_text("\n## ".join([head, *sections, f"{title}\n\nout of its order\n"]), encoding="utf-8")
    assert missing(folder) == ([] if number == 9 else [intent.SECTIONS[number - 1]])


@pytest.mark.parametrize("number", range(1, 10))
@pytest.mark.parametrize("left", ["\n", "\n### A head\n\n", "\n| a | b |\n| --- | --- |\n", "\n```text\n```\n"])
def test_a_section_without_content_is_missing(full: Failure, tmp_path: Path, number: int, left: str) -> None:
    folder = write(tmp_path, full, NOW)
    path = folder / intent.MARKDOWN
    parts = path.read_text(encoding="utf-8").split("\n## ")
    parts[number] = parts[number].partition("\n")[0] + "\n" + left
    path.write_text("\n## ".join(parts), encoding="utf-8")
    assert missing(folder) == [intent.SECTIONS[number - 1]]


def test_data_that_is_no_intent_is_missing(full: Failure, tmp_path: Path) -> None:
    folder = write(tmp_path, full, NOW)
    (folder / intent.DATA).write_text('{"schema": 2}', encoding="utf-8")
    assert missing(folder) == ["intent.json"]
    assert missing(tmp_path / "nowhere") == [*intent.SECTIONS, "intent.json"]


def test_they_are_found_by_a_part_of_their_id(full: Failure, make_failure: MakeFailure, tmp_path: Path) -> None:
    first, second = write(tmp_path, full, NOW), write(tmp_path, make_failure(case="TC-002"), NOW)
    assert intent.named(tmp_path, "TC-002").folder == second
    assert intent.named(tmp_path, first.name).folder == first
    assert [found.folder for found in intent.listed(tmp_path)] == [second, first]
    for name, why in (("TC-00x", "there is no intent"), ("TC-0", "fits several")):
        with pytest.raises(InputError, match=why):
            intent.named(tmp_path, name)
    (first / intent.DATA).unlink()
    assert str(intent.named(tmp_path, first.name)) == f"{first.name}  lacks: intent.json"
    assert intent.listed(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("about", "level"),
    [
        ({"asserts": [Assert("a", "< 100", "104 ms", holds=False)]}, "LOW"),
        ({"asserts": [Assert("a", "< 100", "111 ms", holds=False)]}, "MEDIUM"),
        ({"asserts": [Assert("a", "< 100", "104 ms", holds=False)], "play_failure": "a task"}, "MEDIUM"),
        ({"tests": [FailedTest("flow", "test_it", "no")]}, "MEDIUM"),
        ({"asserts": [Assert("tentaculo_link_available", "true", "false", holds=False)]}, "HIGH"),
        ({"clean_up": CleanUp(False, True)}, "HIGH"),
        ({"clean_up": CleanUp(True, True, ["a process"])}, "HIGH"),
    ],
)
def test_the_level_of_impact(make_failure: MakeFailure, about: dict[str, Any], level: str) -> None:
    assert findings.summary(make_failure(**about)).impact == level


def test_of_many_points_those_of_the_failure_stay(make_failure: MakeFailure) -> None:
    records = [
        {"action": "held", "subject": "w", "data": {}, "wall_ns": str(NOW - 100 + number), "seq": number}
        for number in range(60)
    ]
    points, left_out = findings.points(make_failure(records=records, judged_ns=NOW))
    assert (len(points), left_out) == (findings.POINTS, 60 + 1 - findings.POINTS)
    assert points[-1].is_failure


def test_a_bundle_outside_of_git_says_that_its_commit_is_unknown(make_failure: MakeFailure) -> None:
    steps = build(make_failure(), NOW).rollback
    assert "unknown" in steps[1].purpose
    assert shlex.split(steps[1].command) == ["cp", "-a", "--", "/bundle.before-patch/.", "/bundle"]


TRACEBACK = ["Traceback (most recent call last):", "IndexError: 7"]


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        (["a", "b"], ["a", "b"]),
        ([str(number) for number in range(99)], [str(number) for number in range(59, 99)]),
        ([*TRACEBACK, *["get"] * 19], [*TRACEBACK, *["get"] * 19]),
        ([*TRACEBACK, *["get"] * 50], [*TRACEBACK, *["get"] * 50]),
        ([*TRACEBACK, *["get"] * 98], [*TRACEBACK, *["get"] * 38, "[40 lines left out]", *["get"] * 20]),
    ],
)
def test_a_log_is_shown_from_its_end_and_its_last_traceback_too(
    make_failure: MakeFailure, lines: list[str], shown: list[str]
) -> None:
    (excerpt,) = build(make_failure(logs={"web": lines}), NOW).technical_details.logs
    assert excerpt.text.splitlines() == shown


def test_half_a_key_in_a_log_is_taken_out_alone(full: Failure, tmp_path: Path) -> None:
    failure = replace(full, logs={"web": ["-----BEGIN PRIVATE KEY-----", "MC4CAQAwBQYDK2VwBCIEIGq"]})
    folder = write(tmp_path, failure, NOW, Redactor().text)
    assert missing(folder) == []
    text = (folder / intent.MARKDOWN).read_text(encoding="utf-8")
    assert "[redacted]" in text
    assert "MC4CAQ" not in text


def test_no_secret_is_written_however_markdown_would_show_it(full: Failure, tmp_path: Path) -> None:
    secret = "plum_cake*4711"
    failure = replace(full, message=f"it said {secret}", logs={"web": [f"up with {secret}"]})
    folder = write(tmp_path, failure, NOW, lambda text: text.replace(secret, "[redacted]"))
    text = (folder / intent.MARKDOWN).read_text(encoding="utf-8")
    assert "4711" not in text + (folder / intent.DATA).read_text(encoding="utf-8")
    assert "up with [redacted]" in text
    assert missing(folder) == []
