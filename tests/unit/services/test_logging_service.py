"""logging-service: what it acknowledged is in the file, whole and in order, whatever becomes of it."""

from __future__ import annotations

import os
import resource
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.services.conftest import Service, Start

TEXTS = ["plain", "", "zażółć 記録 😀", "two\nlines\r\n", '"quoted" \\ \x00', "x" * 50_000]


def run(start: Start, data: Path, **env: str) -> Service:
    return start("logging_service.py", "--data", data, env=env)


def append(service: Service, text: str) -> dict[str, Any]:
    answer: dict[str, Any] = service.http.post("/records", json={"text": text}).raise_for_status().json()
    return answer


def records(service: Service, **query: int) -> list[dict[str, Any]]:
    answer = service.http.get("/records", params={"limit": 1000, **query}).raise_for_status().json()
    found: list[dict[str, Any]] = answer["records"]
    return found


def test_records_come_back_as_they_were_sent(start: Start, tmp_path: Path) -> None:
    service = run(start, tmp_path)
    acknowledged = [append(service, text) | {"text": text} for text in TEXTS]
    assert records(service) == acknowledged
    assert [record["sequence"] for record in acknowledged] == list(range(1, len(TEXTS) + 1))
    assert service.http.get("/status").json() == {"records": len(TEXTS), "dropped_bytes": 0}


def test_records_come_in_pages(start: Start, tmp_path: Path) -> None:
    service = run(start, tmp_path)
    for number in range(1, 6):
        append(service, f"record {number}")
    page = service.http.get("/records", params={"after": 2, "limit": 2}).json()
    assert page["total"] == 5
    assert [record["text"] for record in page["records"]] == ["record 3", "record 4"]
    assert records(service, after=5) == []


@pytest.mark.parametrize("query", ["after=-1", "after=x", "limit=1001", "limit="])
def test_a_wrong_page_is_refused(start: Start, tmp_path: Path, query: str) -> None:
    answer = run(start, tmp_path).http.get(f"/records?{query}")
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["error"]


def test_writers_at_the_same_time_each_get_a_number(start: Start, tmp_path: Path) -> None:
    service = run(start, tmp_path)
    with ThreadPoolExecutor(8) as writers:
        acknowledged = list(writers.map(lambda n: append(service, f"record {n}") | {"text": f"record {n}"}, range(80)))
    assert records(service) == sorted(acknowledged, key=lambda record: record["sequence"])
    assert sorted(record["sequence"] for record in acknowledged) == list(range(1, 81))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_records_outlive_the_service(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    first = run(start, tmp_path)
    acknowledged = [append(first, text) | {"text": text} for text in TEXTS]
    first.stop(number)
    second = run(start, tmp_path)
    assert records(second) == acknowledged
    assert append(second, "after")["sequence"] == len(TEXTS) + 1


def test_a_kill_in_the_middle_of_writing_loses_nothing_that_was_acknowledged(start: Start, tmp_path: Path) -> None:
    acknowledged: list[dict[str, Any]] = []
    for turn in range(3):
        service, enough = run(start, tmp_path), threading.Event()

        def write(writer: int, turn: int = turn, service: Service = service, enough: threading.Event = enough) -> None:
            for number in range(10_000):
                text = f"{turn} {writer} {number} " + "x" * 2000
                try:
                    acknowledged.append(append(service, text) | {"text": text})
                except httpx.TransportError:
                    return
                if number == 5:
                    enough.set()

        with ThreadPoolExecutor(4) as writers:
            asked = [writers.submit(write, writer) for writer in range(4)]
            assert enough.wait(20)
            service.stop(signal.SIGKILL)
        assert all(each.exception() is None for each in asked)
    kept = {record["sequence"]: record for record in records(run(start, tmp_path))}
    assert [record for record in acknowledged if kept.get(record["sequence"]) != record] == []


@pytest.mark.parametrize("tail", [b"0", b"deadbeef {}\n", b"\x00" * 100, b'12345678 {"sequence":3,"time_ns":"1","te'])
def test_a_torn_tail_is_cut_off(start: Start, tmp_path: Path, tail: bytes) -> None:
    first = run(start, tmp_path)
    kept = [append(first, text) | {"text": text} for text in ("one", "two")]
    first.stop()
    with (tmp_path / "records.log").open("ab") as file:
        file.write(tail)
    second = run(start, tmp_path)
    assert second.http.get("/status").json() == {"records": 2, "dropped_bytes": len(tail)}
    assert f"cut off a torn tail of {len(tail)} bytes after record 2" in second.log.read_text()
    append(second, "three")
    assert [record["text"] for record in records(second)] == ["one", "two", "three"]
    assert records(second)[:2] == kept


def test_a_line_that_was_cut_short_is_cut_off(start: Start, tmp_path: Path) -> None:
    first = run(start, tmp_path)
    append(first, "one")
    append(first, "two")
    first.stop()
    path = tmp_path / "records.log"
    os.truncate(path, path.stat().st_size - 5)
    second = run(start, tmp_path)
    assert [record["text"] for record in records(second)] == ["one"]


@pytest.mark.parametrize(("old", "new"), [(b"one", b"eno"), (b'"sequence":1', b'"sequence":7')])
def test_damage_before_the_tail_is_not_passed_over(start: Start, tmp_path: Path, old: bytes, new: bytes) -> None:
    first = run(start, tmp_path)
    append(first, "one")
    append(first, "two")
    first.stop()
    path = tmp_path / "records.log"
    damaged = path.read_bytes().replace(old, new)
    path.write_bytes(damaged)
    second = start("logging_service.py", "--data", tmp_path, wait=False)
    assert second.process.wait(5) == 1
    assert "the line after record 0, at byte 0, is damaged" in second.log.read_text()
    assert path.read_bytes() == damaged


def test_a_record_that_the_disk_does_not_take_is_not_acknowledged(start: Start, tmp_path: Path) -> None:
    service = run(start, tmp_path)
    first = append(service, "x" * 5000) | {"text": "x" * 5000}
    # Half of the next record can still be written.
    most = (tmp_path / "records.log").stat().st_size + 30
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    answer = service.http.post("/records", json={"text": "lost"})
    assert answer.status_code == 507
    assert "File too large" in answer.json()["error"]
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    second = append(service, "kept") | {"text": "kept"}
    assert records(service) == [first, second]
    service.stop(signal.SIGKILL)
    assert records(run(start, tmp_path)) == [first, second]


def test_half_a_surrogate_pair_is_refused(start: Start, tmp_path: Path) -> None:
    service = run(start, tmp_path)
    assert service.http.post("/records", content=b'{"text": "\\ud800"}').status_code == 400
    assert append(service, "next")["sequence"] == 1


def test_buffers_loses_what_it_acknowledged(start: Start, tmp_path: Path) -> None:
    first = run(start, tmp_path, BUG="buffers")
    acknowledged = [append(first, f"record {number}") for number in range(70)]
    assert len(records(first)) == len(acknowledged)
    first.stop(signal.SIGKILL)
    assert len(records(run(start, tmp_path))) == 64


def test_a_folder_that_cannot_be_used_is_told(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    service = start("logging_service.py", "--data", tmp_path / "file", wait=False)
    assert service.process.wait(5) == 1
    assert "Give --data a folder" in service.log.read_text()
