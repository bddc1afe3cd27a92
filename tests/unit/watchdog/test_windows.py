"""By the state files: what is closed, in which order, what is left alone, and what it cannot be thrown off by."""

import errno
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from vx11.clock import NS, Instant
from vx11.engines import procfs
from vx11.engines.cgroups import Hierarchy
from vx11.watchdog import ending, record
from vx11.watchdog.ending import KILL_TIMEOUT, EndError, Target
from vx11.watchdog.record import CLOSING_MARGIN, ORDER_MARGIN
from vx11.watchdog.windows import LONGEST_SLEEP, Windows

Eventually = Callable[..., Any]
Start = Any  # tests/unit/watchdog/conftest.py
Room = Any
FakeDaemon = Any
GRACE = 4.0


def round_at(room: Room, seconds: float, eventually: Eventually) -> float:
    """A round at this time; returns when what it began is over."""
    room.clock.put(seconds)
    pause: float = room.watchdog.round()
    known = room.watchdog._attempts._known
    eventually(lambda: all(attempt.next_try is not None for attempt in list(known.values())))
    return pause


@pytest.mark.parametrize(
    ("seconds", "pause"),
    [
        (0, LONGEST_SLEEP),
        (60.2, pytest.approx(0.3)),
        (60.499, pytest.approx(0.001)),
    ],
)
def test_a_round_leaves_alone_what_is_not_overdue_and_comes_back_in_time(
    room: Room, eventually: Eventually, seconds: float, pause: Any
) -> None:
    room.save()
    assert round_at(room, seconds, eventually) == pause
    assert room.ended == []


@pytest.mark.parametrize("schema", [1, 2, 3])
@pytest.mark.parametrize(
    ("changes", "grace"),
    [
        ({}, GRACE),
        ({"state": "opening"}, GRACE),
        # Its grace is over already.
        ({"state": "closing", "closing": 0}, 0.0),
        ({"state": "stuck", "closing": 0}, 0.0),
    ],
)
def test_a_round_ends_what_is_overdue_and_marks_it(
    room: Room, eventually: Eventually, schema: int, changes: dict[str, Any], grace: float
) -> None:
    room.save(schema=schema, **changes)
    round_at(room, 61, eventually)
    assert room.is_marked()
    assert room.ended == [("w1", grace)]
    assert room.said == ["closed web (w1), which was overdue"]
    round_at(room, 90, eventually)
    assert room.ended == [("w1", grace)]  # once is enough


def test_each_window_is_judged_on_its_own(room: Room, eventually: Eventually) -> None:
    for name, changes in {
        "over": {},
        "held": {"hold_until": 7200},
        "extended": {"deadline": 600},
        "needed": {"needed_until": 600},
        "closing": {"state": "closing", "closing": 58},
        "closing-after-others": {"state": "closing", "closing": 10, "close_by": 60},
    }.items():
        room.save(name, **changes)
    round_at(room, 62, eventually)
    assert room.names() == ["over"]


@pytest.mark.parametrize(
    "trouble",
    [
        EndError("the daemon answered 500"),
        ConnectionRefusedError(111, "Connection refused"),
        json.JSONDecodeError("Expecting value", "", 0),
        KeyError("Id"),
        ZeroDivisionError("whatever"),
    ],
    ids=lambda trouble: type(trouble).__name__,
)
def test_what_could_not_be_ended_is_tried_again(room: Room, eventually: Eventually, trouble: Exception) -> None:
    room.save()
    room.trouble["w1"] = trouble
    round_at(room, 61, eventually)
    assert room.said == [f"could not close web (w1): {trouble}; trying again"]
    assert not room.is_marked()
    room.trouble.clear()
    round_at(room, 61.9, eventually)
    assert len(room.ended) == 1
    round_at(room, 62, eventually)
    assert len(room.ended) == 2
    assert room.is_marked()


