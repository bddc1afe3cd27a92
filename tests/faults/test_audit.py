"""The auditor finds what is wrong: each kind of broken promise is told, and a kept one is not."""

import math
from typing import Any

import pytest

from .audit import AFTER_RESTART, LATE, OVERDUE, STARTING, Ask, Ledger, Life, Promise, Seen, Span, audit, latest

BORN, DUE = 100.0, 110.0
ALWAYS = Life(0.0, 0.0)
LIVES = {"madre": [ALWAYS], "watchdog": [ALWAYS]}
ONLY_WATCHDOG = {"madre": [Life(0.0, 0.0, 105.0), Life(120.0, 121.0)], "watchdog": [ALWAYS]}
ONLY_MADRE = {"madre": [ALWAYS]}
NOBODY = {"madre": [Life(0.0, 0.0, 105.0), Life(119.0, 120.0)]}


def record(at: float, action: str, **data: Any) -> dict[str, Any]:
    return {"mono_ns": str(round(at * 1e9)), "actor": "madre", "action": action, "subject": "w", "data": data}


def opening(at: float = BORN) -> dict[str, Any]:
    return record(at, "opening", service="web", ttl_s=DUE - BORN, hold=False)


def story(closing: float, reason: str) -> list[dict[str, Any]]:
    return [opening(), record(closing, "closing"), record(closing + 0.1, "closed", reason=reason)]


def ledger(*asks: Ask, accepted: bool = True, **values: Any) -> Ledger:
    promise = Promise("w", "web", Span(DUE, DUE), accepted=accepted, **values)
    return Ledger({"w": promise}, list(asks))


KEPT: dict[str, tuple[Any, ...]] = {
    "expired": (ledger(), LIVES, story(DUE, "expired")),
    "expired, as late as it may": (ledger(), LIVES, story(DUE + LATE, "expired")),
    "by the watchdog": (ledger(), ONLY_WATCHDOG, story(121, "watchdog"), {"w": Seen(DUE + 1, DUE + 1)}),
    "after an outage": (ledger(), NOBODY, story(121.9, "expired")),
    "asked for": (ledger(Ask("web", 104, force=False)), LIVES, story(105, "requested")),
    "asked for by id": (ledger(Ask("w", 104, force=True)), LIVES, story(105, "forced")),
    "crashed, as it was made to": (ledger(reasons=frozenset({"crashed"})), LIVES, story(105, "crashed")),
    "never accepted": (ledger(accepted=False), LIVES, story(105, "open_failed")),
    "still starting when it was due": (ledger(accepted=False), LIVES, story(DUE + LATE + STARTING, "open_failed")),
    "never heard of again": (Ledger(), LIVES, [opening(), record(105, "closed", reason="lost")]),
    "never answered": (Ledger(), LIVES, story(DUE, "expired")),
    "given its grace, by a signal that nobody saw": (
        ledger(grace=1.0),
        LIVES,
        story(DUE, "expired"),
        {"w": Seen(ended=DUE + 1.1)},
    ),
    "given its grace": (ledger(grace=1.0), LIVES, story(DUE, "expired"), {"w": Seen(DUE + 0.1, DUE + 1.1)}),
}
BROKEN: dict[str, tuple[str, tuple[Any, ...]]] = {
    "no record at all": ("0 records `opening`", (ledger(), LIVES, [])),
    "forgotten": ("0 records `closed`", (ledger(), LIVES, [opening()])),
    "closed twice": ("2 records `closed`", (ledger(), LIVES, [*story(DUE, "expired"), story(DUE, "expired")[-1]])),
    "born twice": ("2 records `opening`", (ledger(), LIVES, [opening(), *story(DUE, "expired")])),
    "not closing": ("without having been closing", (ledger(), LIVES, [opening(), story(DUE, "expired")[-1]])),
    "early": ("0.500 s too early", (ledger(), LIVES, story(DUE - 0.5, "expired"))),
    "late": ("later than it may", (ledger(), LIVES, story(DUE + LATE + 0.1, "expired"))),
    "starting for too long": (
        "later than it may",
        (ledger(accepted=False), LIVES, story(DUE + LATE + STARTING + 0.1, "open_failed")),
    ),
    "closed on request, but late": (
        "later than it may",
        (ledger(Ask("web", 104, force=False)), LIVES, story(DUE + LATE + 0.1, "requested")),
    ),
    "held": ("too early", (ledger(hold=True), LIVES, story(DUE, "expired"))),
    "watchdog early": (
        "too early for `watchdog`",
        (ledger(), LIVES, story(DUE + 1, "watchdog"), {"w": Seen(DUE + 0.1, DUE + 0.1)}),
    ),
    "watchdog late": (
        "later than it may",
        (ledger(), ONLY_WATCHDOG, story(121, "watchdog"), {"w": Seen(DUE + 2.1, DUE + 2.1)}),
    ),
    "after an outage, late": ("later than it may", (ledger(), NOBODY, story(122.1, "expired"))),
    "dead madre": ("no madre lived", (ledger(), ONLY_WATCHDOG, story(DUE, "expired"))),
    "no watchdog": ("no watchdog lived", (ledger(), ONLY_MADRE, story(DUE + 1, "watchdog"))),
    "nobody asked": ("nobody asked", (ledger(Ask("web", 106, force=False)), LIVES, story(105, "requested"))),
    "nobody forced": ("nobody asked", (ledger(Ask("web", 104, force=False)), LIVES, story(105, "forced"))),
    "crashed for no cause": ("no cause", (ledger(), LIVES, story(105, "crashed"))),
    "accepted, then failed": ("heard that it was open", (ledger(), LIVES, story(105, "open_failed"))),
    "accepted, then lost": ("heard that it was open", (ledger(), LIVES, story(105, "lost"))),
    "no grace, by a signal that nobody saw": (
        "less than its grace",
        (ledger(grace=1.0), LIVES, story(DUE + 0.5, "expired"), {"w": Seen(ended=DUE + 1.2)}),
    ),
    "no grace": (
        "less than its grace",
        (ledger(grace=1.0), LIVES, story(DUE, "expired"), {"w": Seen(DUE + 0.1, DUE + 0.3)}),
    ),
}


