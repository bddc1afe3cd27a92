"""`ansible-playbook` by hand against a running madre."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vx11 import tokens
from vx11.conductor import collection
from vx11.conductor.cell import Cell

CHECKOUT = Path(__file__).resolve().parents[2]
LIFE = Path(__file__).parent / "playbooks" / "life_of_a_window.yml"
GATES = CHECKOUT / "playbooks" / "gates.yml"
CALLS = Path(__file__).parent / "playbooks" / "calls_of_a_case.yml"
# A suite that works until its window is gone, and then says that it failed.
UPLOAD = """
def test_upload(window, mid_operation, step):
    web = window("web")
    assert web.http.get("/health").status_code == 200
    mid_operation()
    with step("upload"):
        while web.http.get("/health").status_code == 200:
            pass
"""
Playbook = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def ansible_playbook(tmp_path: Path) -> Playbook:
    """`ansible_playbook(file, url, token, *arguments)` here; names are of its environment."""
    found = collection.find(CHECKOUT / "matrices" / "e2e")
    environment = os.environ | {
        "ANSIBLE_COLLECTIONS_PATH": str(found.search_path(tmp_path / "collections")),
        "ANSIBLE_HOME": str(tmp_path / "home"),
        "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
        "ANSIBLE_NOCOLOR": "1",
    }

    def run(playbook: Path, url: str, token: str, *more: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        return subprocess.run(
            [program, "-i", str(CHECKOUT / "inventories" / "local"), str(playbook), *more],
            capture_output=True,
            text=True,
            timeout=120,
            env=environment | {"VX11_URL": url, "VX11_TOKEN": token} | variables,
            check=False,
        )

    return run


@pytest.fixture
def two(
    make_bundle: Callable[..., Path], start_cell: Callable[..., Cell], web: dict[str, Any], engine_name: str
) -> Cell:
    """A cell whose catalogue has `web`, which is allowed, and `blocked`, which is not."""
    return start_cell(make_bundle({"web": web, "blocked": web}, ["web"]), engine_name)


def test_a_window_lives_and_every_call_tells_the_truth(ansible_playbook: Playbook, two: Cell) -> None:
    limits = '{"limits": {"pids": 50}}' if "limits.pids" in two.engine.capabilities else '{"limits": {}}'
    done = ansible_playbook(LIFE, two.url, two.token, "-e", limits)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr


def test_calls_of_a_case(
    ansible_playbook: Playbook,
    make_bundle: Callable[..., Path],
    start_cell: Callable[..., Cell],
    web: dict[str, Any],
    tmp_path: Path,
) -> None:
    """Windows that open together, here and shipped; a refusal; a suite that is interrupted; all of it written down."""
    cell = start_cell(make_bundle({"web": web, "other": web, "blocked": web}, ["web", "other"]), "process")
    suite, case = tmp_path / "upload.py", tmp_path / "case"
    suite.write_text(UPLOAD, encoding="utf-8")
    case.mkdir()
    done = ansible_playbook(CALLS, cell.url, cell.token, "-e", f"suite={suite}", VX11_CASE_DIR=str(case))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    steps = [json.loads(line) for line in (case / "steps.jsonl").read_text(encoding="utf-8").splitlines()]
    windows = {window["service"]: window["window_id"] for window in steps[0]["result"]["windows"]}
    assert set(windows) == {"web", "other"}
    interrupted = next(step["result"] for step in steps if step["module"] == "vx11_suite")
    assert interrupted["interruption"]["window"]["window_id"] == windows["web"]
    assert interrupted["interruption"]["window"]["reason"] == "requested"
    requests = (case / "suites" / "upload" / "requests.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(requests[0])["status"] == 200
    assert json.loads(requests[-1])["status"] is None
    assert cell.token not in (case / "steps.jsonl").read_text(encoding="utf-8")


def test_the_public_playbook_returns_a_host_to_solo_madre(ansible_playbook: Playbook, two: Cell) -> None:
    playbook = CHECKOUT / "playbooks" / "solo_madre.yml"
    with two.madre() as madre:
        madre.post("/api/v1/windows/open", service="web")
        looked = ansible_playbook(playbook, two.url, two.token, "--check", "--diff")
        assert "changed=1" in looked.stdout
        assert len(madre.status()["windows"]) == 1
        assert "changed=1" in ansible_playbook(playbook, two.url, two.token).stdout
        assert madre.status()["solo_madre"] is True
    assert "changed=0" in ansible_playbook(playbook, two.url, two.token).stdout


@pytest.mark.parametrize(
    ("url", "token", "sentence"),
    [
        ("http://127.0.0.1:9", "x", "127.0.0.1:9"),
        ("not a url", "x", "http or https URL"),
        (None, "garbage", "token"),
        (None, "", "VX11_TOKEN"),
    ],
)
def test_a_wrong_url_or_token_is_one_clear_message(
    ansible_playbook: Playbook,
    make_bundle: Callable[..., Path],
    start_cell: Callable[..., Cell],
    web: dict[str, Any],
    url: str | None,
    token: str,
    sentence: str,
) -> None:
    cell = start_cell(make_bundle({"web": web}), "process")
    done = ansible_playbook(CHECKOUT / "playbooks" / "solo_madre.yml", url or cell.url, token)
    assert done.returncode == 2
    assert "failed=1" in done.stdout or "unreachable=1" in done.stdout
    assert sentence in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_the_gates_of_a_host(
    ansible_playbook: Playbook,
    make_bundle: Callable[..., Path],
    start_cell: Callable[..., Cell],
    web: dict[str, Any],
    tmp_path: Path,
) -> None:
    cell = start_cell(make_bundle({"web": web}), "process")
    variables = {
        "vx11_command": str(Path(sys.executable).with_name("vx11")),
        "vx11_audit": str(tmp_path / "audit"),
        "vx11_gates_arguments": ["--gate", "1", "--gate", "8"],
    }

    def look(*more: str) -> "subprocess.CompletedProcess[str]":
        return ansible_playbook(GATES, cell.url, _closer(cell), "-e", json.dumps(variables), *more)

    assert "skipped=2" in look("--check").stdout
    done = look()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "gate 1 not_applicable" in done.stdout
    assert "gate 8 passed" in done.stdout
    with cell.madre() as madre:
        madre.post("/api/v1/windows/open", service="web")
    done = look()
    assert done.returncode == 2
    assert "gate 8 failed: the host is in SOLO_MADRE" in done.stdout
    assert len([path for path in (tmp_path / "audit").iterdir() if path.is_dir()]) == 2


def _closer(cell: Cell) -> str:
    key = tokens.read_key(cell.folder / "key")
    return tokens.issue(key, subject="closer", scopes=("system:write", "operator:chat"), ttl=300, cell=cell.name)