@pytest.mark.parametrize("changes", [{"hold_until": 7200}, {"deadline": 120}, {"state": "closing", "closing": 61}])
def test_what_changed_at_the_last_moment_is_left_alone(
    room: Room, eventually: Eventually, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    room.save()
    room.clock.put(61)
    overdue = room.folder.records()
    room.save(**changes)
    monkeypatch.setattr(room.folder, "records", lambda: overdue)  # madre wrote after the round had read
    round_at(room, 61, eventually)
    assert room.ended == []
    assert not room.is_marked()


def test_what_madre_closed_at_the_last_moment_is_no_trouble(
    room: Room, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.save()
    overdue = room.folder.records()
    (room.windows / "w1.json").unlink()
    monkeypatch.setattr(room.folder, "records", lambda: overdue)
    round_at(room, 61, eventually)
    assert (room.ended, room.said, list(room.windows.iterdir())) == ([], [], [])


def test_a_window_of_an_earlier_boot_is_judged_by_wall_time(room: Room, eventually: Eventually) -> None:
    room.save()
    room.clock.at = Instant(5 * NS, 5000 * NS + 61 * NS, "boot-b")
    room.watchdog.round()
    eventually(room.is_marked)
    assert room.names() == ["w1"]


# Order ----------------------------------------------------------------------------------------------------------------

PATIENCE = GRACE + KILL_TIMEOUT + ORDER_MARGIN


def three_that_need_each_other(room: Room) -> None:
    """`web` needs `api`, which needs `db`."""
    room.save("w-web", service="web", depends_on=["api", "db"])
    room.save("w-api", service="api", depends_on=["db"], needed_until=60)
    room.save("w-db", service="db", needed_until=60)


def test_what_others_need_ends_after_them(room: Room, eventually: Eventually) -> None:
    three_that_need_each_other(room)
    for at in (61, 61.1, 61.2, 61.3):
        round_at(room, at, eventually)
    assert room.names() == ["w-web", "w-api", "w-db"]


def test_a_dependent_that_cannot_be_ended_is_not_waited_for_for_ever(room: Room, eventually: Eventually) -> None:
    three_that_need_each_other(room)
    room.trouble["w-web"] = EndError("it still runs")
    for at in (61, 70, 60 + PATIENCE):
        round_at(room, at, eventually)
    assert set(room.names()) == {"w-web"}
    round_at(room, 61 + PATIENCE, eventually)
    assert set(room.names()) == {"w-web", "w-api"}
    round_at(room, 61.1 + PATIENCE, eventually)  # it has waited for web as long as api has
    assert room.is_marked("w-db")
    assert not room.is_marked("w-web")


def test_what_madre_is_closing_is_waited_for_too(room: Room, eventually: Eventually) -> None:
    room.save("w-web", service="web", depends_on=["db"], state="closing", closing=60)
    room.save("w-db", service="db", needed_until=60)
    round_at(room, 61, eventually)
    assert room.ended == []
    due = 60 + GRACE + CLOSING_MARGIN
    round_at(room, due, eventually)
    round_at(room, due + 0.1, eventually)
    assert room.ended == [("w-web", 0.0), ("w-db", GRACE)]


def test_what_has_time_left_keeps_nothing_open(room: Room, eventually: Eventually) -> None:
    """A dependency has its own deadline; madre writes down that it is needed longer."""
    room.save("w-web", service="web", depends_on=["db"], deadline=600)
    room.save("w-db", service="db")
    round_at(room, 61, eventually)
    assert room.names() == ["w-db"]


def test_one_that_ends_lets_the_next_go_at_once(
    room: Room, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vx11.watchdog.windows.LONGEST_SLEEP", 60.0)
    three_that_need_each_other(room)
    room.clock.put(61)
    thread = threading.Thread(target=room.watchdog.run)
    thread.start()
    eventually(lambda: room.is_marked("w-db"))
    room.watchdog.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert room.names() == ["w-web", "w-api", "w-db"]


# A full disk ----------------------------------------------------------------------------------------------------------


def test_what_cannot_be_marked_is_ended_once_and_marked_later(
    room: Room, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    three_that_need_each_other(room)
    with monkeypatch.context() as patch:
        patch.setattr(record, "write_json", full)
        for at in (61, 61.1, 61.2, 61.3, 62, 64, 70):
            round_at(room, at, eventually)
    assert room.names() == ["w-web", "w-api", "w-db"]  # each once, and the order holds without marks
    told = "could not close web (w-web): it has ended, but that cannot be written down: [Errno 28] No space left on "
    assert [said for said in room.said if "(w-web)" in said] == [
        "closed web (w-web), which was overdue",
        f"{told}device; trying again",
    ]
    round_at(room, 100, eventually)
    assert room.names() == ["w-web", "w-api", "w-db"]
    for name in room.names():
        mark = json.loads((room.windows / f"{name}.closed-by-watchdog").read_text(encoding="utf-8"))
        assert mark["closed"]["boottime_ns"] < (1000 + 62) * NS  # when it ended, not when there was room


# Its loop -------------------------------------------------------------------------------------------------------------


def test_run_ends_when_it_is_told_to(room: Room, eventually: Eventually) -> None:
    room.save()
    room.clock.put(61)
    thread = threading.Thread(target=room.watchdog.run)
    thread.start()
    eventually(room.is_marked)
    room.watchdog.stop()
    thread.join(5)
    assert not thread.is_alive()


def test_the_record_of_an_open_window_says_what_ends_and_how(
    room: Room, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets: list[Target] = []
    monkeypatch.setattr(ending, "end", lambda target, grace, hierarchy: targets.append(target))
    engine = {"container": "abc", "pid": 7, "start_time": 8, "cgroup": f"{room.folder.cell}/w1"}
    room.save(engine=engine, stop_signal="SIGINT")
    round_at(room, 61, eventually)
    assert targets == [Target("w1", "abc", 7, 8, f"{room.folder.cell}/w1", "SIGINT")]


# What madre had not written down yet ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_daemon")
def test_processes_that_were_not_written_down_are_found_by_their_mark(
    room: Room, start: Start, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/nobody.sock")
    window = f"w-{room.folder.cell}"
    child = start("stubborn", window=window)
    room.save(window, state="opening", engine=None)
    round_at(room, 61, eventually)
    assert child.wait(5) < 0
    assert procfs.marked("VX11_WINDOW", window) == []
    assert room.is_marked(window)


def test_containers_that_were_not_written_down_are_found_by_their_labels(room: Room, daemon: FakeDaemon) -> None:
    mine = {"vx11.cell": room.folder.cell, "vx11.window": "w1"}
    container = daemon.run(mine)
    daemon.run(mine | {"vx11.cell": "another"})
    targets = Windows(room.folder, room.clock, room.log, Hierarchy(1, {}))._started_for("w1")
    assert targets == [Target("w1", cgroup=f"{room.folder.cell}/w1"), Target("w1", container=container)]


def test_a_daemon_that_does_not_answer_leaves_what_was_not_written_down_open(
    room: Room, daemon: FakeDaemon, eventually: Eventually
) -> None:
    daemon.raw = b"nonsense"
    room.save(state="opening", engine=None)
    round_at(room, 61, eventually)
    assert not room.is_marked()
    assert room.said == ["could not close web (w1): the Docker daemon does not answer in HTTP; trying again"]
