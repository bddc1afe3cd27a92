"""Playing a playbook: it ends for certain, its failure has a name, and no secret is kept."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vx11.conductor import play, worker
from vx11.conductor.place import Inventory
from vx11.conductor.play import Play, Played
from vx11.conductor.workers import MARK, Workers
from vx11.engines import procfs

Events = list[dict[str, Any] | None]
Follow = Callable[..., Played]
Start = Callable[[str], "subprocess.Popen[bytes]"]
ENDS = {"event": "end", "rc": 0, "status": "successful"}


@pytest.fixture
def mark() -> Iterator[str]:
    """A mark; whatever carries it at the end is killed."""
    value = str(uuid.uuid4())
    yield value
    assert procfs.end_all(lambda: procfs.marked(MARK, value), 10)


@pytest.fixture
def start(mark: str) -> Iterator[Start]:
    """`start(code)` runs a worker of this code, with the mark, and waits until it says that it is ready."""
    workers: list[subprocess.Popen[bytes]] = []

    def make(code: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True, env=os.environ | {MARK: mark}
        )
        workers.append(process)
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        return process

    yield make
    for process in workers:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


@pytest.fixture
def follow(tmp_path: Path, mark: str) -> Follow:
    """`follow(events)` follows a worker that says these; without None at the end it goes on in silence."""

    def run(events: Events, timeout: float = 30, cancelled: bool = False, tasks: list[str] | None = None) -> Played:
        said: queue.Queue[dict[str, Any] | None] = queue.Queue()
        for event in events:
            said.put(event)
        stop = threading.Event()
        if cancelled:
            stop.set()
        what = Play(
            tmp_path / "p.yml",
            Inventory(tmp_path),
            tmp_path,
            tmp_path,
            {},
            tmp_path / "keep",
            timeout,
            lambda: "web open",
        )
        on_task = tasks.append if tasks is not None else lambda name: None
        with subprocess.Popen([sys.executable, "-c", ""]) as ended:
            taken = SimpleNamespace(process=ended, mark=mark, log=tmp_path / "worker.log")
            return play._follow(taken, said, what, on_task, stop)

    return run


def task(name: str) -> dict[str, Any]:
    return {"event": "task", "name": name}


def failed(name: str, message: str) -> dict[str, Any]:
    return {"event": "failed", "task": name, "message": message}


def test_a_play_that_went_well_told_its_tasks(follow: Follow) -> None:
    tasks: list[str] = []
    assert follow([task("one"), {"event": "noise"}, task("two"), ENDS, None], tasks=tasks) == Played("")
    assert tasks == ["one", "two"]


def test_the_first_failure_is_the_reason(follow: Follow) -> None:
    events = [task("one"), failed("one", "boom"), failed("clean up", "too"), {"event": "end", "rc": 2}, None]
    assert follow(events).failure == "task 'one': boom"


def test_what_was_rescued_before_is_not_the_reason(follow: Follow) -> None:
    events = [failed("one", "boom"), failed("two", "bang"), {"event": "rescued", "count": 1}]
    assert follow([*events, {"event": "end", "rc": 2}, None]).failure == "task 'two': bang"


def test_a_failure_that_was_rescued_is_none(follow: Follow) -> None:
    assert follow([failed("one", "boom"), ENDS, None]).failure == ""


@pytest.mark.parametrize(
    ("file", "events", "reason"),
    [
        ("artifacts", [{"event": "end", "rc": 4}, None], "ansible-playbook ended with 4: ERROR! no such play"),
        ("log", [None], "ansible-playbook ended with None: ERROR! no such play"),
        (None, [None], "ansible-playbook ended with None and said nothing"),
    ],
)
def test_without_a_failed_task_its_last_words_are_the_reason(
    follow: Follow, tmp_path: Path, file: str | None, events: Events, reason: str
) -> None:
    paths = {"artifacts": tmp_path / "runner/artifacts/run/stdout", "log": tmp_path / "worker.log"}
    if file:
        paths[file].parent.mkdir(parents=True, exist_ok=True)
        paths[file].write_text("ERROR!\n  no such play\n", encoding="utf-8")
    assert follow(events).failure == reason


def test_a_play_that_never_begins_says_so(follow: Follow) -> None:
    assert follow([], timeout=0.3).failure == "it was not done after 0.3 s; it had not come to a task; web open"


def test_a_play_that_takes_too_long_says_where_it_was(follow: Follow) -> None:
    played = follow([task("one"), task("wait for ever")], timeout=0.3)
    at = "it was at the task 'wait for ever' for 0.3 s"
    assert played == Played(f"it was not done after 0.3 s; {at}; web open")


def test_a_play_that_is_cancelled_is_aborted(follow: Follow) -> None:
    assert follow([task("one")], cancelled=True) == Played("interrupted", aborted=True)


SITTER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
POLITE = f"""
import subprocess, sys, time
left = subprocess.Popen([sys.executable, "-c", {SITTER!r}], stdout=subprocess.PIPE, start_new_session=True)
left.stdout.readline()
print("up", flush=True)
time.sleep(600)
"""
WORKER = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {POLITE!r}], stdout=subprocess.PIPE, start_new_session=True)
child.stdout.readline()
print("ready", flush=True)
child.wait()
"""


