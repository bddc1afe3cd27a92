"""The process engine's own decisions: what it claims, which program it runs, which ports it keeps."""

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vx11.catalogue.compose import Service
from vx11.catalogue.limits import Limits
from vx11.catalogue.service import Entry
from vx11.engines import cgroups
from vx11.engines.cgroups import Hierarchy
from vx11.engines.port import EngineError, Running
from vx11.engines.process import ProcessEngine

MakeEngine = Callable[..., ProcessEngine]


@pytest.fixture
def engine(tmp_path: Path) -> MakeEngine:
    """`engine(hierarchy=None)` in the test's folder; several share their state."""
    return lambda hierarchy=None: ProcessEngine("t-cell", tmp_path / "state", tmp_path / "data", hierarchy)


def service(tmp_path: Path, name: str = "web", **entry: Any) -> Service:
    return Service(name, Entry.model_validate({"image": "x", **entry}), b"{}", tmp_path)


def runs(*command: str) -> dict[str, Any]:
    return {"process": {"command": list(command)}}


@pytest.mark.parametrize(
    ("controllers", "device", "claims"),
    [
        (None, "8:0", set()),
        (("cpu", "memory", "io", "pids"), "8:0", {"limits.cpu", "limits.memory", "limits.pids", "limits.iops"}),
        (("cpu", "memory", "io", "pids"), None, {"limits.cpu", "limits.memory", "limits.pids"}),
        (("cpu", "cpuacct", "blkio"), "8:0", {"limits.cpu", "limits.iops"}),
        (("memory",), "8:0", {"limits.memory"}),
    ],
)
def test_it_claims_what_control_groups_and_disks_allow(
    engine: MakeEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    controllers: tuple[str, ...] | None,
    device: str | None,
    claims: set[str],
) -> None:
    monkeypatch.setattr(cgroups, "device_of", lambda path: device)
    hierarchy = Hierarchy(2, dict.fromkeys(controllers, tmp_path)) if controllers else None
    made = engine(hierarchy)
    assert {claim for claim in made.capabilities if claim.startswith("limits.")} == claims
    assert {"usage.cpu", "usage.memory"} <= made.capabilities
    assert ("usage.io" in made.capabilities) is bool({"io", "blkio"} & set(controllers or ()))


def test_without_control_groups_nothing_is_limited(engine: MakeEngine) -> None:
    assert engine().limits(Running("process", pid=1, cgroup="t-cell/w")) == Limits()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, r"web has no x-vx11\.process\.command in .*, which the process engine needs"),
        ({"x-vx11": runs("no-such-program-anywhere")}, "the program of web was not found: no-such-program-anywhere"),
        ({"x-vx11": runs("./gone.sh")}, r"the program of web was not found: \./gone\.sh"),
    ],
)
def test_what_cannot_be_run_is_told_before_it_is_tried(
    engine: MakeEngine, tmp_path: Path, entry: dict[str, Any], message: str
) -> None:
    with pytest.raises(EngineError, match=message):
        engine().prepare(service(tmp_path, **entry))


@pytest.mark.parametrize("command", ["{python}", "sh", "./here.sh"])
def test_a_program_may_be_the_interpreter_one_of_the_host_or_one_of_the_bundle(
    engine: MakeEngine, tmp_path: Path, command: str
) -> None:
    (tmp_path / "here.sh").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "here.sh").chmod(0o755)
    engine().prepare(service(tmp_path, **{"x-vx11": runs(command)}))


def test_the_command_knows_the_interpreter_and_the_folders_of_its_volumes(engine: MakeEngine, tmp_path: Path) -> None:
    words = runs("{python}", "-m", "web", "--data={volume:data}", "{volume:other}", "{kept}")
    entry = service(tmp_path, volumes=["data:/data", "./conf:/conf"], **{"x-vx11": words})
    assert engine()._command(entry) == [
        sys.executable,
        "-m",
        "web",
        f"--data={tmp_path / 'data' / 'data'}",
        "{volume:other}",
        "{kept}",
    ]


def test_a_service_keeps_its_port_also_with_a_later_madre(engine: MakeEngine) -> None:
    first = engine()
    web, db = first._port("web", 8080), first._port("db", 8080)
    assert web != db
    assert first._port("web", 9090) not in (web, db)
    assert first._port("web", 8080) == first._free_port("web", 8080) == web
    assert engine()._port("web", 8080) == web


def test_a_port_that_another_program_took_is_chosen_anew(engine: MakeEngine) -> None:
    made = engine()
    before = made._free_port("web", 8080)
    with socket.socket() as other:
        other.bind(("127.0.0.1", before))
        other.listen()
        assert made._port("web", 8080) == before  # for who asks where it is, as long as it does not start
        after = made._free_port("web", 8080)
    assert after != before
    assert made._port("web", 8080) == after


@pytest.mark.parametrize("content", ["", "{", "[]", "5", '{"web:8080": "x"}'])
def test_addresses_that_cannot_be_read_are_chosen_anew(engine: MakeEngine, tmp_path: Path, content: str) -> None:
    engine()
    (tmp_path / "state" / "addresses.json").write_text(content, encoding="utf-8")
    assert isinstance(engine()._free_port("web", 8080), int)
    assert "web:8080" in json.loads((tmp_path / "state" / "addresses.json").read_text(encoding="utf-8"))


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(EngineError, match="the process engine cannot use "):
        ProcessEngine("t-cell", tmp_path / "file", tmp_path / "data", None)


def test_logs_are_the_last_lines_whatever_they_hold(engine: MakeEngine, tmp_path: Path) -> None:
    made = engine()
    (tmp_path / "state" / "logs" / "w1.log").write_bytes(b"one\ntwo \xff\nthree")
    running = Running("process", "w1", pid=1)
    assert made.logs(running, "w1", 2) == ["two \ufffd", "three"]
    assert made.logs(running, "unknown", 2) == []


def test_a_health_check_runs_like_the_service_and_not_for_ever(engine: MakeEngine) -> None:

    me = Running("process", pid=os.getpid(), start_time=0)
    assert engine().exec(me, ["sh", "-c", "exit 3"], 5) == 3
    with pytest.raises(EngineError, match=r"the health check sh took longer than 0\.05 s"):
        engine().exec(me, ["sh", "-c", "while :; do :; done"], 0.05)
    with pytest.raises(EngineError, match="the health check no-such-program did not run"):
        engine().exec(me, ["no-such-program"], 5)
