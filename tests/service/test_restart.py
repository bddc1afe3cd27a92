"""What madre and the watchdog owe each other: either may die at any time, and no window stays open for it."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.chains import whole
from vx11.conductor.cell import Cell
from vx11.engines.select import EngineName

LATEST = 1.5
OVERSHOOT = 2.0
LATENESS = 0.5  # of the timer alone, without what the engine takes to stop
LIMIT = 30.0
Eventually = Callable[..., Any]
StartCell = Callable[[Path, EngineName], Cell]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("VX11_")}


@pytest.fixture
def bundle(make_bundle: Callable[..., Path], make_entry: Callable[..., dict[str, Any]], web: dict[str, Any]) -> Path:
    """Two services that become ready, and one that never does."""
    mute = make_entry("auth_service.py", vx11={"ready": {"log": "what it never says"}})
    return make_bundle({"web": web, "api": web, "mute": mute})


@pytest.fixture
def cell(bundle: Path, start_cell: StartCell, engine_name: EngineName) -> Cell:
    """A cell on each engine, which these tests damage."""
    return start_cell(bundle, engine_name)


@pytest.fixture
def serve(bundle: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """`serve(cell)` starts a madre for people, without --json, on the state of that cell; it ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(cell: Cell) -> "subprocess.Popen[str]":
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(_serve_command(cell, bundle), env=ENVIRONMENT, **pipes))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        with process:  # which closes its pipes
            process.wait()


def _serve_command(cell: Cell, bundle: Path) -> list[str]:
    flags = {
        "engine": cell.engine.name,
        "listen": "127.0.0.1:0",
        "catalogue": bundle / "catalogue.yml",
        "allowlist": bundle / "allowlist.yml",
        "key": cell.folder / "key",
        "state": cell.folder / "state",
        "data": cell.folder / "data",
        "evidence": cell.folder / "evidence-of-another",
        "cell": cell.name,
    }
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    return [sys.executable, "-m", "vx11", "serve", *words]


def _end(cell: Cell, name: str, number: signal.Signals) -> int:
    """Ends `madre` or `watchdog`; answers its exit code."""
    process = cell.core[name]
    process.send_signal(number)
    code = process.wait(LIMIT)
    if process.stdout:
        process.stdout.close()
    return code


def _open(cell: Cell, service: str, ttl: float, **more: Any) -> dict[str, Any]:
    with cell.madre() as madre:
        return madre.post("/api/v1/windows/open", service=service, ttl=ttl, **more)


def _post(cell: Cell, what: str, **body: Any) -> dict[str, Any]:
    with cell.madre() as madre:
        return madre.post(f"/api/v1/windows/{what}", **body)


def _status(cell: Cell) -> dict[str, Any]:
    with cell.madre() as madre:
        return madre.status(closed=True)


def _closed(cell: Cell, window_id: str) -> dict[str, Any] | None:
    """The window, once it is closed."""
    return next((window for window in _status(cell)["closed"] if window["window_id"] == window_id), None)


def _running(cell: Cell) -> set[str]:
    """Ids of the windows that run something, as the engine says without madre."""
    return {found.window_id for found in cell.engine.inventory(cell.name) if found.alive}


def _overdue(expires_at: str) -> float:
    """Seconds since a deadline."""
    return (datetime.now(UTC) - datetime.fromisoformat(expires_at)).total_seconds()


def _expect_closed_by_watchdog(cell: Cell, window: dict[str, Any], eventually: Eventually) -> None:
    """Nobody else is alive to close it; it neither goes early nor late."""
    eventually(lambda: window["window_id"] not in _running(cell), LIMIT)
    assert 0 <= _overdue(window["expires_at"]) <= LATEST


def test_a_second_madre_of_a_cell_is_refused(cell: Cell, serve: Callable[..., "subprocess.Popen[str]"]) -> None:
    second = serve(cell)
    said, errors = second.communicate(timeout=LIMIT)
    assert second.returncode == 3, errors
    assert said == ""
    (line,) = errors.splitlines()
    assert "another madre runs the cell" in line
    assert str(cell.folder / "state" / cell.name) in line
    assert "--cell" in line
    assert cell.is_alive()


