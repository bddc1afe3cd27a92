"""What conducting a case costs: its time in a run, against bare ansible-playbook of the same playbook on a cell.

A case here opens a service and closes it, and waits for nothing, so that its time is Ansible's, the service's and ours.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from tests.bench.cells import Bench, BenchError, started, waiting
from tests.bench.figures import Goal, Row, against, spread
from vx11.conductor import actions, collection, compiler
from vx11.engines.select import EngineName

CASES, QUICK_CASES = 10, 2
ACTIONS: list[dict[str, Any]] = [{"open_window": "waits-0"}, {"close_window": "waits-0", "force": True}]
TIMES, SECONDS = Goal("ratio", 1.3), Goal("value", 1.0)
CHECKOUT = Path(__file__).resolve().parents[2]


def measure(engine: EngineName, *, quick: bool) -> list[Row]:
    """Seconds; plays and cases take turns in batches, since a machine is not equally quick all the time."""
    bare: list[float] = []
    conducted: list[float] = []
    count = QUICK_CASES if quick else CASES
    with started(engine, waiting(1)) as bench, tempfile.TemporaryDirectory(prefix="vx11-bench-") as scratch:
        playbook = Path(scratch) / "play.yml"
        playbook.write_text(compiler.playbook("case", "", actions.read(ACTIONS).steps), encoding="utf-8")
        for half in range(2):
            bare += [_played(bench, playbook, Path(scratch)) for _ in range(count // 2)]
            conducted += _conducted(bench, engine, count // 2, Path(scratch) / f"evidence-{half}")
    extra = [with_us - alone for with_us, alone in zip(conducted, bare, strict=True)]
    name = f"conducting a case, {engine}"
    return [
        against(f"{name}, against bare ansible-playbook", "s", conducted, bare, TIMES),
        spread(f"{name}, beyond it", "s", extra, goal=SECONDS),
    ]


def _played(bench: Bench, playbook: Path, scratch: Path) -> float:
    """What ansible-playbook takes.

    Raises:
        BenchError: it failed.
    """
    found = collection.find(CHECKOUT / "matrices" / "e2e")
    environment = os.environ | {
        "ANSIBLE_COLLECTIONS_PATH": str(found.search_path(scratch / "collections")),
        "ANSIBLE_HOME": str(scratch / "home"),
        "VX11_URL": bench.cell.url,
        "VX11_TOKEN": bench.cell.token,
    }
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local"]
    command += ["-e", f"vx11_url={bench.cell.url}", str(playbook)]
    begun = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    took = time.monotonic() - begun
    if done.returncode:
        raise BenchError(f"the play failed: {done.stdout[-500:]}{done.stderr[-500:]}")
    return took


def _conducted(bench: Bench, engine: EngineName, count: int, evidence: Path) -> list[float]:
    """What each of so many equal cases takes in one run.

    Raises:
        BenchError: one did not pass.
    """
    cases = [{"id": f"case-{number}", "actions": ACTIONS} for number in range(count)]
    matrix = bench.bundle / "matrix.yml"
    matrix.write_text(yaml.safe_dump({"test_matrix": {"cases": cases}}), encoding="utf-8")
    command = [sys.executable, "-m", "vx11", "run", str(matrix), "--engine", engine, "--cells", "1", "--json"]
    command += ["--evidence", str(evidence)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise BenchError(f"the run failed: {done.stdout[-500:]}{done.stderr[-500:]}")
    return [case["duration"] for case in json.loads(done.stdout)["cases"]]
