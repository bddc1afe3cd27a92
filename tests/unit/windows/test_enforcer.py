"""What happens to windows by itself, and what a new madre makes of what an earlier one left."""

import json
import threading
from dataclasses import replace
from typing import Any

import pytest

from vx11.statefiles import WATCHDOG_LOCK, held_lock
from vx11.windows import solo_madre
from vx11.windows.store import StateStore
from vx11.windows.window import Reason, State

Eventually = Any  # tests/conftest.py
Room = Any  # tests/unit/windows/conftest.py


def ended(room: Room) -> list[tuple[str, Reason | None]]:
    return [(window.service, window.reason) for window in room.windows.closed()]


def mark_closed_by_watchdog(room: Room, window_id: str) -> None:
    (room.store.windows / f"{window_id}.closed-by-watchdog").write_text("{}", encoding="utf-8")


# Deadlines ------------------------------------------------------------------------------------------------------------


def test_a_window_closes_at_its_deadline_and_not_before(room: Room, eventually: Eventually) -> None:
    room.open("web", ttl=60.0)
    room.open("db", ttl=90.0)
    room.clock.step(59.999)
    assert room.windows._enforcer.look_at_deadlines() <= 0.0011
    assert ended(room) == []
    room.clock.step(0.001)
    eventually(lambda: ended(room))
    assert ended(room) == [("web", Reason.EXPIRED)]
    assert room.state("db") is State.OPEN
    assert room.engine.called("stop") == [("stop", "web")]  # gracefully


def test_those_due_at_one_moment_all_begin_to_close_before_the_first_is_stopped(
    room: Room, eventually: Eventually
) -> None:
    room.engine.glances = True
    room.open("web", ttl=60.0)
    room.open("db", ttl=60.01)
    with room.windows._registry.deadlines:
        room.clock.step(60)
        room.windows._enforcer.look_at_deadlines()
        assert (room.state("web"), room.state("db")) == (State.CLOSING, State.OPEN)
        assert room.engine.called("ask", "stop") == [("ask", "web")]
        room.clock.step(0.01)
        room.windows._enforcer.look_at_deadlines()
        assert room.engine.called("ask") == [("ask", "web"), ("ask", "db")]
    eventually(lambda: sorted(ended(room)) == [("db", Reason.EXPIRED), ("web", Reason.EXPIRED)])
    assert room.engine.asked == {"web", "db"}  # their stops have not sent a second signal


def test_nobody_waits_long_for_others_to_begin(room: Room, eventually: Eventually) -> None:
    room.engine.glances = True
    room.open("web", ttl=60.0)
    room.open("db", ttl=60.115)
    with room.windows._registry.deadlines:
        room.clock.step(60)
        room.windows._enforcer.look_at_deadlines()
        room.clock.step(0.1)  # db is due in 15 ms
        room.windows._enforcer.look_at_deadlines()
    eventually(lambda: ended(room) == [("web", Reason.EXPIRED)])


def test_an_extension_is_heeded(room: Room, eventually: Eventually) -> None:
    room.open(ttl=60.0)
    room.windows.extend("web", 100.0, "anna")
    room.clock.step(99)
    assert room.windows._enforcer.look_at_deadlines() > 0
    assert room.state() is State.OPEN
    room.clock.step(1)
    eventually(lambda: ended(room) == [("web", Reason.EXPIRED)])


def test_what_is_extended_while_its_end_begins_stays(room: Room, beside: Any, eventually: Eventually) -> None:
    """Between the look at the deadline and the close there is a question to the engine, which may take long."""
    looks, goes_on = threading.Event(), threading.Event()

    def slow(program: Any) -> None:
        looks.set()
        goes_on.wait(10)

    room.open(ttl=60.0)
    room.engine.on["health"] = slow
    room.clock.step(60)
    assert looks.wait(5)
    extended = room.windows.extend("web", 600.0, "anna")
    assert extended.changed
    goes_on.set()
    eventually(lambda: room.windows._registry.get("web").expiring is None)
    assert room.state() is State.OPEN
    assert room.program().alive