@pytest.mark.parametrize("watchdog", [True, False], ids=["with watchdog", "without watchdog"])
def test_serve_warns_when_nobody_watches(
    cell: Cell, serve: Callable[..., "subprocess.Popen[str]"], watchdog: bool
) -> None:
    _end(cell, "madre", signal.SIGTERM)
    if not watchdog:
        assert _end(cell, "watchdog", signal.SIGTERM) == 0
    madre = serve(cell)
    assert madre.stdout is not None
    assert madre.stderr is not None
    first = madre.stdout.readline()
    madre.terminate()
    rest, errors = madre.stdout.read(), madre.stderr.read()
    madre.wait(LIMIT)
    assert f"madre of the cell {cell.name} answers at http://127.0.0.1:" in first, errors
    assert f"engine {cell.engine.name}: " in rest
    assert ("no watchdog is alive" in rest) is not watchdog
    assert watchdog or f"vx11 watchdog --state {cell.folder / 'state'} --cell {cell.name}" in rest
    assert madre.returncode in (0, -signal.SIGTERM)


def test_the_next_madre_takes_windows_over(cell: Cell, eventually: Eventually) -> None:
    opened = _open(cell, "web", 12)
    _end(cell, "madre", signal.SIGTERM)
    assert _running(cell) == {opened["window_id"]}
    cell.start_madre()
    (window,) = _status(cell)["windows"]
    same = ("window_id", "generation", "expires_at", "endpoints", "opened_by", "state")
    assert {name: window[name] for name in same} == {name: opened[name] for name in same}
    closed = eventually(lambda: _closed(cell, opened["window_id"]), LIMIT)
    assert closed["reason"] == "expired"
    assert 12 <= closed["open_s"] <= 12 + OVERSHOOT
    assert _running(cell) == set()


def test_the_next_madre_goes_on_with_a_window_as_with_its_own(cell: Cell) -> None:
    opened = _open(cell, "web", 60)
    _end(cell, "madre", signal.SIGKILL)
    cell.start_madre()
    assert _open(cell, "web", 60)["window_id"] == opened["window_id"]
    closed = _post(cell, "close", service="web")
    assert (closed["window_id"], closed["reason"]) == (opened["window_id"], "requested")
    assert _open(cell, "web", 60)["generation"] == opened["generation"] + 1


def test_the_watchdog_closes_when_madre_is_dead(cell: Cell, eventually: Eventually) -> None:
    window = _open(cell, "web", 5)
    assert _end(cell, "madre", signal.SIGKILL) == -signal.SIGKILL
    _expect_closed_by_watchdog(cell, window, eventually)
    cell.start_madre()
    closed = eventually(lambda: _closed(cell, window["window_id"]), LIMIT)
    assert closed["reason"] == "watchdog"
    assert _status(cell)["solo_madre"]


def test_the_watchdog_leaves_what_is_held(cell: Cell, eventually: Eventually) -> None:
    held = _open(cell, "web", 1, hold=True)
    other = _open(cell, "api", 5)
    _end(cell, "madre", signal.SIGKILL)
    _expect_closed_by_watchdog(cell, other, eventually)
    assert _overdue(held["expires_at"]) > 0
    assert _running(cell) == {held["window_id"]}
    cell.start_madre()
    eventually(lambda: _closed(cell, other["window_id"]), LIMIT)
    (window,) = _status(cell)["windows"]
    assert (window["window_id"], window["hold"]) == (held["window_id"], True)
    released = _post(cell, "hold", service="web", hold=False)
    assert (released["state"], released["reason"]) == ("closed", "expired")
    assert _running(cell) == set()


def test_an_extended_window_is_closed_at_its_new_deadline(cell: Cell, eventually: Eventually) -> None:
    first = _open(cell, "web", 5)
    extended = _post(cell, "extend", service="web", ttl=10)
    other = _open(cell, "api", 5)
    _end(cell, "madre", signal.SIGKILL)
    _expect_closed_by_watchdog(cell, other, eventually)
    assert _overdue(first["expires_at"]) > 0
    assert _running(cell) == {first["window_id"]}
    _expect_closed_by_watchdog(cell, extended, eventually)


def test_madre_closes_when_the_watchdog_is_dead(cell: Cell, eventually: Eventually) -> None:
    window = _open(cell, "web", 5)
    eventually(lambda: _status(cell)["watchdog"])
    _end(cell, "watchdog", signal.SIGKILL)
    assert not _status(cell)["watchdog"]
    closed = eventually(lambda: _closed(cell, window["window_id"]), LIMIT)
    assert closed["reason"] == "expired"
    assert 5 <= closed["open_s"] <= 5 + OVERSHOOT


