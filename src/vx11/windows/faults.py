"""Faults of open windows: meant in evidence, injected, proven to bite; taken back, and proven to be gone.

Each of these is a record: `fault_intended`, `fault_injected`, `fault_effective`, then `fault_intended` again,
`fault_reverted`, `fault_gone`. One that came to nothing has `fault_failed` with the reason.

A window has its faults in its state file before they are injected, so that a later madre knows of them. Its close takes
back all of them: nothing is left then that could be cut off or paused.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from vx11.engines.port import Engine, EngineError, NoOwnNetwork, Running, mark_of
from vx11.windows.books import Books
from vx11.windows.closing import Closing
from vx11.windows.errors import FaultFailed, FaultNotPossible, NoWindow
from vx11.windows.events import Kind
from vx11.windows.slot import Slot
from vx11.windows.window import Fault, Reason, State, Window

PROOF_WITHIN, PROOF_LOOK = 5.0, 0.02
Seen = dict[str, str]


@dataclass(frozen=True)
class Proven:
    """What became of a fault.

    Attributes:
        changed: whether the window has it, or is rid of it, only now.
        proof: what was looked at → what was seen there.
    """

    window: Window
    changed: bool
    proof: Seen


@dataclass(frozen=True)
class _Means:
    """How an engine does a fault.

    Attributes:
        claim: the capability that it needs, empty for none.
        bites: what can be looked at → whether the fault shows there.
        words: what is seen there when it does, and when it does not.
    """

    claim: str
    inject: Callable[[Running], None]
    revert: Callable[[Running], None] | None
    bites: Callable[[Running], Mapping[str, bool]]
    words: tuple[str, str]

    def proof(self, running: Running, *, active: bool) -> Seen:
        """Looks until the fault shows, or does no more, wherever one can look.

        Raises:
            EngineError: it did not within `PROOF_WITHIN` seconds.
        """
        limit = time.monotonic() + PROOF_WITHIN
        while True:
            found = self.bites(running)
            seen = {at: self.words[0 if bites else 1] for at, bites in found.items()}
            if found and all(bites is active for bites in found.values()):
                return seen
            if time.monotonic() > limit:
                said = ", ".join(f"{at} {what}" for at, what in seen.items()) or "there is nothing to look at"
                raise EngineError(f"after {PROOF_WITHIN:g} s {said}")
            time.sleep(PROOF_LOOK)


class Faults:
    """Injects faults into windows of an engine, and takes them back."""

    def __init__(self, *, engine: Engine, books: Books, closing: Closing) -> None:
        self._engine = engine
        self._books = books
        self._closing = closing
        self._means = {
            Fault.NETWORK_PARTITION: _Means(
                "partition", engine.partition, engine.heal, self._is_cut_off, ("does not answer", "answers")
            ),
            Fault.PAUSE: _Means("pause", engine.pause, engine.resume, self._is_paused, ("is frozen", "runs")),
            Fault.KILL: _Means("", engine.kill, None, self._is_gone, ("is gone", "runs")),
        }

    def _is_cut_off(self, running: Running) -> Mapping[str, bool]:
        return {at: not answers for at, answers in self._engine.reachable(running).items()}

    def _is_paused(self, running: Running) -> Mapping[str, bool]:
        return {mark_of(running): self._engine.is_paused(running)}

    def _is_gone(self, running: Running) -> Mapping[str, bool]:
        return {mark_of(running): not self._engine.health(running).alive}

    def inject(self, slot: Slot, fault: Fault, actor: str) -> Proven:
        """Returns when it bites; one that is there already is injected and proven again. What is killed is closed then.

        Raises:
            NoWindow, FaultNotPossible, FaultFailed, EvidenceUnavailable.
        """
        means = self._means[fault]
        with slot.faulting:
            running = self._expect_possible(slot.window, fault, means)
            self._books.intend_fault(slot.window, actor, fault, active=True)
            _, changed = slot.change(partial(_with, fault), self._books.save)
            try:
                means.inject(running)
                self._books.fault("fault_injected", slot.window, actor, fault)
                seen = means.proof(running, active=True)
                if means.revert:
                    _expect_open(slot.window)
            except EngineError as error:
                self._books.fault("fault_failed", slot.window, actor, fault, active=True, why=str(error))
                self._undo(slot, fault, means, running)
                raise FaultFailed(f"{fault} of {slot.window.service} did not take effect: {error}") from error
            except NoWindow:  # it began to close meanwhile, and must not be hindered
                self._undo(slot, fault, means, running)
                raise
            self._books.fault("fault_effective", slot.window, actor, fault, proof=seen)
            self._books.tell(Kind.FAULT_INJECTED, slot.window)
            if fault is Fault.KILL:
                self._closing.end(slot, Reason.CRASHED, "madre", detail="a fault killed it")
            return Proven(slot.window, changed, seen)

    def _undo(self, slot: Slot, fault: Fault, means: _Means, running: Running) -> None:
        """After an injection that failed; a fault that may still be there stays on record."""
        if means.revert:
            with contextlib.suppress(EngineError):
                means.revert(running)
                slot.change(partial(_without, fault), self._books.save_quietly)

    def revert(self, slot: Slot, fault: Fault, actor: str) -> Proven:
        """Returns when it is gone; also when it was not there.

        Raises:
            NoWindow, FaultNotPossible, FaultFailed, EvidenceUnavailable.
        """
        means = self._means[fault]
        if means.revert is None:
            raise FaultNotPossible("what was killed cannot be taken back; open it again")
        with slot.faulting:
            running = self._expect_possible(slot.window, fault, means)
            self._books.intend_fault(slot.window, actor, fault, active=False)
            try:
                means.revert(running)
                self._books.fault("fault_reverted", slot.window, actor, fault)
                seen = means.proof(running, active=False)
            except EngineError as error:
                self._books.fault("fault_failed", slot.window, actor, fault, active=False, why=str(error))
                what = f"{fault} of {slot.window.service} was not taken back, so its window has to be closed: {error}"
                raise FaultFailed(what) from error

            self._books.fault("fault_gone", slot.window, actor, fault, proof=seen)
            tell = partial(self._books.tell, Kind.FAULT_REVERTED)
            return Proven(*slot.change(partial(_without, fault), self._books.save, tell), seen)

    def _expect_possible(self, window: Window, fault: Fault, means: _Means) -> Running:
        if window.state is State.OPENING:
            raise FaultNotPossible(f"{window.service} is not ready yet, and only what is open can have a fault")
        _expect_open(window)
        if means.claim and means.claim not in self._engine.capabilities:
            raise FaultNotPossible(f"the engine {self._engine.name} cannot do {fault} here")
        assert window.running is not None  # what is open runs
        try:
            means.bites(window.running)
        except NoOwnNetwork as error:
            raise FaultNotPossible(f"{window.service} cannot have {fault}: {error}") from error
        return window.running


def _expect_open(window: Window) -> None:
    if window.state is not State.OPEN:
        raise NoWindow(f"the window of {window.service} is {window.state} already")


def _with(fault: Fault, window: Window) -> Window:
    _expect_open(window)
    return window if fault in window.faults else replace(window, faults=(*window.faults, fault))


def _without(fault: Fault, window: Window) -> Window:
    return replace(window, faults=tuple(other for other in window.faults if other is not fault))
