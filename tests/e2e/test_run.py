"""`vx11 run`: one matrix with a case for each way to end, on each engine."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chains import whole

OPEN = {"vx11.power.vx11_window": {"service": "web", "ttl": "1m"}, "register": "opened"}


def observing(**observations: Any) -> dict[str, Any]:
    """A task that records these."""
    return {"vx11.power.vx11_observe": {"observations": observations}}


def shell(script: str) -> dict[str, Any]:
    """A task that runs a script."""
    return {"ansible.builtin.shell": script}


def fails(why: str) -> dict[str, Any]:
    """A task that fails."""
    return {"ansible.builtin.fail": {"msg": why}}


CASES: dict[str, tuple[list[Any] | str, dict[str, Any]]] = {
    "good": (
        [OPEN, observing(ready="{{ opened.window.state == 'open' }}", startup="{{ opened.window.startup_ms }}")],
        {"services": ["web"], "asserts": [{"ready": True}, {"startup": "< 9000"}]},
    ),
    "wrong": ([observing(leaves=3)], {"asserts": [{"leaves": "< 3"}]}),
    "unseen": ([observing(other=True)], {"asserts": [{"wanted": True}]}),
    "task-fails": ([fails("as planned")], {}),
    "rescued-before": ([{"block": [fails("rescued")], "rescue": [observing(rescued=True)]}, fails("not rescued")], {}),
    "no-yaml": ("- hosts: all\n  tasks: [\n", {}),
    "slow": ([shell("sleep 60")], {"timeout": "2s"}),
    "leaves-a-process": ([shell("setsid sleep 60 > /dev/null 2>&1 & exit 0")], {}),
    "after-all-that": ([OPEN, observing(open=True)], {"services": ["web"], "asserts": [{"open": True}]}),
}


@pytest.fixture(scope="module", params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def ran(
    request: pytest.FixtureRequest,
    make_bundle: Callable[..., Path],
    write_matrix: Callable[..., Path],
    run_matrix: Callable[..., Any],
    web: dict[str, Any],
) -> Any:
    """The whole matrix, run once an engine."""
    return run_matrix(write_matrix(make_bundle({"web": web}), CASES), "--json", "--engine", request.param)


@pytest.mark.parametrize(
    ("case", "verdict", "message"),
    [
        ("good", "passed", ""),
        ("wrong", "failed", "leaves: expected < 3, observed 3"),
        ("unseen", "failed", "wanted: not observed"),
        ("task-fails", "failed", "as planned"),
        ("rescued-before", "failed", "task 'ansible.builtin.fail': not rescued"),
        ("no-yaml", "failed", "ansible-playbook ended with"),
        ("slow", "failed", "it was not done after 2.0 s"),
        ("leaves-a-process", "leaked", "no_resource_leaks"),
        ("after-all-that", "passed", ""),
    ],
)
def test_each_case_has_its_verdict(ran: Any, case: str, verdict: str, message: str) -> None:
    found = ran.case(case)
    assert (found["verdict"], message in found["message"]) == (verdict, True), found


def test_it_ends_with_1_since_cases_failed(ran: Any) -> None:
    assert ran.code == 1
    assert ran.result["passed"] is False
    assert ran.result["left"] == []


def test_the_base_asserts_are_judged_for_every_case_that_ran(ran: Any) -> None:
    for case in ("good", "wrong", "slow", "task-fails"):
        held = {item["name"]: item["holds"] for item in ran.case(case)["asserts"]}
        assert held["system_returns_to_solo_madre"]
        assert held["tentaculo_link_available"]
        assert held["no_resource_leaks"]


def test_its_evidence_verifies_and_has_every_verdict(ran: Any) -> None:
    records = whole(ran.folder / "evidence.jsonl")
    lines = [json.loads(line) for line in (ran.folder / "evidence.jsonl").read_text().splitlines()]
    assert len(lines) == records
    assert sorted(line["subject"] for line in lines if line["action"] == "verdict") == sorted(CASES)


def test_the_index_says_how_it_ended(ran: Any) -> None:
    (entry,) = json.loads((ran.evidence / "index.json").read_text())["runs"].values()
    assert entry["state"] == "finished"
    assert entry["verdicts"] == {"passed": 2, "failed": 6, "leaked": 1}


def test_the_manifest_has_every_file(ran: Any) -> None:
    listed = set(json.loads((ran.folder / "manifest.json").read_text())["files"])
    there = {str(path.relative_to(ran.folder)) for path in ran.folder.rglob("*") if path.is_file()}
    assert there - listed == {"manifest.json"}
    assert {"cases/good/1/playbook.yml", "cases/good/1/observations.jsonl", "cases/good/1/runner/stdout"} <= listed


def test_junit_has_a_test_case_for_each_case(ran: Any) -> None:
    suite = ET.parse(ran.folder / "report" / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    assert [case.get("name") for case in suite.iter("testcase")] == list(CASES)
    assert (suite.get("failures"), suite.get("skipped")) == ("7", "0")


def test_no_token_and_no_environment_is_in_the_evidence(ran: Any) -> None:
    command = json.loads((ran.folder / "cases/good/1/runner/command").read_text())
    assert "VX11_TOKEN" in command["env"]
    assert isinstance(command["env"], list)
    for path in ran.folder.rglob("*"):
        assert not path.is_file() or b"eyJ" not in path.read_bytes(), f"{path} has a token"
