"""data-processor: does what it is asked to, in full, and leaves nothing behind."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.services.conftest import Service, Start

NOTHING = {"rounds": 0, "memory_mb": 0, "operations": 0}


def work(service: Service, **asked: Any) -> dict[str, Any]:
    answer: dict[str, Any] = service.http.post("/work", json={**NOTHING, **asked}).raise_for_status().json()
    return answer


def run(start: Start, tmp_path: Path, **env: str) -> Service:
    return start("data_processor.py", "--data", tmp_path / "data", env=env)


def test_the_digest_is_of_every_round(start: Start, tmp_path: Path) -> None:
    # One MiB has sixteen blocks; the seventeenth round works on the first again, which has changed.
    block = hashlib.sha256(b"\x00" * 65536).digest() + b"\x00" * (65536 - 32)
    digest = hashlib.sha256(b"\x00" * 65536).digest()
    for number in range(1, 16):
        digest = hashlib.sha256(digest + bytes([number]) * 65536).digest()
    digest = hashlib.sha256(digest + block).digest()
    assert work(run(start, tmp_path), rounds=17, memory_mb=1)["digest"] == digest.hex()


@pytest.mark.parametrize("operations", [0, 1, 255, 256, 300])
def test_the_file_holds_every_operation(start: Start, tmp_path: Path, operations: int) -> None:
    pages = [b""] * min(operations, 256)
    for number in range(operations):
        pages[number % 256] = number.to_bytes(8, "big") * 512
    done = work(run(start, tmp_path), operations=operations)
    assert done["disk_sha256"] == hashlib.sha256(b"".join(pages)).hexdigest()
    assert done["operations"] == operations
    assert done["io"] in ("direct", "sync")


def test_it_leaves_no_file(start: Start, tmp_path: Path) -> None:
    work(run(start, tmp_path), operations=3)
    assert list((tmp_path / "data").iterdir()) == []


def test_memory_is_really_used_and_given_back(start: Start, tmp_path: Path) -> None:
    service = run(start, tmp_path)
    assert work(service, memory_mb=1)["peak_memory_mb"] < 80
    assert 100 <= work(service, memory_mb=100)["peak_memory_mb"] < 180
    # Two at the same time have one working set after the other.
    with ThreadPoolExecutor(2) as callers:
        both = list(callers.map(lambda _: work(service, memory_mb=100, rounds=500), range(2)))
    assert max(done["peak_memory_mb"] for done in both) < 180


def test_it_says_how_long_it_took(start: Start, tmp_path: Path) -> None:
    done = work(run(start, tmp_path), rounds=2000, memory_mb=8, operations=8)
    assert 0 < done["cpu_s"] <= done["took_s"] + 0.1
    assert done["took_s"] == pytest.approx(done["compute_s"] + done["disk_s"])


@pytest.mark.parametrize("name", ["rounds", "memory_mb", "operations"])
@pytest.mark.parametrize("value", [-1, 1.5, "1", True, None, 10**9])
def test_what_is_no_amount_is_refused(start: Start, tmp_path: Path, name: str, value: object) -> None:
    answer = run(start, tmp_path).http.post("/work", json={name: value})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"{name} is ")


def test_a_disk_that_does_not_take_it_is_told(start: Start, tmp_path: Path) -> None:
    service = run(start, tmp_path)
    (tmp_path / "data").rmdir()
    answer = service.http.post("/work", json={"operations": 1})
    assert answer.status_code == 507
    assert "No such file" in answer.json()["error"]


def test_lazy_claims_what_it_has_not_done(start: Start, tmp_path: Path) -> None:
    asked = {"rounds": 16, "memory_mb": 1, "operations": 4}
    done, true = work(run(start, tmp_path, BUG="lazy"), **asked), work(run(start, tmp_path), **asked)
    assert {name: done[name] for name in asked} == asked
    assert done["digest"] != true["digest"]
    assert done["disk_sha256"] != true["disk_sha256"]


def test_greedy_takes_more_memory_than_it_was_asked_to(start: Start, tmp_path: Path) -> None:
    assert work(run(start, tmp_path, BUG="greedy"), memory_mb=50)["peak_memory_mb"] >= 150


def test_a_folder_that_cannot_be_used_is_told(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    service = start("data_processor.py", "--data", tmp_path / "file", wait=False)
    assert service.process.wait(5) == 1
    assert "Give --data a folder" in service.log.read_text()
