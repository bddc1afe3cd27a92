"""buggy-service: works without a bug, and with each shows what the bug is known for."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.services.conftest import Service, Start

TEXT = "Žluťoučký kůň, 記録"


def run(start: Start, kind: str = "") -> Service:
    return start("buggy_service.py", env={"BUG": kind})


def add(service: Service, text: str) -> int:
    return int(service.http.post("/notes", json={"text": text}).raise_for_status().json()["id"])


def memory_kb(service: Service) -> int:
    return int(service.http.get("/status").json()["memory_kb"])


def test_without_a_bug_it_keeps_notes(start: Start) -> None:
    service = run(start)
    assert [add(service, text) for text in (TEXT, "", *map(str, range(9)))] == list(range(1, 12))
    assert service.http.get("/notes/1").json() == {"id": 1, "text": TEXT}
    assert service.http.get("/notes/2").json() == {"id": 2, "text": ""}
    assert service.http.get("/notes").json() == {"page": 1, "pages": 2, "notes": [TEXT, "", *map(str, range(8))]}
    assert service.http.get("/notes?page=2").json() == {"page": 2, "pages": 2, "notes": ["8"]}
    assert service.http.get("/status").json()["notes"] == 11


@pytest.mark.parametrize(
    ("path", "status"),
    [("/notes/0", 404), ("/notes/2", 404), ("/notes/x", 400), ("/notes?page=2", 404), ("/notes?page=", 400)],
)
def test_what_is_not_there_is_told(start: Start, path: str, status: int) -> None:
    service = run(start)
    add(service, "one")
    answer = service.http.get(path)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_without_a_bug_it_stands_a_crowd(start: Start) -> None:
    service = run(start)
    with ThreadPoolExecutor(8) as callers:
        list(callers.map(lambda n: add(service, str(n)) and service.http.get("/notes").raise_for_status(), range(40)))
    assert service.http.get("/status").json()["notes"] == 40


def test_off_by_one_fails_on_the_last_page(start: Start, eventually: Callable[..., bool]) -> None:
    service = run(start, "off_by_one")
    for number in range(11):
        add(service, str(number))
    assert service.http.get("/notes?page=1").status_code == 200
    assert service.http.get("/notes?page=2").status_code == 500
    assert eventually(lambda: "IndexError: list index out of range" in service.log.read_text())
    assert 'buggy_service.py", line' in service.log.read_text()


def test_leak_grows(start: Start) -> None:
    healthy, leaks = run(start), run(start, "leak")
    grown = []
    for service in (healthy, leaks):
        add(service, "note")
        before = memory_kb(service)
        for _ in range(40):
            service.http.get("/notes/1").raise_for_status()
        grown.append(memory_kb(service) - before)
    assert grown[0] < 2048
    assert grown[1] >= 40 * 250


def test_deadlock_stops_all_answers_and_shows_every_thread(start: Start, eventually: Callable[..., bool]) -> None:
    service = run(start, "deadlock")
    add(service, "note")

    def ask(turn: int) -> bool:
        try:
            if turn % 2:
                service.http.get("/notes", timeout=1)
            else:
                service.http.post("/notes", json={"text": "more"}, timeout=1)
        except httpx.TimeoutException:
            return False
        return True

    with ThreadPoolExecutor(8) as callers:
        assert not all(callers.map(ask, range(8)))
    assert eventually(lambda: "Timeout (0:00:00.500000)!" in service.log.read_text())
    assert "in _both" in service.log.read_text()
    assert service.stop() == 0


def test_crash_ends_it_with_a_stack_trace(start: Start) -> None:
    service = run(start, "crash")
    number = add(service, "")
    with pytest.raises(httpx.TransportError):
        service.http.get(f"/notes/{number}")
    assert service.process.wait(5) == -signal.SIGSEGV
    assert "Fatal Python error: Segmentation fault" in service.log.read_text()
    assert "in note" in service.log.read_text()


def test_wrong_encoding_loses_characters(start: Start) -> None:
    service = run(start, "wrong_encoding")
    number = add(service, TEXT)
    assert service.http.get(f"/notes/{number}").json()["text"] == "?lu?ou?ký k??, ??"
