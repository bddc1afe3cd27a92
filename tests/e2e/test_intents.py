"""`vx11 run` writes a patch intent for each case that failed, and `vx11 intent` reads it."""

import hashlib
import json
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.controls import SHIPPED
from vx11.recovery import intent

OPEN = {"vx11.power.vx11_window": {"service": "web", "ttl": "1m"}}
SUITE = """
import httpx


def test_health_is_as_promised(window):
    answer = httpx.get(f"{window('web').url}/health", trust_env=False)
    assert answer.status_code == 204, f"{answer.url} answered {answer.status_code}, not 204"
"""
GENERATED = {"asserts": [{"patch_intent_generated": True}, {"no_auto_patch_applied": True}]}
CASES: dict[str, tuple[list[Any] | str, dict[str, Any]]] = {
    "answers-wrong": ([OPEN, {"vx11.power.vx11_suite": {"name": "promise"}}], {"services": ["web"], **GENERATED}),
    "meant-to": (
        [OPEN, {"vx11.power.vx11_suite": {"name": "promise", "expect_failure": True}}],
        {"services": ["web"], **GENERATED},
    ),
    "leaks": ([{"ansible.builtin.shell": "setsid sleep 60 > /dev/null 2>&1 & exit 0"}], {}),
    "good": ([OPEN], {"services": ["web"]}),
}
EXPLAINED = ("answers-wrong", "meant-to", "leaks")


