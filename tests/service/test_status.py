"""What can be seen: status, SOLO_MADRE, logs, metrics."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from vx11.catalogue import compose
from vx11.catalogue.limits import Limits
from vx11.clock import Clock
from vx11.engines.port import Stamp

LOGS, SOLO_MADRE = "/api/v1/windows/logs", "/api/v1/system/solo_madre"
OPEN, CLOSE = "/api/v1/windows/open", "/api/v1/windows/close"
Problem = Callable[..., str]


def start_behind(api: Any, bundle: Path) -> Stamp:
    """Starts a service with the mark of the cell, of which its madre knows nothing."""
    web = compose.load(bundle / "catalogue.yml").services["web"]
    stamp = Stamp(api.cell.name, str(uuid.uuid4()), 1, "web", Clock().now().plus(60))
    api.cell.engine.start(web, stamp, Limits(), [])
    return stamp


def test_the_status_of_a_cell(api: Any) -> None:
    empty = api.status()
    assert (empty["cell"], empty["windows"], empty["solo_madre"], empty["watchdog"]) == (api.cell.name, [], True, True)
    assert empty["gateway"] is None
    assert empty["engine"]["name"] == api.cell.engine.name
    assert empty["engine"]["why"]
    assert set(empty["engine"]["capabilities"]) == api.cell.engine.capabilities
    assert empty["closed"] is None
    web, other = api.open(), api.open("other")
    status = api.status()
    assert [item["window_id"] for item in status["windows"]] == [web["window_id"], other["window_id"]]
    assert not status["solo_madre"]
    assert [item["service"] for item in api.status(service="other")["windows"]] == ["other"]
    assert not api.status(service="nobody")["solo_madre"]


def test_the_closed_are_listed_newest_first(process_api: Any) -> None:
    ids = []
    for service in ("web", "other", "web"):
        ids.append(process_api.open(service)["window_id"])
        process_api.close(service)
    closed = process_api.status(closed=True)["closed"]
    assert [item["window_id"] for item in closed[:3]] == ids[::-1]
    web = process_api.status(closed=True, service="web")["closed"]
    assert [item["window_id"] for item in web[:2]] == [ids[2], ids[0]]


def test_solo_madre_says_what_it_would_stop_and_stops_it(api: Any) -> None:
    windows = {api.open(name)["window_id"]: name for name in ("web", "other", "stubborn")}
    would = api.done(SOLO_MADRE, dry_run=True)
    assert (would["solo_madre"], would["changed"], would["dry_run"], would["stopped"]) == (False, True, True, [])
    assert {item["window_id"]: item["service"] for item in would["running"]} == windows
    assert len(api.status()["windows"]) == 3
    done = api.done(SOLO_MADRE)
    assert (done["solo_madre"], done["changed"], done["dry_run"], done["foreign"]) == (True, True, False, [])
    assert {item["window_id"] for item in done["stopped"]} == set(windows)
    assert {(item["state"], item["reason"]) for item in done["stopped"]} == {("closed", "solo_madre")}
    assert done["core"] == ["madre", "watchdog"]
    assert 0 < done["took_ms"] < 20_000
    again = api.done(SOLO_MADRE)
    assert (again["solo_madre"], again["changed"], again["running"]) == (True, False, [])


def test_solo_madre_answers_in_time_under_load_and_while_a_stop_hangs(api: Any) -> None:
    api.open("stubborn")
    with ThreadPoolExecutor(80) as callers:
        opening = [callers.submit(api.post, OPEN, service="slow") for _ in range(75)]  # more than have a place
        closing = callers.submit(api.post, CLOSE, service="stubborn")  # it has a grace of 20 s, and takes it
        expected = {"stubborn": "closing", "slow": "opening"}
        api.until(lambda: {item["service"]: item["state"] for item in api.status()["windows"]} == expected)
        done = api.done(SOLO_MADRE)
        assert done["solo_madre"]
        assert done["took_ms"] < 20_000
        assert closing.result(20).json()["state"] == "closed"
        api.until(lambda: all(answer.done() or api.post(CLOSE, service="slow") for answer in opening), 30)
        assert {answer.result().status_code for answer in opening} <= {409, 502}


def test_the_body_of_solo_madre_may_be_left_out(process_api: Any) -> None:
    assert process_api.http.post(SOLO_MADRE).json()["solo_madre"]


def test_what_runs_without_a_record_is_found_and_stopped(api: Any, bundle: Path) -> None:
    stamp = start_behind(api, bundle)
    assert not api.status()["solo_madre"]
    would = api.done(SOLO_MADRE, dry_run=True)
    assert not would["solo_madre"]
    assert [(item["window_id"], item["service"]) for item in would["running"]] == [(stamp.window_id, "web")]
    done = api.done(SOLO_MADRE)
    assert (done["solo_madre"], done["changed"]) == (True, True)
    assert api.cell.engine.inventory(api.cell.name) == []
    assert [item["action"] for item in api.evidence() if item["subject"] == stamp.window_id] == ["orphan"]


def test_logs_by_service_and_by_id_while_it_runs_and_afterwards(api: Any, problem: Problem) -> None:
    window = api.open()
    httpx.get(f"{window['endpoints'][0]}/verify", timeout=5)
    for name in ("web", window["window_id"]):
        found = api.get(LOGS, window=name)
        assert (found["window_id"], found["service"]) == (window["window_id"], "web")
        assert any("GET /verify" in line for line in found["lines"])
    assert len(api.get(LOGS, window="web", tail=1)["lines"]) == 1
    api.close()
    lines = api.get(LOGS, window=window["window_id"])["lines"]
    assert any("GET /verify" in line for line in lines)
    assert "stopped" in lines[-1]
    problem(api.http.get(LOGS, params={"window": "nobody"}), 404, "no_window")


@pytest.mark.parametrize("tail", [0, 2001, "many"])
def test_a_tail_that_is_no_number_of_lines(process_api: Any, problem: Problem, tail: Any) -> None:
    problem(process_api.http.get(LOGS, params={"window": "web", "tail": tail}), 422, "invalid_request", "tail")


def test_metrics_count_what_happened(process_api: Any) -> None:
    def value(name: str) -> float:
        answer = process_api.http.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        return next((float(line.split()[-1]) for line in answer.text.splitlines() if line.startswith(f"{name} ")), 0.0)

    closed = 'vx11_windows_closed_total{reason="requested"}'
    before = value(closed)
    process_api.open(ttl=60)
    assert value('vx11_windows{state="open"}') == 1
    assert 50 < value('vx11_window_remaining_seconds{service="web"}') <= 60
    assert value("vx11_watchdog_alive") == 1
    process_api.close()
    assert value('vx11_windows{state="open"}') == 0
    assert value(closed) == before + 1
