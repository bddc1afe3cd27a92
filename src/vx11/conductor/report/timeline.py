"""What happened when: the calls of a try and its windows as lanes of bars and marks. Pure."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vx11.conductor.report.record import Record, Try
from vx11.conductor.seen import Call
from vx11.units import show_duration

Json = Mapping[str, Any]
# More than this many bars or marks of one lane cannot be told apart on a page.
MOST = 400
_STEPS = [base * 10.0**power for power in range(-9, 300) for base in (1, 2, 5)]
_Since = Callable[[Any], float]
# Seconds since the try began, what happened, and what is known of it.
_Change = tuple[float, str, Json]


@dataclass(frozen=True)
class Bar:
    """Something that lasted, from `begin` to `end` in seconds, of one of the kinds that the page knows."""

    begin: float
    end: float
    kind: str
    text: str


@dataclass(frozen=True)
class Mark:
    """Something that happened at one moment."""

    at: float
    kind: str
    text: str


@dataclass
class Lane:
    """One line of a timeline.

    Attributes:
        note: how it ended, in a few words.
    """

    name: str
    note: str = ""
    bars: list[Bar] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)


@dataclass(frozen=True)
class Timeline:
    """Lanes over so many seconds."""

    seconds: float
    lanes: Sequence[Lane]

    def percent(self, at: float) -> float:
        """Where a moment lies, within 0 to 100."""
        return round(100 * min(max(at, 0.0), self.seconds) / self.seconds, 3)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Where the axis has numbers, in percent, and what they are."""
        return [(self.percent(at), f"{at:g}") for at in ticks(self.seconds)]


def ticks(most: float, wanted: int = 6) -> list[float]:
    """Round numbers from 0 to at most `most`, about `wanted` of them; `most` is more than 0."""
    step = next(step for step in _STEPS if most / step <= wanted)
    return [round(step * number, 6) for number in range(int(most / step * (1 + 1e-9)) + 1)]


def of_try(item: Try, calls: Sequence[Call], records: Sequence[Json]) -> Timeline | None:
    """The calls, what was refused, and a lane a window; None where nobody knows when the try began.

    Args:
        records: madre's, of the time of the try.
    """
    if item.started is None:
        return None
    began = item.started.boot_ns

    def since(ns: Any) -> float:
        """Seconds on CLOCK_BOOTTIME."""
        return (int(ns) - began) / 1e9

    end = max([item.result.duration, 0.001, *(since(call.ended_ns) for call in calls)])
    windows = _windows(records, since, end)
    lanes = [_steps(calls, since), _refused(records, since), *windows]
    return Timeline(end, [lane for lane in lanes if lane.bars or lane.marks])


def of_run(run: Record) -> Timeline | None:
    """A lane a cell or host, with a bar for each try; None when no case ever began."""
    known = [(case, item, item.started) for case in run.cases() for item in case.tries if item.started]
    if not known:
        return None
    began = min(started.boot_ns for _, _, started in known)
    hosts = {item.result.host for _, item, _ in known}
    lanes = {name: Lane(name if name in hosts else f"cell {number}") for number, name in enumerate(run.places, 1)}
    for case, item, started in known:
        begin = (started.boot_ns - began) / 1e9
        last = item is case.tries[-1]
        verdict = case.verdict if last else item.result.verdict
        text = f"{case.id}{f' (try {item.number})' if len(case.tries) > 1 else ''} {verdict.value}"
        text += f" after {show_duration(item.result.duration)}"
        lanes[started.place].bars.append(Bar(begin, begin + item.result.duration, verdict.value, text))
    end = max(bar.end for lane in lanes.values() for bar in lane.bars)
    return Timeline(max(end, 0.001), list(lanes.values()))


def numbered(service: str, before: Collection[str]) -> str:
    """The name of a window, which has a number where windows of the same service were before it."""
    same = sum(name == service or name.startswith(f"{service} (") for name in before)
    return f"{service} ({same + 1})" if same else service


