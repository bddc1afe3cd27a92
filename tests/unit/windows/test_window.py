"""The rules of a window's time, as a value."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vx11.catalogue.limits import Limits
from vx11.clock import NS, Instant
from vx11.engines.port import Running, Usage
from vx11.windows.errors import TtlTooLong
from vx11.windows.usage import Sample
from vx11.windows.window import Fault, Reason, State, Window

START = Instant(1000 * NS, 1_795_242_600 * NS, "boot-a")


def window(**changes: Any) -> Window:
    """Opened at START for 60 s; at most 600 s, held at most 7200 s."""
    known = Window(
        cell="default",
        window_id="w1",
        generation=3,
        service="web",
        state=State.OPEN,
        opened=START,
        deadline=START.plus(60),
        opened_by="anna",
        max_ttl=600,
        max_hold=7200,
        grace=10,
    )
    return replace(known, **changes)


def at(seconds: float) -> Instant:
    return START.plus(seconds)


@pytest.mark.parametrize(
    ("changes", "due"),
    [
        ({}, 60),
        ({"hold_until": at(100)}, 100),
        ({"hold_until": at(30)}, 60),
        ({"deadline": at(90), "hold_until": at(90)}, 90),
    ],
)
def test_a_window_is_due_at_its_deadline_or_the_end_of_its_hold(changes: dict[str, Any], due: float) -> None:
    held = window(**changes)
    assert START.seconds_until(held.due()) == due
    assert not held.is_due(at(due - 0.001))
    assert held.is_due(at(due))
    assert held.is_due(at(due + 1000))


@pytest.mark.parametrize(("now", "remaining"), [(0, 60), (20, 40), (60, 0), (61, 0), (-5, 65)])
def test_the_time_left(now: float, remaining: float) -> None:
    assert window().remaining(at(now)) == remaining


def test_the_time_left_after_a_boot_counts_on_wall_time() -> None:
    after_boot = Instant(1 * NS, START.wall_ns + 20 * NS, "boot-b")
    assert window().remaining(after_boot) == 40
    assert window().is_due(Instant(1 * NS, START.wall_ns + 60 * NS, "boot-b"))


def test_a_step_of_wall_time_moves_no_deadline_within_a_boot() -> None:
    stepped_back = Instant(START.boot_ns + 20 * NS, START.wall_ns - 3600 * NS, "boot-a")
    assert window().remaining(stepped_back) == 40


def test_a_hold_is_stored_beside_the_deadline_and_has_a_cap() -> None:
    held = window().held(True, at(10))
    assert held.hold
    assert START.seconds_until(held.due()) == 10 + 7200
    assert held.deadline == window().deadline
    assert held.held(True, at(500)) is held  # held again it does not last longer
    assert held.held(False, at(30)) == window()
    released = held.held(False, at(100))
    assert not released.hold
    assert released.deadline == at(100)  # it is due now, and was not before


@pytest.mark.parametrize(
    ("now", "ttl", "deadline"),
    [
        (10, 30, 60),  # never less than before
        (10, 50, 60),
        (10, 51, 61),
        (10, 100, 110),
        (0, 600, 600),
        (300, 300, 600),
        (100, 20, 120),  # past its deadline, while it is held
    ],
)
def test_an_extension_gives_at_least_that_much(now: float, ttl: float, deadline: float) -> None:
    assert START.seconds_until(window().extended(ttl, at(now)).deadline) == deadline


@pytest.mark.parametrize(
    ("now", "ttl", "left"), [(10, 591, "9 min 50 s"), (0, 600.5, "10 min 00 s"), (599.5, 2, "0.5 s"), (700, 1, "0.0 s")]
)
def test_a_life_longer_than_the_service_allows_is_refused(now: float, ttl: float, left: float) -> None:
    with pytest.raises(TtlTooLong) as refused:
        window().extended(ttl, at(now))
    assert (
        str(refused.value) == f"web may stay open for 10 min 00 s in all; it can be extended to {left} from now at most"
    )
    assert refused.value.field == "ttl"


STEPS = st.tuples(
    st.sampled_from(["hold", "release", "extend"]),
    st.floats(min_value=0, max_value=400),  # seconds that pass before it
    st.floats(min_value=0.001, max_value=2000),  # ttl of an extension
)


@given(st.lists(STEPS, max_size=12))
def test_no_sequence_shortens_a_deadline_or_loses_one(steps: list[tuple[str, float, float]]) -> None:
    present, now = window(), START
    for what, passed, ttl in steps:
        now, before = now.plus(passed), present
        try:
            present = present.extended(ttl, now) if what == "extend" else present.held(what == "hold", now)
        except TtlTooLong:
            assert present is before
        assert before.deadline.seconds_until(present.deadline) >= 0
        if what != "release":
            latest = max(present.max_ttl, before.opened.seconds_until(before.deadline))
            assert present.opened.seconds_until(present.deadline) <= latest
        if what != "release":
            assert before.due().seconds_until(present.due()) >= 0
        else:
            assert present.due() == present.deadline
        if present.hold_until:
            assert now.seconds_until(present.hold_until) <= present.max_hold
        if present.hold and before.hold:
            assert present.hold_until == before.hold_until


@pytest.mark.parametrize(
    ("changes", "sampled", "percent"),
    [
        ({}, 10, None),  # not ready yet
        ({"ready": at(2), "cpu_at_ready": 1 * NS}, 12, 10.0),
        ({"ready": at(2), "cpu_at_ready": 3 * NS}, 12, 0.0),
        ({"ready": at(2)}, 2, None),
    ],
)
def test_mean_processor_use_counts_from_ready_to_the_sample(
    changes: dict[str, Any], sampled: float, percent: float | None
) -> None:
    usage = Usage(cpu_ns=2 * NS, memory=1, memory_peak=1)
    assert window(**changes).cpu_percent(Sample(at(sampled), usage)) == percent


def test_how_long_it_was_open() -> None:
    assert window().open_seconds(at(12)) == 12
    assert window(closed=at(30)).open_seconds(at(1000)) == 30


INSTANTS = st.builds(Instant, st.integers(0, 2**62), st.integers(0, 2**62), st.sampled_from(["boot-a", "boot-b"]))
SECONDS = st.floats(min_value=0, max_value=1e7)
WINDOWS = st.builds(
    Window,
    cell=st.text(max_size=5),
    window_id=st.uuids().map(str),
    generation=st.integers(1, 10**6),
    service=st.text(max_size=5),
    state=st.sampled_from([State.OPENING, State.OPEN, State.CLOSING, State.STUCK]),
    opened=INSTANTS,
    deadline=INSTANTS,
    opened_by=st.text(max_size=5),
    max_ttl=SECONDS,
    max_hold=SECONDS,
    grace=SECONDS,
    stop_signal=st.sampled_from(["SIGTERM", "SIGINT"]),
    requested=st.booleans(),
    depends_on=st.lists(st.text(max_size=5), max_size=2).map(tuple),
    completed=st.lists(st.text(max_size=5), max_size=2).map(tuple),
    needed_until=st.none() | INSTANTS,
    close_by=st.none() | INSTANTS,
    hold_until=st.none() | INSTANTS,
    limits=st.builds(Limits, cpu=st.none() | SECONDS, memory=st.none() | st.integers(1, 2**40)),
    not_enforced=st.lists(st.sampled_from(["cpu", "pids"])).map(tuple),
    running=st.none()
    | st.builds(
        Running,
        st.sampled_from(["docker", "process"]),
        container=st.text(max_size=4),
        pid=st.integers(0, 2**22),
        start_time=st.integers(0, 2**40),
        ports=st.dictionaries(st.integers(1, 65535), st.integers(1, 65535), max_size=3),
    ),
    endpoints=st.lists(st.text(max_size=5), max_size=2).map(tuple),
    faults=st.lists(st.sampled_from(list(Fault)), max_size=3).map(tuple),
    ready=st.none() | INSTANTS,
    cpu_at_ready=st.integers(0, 2**50),
    closing=st.none() | INSTANTS,
    close_attempts=st.integers(0, 5000),
    reason=st.none() | st.sampled_from(list(Reason)),
)


@given(WINDOWS)
def test_a_state_file_keeps_all_that_a_later_madre_needs(some: Window) -> None:
    assert Window.from_json(json.loads(json.dumps(some.to_json()))) == some


@pytest.mark.parametrize("schema", [0, 4, "1", None])
def test_another_schema_is_refused(schema: object) -> None:
    with pytest.raises(ValueError, match="is not known"):
        Window.from_json(window().to_json() | {"schema": schema})


@pytest.mark.parametrize("schema", [1, 2])
def test_a_state_file_of_a_version_before_is_read(schema: int) -> None:
    data = window().to_json() | {"schema": schema}
    added = {2: ("requested", "depends_on", "completed", "needed_until", "close_by"), 3: ("faults",)}
    for name in (name for later, names in added.items() if later > schema for name in names):
        del data[name]
    assert Window.from_json(data) == window()


@pytest.mark.parametrize("name", sorted(window().to_json()))
def test_a_state_file_without_one_of_its_fields_is_none(name: str) -> None:
    data = window().to_json()
    del data[name]
    with pytest.raises(KeyError, match=name):
        Window.from_json(data)
