"""compute-service: the same seed gives the same digest, and each keeps to its own folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.services.conftest import Service, Start


def run(start: Start, folder: Path, kind: str = "") -> Service:
    return start("compute_service.py", "--name", folder.name, "--data", folder, env={"BUG": kind})


def job(service: Service, name: str = "one", seed: str = "seed", rounds: int = 3) -> dict[str, Any]:
    answer = service.http.post("/jobs", json={"id": name, "seed": seed, "rounds": rounds})
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


def digest(seed: str, rounds: int) -> str:
    found = seed.encode()
    for _ in range(rounds):
        found = hashlib.sha256(found).digest()
    return found.hex()


def test_the_digest_is_that_of_the_seed(start: Start, tmp_path: Path) -> None:
    x, y = run(start, tmp_path / "x"), run(start, tmp_path / "y")
    expected = {"id": "one", "digest": digest("žluť", 3), "held_up": False}
    assert job(x, seed="žluť") == {"service": "x", **expected}
    assert job(x, seed="žluť") == {"service": "x", **expected}
    assert job(y, seed="žluť") == {"service": "y", **expected}
    assert job(x, seed="žluť", rounds=4)["digest"] == digest("žluť", 4)


def test_results_are_kept(start: Start, tmp_path: Path) -> None:
    first = run(start, tmp_path / "x")
    job(first)
    job(first, "two", "other")
    assert first.stop() == 0
    second = run(start, tmp_path / "x")
    assert second.http.get("/jobs").json() == {
        "service": "x", "jobs": {"one": digest("seed", 3), "two": digest("other", 3)},
    }  # fmt: skip
    assert second.http.get("/jobs/two").json() == {"service": "x", "id": "two", "digest": digest("other", 3)}
    assert second.http.get("/jobs/three").status_code == 404


def test_it_says_who_it_is(start: Start, tmp_path: Path) -> None:
    service = run(start, tmp_path / "x")
    job(service)
    folder = (tmp_path / "x").stat()
    assert service.http.get("/whoami").json() == {
        "service": "x",
        "process": [os.stat("/proc/self/ns/pid").st_ino, service.process.pid],  # noqa: PTH116 - follows the link
        "folder": [folder.st_dev, folder.st_ino],
        "files": ["one.job"],
    }


@pytest.mark.parametrize(
    "body",
    [
        {"id": "", "seed": "s", "rounds": 1},
        {"id": "../one", "seed": "s", "rounds": 1},
        {"id": "A", "seed": "s", "rounds": 1},
        {"id": "a" * 65, "seed": "s", "rounds": 1},
        {"id": "one", "seed": 1, "rounds": 1},
        {"id": "one", "seed": "s"},
        {"id": "one", "seed": "s", "rounds": 0},
        {"id": "one", "seed": "s", "rounds": True},
        {"id": "one", "seed": "s", "rounds": 10**8},
    ],
)
def test_what_is_no_job_is_refused(start: Start, tmp_path: Path, body: dict[str, Any]) -> None:
    service = run(start, tmp_path / "x")
    assert service.http.post("/jobs", json=body).status_code == 400
    assert list((tmp_path / "x").iterdir()) == []


def test_jobs_at_the_same_time_do_not_hold_each_other_up(start: Start, tmp_path: Path) -> None:
    services = [run(start, tmp_path / "x"), run(start, tmp_path / "y")]
    with ThreadPoolExecutor(8) as callers:
        done = list(callers.map(lambda n: job(services[n % 2], f"job-{n}", rounds=3000), range(32)))
    assert not any(answer["held_up"] for answer in done)


@pytest.mark.parametrize(("kind", "held_up"), [("", False), ("shared_lock", True)])
def test_who_else_has_the_lock_holds_it_up(start: Start, tmp_path: Path, kind: str, held_up: bool) -> None:
    service = run(start, tmp_path / "x", kind)
    handle = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with ThreadPoolExecutor(1) as callers:
            asked = callers.submit(job, service)
            if held_up:
                with pytest.raises(TimeoutError):
                    asked.result(0.3)
            else:
                assert asked.result(10)["held_up"] is False
            fcntl.flock(handle, fcntl.LOCK_UN)
            assert asked.result(10)["held_up"] is held_up
    finally:
        os.close(handle)


def test_shared_files_shows_what_is_the_others(start: Start, tmp_path: Path) -> None:
    x, y = run(start, tmp_path / "x"), run(start, tmp_path / "y", "shared_files")
    job(x)
    assert y.http.get("/jobs").json()["jobs"] == {"one": digest("seed", 3)}
    assert x.http.get("/jobs/two").status_code == 404


def test_random_gives_another_digest_each_time(start: Start, tmp_path: Path) -> None:
    service = run(start, tmp_path / "x", "random")
    assert job(service)["digest"] != job(service)["digest"]


def test_a_folder_that_cannot_be_used_is_told(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    service = start("compute_service.py", "--name", "x", "--data", tmp_path / "file", wait=False)
    assert service.process.wait(5) == 1
    assert "x cannot use" in service.log.read_text()