def test_many_deadlines_at_once_are_all_met(room: Room, eventually: Eventually) -> None:
    for number in range(20):
        room.services.add(f"s-{number}")
        room.open(f"s-{number}", ttl=10.0)
    room.clock.step(10)
    eventually(lambda: len(ended(room)) == 20)
    assert {reason for _, reason in ended(room)} == {Reason.EXPIRED}


def test_the_deadline_thread_sleeps_exactly_until_the_next_one(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vx11.windows.enforcer.TICK", 1000.0)
    room.open("web", ttl=60.0)
    room.open("db", ttl=30.0)
    assert room.windows._enforcer.look_at_deadlines() == 24  # when it warns
    room.clock.step(24)
    room.windows._enforcer.look_at_deadlines()
    assert room.windows._enforcer.look_at_deadlines() == 6
    monkeypatch.setattr("vx11.windows.enforcer.TICK", 0.005)


def test_it_warns_once_before_each_end(room: Room, eventually: Eventually) -> None:
    def warned() -> int:
        return room.evidence.actions().count("warning")

    room.open(ttl=200.0)
    room.clock.step(169)
    room.windows._enforcer.look_at_deadlines()
    assert warned() == 0
    room.clock.step(1)
    eventually(lambda: warned() == 1)
    room.clock.step(1)
    room.windows._enforcer.look_at_deadlines()
    assert warned() == 1
    assert room.evidence.data("warning") == {"service": "web", "remaining_s": 30.0}
    room.windows.extend("web", 100.0, "anna")
    room.clock.step(70)
    eventually(lambda: warned() == 2)


def test_the_watchdog_that_was_quicker_is_named(room: Room, eventually: Eventually) -> None:
    window = room.open(ttl=60.0)
    mark_closed_by_watchdog(room, window.window_id)
    room.clock.step(61)
    eventually(lambda: ended(room) == [("web", Reason.WATCHDOG)])
    assert not room.store.closed_by_watchdog(window.window_id)


def test_the_watchdog_is_given_the_time_to_say_what_it_did(room: Room, eventually: Eventually) -> None:
    window = room.open(ttl=60.0)
    room.windows.stop()
    with held_lock(room.store.folder / WATCHDOG_LOCK):
        room.crash(exit_code=0)
        room.clock.step(61)
        room.windows = room._windows()
        room.windows.start()
        mark_closed_by_watchdog(room, window.window_id)
        eventually(lambda: ended(room) == [("web", Reason.WATCHDOG)])


# Health ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exit_code", "reason", "detail"),
    [
        (3, Reason.CRASHED, "it ended by itself with exit code 3"),
        (0, Reason.CRASHED, "it ended by itself with exit code 0"),
        (None, Reason.LOST, "what ran is gone"),
    ],
)
def test_what_ended_by_itself_is_closed_and_told(
    room: Room, eventually: Eventually, exit_code: int | None, reason: Reason, detail: str
) -> None:
    room.open()
    room.crash(exit_code=exit_code)
    eventually(lambda: ended(room) == [("web", reason)])
    assert room.windows.closed()[0].detail == detail
    assert room.evidence.data("closed")["detail"] == detail
    assert room.open().generation == 2  # the service can be opened again


def test_what_the_watchdog_ended_has_not_crashed(room: Room, eventually: Eventually) -> None:
    window = room.open()
    mark_closed_by_watchdog(room, window.window_id)
    room.crash()
    eventually(lambda: ended(room) == [("web", Reason.WATCHDOG)])


def test_an_engine_that_does_not_answer_is_not_taken_for_a_crash(room: Room, eventually: Eventually) -> None:
    room.open("web")
    room.open("db")
    room.fail("inventory")
    looks = room.engine.looks
    eventually(lambda: room.engine.looks > looks + 6)
    assert ended(room) == []
    assert room.evidence.actions().count("engine_away") == 1  # told once
    room.engine.on.clear()
    room.fail("health")
    looks = room.engine.looks
    room.crash("db")
    eventually(lambda: room.engine.looks > looks + 6)
    assert ended(room) == []
    room.engine.on.clear()
    eventually(lambda: ended(room) == [("db", Reason.CRASHED)])


def test_when_the_first_process_ends_the_service_has_ended(room: Room, eventually: Eventually) -> None:
    window = room.open()
    room.crash()
    child = room.engine.stray(window.window_id, "web")
    eventually(lambda: ended(room) == [("web", Reason.CRASHED)])
    assert child.running.pid != window.running.pid


