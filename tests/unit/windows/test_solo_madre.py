"""SOLO_MADRE is proved by what runs, never assumed."""

import threading
from typing import Any

import pytest

from vx11.engines.port import EngineError, Foreign, Running
from vx11.windows import solo_madre
from vx11.windows.window import Reason, State

Room = Any  # tests/unit/windows/conftest.py
OTHER = Running("fake", pid=99)


def test_nothing_runs(room: Room) -> None:
    proof = solo_madre.check(room.windows)
    assert proof.solo
    assert (proof.windows, proof.unaccounted, proof.foreign) == ((), (), ())
    assert proof.checked == room.clock.now()


def test_a_window_is_named(room: Room) -> None:
    window = room.open()
    proof = solo_madre.check(room.windows)
    assert not proof.solo
    assert proof.windows == (window,)


def test_a_stuck_window_is_named(room: Room) -> None:
    room.open()
    room.fail("stop")
    stuck = room.close()
    proof = solo_madre.check(room.windows)
    assert not proof.solo
    assert proof.windows == (stuck,)


def test_what_belongs_to_no_window_is_named(room: Room) -> None:
    room.engine.stray("unknown")
    proof = solo_madre.check(room.windows)
    assert not proof.solo
    assert [item.window_id for item in proof.unaccounted] == ["unknown"]


@pytest.mark.parametrize("act", ["open", "close"])
def test_what_opens_or_closes_while_it_is_looked_at_belongs_to_its_window(
    room: Room, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    if act == "close":
        room.open()
    listed = room.engine.inventory

    def look(cell: str) -> list[Any]:
        found: list[Any] = listed(cell)
        getattr(room, act)()
        return found

    monkeypatch.setattr(room.engine, "inventory", look)
    proof = solo_madre.check(room.windows)
    assert proof.unaccounted == ()
    assert proof.solo is (act == "close")


def test_what_is_foreign_is_named(room: Room) -> None:
    room.engine.foreigners = {"container other": OTHER}
    proof = solo_madre.check(room.windows)
    assert not proof.solo
    assert proof.foreign == (Foreign("container other", OTHER),)


def test_a_window_that_is_still_opening_counts(room: Room) -> None:
    room.engine.talks = False
    room.open(wait=False)
    assert not solo_madre.check(room.windows).solo


def test_enforcing_it_closes_every_window_and_every_stray_and_proves_it(room: Room) -> None:
    windows = [room.open("web"), room.open("db")]
    room.engine.stray("unknown")
    done = solo_madre.enforce(room.windows, "anna")
    assert done.before.windows == tuple(windows)
    assert len(done.before.unaccounted) == 1
    assert {(window.service, window.state, window.reason) for window in done.stopped} == {
        ("web", State.CLOSED, Reason.SOLO_MADRE),
        ("db", State.CLOSED, Reason.SOLO_MADRE),
    }
    assert done.after.solo
    assert not room.engine.alive()
    assert room.evidence.data("solo_madre") == {"solo_madre": True, "foreign": []}
    again = solo_madre.enforce(room.windows, "anna")
    assert (again.stopped, again.after.solo) == ((), True)


def test_a_dry_run_stops_nothing(room: Room) -> None:
    window = room.open()
    records = len(room.evidence.records)
    done = solo_madre.enforce(room.windows, "anna", dry_run=True)
    assert done.before == done.after
    assert (done.before.windows, done.stopped) == ((window,), ())
    assert room.state() is State.OPEN
    assert len(room.evidence.records) == records


def test_what_is_foreign_is_named_and_left_alone(room: Room) -> None:
    room.open()
    room.engine.foreigners = {"container other": OTHER}
    done = solo_madre.enforce(room.windows, "anna")
    assert not done.after.solo
    assert done.after.foreign == (Foreign("container other", OTHER),)
    assert done.stopped[0].service == "web"


def test_what_is_foreign_is_stopped_when_it_is_asked_for(room: Room) -> None:
    room.engine.foreigners = {"container other": OTHER}
    would = solo_madre.enforce(room.windows, "anna", dry_run=True, stop_foreign=True)
    assert not would.after.solo
    assert would.foreign_stopped == ()
    done = solo_madre.enforce(room.windows, "anna", stop_foreign=True)
    assert done.after.solo
    assert done.foreign_stopped == (Foreign("container other", OTHER),)
    assert room.evidence.data("foreign_stopped") == {"what": "container other"}


def test_what_cannot_be_stopped_makes_it_false(room: Room) -> None:
    room.open("web")
    room.open("db")

    def fail_for_web(program: Any) -> None:
        if program.service == "web":
            raise EngineError("it does not stop")

    room.engine.on["stop"] = fail_for_web
    done = solo_madre.enforce(room.windows, "anna")
    assert not done.after.solo
    assert "web" in {window.service for window in done.after.windows}


@pytest.mark.parametrize(("grace", "given"), [("14s", 14), ("15s", 15), ("16s", 15), ("5m", 15)])
def test_a_grace_that_does_not_fit_into_its_time_is_cut(room: Room, grace: str, given: float) -> None:
    room.services.add("web", stop_grace_period=grace)
    room.open()
    assert solo_madre.enforce(room.windows, "anna").after.solo
    assert (room.engine.called("stop", "kill"), room.engine.graces) == ([("stop", "web")], [given])


def test_a_chain_of_graces_has_what_is_left_for_each(room: Room) -> None:
    room.services.add("db", stop_grace_period="10s")
    room.services.add("web", stop_grace_period="10s", depends_on=["db"])
    room.open()
    room.engine.on["stop"] = lambda program: room.clock.step(9) if program.service == "web" else None
    assert solo_madre.enforce(room.windows, "anna").after.solo
    assert room.engine.called("stop", "kill") == [("stop", "web"), ("stop", "db")]
    assert room.engine.graces == [10, 6]


def test_more_windows_than_anybody_expects_are_all_stopped_at_once(room: Room) -> None:
    together = threading.Barrier(100, timeout=10)
    room.engine.on["stop"] = lambda program: together.wait()
    for number in range(100):
        room.services.add(f"s-{number}")
        room.open(f"s-{number}")
    assert solo_madre.enforce(room.windows, "anna").after.solo


def test_windows_are_stopped_side_by_side(room: Room) -> None:
    together = threading.Barrier(8, timeout=5)
    room.engine.on["stop"] = lambda program: together.wait()
    for number in range(8):
        room.services.add(f"s-{number}")
        room.open(f"s-{number}")
    assert solo_madre.enforce(room.windows, "anna").after.solo


def test_what_does_not_end_in_time_makes_it_false(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solo_madre, "_TO_ANSWER", solo_madre.TIME_LIMIT - 0.05)
    hangs = threading.Event()
    room.open("web")
    room.open("db")
    room.engine.on["stop"] = lambda program: hangs.wait(10) if program.service == "web" else None
    done = solo_madre.enforce(room.windows, "anna")
    assert not done.after.solo
    assert [window.service for window in done.after.windows] == ["web"]
    assert [window.service for window in done.stopped] == ["db"]
    hangs.set()


def test_an_opening_is_taken_back(room: Room) -> None:
    room.engine.talks = False
    room.open(wait=False)
    done = solo_madre.enforce(room.windows, "anna")
    assert done.after.solo
    assert [window.reason for window in done.stopped] == [Reason.SOLO_MADRE]


def test_an_engine_that_does_not_answer_proves_nothing(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(cell: str) -> list[Any]:
        raise EngineError("no daemon answers")

    monkeypatch.setattr(room.engine, "inventory", fail)
    with pytest.raises(EngineError):
        solo_madre.enforce(room.windows, "anna")
