"""The promise of windows, as a property: random calls, deaths and steps of time, compared with a model.

No sequence closes a window late, early or twice, or forgets one. The engine is in memory, madre is the real one but for
its threads: a rule looks at the deadlines, and at the engine, when a thread would.
"""

import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from vx11.engines.port import EngineError
from vx11.watchdog import record
from vx11.windows import manager, opening, solo_madre
from vx11.windows.errors import NoWindow, WindowError, WindowStuck
from vx11.windows.opening import OpenRequest
from vx11.windows.store import StateStore
from vx11.windows.window import Reason, State

NEEDS = {"web": ("db",), "app": ("web", "cache"), "db": (), "cache": (), "lone": ()}
HEALTHY = {"condition": "service_healthy"}
MAX_HOLD = 86400.0
services = st.sampled_from(sorted(NEEDS))
seconds = st.sampled_from([0.5, 1.0, 29.0, 60.0, 600.0, 3500.0])


class TrackedPool(ThreadPoolExecutor):
    """A pool that can be waited for until it has nothing more to do."""

    begun: list["Future[Any]"] = []  # noqa: RUF012 - of all pools together

    def submit(self, *arguments: Any, **options: Any) -> "Future[Any]":
        future = super().submit(*arguments, **options)
        self.begun.append(future)
        return future

    @classmethod
    def settle(cls) -> None:
        while cls.begun:
            future = cls.begun.pop()
            wait([future], 30)
            future.result(0)


@dataclass
class Expected:
    """What the model knows of an open window: moments are BOOTTIME seconds since the test began."""

    opened: float
    deadline: float
    hold_until: float | None = None
    requested: bool = True


