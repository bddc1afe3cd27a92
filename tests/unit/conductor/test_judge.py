"""The judge: every assert against what was observed, and one verdict for a case."""

from collections.abc import Sequence

import pytest

from vx11.conductor import expected
from vx11.conductor.judge import Judged, Verdict, judge, verdict
from vx11.conductor.observations import Observed

GOOD = Judged("window_auto_closed", "true", "true", holds=True)
BAD = Judged("concurrent_windows", "3", "2", holds=False, why="expected 3, observed 2")
UNSEEN = Judged("refresh_works", "true", None, holds=False, why="not observed")
LEAK = Judged("no_resource_leaks", "true", "false", holds=False, why="expected true, observed false")


@pytest.mark.parametrize(
    ("observed", "judged"),
    [
        (Observed(4.25, "%", "x"), Judged("cpu", "< 5%", "4.25 %", holds=True)),
        (Observed(5.5, "%", "x"), Judged("cpu", "< 5%", "5.5 %", holds=False, why="expected < 5%, observed 5.5 %")),
        (None, Judged("cpu", "< 5%", None, holds=False, why="not observed")),
        (
            Observed(3, "ms", "x"),
            Judged("cpu", "< 5%", "3 ms", holds=False, why="it was observed in ms, which cannot be compared with %"),
        ),
        (
            Observed(True, None, "x"),
            Judged("cpu", "< 5%", "true", holds=False, why="True was observed, which cannot be compared with < 5%"),
        ),
    ],
)
def test_one_assert(observed: Observed | None, judged: Judged) -> None:
    seen = {"cpu": observed} if observed else {}
    assert judge({"cpu": expected.read("cpu", "< 5%")}, seen) == [judged]


def test_asserts_keep_their_order_and_what_nobody_asked_for_is_left_out() -> None:
    asserts = {name: expected.read(name, True) for name in ("b", "a", "c")}
    seen = {name: Observed(True, None, "x") for name in ("z", "c", "a")}
    assert [(item.name, item.holds) for item in judge(asserts, seen)] == [("b", False), ("a", True), ("c", True)]


@pytest.mark.parametrize(
    ("judged", "play_failure", "wanted", "message"),
    [
        ([], "", Verdict.PASSED, ""),
        ([GOOD], "", Verdict.PASSED, ""),
        ([GOOD, BAD], "", Verdict.FAILED, "concurrent_windows: expected 3, observed 2"),
        ([UNSEEN], "", Verdict.FAILED, "refresh_works: not observed"),
        ([GOOD, LEAK], "", Verdict.LEAKED, "no_resource_leaks: expected true, observed false"),
        # A leak beside another failure is a failure that says both.
        (
            [BAD, LEAK],
            "",
            Verdict.FAILED,
            "concurrent_windows: expected 3, observed 2; no_resource_leaks: expected true, observed false",
        ),
        ([GOOD], "task 'x': boom", Verdict.FAILED, "task 'x': boom"),
        ([LEAK], "task 'x': boom", Verdict.FAILED, "task 'x': boom; no_resource_leaks: expected true, observed false"),
        ([UNSEEN], "task 'x': boom", Verdict.FAILED, "task 'x': boom; refresh_works: not observed"),
    ],
)
def test_the_verdict_of_a_case(judged: Sequence[Judged], play_failure: str, wanted: Verdict, message: str) -> None:
    assert verdict(judged, play_failure) == (wanted, message)
