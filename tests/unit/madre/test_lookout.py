"""What is looked at at intervals, and when somebody asks: what is new is written down."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from vx11.madre.lookout import Lookout, Watched

NEVER = 3600.0


class Desk:
    """What is wrong, as a test decides; how often it was looked at, and what was written down."""

    def __init__(self) -> None:
        self.problems: dict[str, str] = {}
        self.looks = 0
        self.records: list[dict[str, Any]] = []
        self.registry = CollectorRegistry()

    def look(self) -> dict[str, str]:
        self.looks += 1
        return dict(self.problems)

    def record(self, actor: str, action: str, subject: str, data: dict[str, Any]) -> None:
        assert (actor, action, subject) == ("madre", "files_reread", "files")
        self.records.append(data)

    def counted(self) -> float | None:
        return self.registry.get_sample_value("vx11_file_problems")

    @contextmanager
    def running(self, interval: float) -> Iterator[Lookout]:
        watched = Watched(self.look, interval, "files", "files_reread", "vx11_file_problems", "What is wrong")
        lookout = Lookout(watched, self.record, self.registry)
        with lookout.running():
            yield lookout


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_it_looks_before_anything_is_served_and_tells_what_is_wrong(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.problems = {"web": "the catalogue entry of web is not the one that was allowed"}
    with caplog.at_level(logging.ERROR), desk.running(NEVER):
        assert desk.records == [{"asked": False, "problems": desk.problems}]
        assert desk.counted() == 1
    assert caplog.messages == list(desk.problems.values())


def test_what_is_right_is_written_down_only_when_somebody_asks(desk: Desk, eventually: Callable[..., Any]) -> None:
    with desk.running(NEVER) as lookout:
        assert (desk.looks, desk.records) == (1, [])
        lookout.ask()
        eventually(lambda: desk.records)
    assert desk.records == [{"asked": True, "problems": {}}]


def test_at_intervals_only_what_is_new_is_written_down(desk: Desk, eventually: Callable[..., Any]) -> None:
    with desk.running(0.001):
        eventually(lambda: desk.looks > 3)
        desk.problems = {"web": "gone"}
        eventually(lambda: desk.counted() == 1)
        seen = desk.looks
        eventually(lambda: desk.looks > seen + 3)
        desk.problems = {}
        eventually(lambda: desk.counted() == 0)
    assert desk.records == [
        {"asked": False, "problems": {"web": "gone"}},
        {"asked": False, "problems": {}},
    ]


def test_it_ends_at_once(desk: Desk) -> None:
    with desk.running(NEVER):
        pass
    assert desk.looks == 1
