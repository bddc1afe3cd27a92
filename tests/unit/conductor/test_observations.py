"""What was observed: the last value wins, and what cannot be read counts and fails the case."""

import json
from pathlib import Path
from typing import Any

import pytest

from vx11.conductor import observations
from vx11.conductor.observations import FILE, Observations, Observed


def line(name: str = "a", value: Any = 1, **more: Any) -> str:
    return json.dumps({"kind": "observation", "name": name, "value": value, "unit": None, "source": "test"} | more)


def read(folder: Path, *lines: str | bytes) -> Observations:
    encoded = [item.encode() if isinstance(item, str) else item for item in lines]
    (folder / FILE).write_bytes(b"".join(item + b"\n" for item in encoded))
    return observations.read(folder)


def test_no_file_means_that_nothing_was_observed(tmp_path: Path) -> None:
    assert observations.read(tmp_path) == Observations()
    assert Observations().failure() == ""


def test_the_last_value_of_a_name_wins(tmp_path: Path) -> None:
    found = read(tmp_path, line("a", 1), line("b", True), line("a", 2.5, unit="s", source="suite:x"))
    assert found.observations == {"a": Observed(2.5, "s", "suite:x"), "b": Observed(True, None, "test")}
    assert (found.broken, found.failure()) == (0, "")


@pytest.mark.parametrize("kind", ["observation", "metric"])
def test_what_the_conductor_measures_counts_from_nobody_else(tmp_path: Path, kind: str) -> None:
    """A playbook's `vx11_observe` could otherwise stand in for what was never observed."""
    found = read(tmp_path, line("window_auto_closed", True, kind=kind), line("b", True))
    assert (set(found.observations), dict(found.metrics)) == ({"b"}, {})
    assert found.failure().startswith("window_auto_closed: the conductor measures it itself")


def test_metrics_are_kept_apart_from_what_is_judged(tmp_path: Path) -> None:
    found = read(tmp_path, line("a", 1), line("a", 2, kind="metric", unit="ms"))
    assert found.observations["a"].value == 1
    assert found.metrics == {"a": Observed(2, "ms", "test")}


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "not json",
        '{"kind": "observation", "name": "b"',
        "[]",
        "7",
        "{}",
        line("b", kind="rumour"),
        line("b", None),
        line("b", [1]),
        line("b", {"x": 1}),
        line("b", float("nan")),
        line("b", float("inf")),
        line("b", 10**400),
        line("b", "half \ud800"),
        line("b", unit=["ms"]),
        line("b", unit=5),
        line("b", source=None),
        line(["b"]),  # type: ignore[arg-type]
        line(5),  # type: ignore[arg-type]
        b"\xff\xfe",
    ],
)
def test_a_line_that_cannot_be_read_is_counted_and_hides_no_other(tmp_path: Path, broken: str | bytes) -> None:
    found = read(tmp_path, line("a", 1), broken, line("c", 3))
    assert {name: seen.value for name, seen in found.observations.items()} == {"a": 1, "c": 3}
    assert found.broken == 1
    assert found.failure() == f"1 lines of {FILE} cannot be read"


def test_text_may_hold_what_some_take_for_a_line_end(tmp_path: Path) -> None:
    text = json.dumps(json.loads(line("a", "one\u2028two\u0085three")), ensure_ascii=False)
    assert read(tmp_path, text).observations["a"].value == "one\u2028two\u0085three"


def test_a_failed_suite_fails_the_case(tmp_path: Path) -> None:
    found = read(tmp_path, line("suite_auth_passed", False), line("suite_other_passed", True), line("passed", False))
    assert found.failure() == "a suite failed (suite_auth_passed)"


@pytest.mark.parametrize(
    ("seen", "text"),
    [
        (Observed(True, None, ""), "true"),
        (Observed(False, None, ""), "false"),
        (Observed(3, None, ""), "3"),
        (Observed(12.3456, "ms", ""), "12.35 ms"),
        (Observed(1048576, "B", ""), "1048576 B"),
        (Observed("text", None, ""), "text"),
    ],
)
def test_as_people_read_it(seen: Observed, text: str) -> None:
    assert str(seen) == text
