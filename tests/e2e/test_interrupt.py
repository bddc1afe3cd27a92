"""Ctrl-C in the middle of a case, and a madre that dies in the middle of one."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vx11.engines import procfs

# The process that listens at the cell's own address.
FIND = (
    "{{ ansible_playbook_python }} -c \"import psutil; print(next(c.pid for c in psutil.net_connections('tcp')"
    " if c.status == 'LISTEN' and c.laddr.port == int('{{ vx11_url }}'.rpartition(':')[2])))\""
)
OPEN = {"vx11.power.vx11_window": {"service": "web", "ttl": "5m"}}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing_and_says_aborted(
    number: signal.Signals,
    engine_name: str,
    make_bundle: Callable[..., Path],
    write_matrix: Callable[..., Path],
    web: dict[str, Any],
    tmp_path: Path,
    run_command: Callable[..., list[str]],
    left_of: Callable[[Path], list[str]],
) -> None:
    reached = tmp_path / "reached"
    os.mkfifo(reached)
    wait = {"ansible.builtin.shell": f"echo > {reached}; sleep 300"}
    bundle = write_matrix(make_bundle({"web": web}), {"first": ([OPEN, wait], {}), "second": ([OPEN], {})})
    temporary, evidence = tmp_path / "tmp", tmp_path / "evidence"
    temporary.mkdir()
    with subprocess.Popen(
        run_command(bundle, evidence, "--json", "--engine", engine_name, "--cells", "1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"TMPDIR": str(temporary)},
        start_new_session=True,
    ) as conductor:
        opened = threading.Thread(target=reached.read_text, daemon=True)
        opened.start()
        opened.join(30)
        assert not opened.is_alive(), "the case did not get to its second task"
        os.killpg(conductor.pid, number)
        output, _ = conductor.communicate(timeout=60)
    assert conductor.returncode == 130
    assert [case["verdict"] for case in json.loads(output)["cases"]] == ["aborted", "aborted"]
    (entry,) = json.loads((evidence / "index.json").read_text())["runs"].values()
    assert entry["state"] == "aborted"
    assert left_of(temporary) == []


def test_a_madre_that_dies_fails_its_case_and_the_next_one_gets_another(
    make_bundle: Callable[..., Path],
    write_matrix: Callable[..., Path],
    run_matrix: Callable[..., Any],
    web: dict[str, Any],
) -> None:
    kill = {"ansible.builtin.command": "kill -9 {{ lookup('ansible.builtin.pipe', find) }}", "vars": {"find": FIND}}
    bundle = write_matrix(
        make_bundle({"web": web}),
        {"killed": ([OPEN, kill], {"services": ["web"]}), "next": ([OPEN], {"services": ["web"]})},
    )
    ran = run_matrix(bundle, "--json")
    assert [case["verdict"] for case in ran.result["cases"]] == ["failed", "passed"]
    held = {item["name"]: item["holds"] for item in ran.case("killed")["asserts"]}
    assert held == {
        "system_returns_to_solo_madre": False,
        "tentaculo_link_available": False,
        "no_resource_leaks": True,
    }
    assert ran.code == 1


def test_ended_processes_are_really_gone(tmp_path: Path, eventually: Callable[..., Any]) -> None:
    """`left_of` sees a process by its TMPDIR, so the tests above can fail."""
    with subprocess.Popen(["sleep", "60"], env={"TMPDIR": str(tmp_path)}) as child:
        # A program that is being loaded has no environment to be read for a moment.
        eventually(lambda: procfs.marked("TMPDIR", str(tmp_path)) == [child.pid])
        child.kill()
