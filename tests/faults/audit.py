"""The auditor: what callers of a cell were promised, and the proof from outside that it was kept.

Nothing here asks madre for its opinion. The judgement rests on what callers heard, when the parts of the core lived,
what an eye on the engine saw, and the evidence. Moments are seconds of CLOCK_BOOTTIME, which no step of the wall clock
moves; where one is known only roughly it is a `Span`, and the judgement gives the benefit of the doubt.
"""

import math
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

# How late a closing may begin: at the deadline, with what a busy machine of two cores adds. `nox -s bench` measures how
# late it does; here it is about what would be forgotten.
LATE = 1.5
# The watchdog leaves madre this much time.
OVERDUE = 0.5
# After an outage of both, from the moment that one of them is back.
AFTER_RESTART = 2.0
# What is just being started cannot be ended before the engine has answered.
STARTING = 3.0
# Between a birth and its record: how much earlier than the record tells a deadline may lie whose answer was lost.
BIRTH = 1.0
# Clocks of a daemon and of a kernel's timers are no finer.
GRAIN = 0.05
BY_TIME = frozenset({"expired", "watchdog"})
# For a window that no caller heard to be open, and of which not more than its birth may be on record.
NOT_OPENED = frozenset({"open_failed", "lost"})
ASKED = frozenset({"requested", "forced"})