def test_nothing_with_the_mark_outlives_the_end(start: Start, mark: str) -> None:
    process = start(WORKER)
    # The worker, its child, and a grandchild in a session of its own that ignores SIGTERM.
    assert len(procfs.marked(MARK, mark)) == 3
    began = time.monotonic()
    play._end(process, mark)
    assert procfs.marked(MARK, mark) == []
    assert process.returncode == 0  # it was not killed: its child ended when it was asked to
    assert time.monotonic() - began < play.TERM_GRACE


def test_what_a_play_left_running_is_counted(follow: Follow, start: Start) -> None:
    start("import time; print('ready', flush=True); time.sleep(600)")
    assert follow([ENDS, None]) == Played("", leftovers=1)


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    folder = tmp_path / "runner/artifacts/run"
    (folder / "fact_cache").mkdir(parents=True)
    (folder / "fact_cache/cell").touch()
    (folder / "stdout").write_text("PLAY [all]", encoding="utf-8")
    return folder


def test_no_value_of_the_environment_is_kept(artifacts: Path, tmp_path: Path) -> None:
    command = {"command": ["ansible-playbook"], "cwd": "/", "env": {"VX11_TOKEN": "secret", "HOME": "/root"}}
    (artifacts / "command").write_text(json.dumps(command), encoding="utf-8")
    play._keep(tmp_path / "runner", tmp_path / "keep")
    kept = (tmp_path / "keep/command").read_text(encoding="utf-8")
    assert "secret" not in kept
    assert json.loads(kept) == command | {"env": ["HOME", "VX11_TOKEN"]}
    assert {path.name for path in (tmp_path / "keep").iterdir()} == {"command", "stdout"}


@pytest.mark.parametrize("text", ["", '{"env": {"VX11_TOKEN": "secret', "[]"])
def test_a_half_written_command_is_not_kept_and_hides_nothing(artifacts: Path, tmp_path: Path, text: str) -> None:
    # The worker may be killed while ansible-runner writes it.
    (artifacts / "command").write_text(text, encoding="utf-8")
    play._keep(tmp_path / "runner", tmp_path / "keep")
    assert {path.name for path in (tmp_path / "keep").iterdir()} == {"stdout"}


def test_a_play_that_never_began_keeps_nothing(tmp_path: Path) -> None:
    play._keep(tmp_path / "runner", tmp_path / "keep")
    assert not (tmp_path / "keep").exists()


@pytest.mark.parametrize(
    ("event", "data", "said"),
    [
        ("playbook_on_task_start", {"name": "open it", "task": "x"}, {"event": "task", "name": "open it"}),
        ("playbook_on_task_start", {"name": "", "task": "vx11_window"}, {"event": "task", "name": "vx11_window"}),
        (
            "runner_on_failed",
            {"task": "open it", "res": {"msg": "refused"}},
            {"event": "failed", "task": "open it", "message": "refused"},
        ),
        ("runner_on_unreachable", {"task": "t", "res": {}}, {"event": "failed", "task": "t", "message": ""}),
        ("runner_on_failed", {"task": "t", "ignore_errors": True, "res": {"msg": "x"}}, None),
        ("runner_on_ok", {"task": "t"}, None),
    ],
)
def test_what_the_worker_tells(
    capsys: pytest.CaptureFixture[str], event: str, data: dict[str, Any], said: dict[str, Any] | None
) -> None:
    assert worker._tell({"event": event, "event_data": data})
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == ([said] if said else [])


def test_what_the_worker_tells_can_be_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    # Output that was not UTF-8 comes as lone surrogates, which neither evidence nor XML can hold.
    worker._tell({"event": "runner_on_failed", "event_data": {"task": "t", "res": {"msg": "bad \udcff byte"}}})
    message = json.loads(capsys.readouterr().out)["message"]
    assert message.encode("utf-8").startswith(b"bad ")
    assert message.endswith(" byte")


def test_the_next_worker_is_ready_ahead_where_there_is_more_to_do(tmp_path: Path) -> None:
    workers = Workers({}, tmp_path)
    workers.prepare()
    first = workers.take()
    assert workers._ahead is None
    workers.go_on = True
    second = workers.take()
    ahead = workers._ahead
    assert ahead is not None
    ahead.process.kill()
    ahead.process.wait()
    third = workers.take()
    assert third is not ahead
    assert len({first.mark, second.mark, third.mark}) == 3
    for taken in (first, second, third):
        taken.dismiss()
    last = workers._ahead
    workers.end()
    assert last is not None
    assert last.process.returncode == -9
