"""What the windows of a try used over time, as lines to draw. Pure.

A window is looked at each half second, so that a long case has thousands of samples; what is drawn keeps each bucket's
least and most, so that no peak is lost.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from vx11.conductor.report.timeline import Timeline, numbered, ticks
from vx11.conductor.seen import seconds_between
from vx11.units import MIB

Json = Mapping[str, Any]
Point = tuple[float, float]
MOST_POINTS = 400
WIDTH, HEIGHT = 1000, 100
# A limit is drawn where what was used came near it; else it would flatten all else.
_NEAR = 0.2


@dataclass(frozen=True)
class _Look:
    """A window's usage as it was looked at, so many seconds after the try began."""

    at: float
    usage: Json


@dataclass(frozen=True)
class _Kind:
    """What is drawn: a name, a unit, how points come of looks, and the limit that bounds it."""

    title: str
    unit: str
    points: Callable[[Sequence[_Look]], list[Point]]
    limit: Callable[[Json], float | None]


@dataclass(frozen=True)
class Line:
    """One window.

    Attributes:
        colour: a number that is the same in all figures of a try.
        path: the `d` of an SVG path, in a box of `WIDTH` by `HEIGHT`.
        limit_at: where its limit lies in that box; None where there is none, or it is far above.
    """

    name: str
    colour: int
    path: str
    peak: float
    mean: float
    limit: float | None
    limit_at: float | None


@dataclass(frozen=True)
class Plot:
    """One figure.

    Attributes:
        ticks: of the upright axis, in percent from its foot, and what they are.
    """

    title: str
    unit: str
    lines: Sequence[Line]
    ticks: Sequence[tuple[float, str]]


def of_try(samples: Sequence[Json], records: Sequence[Json], began_ns: int, timeline: Timeline) -> list[Plot]:
    """CPU, memory and I/O, each where there is anything to draw.

    Args:
        samples: looks at the windows.
        records: madre's, which say what the limits are.
        began_ns: CLOCK_BOOTTIME when the try began.
    """
    looks: dict[str, list[_Look]] = {}
    names: dict[str, str] = {}
    for window, service, look in _looks(samples, began_ns):
        looks.setdefault(window, []).append(look)
        names.setdefault(window, numbered(service, names.values()))
    limits = {r["subject"]: r["data"].get("limits") for r in records if r["action"] == "opening"}
    plots = []
    for kind in _KINDS:
        drawn = {window: thinned(found) for window, seen in looks.items() if (found := kind.points(seen))}
        if drawn:
            bounds = {window: kind.limit(_dict(limits.get(window))) for window in drawn}
            plots.append(_plot(kind, names, drawn, bounds, timeline.seconds))
    return plots


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most so many of the points, in their order; first and last, the highest and the lowest are among them."""
    if len(points) <= most:
        return list(points)
    size = math.ceil((len(points) - 2) / ((most - 2) // 2))
    kept = [points[0]]
    for begin in range(1, len(points) - 1, size):
        bucket = range(begin, min(begin + size, len(points) - 1))
        ends = {min(bucket, key=lambda i: points[i][1]), max(bucket, key=lambda i: points[i][1])}
        kept += [points[index] for index in sorted(ends)]
    return [*kept, points[-1]]


def _looks(samples: Sequence[Json], began_ns: int) -> Iterator[tuple[str, str, _Look]]:
    """Window, service and look of each sample that can be read."""
    for sample in samples:
        try:
            at = (int(sample["ns"]) - began_ns) / 1e9
            found = [(str(item["window_id"]), str(item["service"]), item["usage"]) for item in sample["windows"]]
        except (KeyError, OverflowError, TypeError, ValueError):
            continue
        yield from ((window, service, _Look(at, usage)) for window, service, usage in found if isinstance(usage, dict))


def _plot(
    kind: _Kind,
    names: Mapping[str, str],
    drawn: Mapping[str, Sequence[Point]],
    bounds: Mapping[str, float | None],
    seconds: float,
) -> Plot:
    peaks = {window: max(value for _, value in points) for window, points in drawn.items()}
    near = [bound for window, bound in bounds.items() if bound and peaks[window] >= _NEAR * bound]
    top = max([*peaks.values(), *near]) or 1.0
    top *= 1.05
    lines = []
    for window, points in drawn.items():
        bound = bounds[window]
        at = round(HEIGHT * (1 - bound / top), 2) if bound and bound <= top else None
        mean = sum(value for _, value in points) / len(points)
        lines.append(
            Line(names[window], list(names).index(window), _path(points, seconds, top), peaks[window], mean, bound, at)
        )
    marks = [(round(100 * value / top, 2), f"{value:g}") for value in ticks(top, 4)]
    return Plot(kind.title, kind.unit, lines, marks)


def _path(points: Sequence[Point], seconds: float, top: float) -> str:
    """Absolute moves and lines, one decimal: a tenth of a thousandth of the width is less than a pixel."""
    shown = [f"{WIDTH * at / seconds:.1f} {HEIGHT * (1 - value / top):.1f}" for at, value in points]
    if len(shown) == 1:
        return f"M{shown[0]}h2"
    return "M" + "L".join(shown)


def _cpu(looks: Sequence[_Look]) -> list[Point]:
    return _rates(looks, "cpu_s", 100.0)


def _memory(looks: Sequence[_Look]) -> list[Point]:
    return [(look.at, used / MIB) for look in looks if (used := _number(look.usage, "memory_bytes")) is not None]


def _io(looks: Sequence[_Look]) -> list[Point]:
    totals = [_Look(look.at, {**look.usage, "ops": _sum(look.usage)}) for look in looks]
    return _rates(totals, "ops", 1.0)


def _rates(looks: Sequence[_Look], name: str, factor: float) -> list[Point]:
    """How much a counter grew a second, between those looks that had a new sample of it."""
    points = []
    counted = [look for look in looks if _number(look.usage, name) is not None]
    for before, after in pairwise(counted):
        try:
            passed = seconds_between(before.usage["sampled_at"], after.usage["sampled_at"])
        except (KeyError, OverflowError, TypeError, ValueError):
            continue
        if passed > 0:
            grew = max(0.0, after.usage[name] - before.usage[name])
            points.append((after.at, factor * grew / passed))
    return points


def _number(found: Json, name: str) -> float | None:
    value = found.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 1e18 else None


def _sum(usage: Json) -> float | None:
    found = [_number(usage, name) for name in ("io_read_ops", "io_write_ops")]
    known = [value for value in found if value is not None]
    return sum(known) if known else None


def _dict(found: object) -> Json:
    return found if isinstance(found, dict) else {}


def _limit(factor: float, *names: str) -> Callable[[Json], float | None]:
    """The sum of these limits; none where one of them is not limited."""

    def of(limits: Json) -> float | None:
        values = [_number(limits, name) for name in names]
        return factor * sum(value for value in values if value) if all(values) else None

    return of


_KINDS = (
    _Kind("Processor", "% of one core", _cpu, _limit(100.0, "cpu")),
    _Kind("Memory", "MiB", _memory, _limit(1 / MIB, "memory")),
    _Kind("Input and output", "operations a second", _io, _limit(1.0, "read_iops", "write_iops")),
)
