"""Faults of windows: meant first, proven then, on record for as long as they last, and in nobody's way."""

from typing import Any

import pytest

from vx11.engines.port import EngineError, NoOwnNetwork
from vx11.windows import faults
from vx11.windows.errors import EvidenceUnavailable, FaultFailed, FaultNotPossible, NoWindow
from vx11.windows.window import Fault, Reason, State

PAUSE, CUT, KILL = Fault.PAUSE, Fault.NETWORK_PARTITION, Fault.KILL
REVERTIBLE = [(PAUSE, "pause", "resume"), (CUT, "partition", "heal")]


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proof that fails at the first look."""
    monkeypatch.setattr(faults, "PROOF_WITHIN", -1.0)


def inject(room: Any, fault: Fault, active: bool = True) -> Any:
    return room.windows.fault("web", fault, active=active, actor="anna")


def on_record(room: Any) -> tuple[Fault, ...]:
    """What its state file says."""
    (window,), _ = room.store.load_all()
    faults: tuple[Fault, ...] = window.faults
    return faults


@pytest.mark.parametrize(("fault", "does", "undoes"), REVERTIBLE)
def test_a_fault_is_meant_then_written_down_then_injected_then_proven(
    room: Any, fault: Fault, does: str, undoes: str
) -> None:
    window = room.open()
    seen: list[Any] = []
    room.engine.on[does] = lambda _: seen.extend([*room.evidence.actions(window.window_id), on_record(room)])
    done = inject(room, fault)
    assert seen[-2:] == ["fault_intended", (fault,)]
    assert done.changed
    assert done.window.faults == (fault,)
    assert done.proof
    assert room.evidence.actions(window.window_id)[-3:] == ["fault_intended", "fault_injected", "fault_effective"]
    about = {"service": "web", "fault": fault}
    assert room.evidence.data("fault_intended") == about | {"active": True}
    assert room.evidence.data("fault_injected") == about
    assert room.evidence.data("fault_effective") == about | {"proof": done.proof}
    gone = inject(room, fault, active=False)
    assert gone.changed
    assert gone.window.faults == on_record(room) == ()
    assert set(gone.proof) == set(done.proof)
    assert gone.proof != done.proof
    assert room.evidence.actions(window.window_id)[-3:] == ["fault_intended", "fault_reverted", "fault_gone"]
    assert room.evidence.data("fault_gone") == about | {"proof": gone.proof}
    assert room.engine.called(does, undoes) == [(does, "web"), (undoes, "web")]


def test_faults_again_are_proven_again_and_change_nothing(room: Any) -> None:
    room.open()
    assert not inject(room, PAUSE, active=False).changed
    assert inject(room, PAUSE).changed
    room.program().paused = False  # somebody else resumed it
    again = inject(room, PAUSE)
    assert (again.changed, again.window.faults) == (False, (PAUSE,))
    assert room.program().paused
    both = inject(room, CUT)
    assert both.window.faults == (PAUSE, CUT)
    assert inject(room, PAUSE, active=False).window.faults == (CUT,)


@pytest.mark.parametrize(("fault", "does", "undoes"), REVERTIBLE)
def test_what_does_not_bite_is_taken_back_and_is_an_error(
    room: Any, hasty: None, fault: Fault, does: str, undoes: str
) -> None:
    room.open()

    def nothing(program: Any) -> None:
        raise EngineError("the kernel says no")

    room.engine.on[does] = nothing
    with pytest.raises(FaultFailed, match=f"{fault} of web did not take effect: the kernel says no"):
        inject(room, fault)
    del room.engine.on[does]
    room.engine.is_paused = lambda running: False
    room.engine.reachable = lambda running: {"10.0.0.1:8080": True}
    with pytest.raises(FaultFailed, match="did not take effect: after"):
        inject(room, fault)
    assert room.engine.called(undoes) == [(undoes, "web")] * 2
    assert room.windows.find("web").faults == on_record(room) == ()
    told = [action for action in room.evidence.actions() if action.startswith("fault_")]
    assert told == ["fault_intended", "fault_failed", "fault_intended", "fault_injected", "fault_failed"]
    failed = room.evidence.data("fault_failed")
    assert (failed["fault"], failed["active"]) == (fault, True)
    assert failed["why"].startswith("after ")


def test_what_could_not_be_taken_back_stays_on_record(room: Any) -> None:
    room.open()
    inject(room, CUT)
    room.fail("heal", "the interface is gone")
    with pytest.raises(FaultFailed, match="was not taken back, so its window has to be closed: the interface is gone"):
        inject(room, CUT, active=False)
    assert room.windows.find("web").faults == on_record(room) == (CUT,)
    assert room.evidence.data("fault_failed") == {
        "service": "web",
        "fault": CUT,
        "active": False,
        "why": "the interface is gone",
    }
    assert room.close().state is State.CLOSED


def test_nothing_is_injected_that_cannot_be_recorded(room: Any) -> None:
    room.open()
    room.evidence.broken = True
    with pytest.raises(EvidenceUnavailable, match="nothing was done to web"):
        inject(room, PAUSE)
    room.evidence.broken = False
    room.store.room = 0
    with pytest.raises(EvidenceUnavailable):
        inject(room, PAUSE)
    room.store.room = None
    assert room.engine.called("pause") == []


def test_what_is_killed_is_closed_as_crashed(room: Any) -> None:
    window = room.open()
    done = inject(room, KILL)
    assert (done.window.state, done.window.reason) == (State.CLOSED, Reason.CRASHED)
    assert done.window.detail == "a fault killed it"
    assert list(done.proof.values()) == ["is gone"]
    actions = room.evidence.actions(window.window_id)
    life = ["fault_intended", "fault_injected", "fault_effective", "closing", "closed"]
    assert actions[actions.index("fault_intended") :] == life
    with pytest.raises(NoWindow):
        inject(room, PAUSE)


def test_it_has_crashed_also_when_that_is_seen_before(room: Any, eventually: Any) -> None:
    """The look at what runs comes in between; it does not know the exit code."""
    window = room.open()

    def linger(program: Any) -> None:
        program.alive = False
        eventually(lambda: room.windows.find(window.window_id).state is State.CLOSED)

    room.engine.on["kill"] = linger
    done = inject(room, KILL)
    assert (done.window.state, done.window.reason) == (State.CLOSED, Reason.CRASHED)


def test_a_kill_cannot_be_taken_back(room: Any) -> None:
    room.open()
    with pytest.raises(FaultNotPossible, match="cannot be taken back"):
        inject(room, KILL, active=False)


@pytest.mark.parametrize(("fault", "does", "undoes"), REVERTIBLE)
def test_closing_takes_back_what_is_left(room: Any, fault: Fault, does: str, undoes: str) -> None:
    window = room.open()
    inject(room, fault)
    closed = room.close()
    assert closed.state is State.CLOSED
    assert room.evidence.actions(window.window_id)[-4:] == ["closing", "fault_reverted", "fault_gone", "closed"]
    assert room.evidence.data("fault_gone")["proof"] == {f"window {window.window_id}": "is closed"}


def test_a_window_that_begins_to_close_meanwhile_is_not_hindered(room: Any, beside: Any, eventually: Any) -> None:
    window = room.open()

    def close(program: Any) -> None:
        del room.engine.on["pause"]
        room.engine.on["stop"] = lambda _: eventually(lambda: room.engine.called("resume"))
        future.append(beside(room.close))
        eventually(lambda: room.windows.find(window.window_id).state is State.CLOSING)

    future: list[Any] = []
    room.engine.on["pause"] = close
    with pytest.raises(NoWindow, match="is closing already"):
        inject(room, PAUSE)
    assert future[0].result(10).state is State.CLOSED
    assert room.engine.called("resume") == [("resume", "web")]


def test_a_later_madre_knows_and_takes_back(room: Any) -> None:
    room.open()
    inject(room, CUT)
    room.restart()
    assert room.windows.find("web").faults == (CUT,)
    assert inject(room, CUT, active=False).window.faults == ()
    assert not room.program().cut


def test_what_an_engine_does_not_claim_is_not_tried(room: Any) -> None:
    room.open()
    room.engine.capabilities = frozenset()
    for fault in (PAUSE, CUT):
        with pytest.raises(FaultNotPossible, match=f"the engine fake cannot do {fault} here"):
            inject(room, fault)
    assert room.engine.called("pause", "partition") == []


def test_only_what_is_open_can_have_a_fault(room: Any, beside: Any, eventually: Any) -> None:
    with pytest.raises(NoWindow):
        inject(room, PAUSE)
    room.engine.talks = False
    opening = beside(room.open)
    program = eventually(lambda: room.engine.alive("web"))[0]
    with pytest.raises(FaultNotPossible, match="not ready yet"):
        inject(room, PAUSE)
    program.lines.append("ready")
    opening.result(10)
    assert inject(room, PAUSE).changed


def test_what_has_no_network_of_its_own_is_not_cut_off(room: Any) -> None:
    room.open()

    def refuse(program: Any) -> None:
        raise NoOwnNetwork("program 1 has no network of its own")

    room.engine.on["reachable"] = refuse
    for active in (True, False):
        with pytest.raises(FaultNotPossible, match="web cannot have network_partition: program 1 has no network"):
            inject(room, CUT, active)
    assert "fault_intended" not in room.evidence.actions()
    assert on_record(room) == ()


def test_faults_are_told_as_they_happen(room: Any) -> None:
    told: list[Any] = []
    room.open()
    with room.windows.events.listen(lambda event: told.append((event.kind.value, event.window.faults))):
        inject(room, PAUSE)
        inject(room, PAUSE, active=False)
    assert told == [("fault_injected", (PAUSE,)), ("fault_reverted", ())]
