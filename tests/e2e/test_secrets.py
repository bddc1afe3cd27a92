"""Secrets never stay in evidence, whoever says them: services, suites, playbooks, a failure's message."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PLANTED = "plum-cake-4711"
TOKEN = re.compile(rb"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+")
SAYS = "import os, signal; print('up with', os.environ['DB_PASSWORD'], flush=True); signal.pause()"
SUITE = """
import os


def test_it_tells_all(window, observe):
    said = window("talker").logs() if hasattr(window("talker"), "logs") else ""
    observe("told", os.environ.get("VX11_TOKEN", "no token"))
    print(os.environ.get("VX11_TOKEN"), said)
    assert os.environ.get("VX11_TOKEN") == "PLANTED", os.environ.get("VX11_TOKEN")
"""


@pytest.fixture
def ran(
    make_bundle: Callable[..., Path],
    make_entry: Callable[..., dict[str, Any]],
    write_matrix: Callable[..., Path],
    run_matrix: Callable[..., Any],
) -> Any:
    """A run in which everybody tells a password and a token."""
    entry = make_entry(SAYS, environment={"DB_PASSWORD": PLANTED}, ports=[], vx11={"ready": {"log": "up"}})
    bundle = make_bundle({"talker": entry}, allow=["talker"])
    (bundle / "suites").mkdir()
    (bundle / "suites" / "talks.py").write_text(SUITE.replace("PLANTED", PLANTED), encoding="utf-8")
    tasks = [
        {"vx11.power.vx11_window": {"service": "talker", "state": "open", "ttl": "30s"}},
        {"ansible.builtin.debug": {"msg": "{{ lookup('env', 'VX11_TOKEN') }} " + PLANTED}},
        {"vx11.power.vx11_observe": {"observations": {"said": PLANTED}}},
        {"vx11.power.vx11_suite": {"name": "talks"}},
    ]
    return run_matrix(write_matrix(bundle, {"tells": (tasks, {"services": ["talker"]})}), "--json")


def test_no_file_has_a_secret(ran: Any) -> None:
    assert ran.case("tells")["verdict"] == "failed"
    files = [path for root in (ran.folder, ran.evidence.parent / "patch_intents") for path in root.rglob("*")]
    contents = {path: path.read_bytes() for path in files if path.is_file()}
    assert len(contents) > 10
    assert [path for path, content in contents.items() if PLANTED.encode() in content] == []
    assert [path for path, content in contents.items() if TOKEN.search(content)] == []
    assert any(b"[redacted]" in content for content in contents.values())
    assert ran.result["left"] == []


@pytest.fixture
def killed(
    make_bundle: Callable[..., Path],
    make_entry: Callable[..., dict[str, Any]],
    write_matrix: Callable[..., Path],
    begin_run: Callable[..., Any],
    tmp_path: Path,
) -> Any:
    """A run whose conductor was killed in the second of two cases that tell a password."""
    reached = tmp_path / "reached"
    os.mkfifo(reached)
    bundle = make_bundle({"talker": make_entry(SAYS, environment={"DB_PASSWORD": PLANTED}, ports=[])})
    tells = {"vx11.power.vx11_observe": {"observations": {"said": PLANTED}}}
    stays = {"ansible.builtin.shell": f"echo > {reached}; while :; do sleep 300; done"}
    cases = {"first": ([tells], {}), "second": ([tells, stays], {})}
    begun = begin_run(write_matrix(bundle, cases), reached, "--json", "--cells", "1")
    begun.process.kill()
    begun.process.wait()
    return begun


def test_no_file_of_a_run_whose_conductor_died_has_one(killed: Any) -> None:
    """Nothing has, before anybody recovers: what the try that was broken off wrote is not there yet."""
    (folder,) = (path for path in killed.evidence.iterdir() if path.is_dir())

    def telling() -> set[str]:
        files = [path for path in folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(folder)) for path in files if PLANTED.encode() in path.read_bytes()}

    assert (folder / "cases/first/1/verdict.json").is_file()
    assert PLANTED in (folder / "cases/second/1/playbook.yml").read_text(encoding="utf-8")
    assert (folder / "cases/second/1").is_symlink()
    assert telling() == set()
    command = [sys.executable, "-m", "vx11", "evidence", "recover", str(killed.evidence), "--json"]
    (found,) = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)
    assert (found["aborted"], found["left_out"]) == (["second"], None)
    assert telling() == set()
    assert not (folder / "cases/second/1").is_symlink()
    assert "[redacted]" in (folder / "cases/second/1/playbook.yml").read_text(encoding="utf-8")