@pytest.fixture(scope="module")
def bundle(make_bundle: Callable[..., Path], write_matrix: Callable[..., Path], web: dict[str, Any]) -> Path:
    """The matrix, with a suite that fails."""
    folder = write_matrix(make_bundle({"web": web}), CASES)
    (folder / "suites").mkdir()
    (folder / "suites" / "promise.py").write_text(SUITE, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of intents."""
    return tmp_path_factory.mktemp("intents") / "made-by-the-run"


@pytest.fixture(scope="module")
def ran(bundle: Path, root: Path, run_matrix: Callable[..., Any]) -> Any:
    """The matrix, run."""
    return run_matrix(bundle, "--json", "--cells", "1", "--intents", str(root))


def intent_of(ran: Any, case: str) -> Path:
    return Path(ran.case(case)["intent"])


def record_of(ran: Any, case: str) -> dict[str, Any]:
    lines = (ran.folder / "evidence.jsonl").read_text().splitlines()
    records = [record for record in map(json.loads, lines) if record["action"] == "patch_intent"]
    (found,) = (record["data"] for record in records if record["subject"] == case)
    return dict(found)


def vx11(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vx11", *words], capture_output=True, text=True, timeout=60, check=False
    )


def test_what_failed_has_an_intent_and_what_passed_has_none(ran: Any, root: Path) -> None:
    verdicts = {case: ran.case(case)["verdict"] for case in CASES}
    assert verdicts == {"answers-wrong": "failed", "meant-to": "passed", "leaks": "leaked", "good": "passed"}
    assert {path.name for path in root.iterdir()} == {intent_of(ran, case).name for case in EXPLAINED}
    assert ran.case("good")["intent"] is None


@pytest.mark.parametrize("case", EXPLAINED)
def test_it_has_every_section_and_is_for_its_owner_and_group(ran: Any, case: str) -> None:
    folder = intent_of(ran, case)
    assert folder.name.endswith(f"-{ran.result['test_id']}.{case}")
    assert intent.missing(folder) == []
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o640}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750


def test_the_case_is_judged_on_its_intent(ran: Any) -> None:
    held = {item["name"]: item["holds"] for item in ran.case("answers-wrong")["asserts"]}
    assert held["patch_intent_generated"]
    assert held["no_auto_patch_applied"]


def test_the_suspect_is_the_service_whose_answer_it_was(ran: Any) -> None:
    found = json.loads((intent_of(ran, "answers-wrong") / "intent.json").read_text())
    primary = found["root_cause"]["primary"]
    assert (primary["cause"], primary["suspect"], primary["kind"]) == ("wrong_answer", "web", "service")
    assert primary["confidence"] > 80
    assert [ground["sign"] for ground in primary["supports"]] == ["answers_wrong", "lived"]
    assert found["root_cause"]["alternatives"]
    assert found["failure_summary"]["phase"] == "suite"
    assert found["failure_summary"]["detected_at"] < found["metadata"]["generated"]
    (trace,) = found["technical_details"]["tracebacks"]
    assert "answered 200, not 204" in trace["text"]
    assert any("web: opened" in point["observation"] for point in found["technical_details"]["evidence_points"])
    assert found["impact"]["systems"][0]["text"] == "tentaculo_link: GET /health answered after the failure"


def test_its_patch_is_valid_yaml_that_asks_not_to_be_applied(ran: Any) -> None:
    text = (intent_of(ran, "answers-wrong") / "PATCH_INTENT.md").read_text()
    block = text.partition("```yaml\n")[2].partition("```")[0]
    assert block.startswith("# do not apply automatically\n")
    patch = yaml.safe_load(block)
    assert (patch["apply_automatically"], patch["type"], patch["target"]) == (False, "code", "web")
    assert patch["changes"][0]["to"] == "unknown"
    assert patch["changes"][0]["why"]


def test_a_failure_that_was_meant_is_explained_like_any_other(ran: Any) -> None:
    found = json.loads((intent_of(ran, "meant-to") / "intent.json").read_text())
    assert found["failure_summary"]["expected"]
    assert (found["failure_summary"]["phase"], found["failure_summary"]["error_code"]) == ("suite", "suite_failed")
    assert found["root_cause"]["primary"]["suspect"] == "web"
    other, *_ = found["root_cause"]["other_cases"]
    assert other.startswith("answers-wrong failed in the same way: PI-")
    assert any(
        text.startswith("answers-wrong, which uses it too: failed") for text in found["root_cause"]["other_cases"]
    )


def test_what_only_the_clean_up_shows_is_named(ran: Any) -> None:
    found = json.loads((intent_of(ran, "leaks") / "intent.json").read_text())
    assert found["failure_summary"]["phase"] == "clean-up"
    assert found["failure_summary"]["impact"] == "HIGH"
    primary = found["root_cause"]["primary"]
    assert (primary["cause"], primary["suspect"]) == ("leak", "leaks")
    assert "1 processes of the playbook" in primary["supports"][0]["observation"]


def test_the_chain_has_what_was_written(ran: Any) -> None:
    record = record_of(ran, "answers-wrong")
    assert record["written"]
    assert record["missing"] == []
    assert record["folder"] == str(intent_of(ran, "answers-wrong"))
    assert set(record["sha256"]) == {"PATCH_INTENT.md", "intent.json"}


def test_what_was_written_is_what_the_chain_says(ran: Any) -> None:
    folder, record = intent_of(ran, "answers-wrong"), record_of(ran, "answers-wrong")
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert record["sha256"] == digests


def test_the_logs_that_it_names_are_in_the_evidence(ran: Any) -> None:
    kept = ran.folder / "cases" / "answers-wrong" / "1" / "logs" / "web.log"
    assert "listens on" in kept.read_text(encoding="utf-8")
    manifest = json.loads((ran.folder / "manifest.json").read_text(encoding="utf-8"))
    assert "cases/answers-wrong/1/logs/web.log" in manifest["files"]


def test_it_is_part_of_the_evidence(ran: Any, root: Path, tmp_path: Path) -> None:
    manifest = json.loads((ran.folder / "manifest.json").read_text(encoding="utf-8"))
    for case in EXPLAINED:
        kept = {f"cases/{case}/1/intent/{name}": digest for name, digest in record_of(ran, case)["sha256"].items()}
        assert manifest["files"].items() >= kept.items()
    archive = tmp_path / "run.tar.gz"
    assert vx11("evidence", "export", str(ran.folder), "--out", str(archive)).returncode == 0
    with tarfile.open(archive) as tar:
        assert f"{ran.folder.name}/cases/leaks/1/intent/PATCH_INTENT.md" in tar.getnames()
    assert vx11("intent", "show", "leaks", "--intents", str(root)).stderr == ""
    signed_off = intent_of(ran, "leaks") / "PATCH_INTENT.md"
    before = signed_off.read_text(encoding="utf-8")
    signed_off.write_text(f"{before}signed\n", encoding="utf-8")
    try:
        shown = vx11("intent", "show", "leaks", "--intents", str(root))
        verified = vx11("evidence", "verify", str(ran.folder))
    finally:
        signed_off.write_text(before, encoding="utf-8")
    assert "it is not as it was written (PATCH_INTENT.md was changed)" in shown.stderr
    assert (verified.returncode, f"the patch intent {signed_off.parent} is not as it was" in verified.stdout) == (
        0,
        True,
    )


def test_the_report_links_to_it(ran: Any) -> None:
    page = (ran.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "../cases/answers-wrong/1/intent/PATCH_INTENT.md" in page
    assert f"{intent_of(ran, 'answers-wrong').name}/PATCH_INTENT.md" in page


def test_the_case_that_is_about_failure_is_explained_to_its_line(run_matrix: Callable[..., Any]) -> None:
    ran = run_matrix(SHIPPED, "--json", "--case", "TC-011")
    assert (ran.code, ran.case("TC-011")["verdict"]) == (0, "passed")
    folder = intent_of(ran, "TC-011")
    assert intent.missing(folder) == []
    found = json.loads((folder / "intent.json").read_text(encoding="utf-8"))
    primary, (change,) = found["root_cause"]["primary"], found["proposed_patch"]["changes"]
    assert (primary["cause"], primary["suspect"]) == ("bug", "buggy-service")
    assert {ground["sign"] for ground in primary["supports"]} >= {"traceback", "says_5xx"}
    program = (SHIPPED / change["file"]).read_text(encoding="utf-8").splitlines()
    assert (change["file"], change["from"]) == ("services/buggy_service.py", program[change["line"] - 1].strip())
    assert "self._texts[number]" in change["from"]
    assert (change["to"], change["why"].startswith("IndexError: ")) == ("unknown", True)
    assert (found["failure_summary"]["expected"], found["failure_summary"]["impact"]) == (True, "MEDIUM")
    assert found["root_cause"]["signature"].startswith("bug of buggy-service: IndexError in page")


def test_the_command_lists_and_shows_them(ran: Any, root: Path) -> None:
    listed = vx11("intent", "list", "--intents", str(root), "--json")
    assert listed.returncode == 0
    assert {item["test_case"]: item["suspect"] for item in json.loads(listed.stdout)} == {
        "answers-wrong": "web",
        "meant-to": "web",
        "leaks": "leaks",
    }
    shown = vx11("intent", "show", "answers", "--intents", str(root))
    assert shown.stdout.startswith("# Patch intent: answers-wrong\n")
    assert "## 9. Sign-off" in shown.stdout
    unknown = vx11("intent", "show", "good", "--intents", str(root))
    assert (unknown.returncode, "there is no intent good" in unknown.stderr) == (2, True)


def test_an_intent_that_cannot_be_written_fails_only_who_asserts_it(
    bundle: Path, tmp_path: Path, run_matrix: Callable[..., Any]
) -> None:
    blocked = tmp_path / "a-file"
    blocked.write_text("", encoding="utf-8")
    ran = run_matrix(bundle, "--json", "--intents", str(blocked), "--case", "answers-wrong", "--case", "leaks")
    held = {item["name"]: item["holds"] for item in ran.case("answers-wrong")["asserts"]}
    assert not held["patch_intent_generated"]
    assert ran.case("leaks")["verdict"] == "leaked"
    assert ran.case("leaks")["intent"] is None
    assert record_of(ran, "leaks")["written"] is False
    assert "cannot be written" in record_of(ran, "leaks")["why"]
