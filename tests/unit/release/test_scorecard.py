"""The scorecard: percent of what was looked at, and nothing where nothing was."""

import pytest

from vx11.release.contract import Line
from vx11.release.scorecard import Score, scores
from vx11.release.verdicts import Check, Outcome, Result


def result(number: int, outcome: str, *held: bool) -> Result:
    return Result(number, "a gate", Outcome(outcome), "", [Check("it is so", one) for one in held])


def lines(*held: bool | None) -> list[Line]:
    return [Line("a", "b", "c", one, "") for one in held]


def test_all_of_it() -> None:
    results = {
        1: result(1, "failed", True, True, False),
        3: result(3, "not_applicable"),
        4: result(4, "failed", True, False),
        7: result(7, "failed"),
        8: result(8, "passed", False, True, True),
    }
    found = scores(results, [Check("a test", True)], [True, True, True, False], lines(True, False, None))
    assert {one.name: one.value for one in found} == {
        "database integrity": 66.7,
        "uptime": 75.0,
        "HTTP success": 80.0,
        "secrets": None,
        "flags": 0.0,
        "invariants": 50.0,
    }
    assert not any(one.met for one in found)


def test_what_was_not_measured_has_no_value() -> None:
    assert [one.value for one in scores({}, [], [], lines(None))] == [None] * 6


@pytest.mark.parametrize(("value", "met"), [(100.0, True), (99.9, False), (None, False)])
def test_when_a_line_is_met(value: float | None, met: bool) -> None:
    assert Score("a", value, "b").met is met
