"""TC-004: data-processor does all that it is asked to at its limits of processor, memory and disk, and survives it.

What the work must give is worked out here, on its own, from what services/data_processor.py promises. That is the same
work without limits, and so the baseline of its throughput.
"""

import hashlib
import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# At the pace 1.0: less than a second of a processor, three quarters of 256 MB, and two seconds of 100 operations each.
ROUNDS = 8_000
MEMORY_MB = 190
OPERATIONS = 200
LIMIT_S = 60.0

BLOCK = 64 * 1024
PAGE = 4096
PAGES = 256

Json = dict[str, Any]


@pytest.fixture
def asked(profile: Json) -> dict[str, int]:
    """The work; its length follows the pace, its memory does not."""
    pace = profile["pace"]
    return {"rounds": int(ROUNDS * pace), "memory_mb": MEMORY_MB, "operations": int(OPERATIONS * pace)}


def expected_digest(rounds: int, memory_mb: int) -> str:
    """What so many rounds over such a working set give."""
    blocks = [bytearray([number % 256]) * BLOCK for number in range(memory_mb * 1024 * 1024 // BLOCK)]
    digest = b""
    for number in range(rounds):
        block = blocks[number % len(blocks)]
        whole = hashlib.sha256(digest)
        whole.update(block)
        digest = block[:32] = whole.digest()
    return digest.hex()


def expected_file(operations: int, folder: Path, flag: int) -> str:
    """The SHA-256 of what so many operations leave on the disk, after they were done in this folder too."""
    pages = [b""] * min(operations, PAGES)
    handle = os.open(folder / "baseline", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | flag, 0o600)
    try:
        with mmap.mmap(-1, PAGE) as aligned:
            for number in range(operations):
                pages[number % PAGES] = aligned[:] = number.to_bytes(8, "big") * (PAGE // 8)
                os.pwrite(handle, aligned, number % PAGES * PAGE)
    finally:
        os.close(handle)
        (folder / "baseline").unlink()
    return hashlib.sha256(b"".join(pages)).hexdigest()


def unthrottled(asked: dict[str, int], folder: Path, flag: int) -> tuple[str, str, float]:
    """Both digests, and the seconds that the work takes in this process."""
    begun = time.perf_counter()
    digest = expected_digest(asked["rounds"], asked["memory_mb"])
    on_disk = expected_file(asked["operations"], folder, flag)
    return digest, on_disk, time.perf_counter() - begun


def test_all_the_work_is_done(
    window: Callable[[str], Any], metric: Callable[..., None], asked: dict[str, int], tmp_path: Path
) -> None:
    answer = window("data-processor").http.post("/work", json=asked, timeout=LIMIT_S)
    assert answer.status_code == 200, answer.text
    done: Json = answer.json()
    flag = os.O_DIRECT if done["io"] == "direct" else os.O_SYNC
    digest, on_disk, baseline_s = unthrottled(asked, baseline_folder(tmp_path), flag)
    metric("throughput_vs_baseline", baseline_s / done["took_s"], "ratio")
    assert (done["digest"], done["disk_sha256"]) == (digest, on_disk), done
    assert {name: done[name] for name in asked} == asked
    assert done["peak_memory_mb"] >= asked["memory_mb"], done
    assert done["cpu_s"] > 0, done


def baseline_folder(otherwise: Path) -> Path:
    """Where the baseline writes: with the case, which lies on a disk more often than what is temporary does."""
    return Path(os.environ.get("VX11_CASE_DIR") or otherwise)


def test_it_has_survived(window: Callable[[str], Any]) -> None:
    processor = window("data-processor")
    assert processor.http.get("/health").status_code == 200
    small = {"rounds": 16, "memory_mb": 1, "operations": 0}
    answer = processor.http.post("/work", json=small)
    assert answer.status_code == 200, answer.text
    assert answer.json()["digest"] == expected_digest(small["rounds"], small["memory_mb"])


@pytest.mark.parametrize("wrong", [{"rounds": -1}, {"memory_mb": "190"}, {"operations": 1e9}, {"memory_mb": True}])
def test_it_takes_no_nonsense(window: Callable[[str], Any], wrong: Json) -> None:
    answer = window("data-processor").http.post("/work", json=wrong)
    assert answer.status_code == 400, answer.text
    assert next(iter(wrong)) in answer.json()["error"]