def test_when_the_engine_is_back_what_was_stuck_is_tried_at_once(room: Room, eventually: Eventually) -> None:
    room.open(ttl=60.0)
    for method in ("inventory", "stop", "kill"):
        room.fail(method)
    room.clock.step(60)
    eventually(lambda: room.state() is State.STUCK)
    eventually(lambda: "engine_away" in room.evidence.actions())
    room.engine.on.clear()
    eventually(lambda: ended(room) == [("web", Reason.EXPIRED)])


# What belongs to no window --------------------------------------------------------------------------------------------


def test_what_appears_without_a_window_is_ended_after_a_grace(room: Room, eventually: Eventually) -> None:
    window = room.open()
    stray = room.engine.stray("of-nobody")
    double = room.engine.stray(window.window_id, "web")
    double.running = replace(double.running, container="another")
    eventually(lambda: len(room.windows._enforcer._orphans) == 2)
    looks = room.engine.looks
    room.clock.step(1.9)
    eventually(lambda: room.engine.looks > looks + 3)
    assert stray.alive
    room.clock.step(0.1)
    eventually(lambda: stray.removed and double.removed)
    assert not stray.alive
    assert room.program("web").running == window.running
    assert "orphan" in room.evidence.actions("of-nobody")


def test_what_was_made_and_never_started_is_removed(room: Room, eventually: Eventually) -> None:
    room.open()
    stray = room.engine.stray("of-nobody")
    stray.alive = False
    eventually(lambda: room.windows._enforcer._orphans)
    assert solo_madre.check(room.windows).unaccounted == ()  # it does not run
    room.clock.step(2)
    eventually(lambda: stray.removed)
    assert ("kill", "stray") not in room.engine.calls


def test_an_orphan_that_cannot_be_ended_is_tried_again(room: Room, eventually: Eventually) -> None:
    room.open()
    stray = room.engine.stray("of-nobody")
    room.fail("kill")
    eventually(lambda: room.windows._enforcer._orphans)
    room.clock.step(2)
    eventually(lambda: ("kill", "stray") in room.engine.calls)
    assert stray.alive
    room.engine.on.clear()
    room.clock.step(2)
    eventually(lambda: stray.removed)


def test_what_could_not_be_removed_is_removed_later(room: Room, eventually: Eventually) -> None:
    room.open("db")
    window = room.open()
    room.fail("remove")
    assert room.close().state is State.CLOSED
    room.engine.on.clear()
    eventually(lambda: room.windows._enforcer._orphans)
    room.clock.step(2)
    eventually(lambda: room.engine.program(window.running).removed)


def test_whatever_goes_wrong_at_one_look_there_is_a_next_one(room: Room, eventually: Eventually) -> None:
    room.open()

    def surprise(program: Any) -> None:
        raise ZeroDivisionError("surprise")

    room.engine.on["inventory"] = surprise
    looks = room.engine.looks
    eventually(lambda: room.engine.looks > looks + 3)
    assert ended(room) == []
    room.engine.on.clear()
    room.crash()
    eventually(lambda: ended(room) == [("web", Reason.CRASHED)])


def test_what_the_watchdog_closed_was_closed_when_it_did(room: Room, eventually: Eventually) -> None:
    window = room.open(ttl=60.0)
    mark = {"window_id": window.window_id, "closed": window.opened.plus(60.5).to_json()}
    (room.store.windows / f"{window.window_id}.closed-by-watchdog").write_text(json.dumps(mark), encoding="utf-8")
    room.clock.step(600)  # as when madre was away
    eventually(lambda: ended(room) == [("web", Reason.WATCHDOG)])
    assert room.windows.closed()[0].open_seconds(room.clock.now()) == 60.5


# Take-over ------------------------------------------------------------------------------------------------------------


def test_an_open_window_goes_on_with_a_new_madre(room: Room, eventually: Eventually) -> None:
    window = room.open(ttl=60.0, hold=True)
    room.windows.extend("web", 100.0, "anna")
    before = room.windows.find("web")
    room.clock.step(20)
    room.restart()
    assert room.windows.windows() == [before]
    assert "adopted" in room.evidence.actions(window.window_id)
    assert not room.request().changed
    assert room.windows.hold("web", on=False, wait=True, actor="anna").window.state is State.OPEN
    room.clock.step(80)
    eventually(lambda: ended(room) == [("web", Reason.EXPIRED)])


