"""What happened when: windows and calls as lanes of bars and marks."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.conductor.report import runs
from vx11.conductor import report
from vx11.conductor.judge import CaseResult, Verdict
from vx11.conductor.report import timeline
from vx11.conductor.report.record import Started, Try
from vx11.conductor.report.timeline import Lane, Timeline
from vx11.conductor.seen import Call

BEGAN = 5_000_000_000


def ns(seconds: float) -> int:
    return BEGAN + round(seconds * 1e9)


def of(*records: tuple[float, str, dict[str, Any]], calls: Sequence[Call] = (), duration: float = 60.0) -> list[Lane]:
    """The lanes of a try in which this happened to the window `w`."""
    result = CaseResult("TC-001", Verdict.PASSED, duration=duration)
    item = Try(1, Path("x"), result, Started(BEGAN, 0, "c"))
    found = [{"mono_ns": ns(at), "action": action, "subject": "w", "data": data} for at, action, data in records]
    line = timeline.of_try(item, calls, found)
    assert line
    return list(line.lanes)


def bars(lane: Lane) -> list[tuple[str, float, float]]:
    return [(bar.kind, round(bar.begin, 3), round(bar.end, 3)) for bar in lane.bars]


OPENING = (1.0, "opening", {"service": "web", "ttl_s": 30})
OPENED = (2.0, "opened", {})
CLOSING = (31.0, "closing", {"reason": "expired"})
CLOSED = (32.0, "closed", {"reason": "expired"})


def test_a_window_that_expired() -> None:
    (lane,) = of(OPENING, OPENED, CLOSING, CLOSED)
    assert bars(lane) == [("opening", 1, 2), ("open", 2, 31), ("closing", 31, 32)]
    assert (lane.name, lane.note) == ("web", "expired after 31.0 s")
    assert [(mark.kind, mark.at) for mark in lane.marks] == [("due", 31.0)]


def test_a_hold_ends_with_its_release_and_a_fault_with_its_revert() -> None:
    held = (1.0, "opening", {"service": "web", "ttl_s": 15, "hold": True})
    cut = (5.0, "fault_injected", {"fault": "network_partition"})
    mended = (9.0, "fault_reverted", {"fault": "network_partition"})
    (lane,) = of(held, OPENED, cut, mended, (20.0, "released", {}), CLOSING, CLOSED)
    assert bars(lane)[3:] == [("fault", 5, 9), ("held", 1, 20)]
    assert "network partition" in lane.bars[3].text


def test_a_hold_or_a_fault_that_never_ended_lasts_until_the_close() -> None:
    (lane,) = of(OPENING, OPENED, (3.0, "held", {}), (4.0, "fault_injected", {"fault": "pause"}), CLOSING, CLOSED)
    assert bars(lane)[3:] == [("held", 3, 31), ("fault", 4, 31)]


def test_a_window_that_never_opened_or_never_closed() -> None:
    (failed,) = of(OPENING, (4.0, "closing", {"reason": "open_failed"}), (5.0, "closed", {"reason": "open_failed"}))
    assert bars(failed) == [("opening", 1, 4), ("closing", 4, 5)]
    (left,) = of(OPENING, OPENED)
    assert (bars(left)[1], left.note) == (("open", 2, 60), "never closed")


@pytest.mark.parametrize(
    ("before", "name"), [([], "web"), (["web-2"], "web"), (["web"], "web (2)"), (["web", "db", "web (2)"], "web (3)")]
)
def test_windows_of_one_service_are_told_apart(before: list[str], name: str) -> None:
    assert timeline.numbered("web", before) == name


def test_what_was_refused_has_a_lane() -> None:
    (lane,) = of((3.0, "open_refused", {"why": "not on the allowlist"}), (4.0, "token_refused", {}))
    assert (lane.name, lane.note) == ("refused", "2 requests")
    assert [mark.at for mark in lane.marks] == [3.0, 4.0]


def test_calls_stand_above_the_windows() -> None:
    good = Call("vx11_window", {"state": "open", "services": ["a", "b"]}, ns(1), ns(2), False, "", {})
    bad = Call("vx11_suite", {"name": "auth"}, ns(3), ns(4), True, "one failed", {})
    steps, window = of(OPENING, OPENED, CLOSING, CLOSED, calls=[good, bad])
    assert (steps.name, window.name) == ("steps", "web")
    assert [(bar.kind, bar.text) for bar in steps.bars] == [
        ("step", "vx11_window open a, b, 1.0 s"),
        ("bad", "vx11_suite auth, 1.0 s: one failed"),
    ]


def test_nobody_knows_when_a_try_began() -> None:
    assert timeline.of_try(Try(1, Path("x"), CaseResult("x", Verdict.ABORTED), None), [], []) is None


def test_a_run_has_a_lane_a_cell_with_each_try(make_run: Callable[..., Any]) -> None:
    line = timeline.of_run(report.read(runs.of_every_verdict(make_run)))
    assert line
    assert [[bar.kind for bar in lane.bars] for lane in line.lanes] == [
        ["passed", "failed", "failed", "aborted", "leaked"],
        ["failed", "flaky"],
    ]


@pytest.mark.parametrize(("at", "percent"), [(-1.0, 0), (0.0, 0), (25.0, 50), (50.0, 100), (99.0, 100)])
def test_moments_outside_are_shown_at_the_edge(at: float, percent: float) -> None:
    assert Timeline(50.0, []).percent(at) == percent


@given(st.floats(1e-6, 1e12))
def test_an_axis_has_a_few_round_numbers(most: float) -> None:
    found = timeline.ticks(most)
    assert 2 <= len(found) <= 7
    assert found[0] == 0
    assert found == sorted(found)
    assert found[-1] <= most * (1 + 1e-6)
