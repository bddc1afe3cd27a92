"""What is drawn of usage: thinning loses nothing that matters, rates are right, limits show where they are near."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vx11.clock import iso
from vx11.conductor.report import plots
from vx11.conductor.report.timeline import Timeline
from vx11.units import MIB

VALUES = st.lists(st.floats(0, 1e9), min_size=1, max_size=3000)
SECOND = 10**9
LINE = Timeline(100.0, [])


def samples(*usages: dict[str, Any]) -> list[dict[str, Any]]:
    """A look each second."""
    found = []
    for number, usage in enumerate(usages, 1):
        known = {"sampled_at": iso(number * SECOND), **usage}
        window = {"window_id": "w", "service": "web", "usage": known}
        found.append({"ns": str(number * SECOND), "windows": [window]})
    return found


def drawn(usages: Sequence[dict[str, Any]], **limits: Any) -> dict[str, plots.Plot]:
    opening = {"action": "opening", "subject": "w", "data": {"limits": limits}}
    return {plot.title: plot for plot in plots.of_try(samples(*usages), [opening], 0, LINE)}


@given(VALUES, st.integers(4, 500))
def test_thinning_keeps_order_ends_and_extremes(values: list[float], most: int) -> None:
    points = [(float(number), value) for number, value in enumerate(values)]
    kept = plots.thinned(points, most)
    assert len(kept) <= max(most, 1)
    assert kept == sorted(set(kept))
    assert set(kept) <= set(points)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert max(value for _, value in kept) == max(values)
    assert min(value for _, value in kept) == min(values)


def test_thousands_of_samples_make_a_short_path() -> None:
    found = drawn([{"memory_bytes": number % 7 * MIB} for number in range(20_000)])
    (line,) = found["Memory"].lines
    assert len(re.findall("[ML]", line.path)) <= plots.MOST_POINTS
    assert line.peak == 6


def test_processor_time_is_drawn_as_a_share_of_one_core() -> None:
    (line,) = drawn([{"cpu_s": 0.0}, {"cpu_s": 0.5}, {"cpu_s": 0.5}])["Processor"].lines
    assert (line.peak, line.mean) == (50.0, 25.0)
    assert line.path.startswith("M20.0 ")


def test_operations_are_those_of_both_directions() -> None:
    usages = [{"io_read_ops": 0, "io_write_ops": 0}, {"io_read_ops": 10, "io_write_ops": 32}]
    (line,) = drawn(usages)["Input and output"].lines
    assert line.peak == 42


def test_two_looks_at_one_sample_are_no_rate() -> None:
    same = {"cpu_s": 1.0, "sampled_at": iso(SECOND)}
    assert "Processor" not in drawn([same, same])


def test_a_counter_that_fell_is_no_negative_rate() -> None:
    (line,) = drawn([{"cpu_s": 5.0}, {"cpu_s": 1.0}, {"cpu_s": 1.5}])["Processor"].lines
    assert line.peak == 50.0


@pytest.mark.parametrize(("limit", "near"), [(20 * MIB, True), (10 * MIB, True), (4096 * MIB, False)])
def test_a_limit_is_drawn_where_use_came_near(limit: int, near: bool) -> None:
    (line,) = drawn([{"memory_bytes": 10 * MIB}], memory=limit)["Memory"].lines
    assert line.limit == limit / MIB
    assert (line.limit_at is not None) is near


@pytest.mark.parametrize(
    "usage", [None, 3, [], {"cpu_s": "x"}, {"cpu_s": float("nan")}, {"cpu_s": None}, {"cpu_s": True}]
)
def test_what_is_no_figure_is_not_drawn(usage: Any) -> None:
    look = {"ns": "5", "windows": [{"window_id": "w", "service": "web", "usage": usage}]}
    assert plots.of_try([look, look, {}, {"ns": "x", "windows": 3}], [], 0, LINE) == []


def test_what_used_nothing_is_a_line_at_the_foot() -> None:
    (line,) = drawn([{"memory_bytes": 0}, {"memory_bytes": 0}])["Memory"].lines
    assert line.path == f"M10.0 {plots.HEIGHT:.1f}L20.0 {plots.HEIGHT:.1f}"


def test_a_window_has_one_colour_and_one_name_in_all_figures() -> None:
    def look(number: int, **usage: dict[str, Any]) -> dict[str, Any]:
        windows = [
            {"window_id": window, "service": "web", "usage": {"sampled_at": iso(number * SECOND), **used}}
            for window, used in usage.items()
        ]
        return {"ns": str(number * SECOND), "windows": windows}

    memory = {"memory_bytes": MIB}
    looks = [look(number, first=memory, second={**memory, "cpu_s": number / 2}) for number in (1, 2)]
    found = {plot.title: plot.lines for plot in plots.of_try(looks, [], 0, LINE)}
    assert [(line.name, line.colour) for line in found["Memory"]] == [("web", 0), ("web (2)", 1)]
    assert [(line.name, line.colour) for line in found["Processor"]] == [("web (2)", 1)]