def test_a_deadline_that_passed_meanwhile_is_met_at_once(room: Room, eventually: Eventually) -> None:
    room.open(ttl=60.0)
    room.windows.stop()
    room.clock.step(600)
    room.restart()
    eventually(lambda: ended(room) == [("web", Reason.EXPIRED)])
    assert not room.engine.alive()


def test_what_ended_meanwhile_is_lost(room: Room, eventually: Eventually) -> None:
    room.open()
    room.windows.stop()
    room.crash(exit_code=None)
    room.restart()
    eventually(lambda: ended(room) == [("web", Reason.LOST)])


def test_what_the_watchdog_ended_meanwhile_is_its(room: Room, eventually: Eventually) -> None:
    window = room.open()
    room.windows.stop()
    room.crash(exit_code=None)
    mark_closed_by_watchdog(room, window.window_id)
    room.restart()
    eventually(lambda: ended(room) == [("web", Reason.WATCHDOG)])


def test_after_a_boot_deadlines_count_on_wall_time(idle_room: Room, eventually: Eventually) -> None:
    for name, service in (("w1", "web"), ("w2", "db")):
        stray = idle_room.engine.stray(name, service)
        ttl = 60 if service == "web" else 600
        idle_room.on_file(
            window_id=name, service=service, deadline=idle_room.clock.now().plus(ttl), running=stray.running
        )
    idle_room.clock.reboot(down=120)
    idle_room.windows.start()
    eventually(lambda: ended(idle_room) == [("web", Reason.EXPIRED)])
    assert idle_room.windows.find("db").remaining(idle_room.clock.now()) == 480
    idle_room.windows.stop()


@pytest.mark.parametrize("was_written_down", [True, False])
def test_a_half_opened_window_is_taken_back(idle_room: Room, eventually: Eventually, *, was_written_down: bool) -> None:
    """madre died while it opened: what it started may or may not stand in the state file."""
    stray = idle_room.engine.stray("from-before", "web")
    idle_room.on_file(state=State.OPENING, running=stray.running if was_written_down else None)
    idle_room.windows.start()
    eventually(lambda: ended(idle_room) == [("web", Reason.OPEN_FAILED)])
    assert not idle_room.engine.alive()
    assert idle_room.windows.closed()[0].detail == "madre ended meanwhile"
    idle_room.windows.stop()


@pytest.mark.parametrize("state", [State.CLOSING, State.STUCK])
def test_a_close_that_was_under_way_is_finished(idle_room: Room, eventually: Eventually, state: State) -> None:
    stray = idle_room.engine.stray("from-before", "web")
    idle_room.on_file(state=state, closing=idle_room.clock.now(), reason=Reason.REQUESTED, running=stray.running)
    idle_room.windows.start()
    eventually(lambda: ended(idle_room) == [("web", Reason.REQUESTED)])
    assert not idle_room.engine.alive()
    assert list(idle_room.store.windows.iterdir()) == []
    idle_room.windows.stop()


def test_what_nobody_knows_of_is_ended(idle_room: Room) -> None:
    known = idle_room.engine.stray("from-before", "web")
    idle_room.on_file(running=known.running)
    for window_id in ("unknown", "", ""):  # without a mark of a window, too
        idle_room.engine.stray(window_id)
    idle_room.windows.start()
    assert [program.service for program in idle_room.engine.alive()] == ["web"]
    assert idle_room.evidence.actions().count("orphan") == 3
    assert len(idle_room.engine.called("remove")) == 3
    idle_room.windows.stop()


def test_what_carries_another_cell_s_mark_is_left_alone(idle_room: Room) -> None:
    other = idle_room.engine.stray("w1")
    other.cell = "another"
    idle_room.windows.start()
    assert other.alive
    idle_room.windows.stop()


