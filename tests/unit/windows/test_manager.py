"""Windows as callers see them: opened once, closed for certain, and written down before anything happens."""

import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from vx11.catalogue.limits import Limits
from vx11.engines.port import EngineError
from vx11.windows.errors import (
    EvidenceUnavailable,
    LimitsDiffer,
    LimitsNotApplied,
    NoWindow,
    OpenFailed,
    ServiceNotAllowed,
    ServiceUnknown,
    TtlTooLong,
    WindowStuck,
)
from vx11.windows.window import Reason, State, Window

Eventually = Any  # tests/conftest.py
Room = Any  # tests/unit/windows/conftest.py


class Gate:
    """Holds up whoever comes to it until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._open = threading.Event()

    def __call__(self, *_: object) -> None:
        self.reached.set()
        assert self._open.wait(10), "nobody opened the gate"

    def open(self) -> None:
        self._open.set()


# Open ---------------------------------------------------------------------------------------------------------------

# More than any pool of threads would be likely to have.
MANY = 40


def test_an_open_window_has_its_time_its_endpoint_and_its_owner(room: Room) -> None:
    outcome = room.request(ttl=45.0)
    window = outcome.window
    assert outcome.changed
    assert window.state is State.OPEN
    assert window.opened.seconds_until(window.deadline) == 45
    assert window.endpoints == ("http://127.0.0.1:40001",)
    assert (window.opened_by, window.service, window.generation) == ("anna", "web", 1)
    assert room.windows.windows() == [window]
    assert room.evidence.actions(window.window_id) == ["opening", "opened"]


def test_the_deadline_is_written_down_and_stamped_before_anything_starts(room: Room) -> None:
    seen: list[Any] = []
    room.engine.on["start"] = lambda program: seen.extend(room.store.load_all()[0])
    window = room.open(ttl=45.0)
    (on_file,) = seen
    assert on_file.state is State.OPENING
    assert on_file.deadline == window.deadline
    (stamp,) = room.engine.stamps
    assert (stamp.deadline, stamp.window_id, stamp.generation) == (window.deadline, window.window_id, 1)


def test_a_held_window_is_stamped_with_the_end_of_its_hold(room: Room) -> None:
    window = room.open(hold=True)
    assert window.hold
    assert window.opened.seconds_until(room.engine.stamps[0].deadline) == 24 * 3600


def test_the_state_file_says_what_is_open(room: Room) -> None:
    window = room.open()
    assert room.store.load_all() == ([window], {})


@pytest.mark.parametrize("options", [{}, {"ttl": 5.0}, {"ttl": 3000.0}, {"wait": False}, {"min_remaining": 10.0}])
def test_opening_again_answers_the_same_window_unchanged(room: Room, options: dict[str, Any]) -> None:
    window = room.open()
    outcome = room.request(**options)
    assert (outcome.window, outcome.changed) == (window, False)
    assert len(room.engine.called("start")) == 1


def test_opening_again_holds_what_is_to_be_held(room: Room) -> None:
    window = room.open(ttl=60.0)
    outcome = room.request(hold=True)
    assert (outcome.changed, outcome.window.hold, outcome.window.deadline) == (True, True, window.deadline)
    assert not room.request(hold=True).changed
    assert room.evidence.actions(window.window_id)[-1] == "held"


def test_opening_again_extends_what_has_less_left_than_asked_for(room: Room) -> None:
    window = room.open(ttl=60.0)
    room.clock.step(50)
    outcome = room.request(ttl=100.0, min_remaining=30.0)
    assert outcome.changed
    assert outcome.window.window_id == window.window_id
    assert outcome.window.remaining(room.clock.now()) == 100
    assert room.store.load_all()[0] == [outcome.window]
    assert room.evidence.actions(window.window_id)[-1] == "extended"


def test_opening_again_with_other_limits_is_refused(room: Room) -> None:
    room.open(limits=Limits(cpu=0.5))
    assert not room.request(limits=Limits(cpu=0.5)).changed
    with pytest.raises(LimitsDiffer):
        room.request(limits=Limits(cpu=0.6))


def test_windows_of_one_service_have_growing_generations(room: Room) -> None:
    generations = []
    for _ in range(3):
        generations.append(room.open().generation)
        room.close()
    assert generations == [1, 2, 3]


@pytest.mark.parametrize("dry_run", [False, True])
def test_what_is_refused_has_no_side_effect(room: Room, *, dry_run: bool) -> None:
    room.services.blocked.add("db")
    room.services.add("needs-db", {"peers": ["db"]})
    for service, options, error in (
        ("nobody", {}, ServiceUnknown),
        ("db", {}, ServiceNotAllowed),
        ("needs-db", {}, ServiceNotAllowed),
        ("web", {"ttl": 4000.0}, TtlTooLong),
    ):
        with pytest.raises(error):
            room.request(service, dry_run=dry_run, **options)
    assert room.engine.calls == []
    assert room.windows.windows() == []
    assert list(room.store.windows.iterdir()) == []
    assert room.evidence.actions("db") == ["open_refused"]
    assert room.evidence.actions("needs-db") == ["open_refused"]


def test_a_dry_run_tells_what_would_be_and_does_nothing(room: Room) -> None:
    would = room.request(dry_run=True)
    assert (would.window, would.changed) == (None, True)
    assert room.engine.calls == []
    assert list(room.store.windows.iterdir()) == []
    window = room.open(ttl=60.0)
    files, records = room.store.load_all(), len(room.evidence.records)
    for options, changed in (({}, False), ({"min_remaining": 30.0}, False), ({"min_remaining": 61.0}, True)):
        would = room.request(dry_run=True, **options)
        assert would.changed is changed
        assert would.window.window_id == window.window_id
        assert (would.window == window) is not changed  # as it would be
    with pytest.raises(LimitsDiffer):
        room.request(dry_run=True, limits=Limits(pids=1))
    assert room.store.load_all() == files
    assert len(room.evidence.records) == records


def test_without_waiting_the_window_is_answered_as_it_begins(room: Room, eventually: Eventually) -> None:
    room.engine.talks = False
    window = room.open(wait=False)
    assert window.state is State.OPENING
    assert room.request(wait=False).window.window_id == window.window_id  # nor does a second one wait
    eventually(lambda: room.engine.alive("web"))
    room.program().lines.append("ready")
    eventually(lambda: room.state() is State.OPEN)
    assert room.windows.find("web").window_id == window.window_id


def test_what_fails_while_nobody_waits_is_in_the_evidence(room: Room, eventually: Eventually) -> None:
    room.fail("start", "no such program")
    window = room.open(wait=False)
    eventually(room.windows.closed)
    (closed,) = room.windows.closed()
    assert (closed.window_id, closed.reason, closed.detail) == (
        window.window_id,
        Reason.OPEN_FAILED,
        "no such program",
    )
    assert room.evidence.data("open_failed")["why"] == "no such program"


def test_there_is_one_window_a_service_whoever_asks_at_the_same_time(
    room: Room, beside: Any, eventually: Eventually
) -> None:
    room.engine.talks = False
    together = threading.Barrier(20)

    def ask(_: int) -> Any:
        together.wait(5)
        return room.request()

    asked = [beside(ask, number) for number in range(20)]
    eventually(lambda: room.engine.alive("web"))
    room.program().lines.append("ready")
    outcomes = [future.result(10) for future in asked]
    assert len({outcome.window.window_id for outcome in outcomes}) == 1
    assert [outcome.changed for outcome in outcomes].count(True) == 1
    assert {outcome.window.state for outcome in outcomes} == {State.OPEN}
    assert len(room.engine.called("start")) == 1


def test_opens_and_closes_of_many_never_run_a_service_twice(room: Room, beside: Any) -> None:
    most: list[int] = []
    room.engine.on["start"] = lambda program: most.append(len(room.engine.alive(program.service)))

    def visit(number: int) -> None:
        room.request()
        if number % 2:
            try:
                room.close(force=number % 3 == 0)
            except NoWindow:
                return

    for future in [beside(visit, number) for number in range(60)]:
        future.result(20)
    assert set(most) == {0}  # at each start nothing else of the service ran
    assert len(room.engine.alive("web")) == len(room.windows.windows()) <= 1


# What refuses, and what is taken back ---------------------------------------------------------------------------------


def nothing_is_left(room: Room) -> bool:
    return not room.engine.alive() and not room.windows.windows() and not list(room.store.windows.iterdir())


def test_what_cannot_be_recorded_is_not_opened(room: Room) -> None:
    room.evidence.broken = True
    with pytest.raises(EvidenceUnavailable, match="web was not opened, since this cannot be recorded"):
        room.request()
    assert room.engine.calls == []
    assert nothing_is_left(room)


@pytest.mark.parametrize("files", [0, 1, 2, 3])
def test_where_the_disk_is_full_nothing_stays_open(room: Room, files: int) -> None:
    """The disk takes so many files: the generation, the birth, what runs, its limits."""
    room.store.room = files
    with pytest.raises(EvidenceUnavailable):
        room.request()
    assert nothing_is_left(room)
    room.store.room = None
    assert room.open().state is State.OPEN


def test_closing_goes_on_when_nothing_can_be_recorded(room: Room) -> None:
    room.open()
    room.evidence.broken, room.store.room = True, 0
    assert room.close().state is State.CLOSED
    assert not room.engine.alive()


@pytest.mark.parametrize(
    ("method", "message"), [("prepare", "no such image"), ("start", "no such program"), ("usage", "gone")]
)
def test_an_engine_that_fails_opens_nothing(room: Room, method: str, message: str) -> None:
    room.fail(method, message)
    if method == "usage":  # what cannot be measured is no reason to close
        assert room.open().state is State.OPEN
        return
    with pytest.raises(OpenFailed, match=message):
        room.request()
    assert nothing_is_left(room)
    assert room.windows.closed()[0].reason is Reason.OPEN_FAILED


def test_whatever_goes_wrong_at_the_start_nothing_keeps_running(room: Room) -> None:
    def surprise(program: Any) -> None:
        raise ZeroDivisionError("surprise")

    room.engine.on["health"] = surprise
    with pytest.raises(ZeroDivisionError):
        room.request()
    room.engine.on.clear()
    assert nothing_is_left(room)


def test_a_stated_limit_that_did_not_take_effect_refuses_the_window(room: Room) -> None:
    room.engine.applies = lambda limits: Limits(cpu=limits.cpu)
    with pytest.raises(LimitsNotApplied, match="memory is unlimited instead of 1048576") as refused:
        room.request(limits=Limits(cpu=1.0, memory=1048576))
    assert refused.value.field == "resources"
    assert nothing_is_left(room)


@pytest.mark.parametrize(("wanted", "got"), [(5000, 5001), (5000, 1000), (100, 99)])
def test_a_limit_has_to_be_the_one_that_was_stated(room: Room, wanted: int, got: int) -> None:
    room.engine.applies = lambda limits: Limits(read_iops=got)
    with pytest.raises(LimitsNotApplied, match=f"read_iops is {got} instead of {wanted}"):
        room.request(limits=Limits(read_iops=wanted))


def test_a_limit_that_the_engine_cannot_have_is_refused_before_anything_starts(room: Room) -> None:
    room.engine.capabilities = frozenset({"limits.cpu"})
    with pytest.raises(LimitsNotApplied, match="the engine fake cannot limit memory, write_iops here"):
        room.request(limits=Limits(cpu=1.0, memory=4096, write_iops=5))
    assert room.engine.called("start") == []
    assert nothing_is_left(room)
    with pytest.raises(LimitsNotApplied):  # a dry run tells that too
        room.request(limits=Limits(memory=4096), dry_run=True)


def test_limits_of_the_catalogue_are_strict_and_those_of_the_caller_come_before(room: Room) -> None:
    room.services.add("web", cpus=0.5, pids_limit=10)
    window = room.open(limits=Limits(cpu=0.25))
    assert window.limits == Limits(cpu=0.25, pids=10)
    assert room.program().limits == Limits(cpu=0.25, pids=10)
    room.close()
    room.engine.applies = lambda limits: Limits()
    with pytest.raises(LimitsNotApplied):
        room.request()


def test_limits_of_a_profile_are_best_effort_and_what_is_missing_is_told(idle_room: Room) -> None:
    idle_room.profile = Limits(cpu=0.5, memory=1048576, read_iops=10)
    idle_room.windows = idle_room._windows()
    idle_room.engine.capabilities = frozenset({"limits.cpu", "limits.memory"})
    idle_room.engine.applies = lambda limits: Limits(cpu=limits.cpu)
    window = idle_room.open(limits=Limits(cpu=0.25))
    assert window.limits == Limits(cpu=0.25, memory=1048576, read_iops=10)
    assert window.not_enforced == ("memory", "read_iops")
    idle_room.close()


# Ready ----------------------------------------------------------------------------------------------------------------


def opening(room: Room, beside: Any, eventually: Eventually, **options: Any) -> "Future[Any]":
    """An open that waits for readiness, in another thread."""
    room.engine.talks = False
    future: Future[Any] = beside(lambda: room.request(**options))
    eventually(lambda: room.engine.called("logs"))
    return future


def test_a_window_is_open_when_it_is_ready_and_the_time_is_measured(
    room: Room, beside: Any, eventually: Eventually
) -> None:
    future = opening(room, beside, eventually)
    assert room.state() is State.OPENING
    room.clock.step(3)
    room.program().lines.append("now I am ready")
    window = future.result(5).window
    assert window.opened.seconds_until(window.ready) == 3
    assert window.cpu_at_ready > 0
    assert window.remaining(room.clock.now()) == 57  # the deadline counts from the request


def test_what_is_not_ready_in_time_is_taken_back_with_its_last_words(
    room: Room, beside: Any, eventually: Eventually
) -> None:
    future = opening(room, beside, eventually)
    room.program().lines.extend(["starting", "waiting for db"])
    room.clock.step(10.1)
    with pytest.raises(
        OpenFailed, match=r"web was not ready within 10.0 s: .*; it last said: starting \| waiting for db"
    ):
        future.result(5)
    assert nothing_is_left(room)
    (closed,) = room.windows.closed()
    assert closed.reason is Reason.OPEN_FAILED
    assert closed.detail == "web was not ready within 10.0 s: its log does not say 'ready'"


@pytest.mark.parametrize(
    ("exit_code", "how"), [(3, "ended with exit code 3"), (0, "ended with exit code 0"), (None, "ended")]
)
def test_what_ends_before_it_is_ready_is_told_at_once(
    room: Room, beside: Any, eventually: Eventually, exit_code: int | None, how: str
) -> None:
    future = opening(room, beside, eventually)
    room.program().lines.append("cannot bind")
    room.crash(exit_code=exit_code)
    with pytest.raises(OpenFailed, match=f"web {how} before it was ready; it last said: cannot bind"):
        future.result(5)
    assert nothing_is_left(room)


def test_only_what_runs_is_ready(room: Room) -> None:
    room.services.add("short", {"ready": None})

    def end(program: Any) -> None:
        program.alive, program.exit_code = False, 127

    room.engine.on["health"] = end
    with pytest.raises(OpenFailed, match="short ended with exit code 127 before it was ready"):
        room.request("short")


def test_a_window_whose_time_ends_before_it_is_ready_is_taken_back(
    room: Room, beside: Any, eventually: Eventually
) -> None:
    future = opening(room, beside, eventually, ttl=5.0)
    room.clock.step(5)
    with pytest.raises(OpenFailed, match="the time of web ended before it was ready"):
        future.result(5)
    assert nothing_is_left(room)


@pytest.mark.parametrize("force", [False, True])
def test_a_window_can_be_closed_before_it_is_ready(
    room: Room, beside: Any, eventually: Eventually, *, force: bool
) -> None:
    future = opening(room, beside, eventually)
    closed = room.close(force=force)
    reason = Reason.FORCED if force else Reason.REQUESTED
    assert (closed.state, closed.reason) == (State.CLOSED, reason)
    with pytest.raises(OpenFailed, match=f"web was closed before it was ready \\({reason}\\)"):
        future.result(5)
    assert nothing_is_left(room)


def test_a_close_in_the_last_moment_of_an_opening_is_not_lost(room: Room, beside: Any, eventually: Eventually) -> None:
    """Between the last look at who gives up and the change to `open` lies a call to the engine."""
    gate = Gate()
    room.engine.on["usage"] = gate
    future = beside(room.request)
    assert gate.reached.wait(5)
    closing = beside(room.close)
    eventually(lambda: "close_requested" in room.evidence.actions())
    eventually(lambda: room.windows._registry.get("web").give_up)
    del room.engine.on["usage"]
    gate.open()
    assert closing.result(5).state is State.CLOSED
    with pytest.raises(OpenFailed, match="was closed before it was ready"):
        future.result(5)
    assert nothing_is_left(room)


def test_an_opening_that_madre_s_end_interrupts_is_taken_back(
    idle_room: Room, beside: Any, eventually: Eventually
) -> None:
    idle_room.windows.start()
    future = opening(idle_room, beside, eventually)
    idle_room.windows.stop()
    with pytest.raises(OpenFailed, match="madre ended before web was ready"):
        future.result(5)
    assert not idle_room.engine.alive()


# Close ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("force", "called", "reason"),
    [(False, ["stop", "remove"], Reason.REQUESTED), (True, ["kill", "remove"], Reason.FORCED)],
)
def test_a_close_is_graceful_unless_it_is_forced(room: Room, *, force: bool, called: list[str], reason: Reason) -> None:
    room.open()
    room.clock.step(12)
    closed = room.close(force=force)
    assert (closed.state, closed.reason) == (State.CLOSED, reason)
    assert closed.open_seconds(room.clock.now()) == 12
    assert closed.usage.usage.memory_peak == 2000
    assert [method for method, _ in room.engine.called("stop", "kill", "remove")] == called
    assert room.windows.windows() == []
    assert list(room.store.windows.iterdir()) == []
    assert room.evidence.actions(closed.window_id) == ["opening", "opened", "close_requested", "closing", "closed"]
    assert room.evidence.data("closed")["reason"] == reason


def test_a_window_is_closed_by_its_id_too_and_only_once(room: Room) -> None:
    window = room.open()
    assert room.close(window.window_id).state is State.CLOSED
    for name in (window.window_id, "web", "nobody"):
        with pytest.raises(NoWindow, match=f"no window is open by the name {name}"):
            room.close(name)


def test_a_window_counts_as_closed_only_when_the_engine_is_done(room: Room, eventually: Eventually) -> None:
    room.open()
    gate = Gate()
    room.engine.on["stop"] = gate
    assert room.close(wait=False).state in (State.OPEN, State.CLOSING)
    assert gate.reached.wait(5)
    assert room.state() is State.CLOSING
    assert room.store.load_all()[0][0].state is State.CLOSING
    gate.open()
    eventually(lambda: room.state() is State.CLOSED)


def test_a_closing_window_is_closed_once_whoever_asks(room: Room, beside: Any) -> None:
    room.open()
    gate = Gate()
    room.engine.on["stop"] = gate
    asked = [beside(room.close) for _ in range(8)]
    assert gate.reached.wait(5)
    gate.open()
    results: list[Any] = []
    for future in asked:
        try:
            results.append(future.result(5).state)
        except NoWindow:  # it came too late
            results.append(State.CLOSED)
    assert set(results) == {State.CLOSED}
    assert len(room.engine.called("stop")) == 1


def test_force_ends_the_grace_of_a_close_that_is_under_way(room: Room, beside: Any) -> None:
    room.open()
    gate = Gate()
    room.engine.on["stop"] = gate
    room.engine.on["kill"] = lambda program: gate.open()
    gentle = beside(room.close)
    assert gate.reached.wait(5)
    forced = room.close(force=True)
    assert forced.state is gentle.result(5).state is State.CLOSED
    assert forced.reason is Reason.REQUESTED  # why it began to close
    assert room.engine.called("stop", "kill") == [("stop", "web"), ("kill", "web")]


def test_who_opens_while_it_closes_gets_a_new_window(room: Room, beside: Any) -> None:
    first = room.open()
    gate = Gate()
    room.engine.on["stop"] = gate
    closing = beside(room.close)
    assert gate.reached.wait(5)
    again = beside(room.request)
    gate.open()
    closing.result(5)
    outcome = again.result(5)
    assert outcome.changed
    assert outcome.window.window_id != first.window_id
    assert outcome.window.generation == first.generation + 1


def hold(room: Room, name: str = "web", *, on: bool = True, wait: bool = True) -> Any:
    return room.windows.hold(name, on=on, wait=wait, actor="anna")


def extend(room: Room, name: str = "web", ttl: float = 100.0) -> Any:
    return room.windows.extend(name, ttl, "anna")


@pytest.mark.parametrize("act", [hold, extend])
def test_the_time_of_what_closes_cannot_be_changed(room: Room, beside: Any, act: Any) -> None:
    room.open()
    gate = Gate()
    room.engine.on["stop"] = gate
    closing = beside(room.close)
    assert gate.reached.wait(5)
    with pytest.raises(NoWindow, match="the window of web is closing already"):
        act(room)
    gate.open()
    assert not closing.result(5).hold


def test_no_close_waits_behind_slow_ones(room: Room, beside: Any, eventually: Eventually) -> None:
    gate = Gate()
    room.engine.on["stop"] = lambda program: gate() if program.service != "db" else None
    for number in range(MANY):
        room.services.add(f"slow-{number}")
        room.open(f"slow-{number}")
        room.close(f"slow-{number}", wait=False)
    room.open("db")
    assert beside(lambda: room.close("db")).result(5).state is State.CLOSED
    gate.open()
    eventually(lambda: not room.windows.windows())


def test_no_close_waits_behind_opens_that_nobody_waits_for(room: Room, beside: Any, eventually: Eventually) -> None:
    room.engine.talks = False
    for number in range(MANY):
        room.services.add(f"slow-{number}")
        room.open(f"slow-{number}", wait=False)
    eventually(lambda: len(room.engine.alive()) == MANY)
    assert beside(lambda: room.close("slow-0")).result(5).state is State.CLOSED


# Stuck ----------------------------------------------------------------------------------------------------------------


def stuck(room: Room) -> Window:
    """A window that was opened and could not be closed."""
    room.open()
    room.fail("stop", "the daemon does not answer")
    room.fail("kill", "the daemon does not answer")
    window: Window = room.close()
    return window


def test_what_cannot_be_closed_is_stuck_and_says_so(room: Room) -> None:
    window = stuck(room)
    assert (window.state, window.close_attempts, window.detail) == (State.STUCK, 1, "the daemon does not answer")
    assert room.windows.windows() == [window]
    assert room.store.load_all()[0][0].state is State.STUCK
    assert room.evidence.data("stuck") == {
        "service": "web",
        "why": "the daemon does not answer",
        "attempts": 1,
        "retry_in_s": 1.0,
    }
    with pytest.raises(WindowStuck, match="an earlier window of web could not be closed yet"):
        room.request()


def test_closing_is_tried_again_less_and_less_often(room: Room, eventually: Eventually) -> None:
    stuck(room)
    for attempt, pause in enumerate([1, 2, 4, 8, 16, 32, 60, 60], start=1):
        assert room.evidence.data("stuck") == {
            "service": "web",
            "why": "the daemon does not answer",
            "attempts": attempt,
            "retry_in_s": pause,
        }
        next_try = room.windows._registry.get("web").next_try
        assert room.clock.now().seconds_until(next_try) == pause
        room.clock.step(pause)
        eventually(lambda attempt=attempt: room.windows.find("web").close_attempts == attempt + 1)


def test_whatever_goes_wrong_at_a_close_it_is_tried_again(room: Room, eventually: Eventually) -> None:
    def surprise(program: Any) -> None:
        raise ZeroDivisionError("surprise")

    room.open()
    room.engine.on["stop"] = room.engine.on["kill"] = surprise
    assert (room.close().state, room.windows.find("web").detail) == (State.STUCK, "surprise")
    room.engine.on.clear()
    room.clock.step(1)
    eventually(lambda: room.state() is State.CLOSED)


def test_before_its_time_no_further_try_is_made(room: Room, eventually: Eventually) -> None:
    stuck(room)
    room.open("db")
    room.clock.step(0.999)
    looks = room.engine.looks
    eventually(lambda: room.engine.looks > looks + 3)  # it was looked at, and left alone
    assert room.windows.find("web").close_attempts == 1


def test_a_retry_that_succeeds_closes_it_for_its_first_reason(room: Room, eventually: Eventually) -> None:
    stuck(room)
    room.engine.on.clear()
    room.clock.step(1)
    eventually(lambda: room.state() is State.CLOSED)
    (closed,) = room.windows.closed()
    assert closed.reason is Reason.REQUESTED
    assert room.open().state is State.OPEN


def test_a_stuck_window_can_be_closed_by_hand_before_the_next_try(room: Room) -> None:
    stuck(room)
    room.engine.on.clear()
    assert room.close(force=True).state is State.CLOSED
    assert not room.engine.alive()


@pytest.mark.parametrize("attempts", [100, 2000, 10**6])
def test_a_window_that_was_stuck_for_days_is_still_tried_each_minute(
    idle_room: Room, eventually: Eventually, attempts: int
) -> None:
    stray = idle_room.engine.stray("from-before", "web")
    idle_room.on_file(state=State.STUCK, closing=idle_room.clock.now(), close_attempts=attempts, running=stray.running)
    idle_room.fail("kill")
    idle_room.windows.start()
    eventually(lambda: "stuck" in idle_room.evidence.actions())
    assert idle_room.evidence.data("stuck")["retry_in_s"] == 60
    idle_room.engine.on.clear()
    idle_room.clock.step(60)
    eventually(idle_room.windows.closed)
    idle_room.windows.stop()


def test_an_open_that_fails_and_cannot_be_taken_back_is_stuck(room: Room) -> None:
    room.engine.applies = lambda limits: Limits()
    room.fail("kill")
    with pytest.raises(LimitsNotApplied):
        room.request(limits=Limits(cpu=1.0))
    assert room.state() is State.STUCK


# Hold and extend ------------------------------------------------------------------------------------------------------


def test_a_hold_keeps_it_open_and_is_on_file(room: Room) -> None:
    window = room.open(ttl=60.0)
    held = hold(room, on=True)
    assert held.changed
    assert held.window.hold
    assert held.window.deadline == window.deadline
    assert room.store.load_all()[0] == [held.window]
    assert not hold(room, on=True).changed
    room.clock.step(3600)
    assert room.windows._enforcer.look_at_deadlines() > 0
    assert room.state() is State.OPEN
    assert room.evidence.actions(window.window_id)[2:] == ["held"]


def test_released_before_its_deadline_it_stays_open_until_then(room: Room, eventually: Eventually) -> None:
    room.open(ttl=60.0, hold=True)
    room.clock.step(30)
    released = hold(room, on=False)
    assert released.window.state is State.OPEN
    assert released.window.remaining(room.clock.now()) == 30
    room.clock.step(30)
    eventually(lambda: room.state() is State.CLOSED)


def test_released_after_its_deadline_it_is_closed_at_once(room: Room) -> None:
    room.open(ttl=60.0, hold=True)
    room.clock.step(70)
    released = hold(room, on=False)
    assert released.changed
    assert (released.window.state, released.window.reason) == (State.CLOSED, Reason.EXPIRED)


def test_released_without_waiting_it_closes_soon(room: Room, eventually: Eventually) -> None:
    room.open(ttl=60.0, hold=True)
    room.clock.step(70)
    assert hold(room, on=False, wait=False).window.state is State.OPEN
    eventually(lambda: room.state() is State.CLOSED)


def test_a_hold_ends_at_its_cap(room: Room, eventually: Eventually) -> None:
    room.services.add("web", {"max_hold": 600})
    room.open(ttl=60.0, hold=True)
    room.clock.step(599)
    assert room.windows._enforcer.look_at_deadlines() > 0
    room.clock.step(1)
    eventually(lambda: room.state() is State.CLOSED)
    assert room.windows.closed()[0].reason is Reason.EXPIRED


def test_an_extension_moves_the_deadline_on_file_too(room: Room) -> None:
    window = room.open(ttl=60.0)
    outcome = room.windows.extend("web", 100.0, "anna")
    assert outcome.changed
    assert window.opened.seconds_until(outcome.window.deadline) == 100
    assert room.store.load_all()[0] == [outcome.window]
    assert not room.windows.extend("web", 50.0, "anna").changed
    with pytest.raises(TtlTooLong):
        room.windows.extend("web", 4000.0, "anna")
    assert room.windows.find("web") == outcome.window


@pytest.mark.parametrize("act", [hold, extend])
def test_what_cannot_be_written_down_does_not_change(room: Room, act: Any) -> None:
    window = room.open(ttl=60.0)
    room.store.room = 0
    with pytest.raises(EvidenceUnavailable, match="the state of web cannot be written: No space left"):
        act(room)
    assert room.windows.find("web") == window
    room.store.room = None


@pytest.mark.parametrize("act", [hold, extend])
def test_nothing_is_open_by_that_name(room: Room, act: Any) -> None:
    with pytest.raises(NoWindow, match="no window is open by the name nobody"):
        act(room, "nobody")


# Looking --------------------------------------------------------------------------------------------------------------


def test_closed_windows_can_be_looked_at(room: Room) -> None:
    first = room.open()
    room.program().lines.append("last words")
    room.close()
    room.open("db")
    room.close("db")
    assert [window.service for window in room.windows.closed()] == ["db", "web"]
    found = room.windows.find(first.window_id)
    assert room.windows.logs(found, 1) == ["last words"]
    assert room.windows.usage(found) == found.usage
    with pytest.raises(NoWindow):
        room.windows.find("nobody")


def test_usage_that_cannot_be_read_is_none(room: Room) -> None:
    room.fail("usage")
    window = room.open()
    assert window.state is State.OPEN
    assert room.windows.usage(window) is None


def test_logs_of_an_engine_that_fails_are_an_error(room: Room) -> None:
    window = room.open()
    room.fail("logs")
    with pytest.raises(EngineError):
        room.windows.logs(window, 10)


def test_logs_of_what_never_ran_are_empty(room: Room, tmp_path: Path) -> None:
    room.fail("prepare")
    with pytest.raises(OpenFailed):
        room.request()
    assert room.windows.logs(room.windows.find("web"), 10) == []
