"""TC-011: what buggy-service promises. The service of the case has a bug, and so one of these tests fails, quickly.

Which one, and what it says, tells the bug. The tests that may leave the service unable to answer come last.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

SERVICE = "buggy-service"
PAGE = 10
NOTES = 25
READS = 40
GROWTH_LIMIT_KB = 4096
CALLERS = 8
PATIENCE_S = 2.0
# How much of the log is shown, and how often it is looked at until it has not changed for so many looks.
LINES = 25
LOOKS, UNCHANGED, PAUSE_S = 20, 3, 0.1
TEXT = "Příliš žluťoučký kůň, 日本語, 😀"

Json = dict[str, Any]


@pytest.fixture
def notes(window: Callable[[str], Any]) -> httpx.Client:
    """A client of the case's buggy-service."""
    client: httpx.Client = window(SERVICE).http
    client.timeout = httpx.Timeout(PATIENCE_S)
    return client


@pytest.fixture
def told(madre: httpx.Client) -> Callable[[str], str]:
    """`told(message)` is the message with the end of the service's log."""

    def with_log(message: str) -> str:
        return "\n".join([message, f"The log of {SERVICE} ends with:", *(f"  {line}" for line in settled_log(madre))])

    return with_log


def settled_log(madre: httpx.Client) -> list[str]:
    """The end of the service's log, when nothing more comes: a stack trace is written after the answer."""
    lines: list[str] = []
    unchanged = 0
    for _ in range(LOOKS):
        before, lines = lines, log(madre)
        unchanged = unchanged + 1 if lines == before else 0
        if unchanged == UNCHANGED:
            break
        time.sleep(PAUSE_S)
    return lines


def log(madre: httpx.Client) -> list[str]:
    """The last lines of the service's log; what madre says of it when it has none."""
    answer = madre.get("/api/v1/windows/logs", params={"window": SERVICE, "tail": LINES})
    return list(answer.json()["lines"]) if answer.status_code == 200 else [answer.text]


def add(notes: httpx.Client, text: str) -> int:
    """Adds a note; answers its id."""
    return int(notes.post("/notes", json={"text": text}).raise_for_status().json()["id"])


def test_a_note_comes_back_as_it_was_sent(notes: httpx.Client) -> None:
    number = add(notes, TEXT)
    text = notes.get(f"/notes/{number}").json()["text"]
    assert text == TEXT, f"note {number} was sent as {TEXT!r} and comes back as {text!r}"


def test_every_page_can_be_read(notes: httpx.Client, told: Callable[[str], str]) -> None:
    for number in range(NOTES):
        add(notes, f"note {number}")
    total = notes.get("/status").json()["notes"]
    for page in range(1, -(-total // PAGE) + 1):
        wanted = min(PAGE, total - (page - 1) * PAGE)
        answer = notes.get("/notes", params={"page": page})
        problem = f"GET /notes?page={page} of {total} notes answered {answer.status_code}: {answer.text}"
        assert answer.status_code == 200, told(problem)
        assert len(answer.json()["notes"]) == wanted, told(f"{problem}; it has to show {wanted} notes")


def test_memory_does_not_grow_with_reading(notes: httpx.Client) -> None:
    number = add(notes, "the same note")
    before = notes.get("/status").json()["memory_kb"]
    for _ in range(READS):
        notes.get(f"/notes/{number}").raise_for_status()
    grown = notes.get("/status").json()["memory_kb"] - before
    assert grown < GROWTH_LIMIT_KB, f"reading one note {READS} times made the service grow by {grown} KiB"


def test_an_empty_note_can_be_read(notes: httpx.Client, told: Callable[[str], str]) -> None:
    number = add(notes, "")
    try:
        answer = notes.get(f"/notes/{number}")
    except httpx.TransportError as error:
        pytest.fail(told(f"reading the empty note {number} ended without an answer ({error})"))
    assert answer.json() == {"id": number, "text": ""}


def test_reading_and_writing_at_the_same_time(notes: httpx.Client, told: Callable[[str], str]) -> None:
    add(notes, "one that is there")
    with ThreadPoolExecutor(CALLERS) as callers:
        asked = [
            callers.submit(notes.get, "/notes", params={"page": 1})
            if turn % 2
            else callers.submit(notes.post, "/notes", json={"text": f"at once {turn}"})
            for turn in range(CALLERS)
        ]
    unanswered = [error for each in asked if (error := each.exception())]
    assert not unanswered, told(
        f"{len(unanswered)} of {len(asked)} requests at the same time got no answer within {PATIENCE_S:g} s"
    )
    assert {each.result().status_code for each in asked} == {200}