def test_an_orphan_that_cannot_be_ended_stops_nothing(idle_room: Room) -> None:
    idle_room.engine.stray("unknown")
    idle_room.fail("kill")
    idle_room.windows.start()
    assert idle_room.open().state is State.OPEN
    idle_room.windows.stop()


def test_a_broken_state_file_is_told_and_what_it_was_of_is_ended(idle_room: Room) -> None:
    idle_room.engine.stray("w1", "web")
    (idle_room.store.windows / "w1.json").write_text("{", encoding="utf-8")
    idle_room.windows.start()
    closed = idle_room.evidence.data("closed")
    assert closed["reason"] == "lost"
    assert "w1.json cannot be read" in closed["detail"]
    assert not idle_room.engine.alive()
    assert [path.name for path in idle_room.store.windows.iterdir()] == ["w1.unreadable"]
    idle_room.windows.stop()


def test_what_evidence_closed_is_not_closed_again(room: Room) -> None:
    """madre was killed between the record and the removal of the state file."""
    window = room.open()
    room.close()
    StateStore.save(room.store, window)
    room.restart()
    assert room.evidence.actions(window.window_id).count("closed") == 1
    assert (room.windows.windows(), list(room.store.windows.iterdir())) == ([], [])


def test_what_died_while_nobody_looked_has_not_expired(room: Room, eventually: Eventually) -> None:
    room.open("web", ttl=60.0)
    room.open("db", ttl=60.0)
    room.windows.stop()
    room.crash("web", exit_code=7)
    room.clock.step(61)
    room.windows = room._windows()
    room.windows.start()
    eventually(lambda: len(ended(room)) == 2)
    assert dict(ended(room)) == {"web": Reason.CRASHED, "db": Reason.EXPIRED}


def test_evidence_closes_what_is_lost_only_when_nothing_of_it_runs(room: Room, eventually: Eventually) -> None:
    window = room.open()
    room.store.delete(window.window_id)
    room.fail("kill")
    room.restart()
    assert "closed" not in room.evidence.actions(window.window_id)
    room.engine.on.clear()
    eventually(lambda: room.windows._enforcer._orphans)
    room.clock.step(2)
    eventually(lambda: "closed" in room.evidence.actions(window.window_id))
    assert not room.engine.alive()


def test_a_window_of_which_no_state_is_left_is_settled_in_evidence(room: Room) -> None:
    window = room.open()
    room.store.delete(window.window_id)  # as when the state is in memory, and the machine restarts
    room.restart()
    assert room.evidence.data("closed") == {
        "service": "web",
        "reason": "lost",
        "detail": "no state file was left of it",
    }
    assert room.evidence.actions(window.window_id).count("closed") == 1
    assert not room.engine.alive()
    room.restart()
    assert room.evidence.actions(window.window_id).count("closed") == 1


def test_a_close_goes_on_within_what_is_left_of_its_grace(room: Room, eventually: Eventually) -> None:
    room.services.add("db", stop_grace_period="30s")
    room.services.add("web", stop_grace_period="30s", depends_on=["db"])
    room.open()
    for service in ("web", "db"):
        slot = room.windows._registry.get(service)
        now = room.clock.now()
        by = now.plus(30 if service == "web" else 60)
        StateStore.save(room.store, replace(slot.window, state=State.CLOSING, closing=now, close_by=by))
    room.windows.stop()
    room.clock.step(10)
    room.windows = room._windows()
    room.windows.start()
    eventually(lambda: len(ended(room)) == 2)
    assert room.engine.called("stop", "kill") == [("stop", "web"), ("stop", "db")]
    assert room.engine.graces == [20, 30]


def test_evidence_on_a_disk_that_fails_stops_no_close(room: Room, eventually: Eventually) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(5, "Input/output error")

    room.open(ttl=60.0)
    room.evidence.append = room.evidence.sync = fail
    room.clock.step(60)
    eventually(lambda: not room.engine.alive())
    eventually(lambda: ended(room) == [("web", Reason.EXPIRED)])


def test_madre_s_end_leaves_windows_open(room: Room) -> None:
    window = room.open()
    room.windows.stop()
    assert room.engine.alive("web")
    assert room.store.load_all() == ([window], {})
    assert room.evidence.actions(room.windows.cell) == ["started", "stopped"]
    room.windows.start = lambda: None
    room.restart()