def told(call: Call) -> str:
    """A call in a few words: `vx11_window open auth-service`."""
    services = call.args.get("services")
    named = ", ".join(map(str, services)) if isinstance(services, list) else call.args.get("service")
    words = [call.args.get("kind"), call.args.get("state"), named or call.args.get("suite") or call.args.get("name")]
    return " ".join([call.module, *(str(word) for word in words if word)])


def _steps(calls: Sequence[Call], since: _Since) -> Lane:
    lane = Lane("steps")
    for call in calls[:MOST]:
        text = f"{told(call)}, {show_duration(call.took_ms / 1000)}" + (f": {call.message}" if call.failed else "")
        lane.bars.append(Bar(since(call.begun_ns), since(call.ended_ns), "bad" if call.failed else "step", text))
    return lane


def _refused(records: Sequence[Json], since: _Since) -> Lane:
    refused = [record for record in records if str(record["action"]).endswith("_refused")]
    lane = Lane("refused", f"{len(refused)} requests")
    for record in refused[:MOST]:
        text = f"{record['subject']}: {record['data'].get('why', '')}"
        lane.marks.append(Mark(since(record["mono_ns"]), "refused", text))
    return lane


def _windows(records: Sequence[Json], since: _Since, end: float) -> list[Lane]:
    """One a window, in the order of their opening."""
    lives: dict[str, list[_Change]] = {}
    for record in records:
        subject, action = str(record["subject"]), str(record["action"])
        if action == "opening" or subject in lives:
            lives.setdefault(subject, []).append((since(record["mono_ns"]), action, record["data"]))
    lanes: list[Lane] = []
    for life in lives.values():
        lanes.append(_window(life, end, [lane.name for lane in lanes]))
    return lanes


def _window(life: Sequence[_Change], end: float, before: Collection[str]) -> Lane:
    opening, _, about = life[0]
    lane = Lane(numbered(str(about.get("service", "")), before), "never closed")
    when = {action: at for at, action, _ in reversed(life)}
    closed = when.get("closed", end)
    closing = min(when.get("closing", closed), closed)
    opened = when.get("opened", closing)
    lane.bars.append(Bar(opening, opened, "opening", f"opening, {show_duration(opened - opening)}"))
    if "opened" in when:
        lane.bars.append(Bar(opened, closing, "open", f"open, {show_duration(closing - opened)}"))
    lane.bars.append(Bar(closing, closed, "closing", f"closing, {show_duration(closed - closing)}"))
    lane.bars += _spans(life, {"held": opening} if about.get("hold") else {}, closing)
    if isinstance(ttl := about.get("ttl_s"), int | float) and opening + ttl <= end:
        lane.marks.append(Mark(opening + ttl, "due", f"its time was over, {show_duration(ttl)} after it was asked for"))
    for at, action, data in life:
        if action == "closed":
            lane.note = f"{data.get('reason', '')} after {show_duration(at - opening)}"
        elif action in ("stuck", "extended", "warning"):
            lane.marks.append(Mark(at, action, f"{action} at {show_duration(at)}"))
    return lane


def _spans(life: Iterable[_Change], begun: dict[str, float], closing: float) -> Iterator[Bar]:
    """Holds and faults: what began and ended while it was open; those of `begun` began with it."""
    for at, action, data in life:
        name = "held" if action in ("held", "released") else str(data.get("fault", "fault"))
        if action in ("held", "fault_injected"):
            begun.setdefault(name, at)
        elif action in ("released", "fault_reverted") and name in begun:
            yield _span(name, begun.pop(name), at)
    yield from (_span(name, at, closing) for name, at in begun.items())


def _span(name: str, begin: float, end: float) -> Bar:
    text = f"{name.replace('_', ' ')}, {show_duration(end - begin)}"
    return Bar(begin, end, "held" if name == "held" else "fault", text)
