"""What evidence costs: a record that is acknowledged, against a bare write and fdatasync; verifying it."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.cells import BenchError
from tests.bench.figures import Goal, Row, against
from vx11.engines.select import EngineName
from vx11.evidence import verify
from vx11.evidence.chain import Chain
from vx11.evidence.keys import PublicKeys, Signer

CHECKOUT = Path(__file__).resolve().parents[2]
# At least 0.8 of the rate of the bare loop, and 0.3 of that with ten records a sync.
SINGLY, BY_TEN, SHARE = Goal("ratio", 1 / 0.8), Goal("ratio", 1 / 0.3), Goal("value", 2.0)
GROUP = 10
EACH, ROUNDS, QUICK_ROUNDS = 10, 50, 5
LINE = b"x" * 400
VERIFIED, QUICK_VERIFIED = 10_000, 500
CASE = "TC-009"
DATA = {"service": "auth-service", "ttl_s": 30.0, "hold": False, "depends_on": []}


def measure(engine: EngineName, *, quick: bool) -> list[Row]:
    """Milliseconds of ten records each, on the disk of the temporary folder; once, since no engine plays a part."""
    if engine != "process":
        return []
    with tempfile.TemporaryDirectory(prefix="vx11-bench-") as scratch:
        folder, signer = Path(scratch), Signer.of(Path(scratch) / "evidence.key")
        rounds = QUICK_ROUNDS if quick else ROUNDS
        singly = _appended(folder, signer, rounds, 1)
        by_ten = _appended(folder, signer, rounds, GROUP)
        acknowledged = statistics.median(singly[0]) / EACH
        return [
            against(f"evidence, {EACH} records one by one, against write and fdatasync", "ms", *singly, SINGLY),
            against(
                f"evidence, {EACH} times {GROUP} and a sync, against {GROUP} writes a fdatasync", "ms", *by_ten, BY_TEN
            ),
            _verifying(folder, signer, QUICK_VERIFIED if quick else VERIFIED),
            _share(folder, acknowledged),
        ]


def _appended(folder: Path, signer: Signer, rounds: int, group: int) -> tuple[list[float], list[float]]:
    """Milliseconds of a round of appends, and of a bare round of as many writes, in turn.

    Args:
        group: how many records, or bare writes, share a sync.
    """
    ours: list[float] = []
    bare: list[float] = []
    chain = Chain(folder / f"by-{group}.jsonl", signer)
    handle = os.open(folder / f"bare-{group}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for _ in range(rounds):
        ours.append(_took(lambda: _append(chain, group)))
        bare.append(_took(lambda: _write(handle, group)))
    os.close(handle)
    chain.close()
    return ours, bare


def _took(work: Callable[[], None]) -> float:
    """Milliseconds."""
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1000


def _append(chain: Chain, group: int) -> None:
    for _ in range(EACH):
        for number in range(1, group + 1):
            chain.append("anna", "opening", "window", DATA, sync=number == group)


def _write(handle: int, group: int) -> None:
    for _ in range(EACH):
        for _ in range(group):
            os.write(handle, LINE)
        os.fdatasync(handle)


def _verifying(folder: Path, signer: Signer, count: int) -> Row:
    path = folder / "verified.jsonl"
    chain = Chain(path, signer)
    for number in range(count):
        chain.append("anna", "opening", f"window-{number}", DATA, sync=False)
    chain.close()
    begun = time.perf_counter()
    found = verify.chain(path, PublicKeys([signer.public]))
    took = time.perf_counter() - begun
    if found.findings:
        raise BenchError(f"the chain does not verify: {found.findings[0]}")
    return Row("evidence, verified", "records/s", found.records / took, count=found.records)


def _share(folder: Path, acknowledged: float) -> Row:
    """What all records of a case cost, were each acknowledged by itself, of the time that the case takes.

    Raises:
        BenchError: it did not pass.
    """
    command = [sys.executable, "-m", "vx11", "run", str(CHECKOUT / "matrices/e2e"), "--case", CASE, "--json"]
    done = subprocess.run(
        [*command, "--evidence", str(folder / "evidence"), "--cells", "1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode:
        raise BenchError(f"the case {CASE} did not pass: {done.stdout[-500:]}{done.stderr[-500:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    records = sum(len(path.read_bytes().splitlines()) for path in Path(result["evidence"]).rglob("evidence.jsonl"))
    share = records * acknowledged / 1000 / result["cases"][0]["duration"] * 100
    note = f"{records} records, of the run's {CASE}"
    return Row("evidence, of a case's time", "%", share, goal=SHARE, note=note)
