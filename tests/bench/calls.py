"""What a call of a module costs on a local connection: vx11_window_info against ansible.builtin.debug, in one play."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from tests.bench.cells import Bench, BenchError, started, waiting
from tests.bench.figures import Goal, Row, against, spread
from vx11.conductor import collection
from vx11.engines.select import EngineName

CALLS = 20
PLAYS, QUICK_PLAYS = 5, 1
INFO, DEBUG = "vx11.power.vx11_window_info", "ansible.builtin.debug"
EACH = Goal("value", 30.0)
CHECKOUT = Path(__file__).resolve().parents[2]


def measure(engine: EngineName, *, quick: bool) -> list[Row]:
    """Milliseconds of a task, from its start to its result; the two modules take turns."""
    with started(engine, waiting(1)) as bench, tempfile.TemporaryDirectory(prefix="vx11-bench-") as scratch:
        times: dict[str, list[float]] = {INFO: [], DEBUG: []}
        for number in range(QUICK_PLAYS if quick else PLAYS):
            folder = Path(scratch, str(number))
            folder.mkdir()
            _play(bench, folder, times)
    beyond = [call - debug for call, debug in zip(times[INFO], times[DEBUG], strict=True)]
    note = "what the call costs; the rest is what Ansible takes for any task"
    return [
        against(f"module call, {engine}, against debug", "ms", times[INFO], times[DEBUG]),
        spread(f"module call, {engine}, beyond debug", "ms", beyond, goal=EACH, note=note),
    ]


def _play(bench: Bench, folder: Path, times: dict[str, list[float]]) -> None:
    """Plays both modules in turn, and adds what each task took.

    Raises:
        BenchError: the play failed, or times are missing.
    """
    playbook, written = folder / "play.yml", folder / "times.jsonl"
    pair: list[dict[str, Any]] = [{INFO: {}}, {DEBUG: {"msg": "nothing"}}]
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": pair * CALLS}
    playbook.write_text(yaml.safe_dump([play]), encoding="utf-8")
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", str(playbook)]
    done = subprocess.run(
        command, env=_environment(bench, folder, written), capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode:
        raise BenchError(f"the play failed: {done.stdout[-500:]}{done.stderr[-500:]}")
    lines = [json.loads(line) for line in written.read_text(encoding="utf-8").splitlines()]
    for name, samples in times.items():
        found = [line["ms"] for line in lines if line["module"] == name]
        if len(found) != CALLS:
            raise BenchError(f"{len(found)} of {CALLS} tasks of {name} left their time")
        samples.extend(found)


def _environment(bench: Bench, folder: Path, written: Path) -> dict[str, str]:
    found = collection.find(CHECKOUT / "matrices" / "e2e")
    return os.environ | {
        "ANSIBLE_COLLECTIONS_PATH": str(found.search_path(folder / "collections")),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callbacks"),
        "ANSIBLE_CALLBACKS_ENABLED": "task_times",
        "VX11_TASK_TIMES": str(written),
        "VX11_URL": bench.cell.url,
        "VX11_TOKEN": bench.cell.token,
    }