def test_a_later_watchdog_goes_on(cell: Cell, eventually: Eventually) -> None:
    _end(cell, "watchdog", signal.SIGKILL)
    window = _open(cell, "web", 5)
    _end(cell, "madre", signal.SIGKILL)
    cell.start_watchdog()
    _expect_closed_by_watchdog(cell, window, eventually)


def test_what_was_opening_is_taken_back(cell: Cell, eventually: Eventually) -> None:
    window = _open(cell, "mute", 60, wait=False)
    assert window["state"] == "opening"
    eventually(lambda: _running(cell) == {window["window_id"]}, LIMIT)
    _end(cell, "madre", signal.SIGKILL)
    cell.start_madre()
    closed = eventually(lambda: _closed(cell, window["window_id"]), LIMIT)
    assert closed["reason"] == "open_failed"
    assert _running(cell) == set()
    assert _status(cell)["solo_madre"]


def test_a_window_that_is_gone_is_told(cell: Cell, eventually: Eventually) -> None:
    window = _open(cell, "web", 60)
    _end(cell, "madre", signal.SIGKILL)
    cell.engine.purge(cell.name)
    cell.start_madre()
    closed = eventually(lambda: _closed(cell, window["window_id"]), LIMIT)
    assert closed["reason"] == "lost"


def test_deadlines_are_kept(cell: Cell, eventually: Eventually) -> None:
    begun, late = [], []
    for ttl in (5, 5.25, 5.5):
        windows = [_open(cell, service, ttl) for service in ("web", "api")]
        for window in windows:
            closed = eventually(lambda found=window["window_id"]: _closed(cell, found), LIMIT)
            late.append(closed["open_s"] - ttl)
            begun.append(closed["open_s"] - closed["close_ms"] / 1000 - ttl)
    assert len(late) == 6
    assert min(begun) > -0.001  # what is told is rounded
    assert max(begun) <= LATENESS, begun
    assert max(late) <= OVERSHOOT, late


def test_evidence_survives_and_holds_no_secret(cell: Cell, tmp_path: Path, eventually: Eventually) -> None:
    window = _open(cell, "web", 5)
    _end(cell, "madre", signal.SIGKILL)
    _expect_closed_by_watchdog(cell, window, eventually)
    cell.start_madre()
    eventually(lambda: _closed(cell, window["window_id"]), LIMIT)
    half_open = _open(cell, "mute", 60, wait=False)
    _end(cell, "madre", signal.SIGKILL)
    cell.start_madre()
    eventually(lambda: _closed(cell, half_open["window_id"]), LIMIT)
    _end(cell, "madre", signal.SIGTERM)

    evidence = tmp_path / "evidence" / cell.name / "evidence.jsonl"
    assert whole(evidence) > 10
    text = evidence.read_text(encoding="utf-8")
    assert text.count('"action":"started"') == 3
    assert text.count('"action":"stopped"') == 1
    assert text.count('"action":"adopted"') == 2
    _expect_no_secret(cell, tmp_path / "evidence")


def _expect_no_secret(cell: Cell, evidence: Path) -> None:
    key = cell.folder / "key"
    hidden = [cell.token.encode(), cell.token.rpartition(".")[2].encode(), key.read_bytes().strip()]
    files = [path for root in (cell.folder, evidence) for path in root.rglob("*") if path.is_file() and path != key]
    assert {"evidence.jsonl", "madre.log", "watchdog.log"} <= {path.name for path in files}
    told = [str(path) for path in files if any(secret in path.read_bytes() for secret in hidden)]
    assert told == []


def test_a_refused_token_is_not_written_down(cell: Cell, tmp_path: Path) -> None:
    wrong = f"{cell.token.rpartition('.')[0]}.{secrets.token_urlsafe(32)}"
    with cell.madre() as madre:
        answer = madre.http.get("/api/v1/windows/status", headers={"Authorization": f"Bearer {wrong}"})
    assert answer.status_code == 401
    assert wrong not in answer.text
    files = [path for root in (cell.folder, tmp_path / "evidence") for path in root.rglob("*") if path.is_file()]
    assert [str(path) for path in files if wrong.encode() in path.read_bytes()] == []