class Promise(RuleBasedStateMachine):
    """Rules are what people, services, machines and time do."""

    make_room: Any

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.room = self.make_room(Path(self.folder.name))
        for name, needs in NEEDS.items():
            self.room.services.add(name, depends_on=dict.fromkeys(needs, HEALTHY))
        self.model: dict[str, Expected] = {}
        self.now = 0.0
        self.away = False
        self.begin()

    def begin(self) -> None:
        """madre begins, as `start` does but for its threads."""
        self.room.windows.engine.setup()
        self.room.windows._enforcer.take_over()
        TrackedPool.settle()

    def teardown(self) -> None:
        TrackedPool.settle()
        self.folder.cleanup()

    # The model --------------------------------------------------------------------------------------------------------

    def dependents(self, name: str) -> list[str]:
        return [other for other in self.model if name in NEEDS[other]]

    def due(self, name: str) -> float:
        it = self.model[name]
        own = [it.deadline, it.hold_until or 0.0] if it.requested else []
        return max([*own, *(self.due(other) for other in self.dependents(name))], default=self.now)

    def forget(self, name: str) -> None:
        """It is closed, and so is what was open for it alone; what still needs it goes on (it crashed)."""
        self.model.pop(name, None)
        for needed in NEEDS[name]:
            if needed in self.model and not self.model[needed].requested and not self.dependents(needed):
                self.forget(needed)

    def forget_with_dependents(self, name: str) -> None:
        for other in self.dependents(name):
            self.forget_with_dependents(other)
        self.forget(name)

    def expect_open(self, name: str, *, deadline: float, requested: bool) -> None:
        if name not in self.model:
            self.model[name] = Expected(self.now, deadline, requested=requested)
            for needed in NEEDS[name]:
                self.expect_open(needed, deadline=deadline, requested=False)
        elif requested and not self.model[name].requested:
            self.model[name] = replace(self.model[name], deadline=deadline, requested=True)

    def expire(self) -> None:
        for name in [name for name in self.model if name in self.model and self.due(name) <= self.now]:
            if name in self.model:
                self.forget_with_dependents(name)

    # What people do ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: not self.away)
    @rule(name=services, ttl=seconds, hold=st.booleans())
    def open(self, name: str, ttl: float, *, hold: bool) -> None:
        self.look()
        self.room.windows.open(OpenRequest(name, ttl=ttl, hold=hold), "anna")
        TrackedPool.settle()
        self.expect_open(name, deadline=self.now + ttl, requested=True)
        if hold and self.model[name].hold_until is None:
            self.model[name].hold_until = self.now + MAX_HOLD

    @precondition(lambda self: not self.away)
    @rule(name=services, force=st.booleans())
    def close(self, name: str, *, force: bool) -> None:
        self.look()
        try:
            self.room.close(name, force=force)
        except NoWindow:
            assert name not in self.model
        else:
            assert name in self.model
            self.forget_with_dependents(name)
        TrackedPool.settle()

    @rule(name=services, on=st.booleans())
    def hold(self, name: str, *, on: bool) -> None:
        self.look()
        try:
            self.room.windows.hold(name, on=on, wait=False, actor="anna")
        except (NoWindow, WindowStuck):
            return
        it = self.model[name]
        if on and it.hold_until is None:
            if not it.requested:
                self.model[name] = it = replace(it, requested=True, deadline=self.now)
            it.hold_until = self.now + MAX_HOLD
        elif not on:
            it.hold_until = None
        self.look()

    @rule(name=services, ttl=seconds)
    def extend(self, name: str, ttl: float) -> None:
        self.look()
        try:
            self.room.windows.extend(name, ttl, "anna")
        except WindowError:
            return
        it = self.model[name]
        deadline = self.now + ttl if not it.requested else max(it.deadline, self.now + ttl)
        self.model[name] = replace(it, requested=True, deadline=deadline)

    @precondition(lambda self: not self.away)
    @rule()
    def return_to_solo_madre(self) -> None:
        assert solo_madre.enforce(self.room.windows, "anna").after.solo
        TrackedPool.settle()
        self.model.clear()

    # What else happens ------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.model and not self.away)
    @rule(data=st.data())
    def crash(self, data: Any) -> None:
        name = data.draw(st.sampled_from(sorted(self.model)))
        self.look()
        if name in self.model:
            self.room.crash(name)
            self.forget(name)
            self.look()

    @rule(by=st.sampled_from([0.4, 1.0, 30.0, 61.0, 599.0, 4000.0, 90000.0]))
    def time_passes(self, by: float) -> None:
        """Awake or suspended: BOOTTIME counts both."""
        self.room.clock.step(by)
        self.now += by

    @rule(by=st.sampled_from([-3600.0, 3600.0]))
    def wall_clock_is_stepped(self, by: float) -> None:
        self.room.clock.step_wall(by)

    @rule()
    def madre_is_killed_and_another_begins(self) -> None:
        self.kill()
        self.expire()

    @precondition(lambda self: not self.away)
    @rule()
    def watchdog_looks_while_madre_is_dead(self) -> None:
        """It ends what its own rule says, by the state files alone; what it leaves is left to the next madre."""
        self.room.windows._stopping.set()
        now, folder = self.room.clock.now(), record.StateFolder(self.room.store.folder, print)
        for overdue in [found for found in folder.records() if now.seconds_until(found.due) <= 0]:
            assert self.due(overdue.service) + record.OVERDUE <= self.now, f"{overdue.service} ended early"
            self.room.program(overdue.service).alive = False
            folder.mark(overdue.window_id, now)
        self.kill()
        self.look()

    def kill(self) -> None:
        """madre is gone from one moment to the next; the next one finds its files."""
        if self.away:  # it does not start without its engine
            self.engine_returns()
        self.room.windows._stopping.set()
        self.room.windows = self.room._windows()
        self.begin()

    @precondition(lambda self: not self.away)
    @rule()
    def engine_goes_away(self) -> None:
        self.away = True

        def fail(program: Any) -> None:
            raise EngineError("no daemon answers")

        self.room.engine.on = dict.fromkeys(("inventory", "stop", "kill", "health", "remove", "usage"), fail)

    @precondition(lambda self: self.away)
    @rule()
    def engine_returns(self) -> None:
        self.away = False
        self.room.engine.on = {}

    @rule()
    def something_strange_appears(self) -> None:
        self.room.engine.stray(f"stray-{len(self.room.engine.programs)}")

    @rule()
    def look(self) -> None:
        """What the threads of madre do each second."""
        enforcer = self.room.windows._enforcer
        for _ in range(3):
            enforcer.look_at_deadlines()
            TrackedPool.settle()
            enforcer.reconcile()
            TrackedPool.settle()
            self.room.clock.step(2.0)  # the grace of what appears without a window
            self.now += 2.0
        enforcer.look_at_deadlines()
        TrackedPool.settle()
        if not self.away:
            self.expire()
            self.compare()

    # What must hold ---------------------------------------------------------------------------------------------------

    def compare(self) -> None:
        """All that is due is closed, all else is open, and nothing else runs."""
        windows = {window.service: window for window in self.room.windows.windows()}
        assert {name: window.state for name, window in windows.items()} == dict.fromkeys(self.model, State.OPEN)
        assert {item.window_id for item in self.room.engine.alive()} == {w.window_id for w in windows.values()}
        for name, window in windows.items():
            left = window.remaining(self.room.clock.now())
            assert left == pytest.approx(self.due(name) - self.now, abs=1e-6), name
            assert window.requested == self.model[name].requested, name

    @invariant()
    def each_is_closed_once_or_still_known(self) -> None:
        closed = [about for _, action, about, _ in self.room.evidence.records if action == "closed"]
        assert len(closed) == len(set(closed))
        opened = {about for _, action, about, _ in self.room.evidence.records if action == "opening"}
        known = {window.window_id for window in self.room.windows.windows()}
        assert opened - set(closed) == known
        assert set(closed) <= opened

    @invariant()
    def files_say_what_madre_knows(self) -> None:
        on_file, broken = StateStore.load_all(self.room.store)
        assert broken == {}
        assert {w.window_id: w.due() for w in on_file} == {w.window_id: w.due() for w in self.room.windows.windows()}

    @invariant()
    def nothing_expired_early(self) -> None:
        for window in self.room.windows.closed():
            if window.reason is Reason.EXPIRED and window.requested:
                assert window.due().seconds_until(window.closing) >= 0


@contextmanager
def quick() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manager, "ThreadPoolExecutor", TrackedPool)
        patch.setattr(opening, "PROBE_FAST", 0.0)
        patch.setattr(opening, "LOOK_AGAIN", 0.005)
        yield patch


def test_no_sequence_breaks_the_promise(make_room: Any) -> None:
    with quick():
        Promise.make_room = staticmethod(make_room)
        run_state_machine_as_test(
            Promise,
            settings=settings(
                max_examples=60,
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
            ),
        )
