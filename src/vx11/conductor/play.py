"""Plays one playbook in a worker process, and ends it for certain: on time, when asked to, and with all it started."""

import contextlib
import json
import queue
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vx11.conductor import collection
from vx11.conductor.place import Inventory
from vx11.conductor.workers import MARK, Worker
from vx11.engines import procfs
from vx11.evidence.appending import EvidenceError
from vx11.units import show_duration

TERM_GRACE = 3.0
KILL_TIMEOUT = 10.0
LOOK = 0.2


@dataclass(frozen=True)
class Play:
    """What to play.

    Attributes:
        scratch: a private folder; removed by whoever made it.
        environment: for the playbook and all it starts.
        keep: folder of evidence that the runner's artifacts are copied to.
        timeout: seconds.
        last_state: says what there is to see when they are over; has to answer soon, and raises nothing.
    """

    playbook: Path
    inventory: Inventory
    collections: Path
    scratch: Path
    environment: Mapping[str, str]
    keep: Path
    timeout: float
    last_state: Callable[[], str]


@dataclass(frozen=True)
class Played:
    """How it went.

    Attributes:
        failure: why it failed, empty when it did not.
        aborted: it was ended because somebody asked for it.
        leftovers: processes it left running, which had to be killed.
    """

    failure: str
    aborted: bool = False
    leftovers: int = 0


def play(what: Play, worker: Worker, on_task: Callable[[str], None], cancelled: threading.Event) -> Played:
    """Plays a playbook; when this returns nothing of it runs any more.

    Args:
        worker: has played nothing yet, and is gone afterwards.
        on_task: called with the name of each task that starts.
        cancelled: set when the play has to end now.
    """
    private = what.scratch / "runner"
    try:
        events = _events(worker.process, _orders(what, private, worker.mark))
        return _follow(worker, events, what, on_task, cancelled)
    finally:
        _end(worker.process, worker.mark)
        _keep(private, what.keep)


def _orders(what: Play, private: Path, mark: str) -> dict[str, Any]:
    # What is killed cannot clean up after itself: all its temporary files are where they go with the scratch folder.
    temporary = private / "tmp"
    temporary.mkdir(mode=0o700, parents=True)
    own = ansible_environment(what.collections, private / "home", temporary) | {MARK: mark}
    return {
        "private_data_dir": str(private),
        "playbook": str(what.playbook),
        "inventory": str(what.inventory.path),
        "limit": what.inventory.limit,
        "environment": dict(what.environment) | own,
    }


def ansible_environment(collections: Path, home: Path, temporary: Path) -> dict[str, str]:
    """How Ansible is run here: our collection is found first, and nothing is left elsewhere.

    Args:
        collections: a folder for ANSIBLE_COLLECTIONS_PATH.
        home: a folder of its own for what it keeps.
        temporary: a folder that is there.
    """
    return {
        "ANSIBLE_COLLECTIONS_PATH": ":".join([str(collections), *collection.searched()]),
        "ANSIBLE_HOME": str(home),
        "ANSIBLE_LOCAL_TEMP": str(temporary),
        "TMPDIR": str(temporary),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_RETRY_FILES_ENABLED": "0",
    }


def _events(worker: subprocess.Popen[bytes], orders: Mapping[str, Any]) -> "queue.Queue[dict[str, Any] | None]":
    """What the worker says, None at its end; read by a thread, so that the worker never waits for us."""
    events: queue.Queue[dict[str, Any] | None] = queue.Queue()
    assert worker.stdin
    try:
        worker.stdin.write(json.dumps(orders).encode())
        worker.stdin.close()
    except BrokenPipeError:
        pass  # it died; its log says why

    def read() -> None:
        assert worker.stdout
        with worker.stdout:
            for line in worker.stdout:
                events.put(_parsed(line))
        events.put(None)

    threading.Thread(target=read, daemon=True).start()
    return events


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        found = {"event": "noise"}  # something else wrote to its standard output
    return found


