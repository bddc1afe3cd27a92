"""How windows end: at their deadline, on request, by force, by themselves; and how their time is changed before."""

import os
import signal
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import docker
import httpx
import pytest

from vx11.catalogue import allowlist, compose

OPEN, CLOSE, HOLD, EXTEND = (f"/api/v1/windows/{verb}" for verb in ("open", "close", "hold", "extend"))
NOBODY = "00000000-0000-4000-8000-000000000000"
Problem = Callable[..., str]
OBEYS_SIGQUIT = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGQUIT, lambda *_: sys.exit(0))
print('up', flush=True)
time.sleep(60)
"""
# How late a graceful close may be on a busy machine of two cores.
LATE = 1.5


def answers(window: Any) -> bool:
    """Whether somebody listens at a window's address."""
    try:
        return httpx.get(f"{window['endpoints'][0]}/health", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def test_a_window_closes_on_time(api: Any) -> None:
    window = api.open(ttl=4)
    closed = api.in_state(window["window_id"], "closed")
    assert closed["reason"] == "expired"
    assert 4 <= closed["open_s"] < 4 + LATE
    assert closed["closed_at"] > closed["expires_at"]
    assert not answers(window)
    assert api.cell.engine.inventory(api.cell.name) == []


@pytest.mark.docker
def test_a_window_closes_by_the_stop_signal_of_its_image(
    make_bundle: Callable[..., Any], start_cell: Callable[..., Any]
) -> None:
    entry = {"image": f"vx11/test-{uuid.uuid4().hex[:8]}:1", "build": ".", "x-vx11": {"ready": {"log": "up"}}}
    folder = make_bundle({"web": entry | {"command": ["python3", "-c", OBEYS_SIGQUIT]}})
    (folder / "Dockerfile").write_text("FROM vx11/e2e-services:0.1.0\nSTOPSIGNAL SIGQUIT\n", encoding="utf-8")
    allowlist.update(folder / "allowlist.yml", compose.load(folder / "catalogue.yml"), ())
    try:
        with start_cell(folder, "docker").madre() as madre:
            madre.post(OPEN, service="web")
            closed = madre.post(CLOSE, service="web")
        assert (closed["reason"], closed["killed"]) == ("requested", False)
    finally:
        docker.from_env().images.remove(entry["image"], force=True)


def test_a_service_obeys_its_stop_signal_also_if_madre_was_started_in_the_background(
    make_bundle: Callable[..., Any], make_entry: Callable[..., Any], start_cell: Callable[..., Any]
) -> None:
    entry = make_entry("import time; print('up', flush=True); time.sleep(60)", stop_signal="SIGQUIT")
    folder = make_bundle({"web": entry | {"x-vx11": entry["x-vx11"] | {"ready": {"log": "up"}}}})
    handler = signal.signal(signal.SIGQUIT, signal.SIG_IGN)  # as shells start what does not get the terminal
    try:
        cell = start_cell(folder, "process")
    finally:
        signal.signal(signal.SIGQUIT, handler)
    with cell.madre() as madre:
        madre.post(OPEN, service="web")
        closed = madre.post(CLOSE, service="web")
    assert (closed["reason"], closed["killed"]) == ("requested", False)


def test_a_hold_goes_beyond_the_deadline_and_its_release_closes_at_once(api: Any) -> None:
    window = api.open(ttl=1, hold=True)
    assert window["hold"]
    assert window["remaining_s"] > 3600
    api.until(lambda: datetime.now(UTC) > datetime.fromisoformat(window["expires_at"]) + timedelta(seconds=0.6))
    held = api.window(window["window_id"])
    assert (held["state"], held["hold"]) == ("open", True)
    assert answers(window)
    released = api.done(HOLD, service="web", hold=False)
    assert (released["state"], released["reason"], released["changed"]) == ("closed", "expired", True)
    assert not answers(window)


def test_a_hold_can_be_set_and_taken_back_in_time(process_api: Any) -> None:
    window = process_api.open(ttl=4)
    by_id = {"window_id": window["window_id"]}
    assert process_api.done(HOLD, **by_id, hold=True)["changed"]
    held = process_api.done(HOLD, **by_id, hold=True)
    assert (held["changed"], held["hold"]) == (False, True)
    released = process_api.done(HOLD, **by_id, hold=False)
    assert (released["changed"], released["hold"], released["state"]) == (True, False, "open")
    assert released["expires_at"] == window["expires_at"]
    assert not process_api.done(HOLD, **by_id, hold=False)["changed"]
    assert process_api.in_state(window["window_id"], "closed")["reason"] == "expired"


def test_extend_gives_time_and_never_takes_any(process_api: Any) -> None:
    window = process_api.open(ttl=2)
    longer = process_api.done(EXTEND, window_id=window["window_id"], ttl="1m")
    assert longer["changed"]
    assert 55 < longer["remaining_s"] <= 60
    shorter = process_api.done(EXTEND, service="web", ttl=1)
    assert (shorter["changed"], shorter["expires_at"]) == (False, longer["expires_at"])


def test_extend_ends_at_what_the_service_allows(process_api: Any, problem: Problem) -> None:
    process_api.open("short")
    assert process_api.done(EXTEND, service="short", ttl=9)["changed"]
    problem(process_api.post(EXTEND, service="short", ttl=11), 422, "ttl_too_long", "ttl")


def test_an_extended_window_outlives_its_first_deadline(process_api: Any) -> None:
    window = process_api.open(ttl=0.8)
    process_api.done(EXTEND, service="web", ttl=2)
    closed = process_api.in_state(window["window_id"], "closed")
    assert 2 <= closed["open_s"] < 2 + LATE


def test_a_window_is_closed_on_request(api: Any, problem: Problem) -> None:
    window = api.open()
    closed = api.done(CLOSE, window_id=window["window_id"])
    assert (closed["state"], closed["reason"], closed["changed"]) == ("closed", "requested", True)
    assert closed["window_id"] == window["window_id"]
    assert 0 < closed["close_ms"] < 5000
    assert 0 < closed["open_s"] < 30
    assert closed["remaining_s"] == 0
    assert closed["usage"]["cpu_s"] >= window["usage"]["cpu_s"]
    assert closed["usage"]["cpu_percent"] is not None
    assert not answers(window)
    problem(api.post(CLOSE, window_id=window["window_id"]), 404, "no_window")


def test_by_force_a_window_closes_without_grace(api: Any) -> None:
    api.open("stubborn")
    closed = api.close("stubborn", force=True)
    assert (closed["state"], closed["reason"]) == ("closed", "forced")
    assert closed["close_ms"] < 5000


def test_force_ends_a_graceful_stop_that_hangs(api: Any, problem: Problem) -> None:
    window = api.open("stubborn")
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(api.close, "stubborn")
        api.in_state(window["window_id"], "closing")
        problem(api.post(EXTEND, service="stubborn", ttl=60), 404, "no_window")
        problem(api.post(HOLD, service="stubborn", hold=True), 404, "no_window")
        forced = api.close("stubborn", force=True)
        assert forced["state"] == "closed"
        assert forced["close_ms"] < 8000
        assert hanging.result()["window_id"] == forced["window_id"]
    assert api.status()["solo_madre"]


def test_closing_does_not_have_to_be_waited_for(api: Any) -> None:
    window = api.open()
    assert api.close(wait=False)["state"] in ("closing", "closed")
    assert api.in_state(window["window_id"], "closed")["reason"] == "requested"


@pytest.mark.parametrize(("path", "more"), [(CLOSE, {}), (HOLD, {"hold": True}), (EXTEND, {"ttl": 5})])
def test_nothing_is_open_by_that_name(process_api: Any, problem: Problem, path: str, more: Any) -> None:
    problem(process_api.post(path, service="web", **more), 404, "no_window")
    problem(process_api.post(path, window_id=NOBODY, **more), 404, "no_window")


def test_what_crashes_is_closed_with_its_exit_code(api: Any) -> None:
    window = api.open("crashes")
    closed = api.in_state(window["window_id"], "closed")
    assert closed["reason"] == "crashed"
    assert "exit code 5" in closed["detail"]
    assert "the disk is on fire" in api.get("/api/v1/windows/logs", window="crashes")["lines"]
    assert api.cell.residue() == _without_windows(api)


def _without_windows(api: Any) -> set[str]:
    return {what for what in api.cell.residue() if what.startswith("network ")}


def test_what_somebody_kills_has_crashed(process_api: Any) -> None:
    window = process_api.open()
    (found,) = process_api.cell.engine.inventory(process_api.cell.name)
    os.kill(found.running.pid, signal.SIGKILL)
    closed = process_api.in_state(window["window_id"], "closed")
    assert closed["reason"] == "crashed"
    assert "exit code -9" in closed["detail"] or "exit code 137" in closed["detail"]


@pytest.mark.docker
def test_a_container_that_somebody_removed_is_lost(docker_api: Any) -> None:
    window = docker_api.open()
    (found,) = docker_api.cell.engine.inventory(docker_api.cell.name)
    client = docker.from_env()
    client.api.remove_container(found.running.container, force=True)
    client.close()
    closed = docker_api.in_state(window["window_id"], "closed")
    assert closed["reason"] in ("lost", "crashed")
    assert docker_api.open()["window_id"] != window["window_id"]