@pytest.mark.parametrize("case", KEPT.values(), ids=KEPT)
def test_a_kept_promise_is_not_complained_of(case: tuple[Any, ...]) -> None:
    assert audit(*case) == []


@pytest.mark.parametrize(("told", "case"), BROKEN.values(), ids=BROKEN)
def test_a_broken_promise_is_told(told: str, case: tuple[Any, ...]) -> None:
    found = audit(*case)
    assert told in found[0], found


LATEST = {
    "madre": (ONLY_MADRE, DUE + LATE),
    "watchdog": ({"madre": [Life(0, 0, DUE - 1)], "watchdog": [ALWAYS]}, DUE + OVERDUE + LATE),
    "both": (LIVES, DUE + LATE),
    "madre died too soon": ({"madre": [Life(0, 0, DUE + 0.1)], "watchdog": [ALWAYS]}, DUE + OVERDUE + LATE),
    "outage": (NOBODY, 120 + AFTER_RESTART),
    "back just before": ({"madre": [Life(0, DUE - 0.1)]}, DUE - 0.1 + AFTER_RESTART),
    "nobody": ({}, math.inf),
}


@pytest.mark.parametrize(("lives", "limit"), LATEST.values(), ids=LATEST)
def test_whoever_lives_long_enough_sets_the_limit(lives: Any, limit: float) -> None:
    assert latest(DUE, lives) == pytest.approx(limit)


def test_the_ledger_narrows_a_deadline_by_each_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    book = Ledger()
    answer = {"window_id": "w", "service": "web", "state": "open", "hold": False, "changed": True, "remaining_s": 9.0}
    monkeypatch.setattr("time.clock_gettime", lambda _: 101.5)
    assert book.opened(answer, asked=100.0, ttl=10).deadline == Span(110.0, 110.5)
    monkeypatch.setattr("time.clock_gettime", lambda _: 103.2)
    later = answer | {"changed": False, "remaining_s": 7.1}
    assert book.opened(later, asked=103.1, ttl=60).deadline == Span(pytest.approx(110.2), pytest.approx(110.3))
    book.held("w")
    assert book.promises["w"].due.first == math.inf
    monkeypatch.setattr("time.clock_gettime", lambda _: 120.2)
    book.released("w", asked=120.0)
    assert book.promises["w"].due == Span(120.0, 120.2)