def _follow(
    worker: Worker,
    events: "queue.Queue[dict[str, Any] | None]",
    what: Play,
    on_task: Callable[[str], None],
    cancelled: threading.Event,
) -> Played:
    limit = (since := time.monotonic()) + what.timeout
    task, story = "", _Story()
    while True:
        if cancelled.is_set():
            return Played("interrupted", aborted=True)
        if time.monotonic() > limit:
            return Played(_out_of_time(what, task, time.monotonic() - since))
        try:
            event = events.get(timeout=min(LOOK, max(0.0, limit - time.monotonic())))
        except queue.Empty:
            continue
        if event is None:
            break
        if event["event"] == "task":
            task, since = event["name"], time.monotonic()
            on_task(task)
        story.take(event)
    with contextlib.suppress(subprocess.TimeoutExpired):  # then it is ended like everything else
        worker.process.wait(TERM_GRACE)
    left = [pid for pid in procfs.marked(MARK, worker.mark) if pid != worker.process.pid and not _is_of_ansible(pid)]
    failure = "" if story.rc == 0 else story.failure() or _why(worker.log, what.scratch, story.rc)
    return Played(failure, leftovers=len(left))


@dataclass
class _Story:
    """What the worker has said of the end.

    Attributes:
        failures: of tasks, in their order.
        rescued: how many of them the playbook rescued.
        rc: what ansible-playbook ended with, None before.
    """

    failures: list[str] = field(default_factory=list)
    rescued: int = 0
    rc: int | None = None

    def take(self, event: Mapping[str, Any]) -> None:
        match event["event"]:
            case "failed":
                self.failures.append(f"task {event['task']!r}: {event['message']}")
            case "rescued":
                self.rescued = int(event["count"])
            case "end":
                self.rc = event["rc"]

    def failure(self) -> str:
        """The first that was not rescued; what fails after it, such as a clean-up, explains less."""
        return self.failures[min(self.rescued, len(self.failures) - 1)] if self.failures else ""


def _is_of_ansible(pid: int) -> bool:
    """Whether it is a connection that ssh keeps for Ansible's next task; it ends with everything else."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return title.startswith(b"ssh: ") and b"[mux]" in title


def _out_of_time(what: Play, task: str, spent: float) -> str:
    at = f"it was at the task {task!r} for {show_duration(spent)}" if task else "it had not come to a task"
    return f"it was not done after {show_duration(what.timeout)}; {at}; {what.last_state()}"


def _why(errors: Path, scratch: Path, rc: int | None) -> str:
    """The best that is known when no task failed: a syntax error, or a worker that died."""
    output = scratch / "runner" / "artifacts" / "run" / "stdout"
    for path in (output, errors):
        text = path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""
        if text:
            return f"ansible-playbook ended with {rc}: " + " ".join(text.split())[-600:]
    return f"ansible-playbook ended with {rc} and said nothing"


def _end(worker: subprocess.Popen[bytes], mark: str) -> None:
    """The ladder: SIGTERM to ansible-playbook, a moment, then SIGKILL to everything that carries the mark.

    ansible-core 2.19 puts its workers into sessions of their own, so the process group is not enough.
    """
    if worker.poll() is None:
        for pid in procfs.marked(MARK, mark):
            started = procfs.start_time(pid)
            if started is not None and procfs.parent_of(pid) == worker.pid:
                procfs.send(pid, started, signal.SIGTERM)
        try:
            worker.wait(TERM_GRACE)
        except subprocess.TimeoutExpired:
            worker.kill()
    procfs.end_all(lambda: procfs.marked(MARK, mark), KILL_TIMEOUT)
    worker.wait()


def _keep(private: Path, keep: Path) -> None:
    """Copies the artifacts to the evidence, without the environment that ansible-runner writes into them.

    Raises:
        EvidenceError: they cannot be written there.
    """
    artifacts = private / "artifacts" / "run"
    if not artifacts.is_dir():
        return
    command = artifacts / "command"
    if command.is_file():
        try:
            data = json.loads(command.read_text(encoding="utf-8"))
            data["env"] = sorted(data["env"])
            command.write_text(json.dumps(data, indent=2), encoding="utf-8")
        except (ValueError, KeyError, TypeError):
            command.unlink()  # ended while it was written; what cannot be read cannot be cleared of secrets
    try:
        shutil.copytree(artifacts, keep, dirs_exist_ok=True, ignore=shutil.ignore_patterns("fact_cache", "*.sock"))
    except shutil.Error as error:  # each file that was not copied, and why
        raise EvidenceError(f"evidence cannot be written to {keep}: {error.args[0][0][2]}") from error
    except OSError as error:
        raise EvidenceError(f"evidence cannot be written to {keep}: {error.strerror}") from error
