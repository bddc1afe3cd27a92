"""What `vx11 window list --watch` says of each thing that happens."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from vx11 import watch

WINDOW = {
    "window_id": "id-of-web",
    "service": "web",
    "state": "open",
    "expires_at": "2026-11-21T10:05:00.123456789Z",
    "remaining_s": 300.0,
    "hold": False,
    "hold_until": None,
    "endpoints": ["http://127.0.0.1:4711"],
    "reason": None,
    "detail": None,
    "open_s": 30.04,
}
HELD = {"hold": True, "hold_until": "2026-11-22T10:00:00.5Z"}
AT = "2026-11-21T10:00:00.987654321Z"


def event(kind: str, **changes: Any) -> dict[str, Any]:
    return {"number": 1, "event": kind, "at": AT, "window": WINDOW | changes}


def state(*windows: dict[str, Any]) -> dict[str, Any]:
    return {"number": 1, "event": "state", "at": AT, "windows": list(windows)}


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (event("opening", endpoints=[]), ["web opening until 2026-11-21T10:05:00Z"]),
        (event("opened"), ["web opened until 2026-11-21T10:05:00Z  http://127.0.0.1:4711"]),
        (event("opened", **HELD), ["web opened, held until 2026-11-22T10:00:00Z  http://127.0.0.1:4711"]),
        (event("warning"), ["web warning until 2026-11-21T10:05:00Z"]),
        (event("held", **HELD), ["web held until 2026-11-22T10:00:00Z"]),
        (event("held", hold=True, hold_until="2026-11-21T10:01:00Z"), ["web held until 2026-11-21T10:05:00Z"]),
        (event("released"), ["web released until 2026-11-21T10:05:00Z"]),
        (event("extended"), ["web extended until 2026-11-21T10:05:00Z"]),
        (event("closing", reason="expired"), ["web closing (expired)"]),
        (event("closed", reason="forced"), ["web closed (forced) after 30.0 s"]),
        (event("stuck", reason="expired", detail="the engine hangs"), ["web stuck (expired): the engine hangs"]),
        (state(), ["nothing is open"]),
        (
            state(WINDOW, WINDOW | {"service": "db", "state": "closing", "reason": "requested"}),
            ["web open until 2026-11-21T10:05:00Z  http://127.0.0.1:4711", "db closing (requested)"],
        ),
    ],
)
def test_an_event_for_people(told: dict[str, Any], said: list[str]) -> None:
    assert watch.lines(told) == [f"2026-11-21T10:00:00Z {line}" for line in said]


class Screen:
    """A live table and what it shows, at a time that the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(watch.time, "monotonic", lambda: self.now)
        self.view = watch.LiveTable(Console(file=StringIO(), width=120))

    def rows(self) -> list[str]:
        console = Console(file=StringIO(), width=120)
        console.print(self.view.live.get_renderable())
        return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]  # type: ignore[attr-defined]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    return Screen(monkeypatch)


def test_the_time_left_goes_on_without_madre(screen: Screen) -> None:
    screen.view.show(state(WINDOW))
    assert "5 min 00 s" in screen.rows()[1]
    screen.now += 61
    assert "3 min 59 s" in screen.rows()[1]
    screen.now += 3600
    assert " 0.0 s" in screen.rows()[1]


def test_windows_come_change_and_go_and_what_happened_stays(screen: Screen) -> None:
    screen.view.show(state())
    assert screen.rows() == ["nothing is open"]
    screen.view.show(event("opening", state="opening", endpoints=[]))
    screen.view.show(event("opened"))
    header, row, *latest = screen.rows()
    assert header.split() == ["SERVICE", "STATE", "LEFT", "HOLD", "ENDPOINTS", "WINDOW"]
    assert [row.split()[place] for place in (0, 1, -2)] == ["web", "open", "http://127.0.0.1:4711"]
    assert [line.split()[2] for line in latest] == ["opening", "opened"]
    screen.view.show(event("closed", state="closed", reason="expired"))
    nothing, *latest = screen.rows()
    assert nothing == "nothing is open"
    assert latest[-1] == "2026-11-21T10:00:00Z web closed (expired) after 30.0 s"


def test_a_new_state_replaces_what_was_known(screen: Screen) -> None:
    screen.view.show(state(WINDOW))
    screen.view.answers(False)
    assert screen.rows()[-1] == watch.LOST
    assert any("id-of-web" in row for row in screen.rows())
    screen.view.answers(True)
    assert watch.LOST not in screen.rows()
    screen.view.show(state(WINDOW | {"window_id": "id-of-db", "service": "db"}))
    assert not any("id-of-web" in row for row in screen.rows())


def test_only_the_latest_are_shown(screen: Screen) -> None:
    screen.view.show(state())
    for _ in range(3 * watch.LATEST):
        screen.view.show(event("held", **HELD))
    assert len(screen.rows()) == 2 + watch.LATEST
