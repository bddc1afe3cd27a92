"""The whole shipped matrix again and again: no flake, nothing left, evidence that verifies. Only when asked for."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.bench.cells import BenchError
from tests.bench.figures import Goal, Row, against, spread
from vx11.engines import cgroups, docker, procfs
from vx11.engines.select import EngineName
from vx11.evidence import audit
from vx11.evidence.audit import Trust
from vx11.evidence.keys import Signer

RUNS, QUICK_RUNS = 20, 2
TIMES = Goal("ratio", 1.6)
MATRIX = Path(__file__).resolve().parents[2] / "matrices" / "e2e"
MARK = "VX11_CELL"


def measure(engine: EngineName, *, quick: bool) -> list[Row]:
    """Seconds of a run; everything that is not as it should be is an error that names the run.

    Raises:
        BenchError: a case did not pass, something was left, or evidence does not verify.
    """
    times: list[float] = []
    verdicts: Counter[str] = Counter()
    longest: list[float] = []
    with tempfile.TemporaryDirectory(prefix="vx11-soak-") as evidence:
        for number in range(QUICK_RUNS if quick else RUNS):
            before = _present(engine)
            begun = time.monotonic()
            result = _run(engine, Path(evidence))
            times.append(time.monotonic() - begun)
            longest.append(max(case["duration"] for case in result["cases"]))
            verdicts.update(case["verdict"] for case in result["cases"])
            _expect_clean(number, result, before, _present(engine))
    told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    return [
        spread(
            f"soak, {engine}, a run of the whole matrix", "s", times, note=f"{told}; nothing left, evidence verifies"
        ),
        against(f"soak, {engine}, against the longest case of the same run", "s", times, longest, TIMES),
    ]


def _run(engine: EngineName, evidence: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "vx11", "run", str(MATRIX), "--engine", engine, "--json"]
    command += ["--evidence", str(evidence)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    if not done.stdout:
        raise BenchError(f"the run said nothing: {done.stderr[-1000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _present(engine: EngineName) -> set[str]:
    """Marked processes, mounts, interfaces, control groups, firewall rules, files; all that the Docker Engine has."""
    found = {f"process {pid}" for pid in procfs.pids() if MARK in procfs.environment(pid)}
    found |= {line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()}
    found |= {f"interface {path.name}" for path in Path("/sys/class/net").iterdir()}
    found |= {f"control group {path}" for path in cgroups.MOUNT.glob(f"**/{cgroups.PARENT}/*/") if path.is_dir()}
    found |= {f"rule {rule}" for rule in _rules()}
    found |= {f"temporary {path.name}" for path in Path(tempfile.gettempdir()).glob("vx11-e2e-*")}
    if engine == "docker":
        client = docker.connect()
        found |= {f"container {item.id}" for item in client.containers.list(all=True)}
        found |= {f"network {item.id}" for item in client.networks.list()}
        found |= {f"volume {item.id}" for item in client.volumes.list()}
        client.close()
    return found


def _rules() -> list[str]:
    """Firewall rules, where there is a command that lists them."""
    command = shutil.which("iptables-save")
    if command is None or os.geteuid() != 0:
        return []
    done = subprocess.run([command], capture_output=True, text=True, check=True, timeout=60)
    return [line for line in done.stdout.splitlines() if line.startswith("-A")]


def _expect_clean(number: int, result: dict[str, Any], before: set[str], after: set[str]) -> None:
    wrong = [f"{case['case']} {case['verdict']}: {case['message']}" for case in result["cases"] if not _is_fine(case)]
    wrong += [f"left: {what}" for what in [*result["left"], *sorted(after - before)]]
    wrong += [str(finding) for finding in audit.check(Path(result["evidence"]), Trust.by(Signer.of())).findings]
    if wrong:
        raise BenchError(f"run {number + 1}: {'; '.join(wrong)}")


def _is_fine(case: dict[str, Any]) -> bool:
    """On Docker, and as root, this machine can do all of them."""
    can_do_all = os.geteuid() == 0
    return case["verdict"] == "passed" or (case["verdict"] == "skipped" and not can_do_all)
