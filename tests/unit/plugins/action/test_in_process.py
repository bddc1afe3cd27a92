"""Modules in Ansible's own process, and as they are shipped: real plays against a madre that answers by script.

A task is shipped if it has async. Where a module runs on this machine no interpreter is started for it: the plays name
one that is not there, and give the real one to the tasks that are to be shipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

OPEN, FAULT = "/api/v1/windows/open", "/api/v1/windows/fault"
STATUS, SOLO = "/api/v1/windows/status", "/api/v1/system/solo_madre"
NO_INTERPRETER = "/nowhere/python"
REAL = {"ansible_python_interpreter": sys.executable}
SHIPPED = {"async": 60, "poll": 1, "vars": REAL}
# What async itself adds to a result, and what differs from call to call.
ASYNC = {"ansible_job_id", "finished", "started", "results_file", "stdout", "stdout_lines", "stderr", "stderr_lines"}
VARYING = ASYNC | {"request_ms", "exception"}  # a traceback names the copy that was shipped

Play = Callable[..., "Played"]


class Played:
    """A play that has ended: what it printed, the result of each task, and the lines in steps.jsonl."""

    def __init__(self, printed: str, results: list[dict[str, Any]], steps: list[dict[str, Any]]) -> None:
        self.printed = printed
        self.results = results
        self.steps = steps


@pytest.fixture
def play(tmp_path: Path, madre: Any, collections_path: str) -> Play:
    """`play(tasks, *arguments)` plays them one after the other, whatever becomes of them, in a case."""

    def run(tasks: list[dict[str, Any]], *arguments: str) -> Played:
        case, results = tmp_path / "case", tmp_path / "results"
        case.mkdir()
        results.mkdir()
        written: list[dict[str, Any]] = []
        for number, task in enumerate(tasks):
            written.append({**task, "register": "result", "ignore_errors": True})
            content = {"content": "{{ result | to_json }}", "dest": f"{results}/{number:02}.json", "mode": "0600"}
            written.append({"ansible.builtin.copy": content, "vars": REAL, "check_mode": False, "diff": False})
        defaults = {"group/vx11.power.vx11": {"url": "{{ vx11_url }}"}}
        whole = {"hosts": "all", "gather_facts": False, "module_defaults": defaults, "tasks": written}
        playbook = tmp_path / "play.yml"
        playbook.write_text(yaml.safe_dump([whole]), encoding="utf-8")
        inventory = tmp_path / "inventory.yml"
        host = {"vx11_url": madre.url, "ansible_connection": "local", "ansible_python_interpreter": NO_INTERPRETER}
        inventory.write_text(yaml.safe_dump({"all": {"hosts": {"cell": host}}}), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", str(inventory), str(playbook), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env=_environment(tmp_path, collections_path) | {"VX11_CASE_DIR": str(case), "VX11_TOKEN": "hushhush"},
        )
        printed = done.stdout + done.stderr
        assert done.returncode == 0, printed
        steps = case / "steps.jsonl"
        lines = steps.read_text(encoding="utf-8").splitlines() if steps.exists() else []
        found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.iterdir())]
        return Played(printed, found, [json.loads(line) for line in lines])

    return run


def _environment(folder: Path, collections_path: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("VX11_", "ANSIBLE_"))}
    return own | {
        "ANSIBLE_COLLECTIONS_PATH": collections_path,
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_ASYNC_DIR": str(folder / "async"),
        "ANSIBLE_REMOTE_TEMP": str(folder / "remote"),
        "ANSIBLE_NOCOLOR": "1",
    }


def same(result: dict[str, Any]) -> dict[str, Any]:
    """What has to be the same, however a module was run."""
    return {name: value for name, value in result.items() if name not in VARYING}


def test_a_module_does_the_same_here_and_shipped(madre: Any, play: Play, window: Any, status: Any) -> None:
    madre.answer(STATUS, status())
    madre.answer(OPEN, window(changed=True))
    madre.answer(FAULT, window(faults=["pause"], proof="stopped", changed=True))
    madre.refuse(SOLO, 403, "scope_missing", "The token lacks the scope system:write.")
    tasks = [
        {"vx11.power.vx11_window": {"service": "auth-service", "ttl": "5m", "resources": {"cpu": 0.5}}, "diff": True},
        {"vx11.power.vx11_window": {"services": ["x", "y"]}},
        {"vx11.power.vx11_window_info": {"closed": True}},
        {"vx11.power.vx11_fault": {"service": "auth-service", "kind": "pause"}, "diff": True},
        {"vx11.power.vx11_solo_madre": {}},
        {"vx11.power.vx11_window": {"service": "auth-service", "colour": "red"}},
        {"vx11.power.vx11_window": {"service": "auth-service", "token": "two words"}},
    ]
    played = play([each for task in tasks for each in (task, {**task, **SHIPPED})], "-vvv")
    here, shipped = played.results[::2], played.results[1::2]
    assert [same(result) for result in here] == [same(result) for result in shipped]
    assert [result["failed"] for result in here] == [False] * 4 + [True] * 3
    assert here[0]["diff"]["before"] != here[0]["diff"]["after"]
    assert not any(ASYNC & set(result) for result in here)
    assert all("ansible_job_id" in result for result in shipped)
    assert "hushhush" not in played.printed
    assert "hushhush" not in json.dumps([played.results, played.steps])


def test_check_mode_changes_and_writes_nothing(madre: Any, play: Play, window: Any) -> None:
    madre.answer(OPEN, window(changed=True))
    played = play([{"vx11.power.vx11_window": {"service": "auth-service"}}], "--check")
    assert [result["changed"] for result in played.results] == [True]
    assert [request["body"]["dry_run"] for request in madre.requests] == [True]
    assert played.steps == []


def test_the_environment_of_a_task_reaches_the_module_and_ends_with_it(madre: Any, play: Play, status: Any) -> None:
    madre.answer(STATUS, status())
    info: dict[str, Any] = {"vx11.power.vx11_window_info": {}}
    played = play([{**info, "environment": {"VX11_TOKEN": "of-the-task"}}, info])
    assert [result["failed"] for result in played.results] == [False, False]
    tokens = [request["headers"]["Authorization"] for request in madre.requests]
    assert tokens == ["Bearer of-the-task", "Bearer hushhush"]


def test_in_a_case_madre_is_called_from_here_whatever_the_connection(madre: Any, play: Play, status: Any) -> None:
    madre.answer(STATUS, status())
    info: dict[str, Any] = {"vx11.power.vx11_window_info": {}}
    away = {"ansible_connection": "ssh", "ansible_host": "192.0.2.1"}
    played = play([{**info, "vars": away}, {**info, "become": True}])
    assert [result["failed"] for result in played.results] == [False, False]
    assert [request["headers"]["Authorization"] for request in madre.requests] == ["Bearer hushhush"] * 2


def test_each_call_is_written_down(madre: Any, play: Play, window: Any) -> None:
    madre.answer(OPEN, window(changed=True))
    madre.refuse(SOLO, 403, "scope_missing", "The token lacks the scope system:write.")
    played = play(
        [
            {"vx11.power.vx11_window": {"service": "{{ item }}", "token": "hushhush"}, "loop": ["x", "y"]},
            {"vx11.power.vx11_solo_madre": {}},
            {"vx11.power.vx11_window": {"service": "z"}, "no_log": True},
        ]
    )
    first, second, refused, silent = played.steps
    assert (first["schema"], first["module"], first["changed"], first["failed"]) == (1, "vx11_window", True, False)
    assert first["args"] == {"service": "x", "url": madre.url}
    assert first["result"]["window"] == window()
    assert set(first["result"]) == {"window", "request_ms"}
    assert second["args"]["service"] == "y"
    assert (refused["failed"], refused["result"]["problem"]["code"]) == (True, "scope_missing")
    assert "lacks the scope" in refused["msg"]
    assert (silent["args"], silent["result"], silent["msg"], silent["changed"]) == ({}, {}, None, True)
    times = [int(step[key]) for step in played.steps for key in ("begun_ns", "ended_ns")]
    assert times == sorted(times)
    assert all(int(step["ended_ns"]) - int(step["begun_ns"]) >= first["result"]["request_ms"] for step in played.steps)
