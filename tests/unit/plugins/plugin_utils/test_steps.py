"""What is written down of a call, where it is, and what happens if it cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.playbook.task import Task
from ansible_collections.vx11.power.plugins.plugin_utils.steps import recorded

MakeTask = Callable[..., Task]


@pytest.fixture
def task() -> MakeTask:
    """Makes a task of vx11_window."""

    def make(check: bool = False, **args: Any) -> Task:
        made = Task()
        made.action, made.args, made.check_mode = "vx11.power.vx11_window", args, check
        return made

    return make


def work() -> dict[str, Any]:
    return {"changed": True, "window": {"service": "web"}, "invocation": {}, "_ansible_parsed": True}


def lines(folder: Path) -> list[dict[str, Any]]:
    path = folder / "steps.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def test_a_call_of_a_case_is_one_line(task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VX11_CASE_DIR", str(tmp_path))
    assert recorded(task(service="web", token="hushhush"), work) == work()
    [line] = lines(tmp_path)
    assert int(line.pop("begun_ns")) < int(line.pop("ended_ns"))
    assert int(line.pop("wall_ns")) > 10**18
    assert line == {
        "schema": 1,
        "module": "vx11_window",
        "args": {"service": "web"},
        "changed": True,
        "failed": False,
        "msg": None,
        "result": {"window": {"service": "web"}},
    }


@pytest.mark.parametrize(("check", "in_case"), [(True, True), (False, False)])
def test_check_mode_and_calls_outside_a_case_leave_nothing(
    task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: bool, in_case: bool
) -> None:
    if in_case:
        monkeypatch.setenv("VX11_CASE_DIR", str(tmp_path))
    assert recorded(task(check=check, service="web"), work) == work()
    assert list(tmp_path.iterdir()) == []


def test_what_could_not_be_done_is_written_down_too(
    task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> dict[str, Any]:
        raise AnsibleError("no interpreter")

    monkeypatch.setenv("VX11_CASE_DIR", str(tmp_path))
    with pytest.raises(AnsibleError, match="no interpreter"):
        recorded(task(), fails)
    assert [(line["failed"], line["msg"], line["changed"]) for line in lines(tmp_path)] == [
        (True, "no interpreter", False)
    ]


def test_what_cannot_be_written_down_fails_the_task(
    task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VX11_CASE_DIR", str(tmp_path / "nothing"))
    with pytest.raises(AnsibleActionFail, match=r"cannot be written to .*/nothing/steps.jsonl: No such file"):
        recorded(task(), work)


def test_what_is_encrypted_stays_so(task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Encrypted:
        def __str__(self) -> str:
            return "hushhush"

    monkeypatch.setenv("VX11_CASE_DIR", str(tmp_path))
    recorded(task(service=Encrypted()), work)
    assert [line["args"] for line in lines(tmp_path)] == [{"service": "(Encrypted)"}]
