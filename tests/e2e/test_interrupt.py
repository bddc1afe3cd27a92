"""Ctrl-C in the middle of a case, and a madre that dies in the middle of one."""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vx11.engines import procfs
from vx11.engines.docker import connect

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


def test_an_interrupted_start_leaves_nothing(
    make_bundle: Callable[..., Path],
    write_matrix: Callable[..., Path],
    begin_run: Callable[..., Any],
    web: dict[str, Any],
    left_of: Callable[[Path], list[str]],
    eventually: Callable[..., Any],
) -> None:
    bundle = write_matrix(make_bundle({"web": web}), {name: ([OPEN], {}) for name in ("first", "second", "third")})
    begun = begin_run(bundle, None, "--json", "--cells", "3")
    # Two of its cells are there, and no madre can have answered yet.
    eventually(lambda: len(list(begun.temporary.glob("vx11-e2e-*/madre.log"))) > 1)
    begun.process.send_signal(signal.SIGINT)
    output, errors = begun.ended()
    assert begun.process.returncode == 130
    assert [case["verdict"] for case in json.loads(output)["cases"]] == ["aborted"] * 3
    assert "interrupted: ending the case and cleaning up" in errors
    assert left_of(begun.temporary) == []


def test_a_second_interrupt_does_not_break_the_clean_up(
    make_bundle: Callable[..., Path],
    write_matrix: Callable[..., Path],
    make_entry: Callable[..., dict[str, Any]],
    begin_run: Callable[..., Any],
    tmp_path: Path,
    left_of: Callable[[Path], list[str]],
) -> None:
    reached, stopping = tmp_path / "reached", tmp_path / "stopping"
    for pipe in (reached, stopping):
        os.mkfifo(pipe)
    # It says that it is asked to end, which is in the clean-up, and then takes all the grace that it has.
    script = (
        "import signal, time\n"
        f"signal.signal(signal.SIGTERM, lambda *_: open({str(stopping)!r}, 'w').close())\n"
        "while True: time.sleep(1)"
    )
    bundle = write_matrix(
        make_bundle({"web": make_entry(script)}),
        {"first": ([OPEN, {"ansible.builtin.shell": f"echo > {reached}; sleep 300"}], {}), "second": ([OPEN], {})},
    )
    begun = begin_run(bundle, reached, "--json", "--cells", "1")
    os.killpg(begun.process.pid, signal.SIGINT)
    asked = threading.Thread(target=stopping.read_bytes, daemon=True)
    asked.start()
    asked.join(30)
    assert not asked.is_alive(), "the clean-up did not come to the window"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        os.killpg(begun.process.pid, number)
    output, errors = begun.ended()
    assert begun.process.returncode == 130
    done = json.loads(output)
    assert ([case["verdict"] for case in done["cases"]], done["left"]) == (["aborted", "aborted"], [])
    assert "the clean-up is under way already" in errors
    assert left_of(begun.temporary) == []


@pytest.mark.docker
def test_an_interrupted_build_leaves_nothing(
    make_bundle: Callable[..., Path],
    write_matrix: Callable[..., Path],
    begin_run: Callable[..., Any],
    tmp_path: Path,
    left_of: Callable[[Path], list[str]],
    eventually: Callable[..., Any],
) -> None:
    name = f"vx11/e2e-{secrets.token_hex(4)}:never"
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM vx11/e2e-services:0.1.0\nUSER 0\nRUN : {name}; sleep 300\n")
    service = {"image": name, "build": {"context": str(context)}}
    bundle = write_matrix(make_bundle({"web": service}), {"first": ([OPEN], {"services": ["web"]})})
    with contextlib.closing(connect(10)) as client:

        def building() -> list[Any]:
            return [item for item in client.api.containers() if name in item["Command"]]

        begun = begin_run(bundle, None, "--json", "--engine", "docker")
        eventually(building, 30)
        begun.process.send_signal(signal.SIGINT)
        output, errors = begun.ended()
        assert begun.process.returncode == 130, errors
        (case,) = json.loads(output)["cases"]
        assert (case["verdict"], case["message"]) == ("aborted", "the run was interrupted before this case")
        assert left_of(begun.temporary) == []
        eventually(lambda: not building(), 20)


def test_a_terminal_that_is_gone_does_not_keep_a_run_from_its_end(
    make_bundle: Callable[..., Path],
    write_matrix: Callable[..., Path],
    begin_run: Callable[..., Any],
    web: dict[str, Any],
    tmp_path: Path,
    left_of: Callable[[Path], list[str]],
) -> None:
    reached = tmp_path / "reached"
    os.mkfifo(reached)
    tasks = [OPEN, {"ansible.builtin.shell": f"echo > {reached}; sleep 300"}]
    bundle = write_matrix(make_bundle({"web": web}), {"first": (tasks, {})})
    begun = begin_run(bundle, reached, "--cells", "1")
    begun.process.stdout.close()
    begun.process.send_signal(signal.SIGHUP)
    begun.process.wait(60)
    begun.process.stdout = None  # it is closed already
    assert left_of(begun.temporary) == []
    (entry,) = json.loads((begun.evidence / "index.json").read_text())["runs"].values()
    assert (entry["state"], entry["verdicts"]) == ("aborted", {"aborted": 1})


@pytest.mark.parametrize("signal_name", ["KILL", "STOP"])
def test_a_madre_that_dies_or_hangs_fails_its_case_and_the_next_one_gets_another(
    signal_name: str,
    make_bundle: Callable[..., Path],
    write_matrix: Callable[..., Path],
    run_matrix: Callable[..., Any],
    web: dict[str, Any],
) -> None:
    kill = {
        "ansible.builtin.command": f"kill -{signal_name} {{{{ lookup('ansible.builtin.pipe', find) }}}}",
        "vars": {"find": FIND},
    }
    bundle = write_matrix(
        make_bundle({"web": web}),
        {"killed": ([OPEN, kill], {"services": ["web"]}), "next": ([OPEN], {"services": ["web"]})},
    )
    ran = run_matrix(bundle, "--json", "--cells", "1", limit=120)
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