def now() -> float:
    """This moment."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Span:
    """A moment that lies between two others, both included."""

    first: float
    last: float


@dataclass(frozen=True)
class Life:
    """A life of madre or the watchdog.

    Attributes:
        born: when its process was started.
        ready: when it was seen to work.
        died: when it was killed; infinite while it lives.
    """

    born: float
    ready: float
    died: float = math.inf


Lives = Mapping[str, Sequence[Life]]


@dataclass(frozen=True)
class Seen:
    """What an eye on the engine saw of a window.

    Attributes:
        begun: the first signal that it got, infinite where signals cannot be seen.
        ended: when its first process was gone.
    """

    begun: float = math.inf
    ended: float = math.inf


@dataclass(frozen=True)
class Promise:
    """A window as its callers know it.

    Attributes:
        deadline: when it closes by itself, unless it is held.
        accepted: a caller heard that it is open.
        reasons: why else it may close, such as `crashed` for a service that is made to.
        grace: seconds for which its service withstands the stop signal.
    """

    window_id: str
    service: str
    deadline: Span
    hold: bool = False
    accepted: bool = True
    reasons: frozenset[str] = frozenset()
    grace: float = 0.0

    @property
    def due(self) -> Span:
        """When it closes by itself."""
        return Span(math.inf, math.inf) if self.hold else self.deadline


@dataclass(frozen=True)
class Ask:
    """Somebody asked for a close, answered or not."""

    service: str
    at: float
    force: bool


@dataclass
class Ledger:
    """What was promised to callers and asked by them. Callers may be many threads."""

    promises: dict[str, Promise] = field(default_factory=dict)
    asks: list[Ask] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def opened(self, answer: Mapping[str, Any], asked: float, ttl: float, **more: Any) -> Promise:
        """An open was answered: a new window, or one that was open already.

        Args:
            asked: when the call was made; its answer came just now.
        """
        told = Span(asked + answer["remaining_s"], now() + answer["remaining_s"])
        if answer["hold"]:
            told = Span(asked + ttl, now() + ttl)
        elif answer["changed"]:
            told = replace(told, first=max(told.first, asked + ttl))
        with self._lock:
            known = self.promises.get(answer["window_id"])
            if known is None:
                accepted = answer["state"] != "opening"
                known = Promise(answer["window_id"], answer["service"], told, answer["hold"], accepted, **more)
            else:
                known = replace(known, deadline=_both(known.deadline, told), accepted=True)
            self.promises[known.window_id] = known
            return known

    def extended(self, window_id: str, asked: float, ttl: float) -> None:
        """An extension was answered that moved the deadline."""
        self._change(window_id, deadline=Span(asked + ttl, now() + ttl))

    def held(self, window_id: str) -> None:
        """A hold was answered."""
        self._change(window_id, hold=True)

    def released(self, window_id: str, asked: float) -> None:
        """A release was answered: the window is due at its deadline, or was from then on."""
        known = self.promises[window_id].deadline
        self._change(window_id, hold=False, deadline=Span(max(known.first, asked), max(known.last, now())))

    def may(self, window_id: str, *reasons: str) -> None:
        """From now on this window may close for these reasons too."""
        self._change(window_id, reasons=self.promises[window_id].reasons | set(reasons))

    def may_be_late(self, window_id: str, seconds: float) -> None:
        """From now on this window may close so much later than others."""
        known = self.promises[window_id].deadline
        self._change(window_id, deadline=Span(known.first, known.last + seconds))

    def asks_close(self, service: str, *, force: bool) -> None:
        """A close is about to be asked for."""
        with self._lock:
            self.asks.append(Ask(service, now(), force))

    def _change(self, window_id: str, **values: Any) -> None:
        with self._lock:
            self.promises[window_id] = replace(self.promises[window_id], **values)


def _both(one: Span, other: Span) -> Span:
    """What two accounts of the same moment leave possible."""
    return Span(max(one.first, other.first), min(one.last, other.last))


@dataclass
class Story:
    """What the evidence tells of one window."""

    opening: list[Mapping[str, Any]] = field(default_factory=list)
    closing: list[Mapping[str, Any]] = field(default_factory=list)
    closed: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def reason(self) -> str:
        """Why it closed."""
        return str(self.closed[0]["data"]["reason"])

    def unanswered(self) -> Promise:
        """The promise of a window whose caller never heard of it."""
        (born,) = self.opening
        due = _at(born) + born["data"]["ttl_s"]
        return Promise(
            born["subject"], born["data"]["service"], Span(due - BIRTH, due), born["data"]["hold"], accepted=False
        )


def _at(record: Mapping[str, Any]) -> float:
    return int(record["mono_ns"]) / 1e9


def stories(records: Iterable[Mapping[str, Any]]) -> dict[str, Story]:
    """The evidence by windows."""
    found: dict[str, Story] = {}
    for record in records:
        if record["action"] in ("opening", "closing", "closed"):
            getattr(found.setdefault(record["subject"], Story()), record["action"]).append(record)
    return found


def latest(due: float, lives: Lives) -> float:
    """The last moment at which a closing may begin: the first by which an enforcer lived long enough to see to it."""
    limits = (
        (max(due + delay + LATE, life.ready + AFTER_RESTART), life.died)
        for part, delay in (("madre", 0.0), ("watchdog", OVERDUE))
        for life in lives.get(part, ())
    )
    return min((limit for limit, died in limits if died >= limit), default=math.inf)


def audit(
    ledger: Ledger, lives: Lives, records: Sequence[Mapping[str, Any]], seen: Mapping[str, Seen] | None = None
) -> list[str]:
    """A sentence for each promise that was not kept, and for each window whose books are wrong.

    Args:
        records: the evidence of the cell, from its start.
        seen: by window.
    """
    told = stories(records)
    found: list[str] = []
    for window_id in sorted({*ledger.promises, *told}):
        story = told.get(window_id, Story())
        promise = ledger.promises.get(window_id)
        name = f"{promise.service if promise else 'an unanswered window'} ({window_id})"
        wrong = list(_wrong_in_books(story))
        if not wrong:
            promise = promise or story.unanswered()
            saw = (seen or {}).get(window_id, Seen())
            wrong = [*_wrong_reason(promise, story, saw, ledger, lives), *_wrong_time(promise, story, saw, lives)]
        found += [f"{name} {sentence}" for sentence in wrong]
        if wrong:
            found += _history(window_id, promise, records, lives)
    return found


def _history(
    window_id: str, promise: Promise | None, records: Sequence[Mapping[str, Any]], lives: Lives
) -> Iterator[str]:
    """All that is known of a window about which something is wrong."""
    yield f"  promised: {promise}"
    for record in records:
        if record["subject"] == window_id:
            yield f"  {_at(record):.3f} {record['actor']} {record['action']} {record['data']}"
    for part, lived in lives.items():
        spans = ", ".join(f"{life.born:.3f} ({life.ready:.3f}) to {life.died:.3f}" for life in lived)
        yield f"  {part} lived from (ready) to: {spans}"


def _wrong_in_books(story: Story) -> Iterator[str]:
    for action in ("opening", "closed"):
        count = len(getattr(story, action))
        if count != 1:
            yield f"has {count} records `{action}`, not one"
    if story.closed and not story.closing and story.reason != "lost":
        yield "was closed without having been closing"


def _begun(promise: Promise, story: Story, saw: Seen) -> float:
    """When its closing began, by whoever knows it earliest."""
    (told,) = story.closing[:1] or story.closed
    return min(_at(told), saw.begun if saw.begun < math.inf else saw.ended - promise.grace)


def _lived(part: str, at: float, lives: Lives) -> bool:
    return any(life.born <= at <= life.died for life in lives.get(part, ()))


def _wrong_reason(promise: Promise, story: Story, saw: Seen, ledger: Ledger, lives: Lives) -> Iterator[str]:
    reason, begun = story.reason, _begun(promise, story, saw)
    if reason in promise.reasons:
        return
    if reason in NOT_OPENED:
        if promise.accepted:
            yield f"has `{reason}`, although a caller heard that it was open"
    elif reason in ASKED:
        if not any(_meant(ask, promise, reason, _at(story.closing[0])) for ask in ledger.asks):
            yield f"has `{reason}`, but nobody asked"
    elif reason in BY_TIME:
        part = "watchdog" if reason == "watchdog" else "madre"
        if not _lived(part, begun, lives):
            yield f"has `{reason}`, but no {part} lived when its closing began ({begun:.3f})"
    else:
        yield f"has `{reason}`, for which there was no cause"


def _meant(ask: Ask, promise: Promise, reason: str, closing: float) -> bool:
    return (
        ask.service in (promise.service, promise.window_id) and ask.at <= closing and ask.force == (reason == "forced")
    )


def _wrong_time(promise: Promise, story: Story, saw: Seen, lives: Lives) -> Iterator[str]:
    begun, due = _begun(promise, story, saw), promise.due
    limit = latest(due.last, lives) + (STARTING if story.reason in NOT_OPENED - promise.reasons else 0.0)
    if story.reason in BY_TIME - promise.reasons:
        earliest = due.first + (OVERDUE if story.reason == "watchdog" else 0.0)
        if begun < earliest - GRAIN:
            yield f"began to close {earliest - begun:.3f} s too early for `{story.reason}`"
    if begun > limit:
        yield f"began to close {begun - due.last:.3f} s after it was due, {begun - limit:.3f} s later than it may"
    asked = _asked(story, saw)
    if asked < math.inf and promise.grace and story.reason != "forced":
        given = saw.ended - asked
        if given < promise.grace - GRAIN:
            yield f"had {given:.3f} s between its first signal and its end, less than its grace"


def _asked(story: Story, saw: Seen) -> float:
    """When it got its first signal; where that was not seen, when madre said that it closes, right before it.

    Infinite for what the watchdog closed: it signals by itself, and what the daemon tells of comes after the grace.
    """
    if story.reason == "watchdog":
        return math.inf
    if saw.begun < math.inf or not (story.closing and story.reason in ("expired", "requested")):
        return saw.begun
    return _at(story.closing[0])
