"""State files as the watchdog reads them: when a window is due, what is no state file, and the marks beside them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vx11.clock import NS, Clock, Instant
from vx11.engines.port import Running
from vx11.statefiles import WINDOWS
from vx11.watchdog.ending import KILL_TIMEOUT, Target
from vx11.watchdog.record import CLOSING_MARGIN, ORDER_MARGIN, OVERDUE, Record, StateFolder, due, patience
from vx11.windows.window import State, Window

File = Callable[..., dict[str, Any]]
Room = Any  # tests/unit/watchdog/conftest.py
GRACE = 4.0


@pytest.mark.parametrize("schema", [1, 2, 3])
@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({}, 60 + OVERDUE),
        ({"state": "opening", "engine": None}, 60 + OVERDUE),
        ({"deadline": 90}, 90 + OVERDUE),
        ({"hold_until": 7200}, 7200 + OVERDUE),
        # A hold that ends before the deadline does not shorten it.
        ({"hold_until": 30}, 60 + OVERDUE),
        # What madre closes has its grace, whatever its deadline or hold says.
        ({"state": "closing", "closing": 10}, 10 + GRACE + CLOSING_MARGIN),
        ({"state": "closing", "closing": 10, "hold_until": 7200}, 10 + GRACE + CLOSING_MARGIN),
        ({"state": "stuck", "closing": 70, "grace_s": 0}, 70 + CLOSING_MARGIN),
    ],
)
def test_when_a_window_is_due(
    file: File, since_opened: Callable[..., float], schema: int, changes: dict[str, Any], seconds: float
) -> None:
    assert since_opened(due(file(schema=schema, **changes))) == seconds


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({"needed_until": 100}, 100 + OVERDUE),
        ({"needed_until": 100, "hold_until": 90}, 100 + OVERDUE),
        ({"needed_until": 100, "hold_until": 200}, 200 + OVERDUE),
        # Those that need it are gone earlier; somebody asked for it too.
        ({"needed_until": 30}, 60 + OVERDUE),
        # It closes after what depends on it, whose grace comes first.
        ({"state": "closing", "closing": 10, "close_by": 40}, 40 + CLOSING_MARGIN),
        ({"state": "stuck", "closing": 10, "close_by": 40, "needed_until": 100}, 40 + CLOSING_MARGIN),
    ],
)
def test_when_a_window_is_due_that_others_need(
    file: File, since_opened: Callable[..., float], changes: dict[str, Any], seconds: float
) -> None:
    assert since_opened(due(file(**changes))) == seconds


def test_a_window_of_an_earlier_boot_is_due_by_wall_time(file: File) -> None:
    later = Instant(5 * NS, 5000 * NS + 61 * NS, "boot-b")
    assert later.seconds_until(due(file())) == -0.5
    assert later.seconds_until(due(file(needed_until=later.plus(9).to_json()))) == 9 + OVERDUE


def test_what_madre_writes_is_read() -> None:
    opened = Clock().now()
    window = Window(
        cell="default",
        window_id="w1",
        generation=1,
        service="web",
        state=State.CLOSING,
        opened=opened,
        deadline=opened.plus(60),
        opened_by="anna",
        max_ttl=3600,
        max_hold=7200,
        grace=GRACE,
        stop_signal="SIGINT",
        closing=opened.plus(60),
        running=Running("docker", "w1", container="abc", pid=7, start_time=8, cgroup="c/w1"),
    )
    record = Record.from_json(json.loads(json.dumps(window.to_json())))
    assert record.target == Target("w1", "abc", 7, 8, "c/w1", "SIGINT")
    assert (record.window_id, record.service, record.closing, record.grace) == ("w1", "web", True, GRACE)
    assert record.due == opened.plus(60 + GRACE + CLOSING_MARGIN)


def broken_files() -> dict[str, Callable[[dict[str, Any]], str]]:
    """Name → what makes it of a sound one."""
    needed = ("window_id", "service", "state", "deadline", "hold_until", "grace_s", "engine", "stop_signal")
    return {
        "empty": lambda sound: "",
        "cut": lambda sound: json.dumps(sound)[:100],
        "list": lambda sound: "[1]",
        "number": lambda sound: "5",
        "no-deadline": lambda sound: json.dumps(sound | {"deadline": None}),
        "text-time": lambda sound: json.dumps(sound | {"deadline": sound["deadline"] | {"boottime_ns": "1"}}),
        "text-engine": lambda sound: json.dumps(sound | {"engine": "docker"}),
        "of-another": lambda sound: json.dumps(sound | {"window_id": "w2"}),
        **{
            f"without-{name}": lambda sound, name=name: json.dumps({k: v for k, v in sound.items() if k != name})
            for name in needed
        },
    }


@pytest.mark.parametrize("name", broken_files())
def test_a_broken_file_is_named_once_and_hides_no_other(room: Room, file: File, name: str) -> None:
    room.write("broken.json", broken_files()[name](file("broken")))
    room.save("good")
    for _ in range(3):
        assert [record.window_id for record in room.folder.records()] == ["good"]
    assert room.folder.record("broken") is None
    (told,) = room.said
    assert "broken.json cannot be read" in told
    room.save("broken")
    assert {record.window_id for record in room.folder.records()} == {"broken", "good"}


def test_a_file_that_changed_is_read_again(room: Room, since_opened: Callable[..., float]) -> None:
    for deadline in (60, 61, 70, 70.5, 71):
        room.save(deadline=deadline)
        (record,) = room.folder.records()
        assert since_opened(record.due) == deadline + OVERDUE
    (room.windows / "w1.json").unlink()
    assert room.folder.records() == []


def test_a_cell_that_is_gone_has_no_windows(tmp_path: Path, file: File) -> None:
    said: list[str] = []
    folder = StateFolder(tmp_path / "gone", said.append)
    assert (folder.cell, folder.records(), folder.record("w1")) == ("gone", [], None)
    folder.mark("w1", Clock().now())
    assert said == []


def test_the_cell_is_named_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "default" / WINDOWS).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "default")
    assert StateFolder(Path(), print).cell == "default"


def test_a_mark_says_when_and_stays_only_beside_its_file(room: Room, since_opened: Callable[..., float]) -> None:
    room.save()
    assert not room.folder.is_marked("w1")
    room.folder.mark("w1", room.clock.now().plus(61))
    assert room.folder.is_marked("w1")
    mark = json.loads((room.windows / "w1.closed-by-watchdog").read_text(encoding="utf-8"))
    assert (mark["window_id"], since_opened(Instant.from_json(mark["closed"]))) == ("w1", 61)
    room.folder.mark("w2", room.clock.now())  # madre closed it meanwhile
    assert sorted(path.name for path in room.windows.iterdir()) == ["w1.closed-by-watchdog", "w1.json"]


STEP = KILL_TIMEOUT + ORDER_MARGIN


@pytest.mark.parametrize(
    ("needs", "seconds"),
    [
        ({}, 0),
        ({"web": ["db"]}, GRACE + STEP),
        ({"web": ["db"], "api": ["db"]}, GRACE + STEP),  # these end at the same time
        ({"web": ["api"], "api": ["db"]}, 2 * (GRACE + STEP)),
        ({"web": ["api", "db"], "api": ["db"]}, 2 * (GRACE + STEP)),
        ({"web": ["cache"]}, 0),
    ],
)
def test_patience_is_the_time_that_those_before_it_may_take(file: File, needs: dict[str, Any], seconds: float) -> None:
    db = Record.from_json(file("db", service="db"))
    others = [Record.from_json(file(name, service=name, depends_on=on)) for name, on in needs.items()]
    assert patience(db, others) == seconds


def test_patience_ends_also_in_a_circle_that_no_catalogue_has(file: File) -> None:
    one, other = (Record.from_json(file(a, service=a, depends_on=[b])) for a, b in ("xy", "yx"))
    assert patience(one, [one, other]) == 2 * (GRACE + STEP)
