"""Opening windows over HTTP: what a caller gets, and what is refused with nothing left behind."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import httpx
import pytest

OPEN, CLOSE = "/api/v1/windows/open", "/api/v1/windows/close"
MIB = 1024 * 1024
Problem = Callable[..., str]


def seconds_between(first: str, second: str) -> float:
    """Between two times of the API, to the microsecond."""
    return (datetime.fromisoformat(second) - datetime.fromisoformat(first)).total_seconds()


def test_an_open_window_is_ready_and_described(api: Any) -> None:
    window = api.open(ttl=30)
    assert httpx.get(f"{window['endpoints'][0]}/health", timeout=5).json() == {"status": "ok"}
    assert (window["state"], window["changed"], window["hold"], window["hold_until"]) == ("open", True, False, None)
    assert (window["service"], window["cell"], window["opened_by"]) == ("web", api.cell.name, "conductor")
    assert seconds_between(window["opened_at"], window["expires_at"]) == 30
    assert 0 < window["startup_ms"] < 10_000
    assert seconds_between(window["opened_at"], window["ready_at"]) == pytest.approx(
        window["startup_ms"] / 1000, abs=1e-3
    )
    assert 20 < window["remaining_s"] <= 30
    assert (window["closed_at"], window["reason"], window["close_ms"]) == (None, None, None)
    assert (window["resources"], window["not_enforced"]) == ({}, [])
    assert window["usage"]["cpu_s"] > 0
    assert 0 < window["usage"]["memory_bytes"] <= window["usage"]["memory_peak_bytes"]


def test_each_window_of_a_service_has_a_higher_generation(process_api: Any) -> None:
    first = process_api.open()
    process_api.close()
    second = process_api.open()
    assert second["generation"] == first["generation"] + 1
    assert second["window_id"] != first["window_id"]


def test_opening_again_changes_nothing(api: Any) -> None:
    first = api.open(ttl=30)
    for ttl in (10, 30, 60):
        again = api.open(ttl=ttl)
        assert not again["changed"]
        assert (again["window_id"], again["expires_at"]) == (first["window_id"], first["expires_at"])
    assert len(api.status()["windows"]) == 1


def test_many_callers_at_once_get_one_window(api: Any) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: api.open(), range(6)))
    assert len({answer["window_id"] for answer in answers}) == 1
    assert [answer["changed"] for answer in answers].count(True) == 1
    assert {answer["state"] for answer in answers} == {"open"}


@pytest.mark.root
def test_other_limits_than_it_has_are_refused(process_api: Any, problem: Problem) -> None:
    window = process_api.open(resources={"memory": "128MB"})
    problem(process_api.post(OPEN, service="web", resources={"memory": "64MB"}), 409, "limits_differ", "resources")
    problem(process_api.post(OPEN, service="web", resources={"cpu": 1}), 409, "limits_differ", "resources")
    assert not process_api.open(resources={"memory": 128 * MIB})["changed"]
    assert process_api.window(window["window_id"])["state"] == "open"


def test_min_remaining_extends_only_what_has_less_left(process_api: Any) -> None:
    first = process_api.open(ttl=20)
    enough = process_api.open(ttl=60, min_remaining="10s")
    assert (enough["changed"], enough["expires_at"]) == (False, first["expires_at"])
    more = process_api.open(ttl=60, min_remaining=30)
    assert more["changed"]
    assert 55 < more["remaining_s"] <= 60
    assert more["window_id"] == first["window_id"]


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [(30, 30), (30.5, 30.5), ("30", 30), ("30s", 30), ("1m30s", 90), ("0.5h", 1800), ("2500ms", 2.5)],
)
def test_the_forms_of_a_ttl(process_api: Any, ttl: Any, seconds: float) -> None:
    window = process_api.open(ttl=ttl)
    assert seconds_between(window["opened_at"], window["expires_at"]) == pytest.approx(seconds, abs=1e-5)


@pytest.mark.parametrize(("service", "seconds"), [("web", 300), ("short", 5)])
def test_the_ttl_without_a_wish_is_the_services_own(process_api: Any, service: str, seconds: float) -> None:
    window = process_api.open(service)
    assert seconds_between(window["opened_at"], window["expires_at"]) == pytest.approx(seconds, abs=1e-5)


@pytest.mark.parametrize(("service", "ttl"), [("short", 11), ("web", "61m")])
def test_a_ttl_beyond_what_the_service_allows(process_api: Any, problem: Problem, service: str, ttl: Any) -> None:
    detail = problem(process_api.post(OPEN, service=service, ttl=ttl), 422, "ttl_too_long", "ttl")
    assert service in detail
    assert process_api.status()["windows"] == []


def test_a_dry_run_changes_nothing(api: Any, problem: Problem) -> None:
    before, records = api.cell.residue(), len(api.evidence())
    would = api.done(OPEN, service="web", ttl=10, dry_run=True)
    assert (would["window_id"], would["changed"], would["service"]) == (None, True, "web")
    assert api.status()["windows"] == []
    assert api.cell.residue() == before
    assert len(api.evidence()) == records
    problem(api.post(OPEN, service="web", ttl="2h", dry_run=True), 422, "ttl_too_long", "ttl")
    problem(api.post(OPEN, service="blocked", dry_run=True), 403, "service_not_allowed", "service")


def test_a_dry_run_on_an_open_window_says_what_would_change(process_api: Any, problem: Problem) -> None:
    window = process_api.open(ttl=20)
    same = process_api.done(OPEN, service="web", dry_run=True)
    assert (same["changed"], same["window_id"]) == (False, window["window_id"])
    assert process_api.done(OPEN, service="web", ttl=60, min_remaining=60, dry_run=True)["changed"]
    refused = process_api.post(OPEN, service="web", resources={"cpu": 1}, dry_run=True)
    problem(refused, 409, "limits_differ", "resources")
    assert process_api.window(window["window_id"])["expires_at"] == window["expires_at"]


def test_without_waiting_the_answer_comes_at_once(api: Any) -> None:
    window = api.open(wait=False)
    assert (window["state"], window["ready_at"], window["endpoints"]) == ("opening", None, [])
    assert api.in_state(window["window_id"], "open")["endpoints"]


def test_a_window_that_is_opening_can_be_closed(api: Any, problem: Problem) -> None:
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(api.post, OPEN, service="slow")
        (window,) = api.until(lambda: api.status()["windows"])
        assert window["state"] == "opening"
        closed = api.close("slow")
        assert (closed["window_id"], closed["state"], closed["reason"]) == (window["window_id"], "closed", "requested")
        assert "slow was closed before it was ready" in problem(opening.result(), 502, "open_failed")
    problem(api.post(CLOSE, service="slow"), 404, "no_window")


@pytest.mark.root
def test_limits_that_are_asked_for_are_in_force(api: Any) -> None:
    wanted = {"cpu": 0.5, "memory": "64MB", "pids": 40}
    window = api.open(resources=wanted)
    assert window["resources"] == {"cpu": 0.5, "memory": 64 * MIB, "pids": 40}
    (found,) = api.cell.engine.inventory(api.cell.name)
    limits = api.cell.engine.limits(found.running)
    assert (limits.cpu, limits.memory, limits.pids) == (0.5, 64 * MIB, 40)


@pytest.mark.root
def test_limits_of_the_catalogue_are_in_force_unless_others_are_asked_for(process_api: Any) -> None:
    assert process_api.open("limited")["resources"] == {"memory": 96 * MIB}
    process_api.close("limited")
    assert process_api.open("limited", resources={"memory": "80MB"})["resources"] == {"memory": 80 * MIB}


@pytest.mark.root
def test_iops_are_for_reading_and_for_writing(process_api: Any) -> None:
    if "limits.iops" not in process_api.cell.engine.capabilities:
        pytest.skip("no disk holds the data here")
    window = process_api.open(resources={"iops": 100, "write_iops": 50})
    assert window["resources"] == {"read_iops": 100, "write_iops": 50}


class TestFailure:
    """What does not open leaves nothing but its reason."""

    @pytest.fixture(autouse=True)
    def _leaves_nothing(self, api: Any) -> Any:
        before = api.cell.residue()
        yield
        assert api.cell.residue() == before
        assert api.status()["solo_madre"]

    def failed(self, api: Any, problem: Problem, service: str, **more: Any) -> str:
        """Opens what cannot be opened; answers why, which the closed window says too."""
        detail = problem(api.post(OPEN, service=service, **more), 502, "open_failed")
        window = api.status(closed=True, service=service)["closed"][0]
        assert window["state"] == "closed"
        assert window["reason"] == "open_failed" or more  # its deadline may come first, which is a reason of its own
        assert window["detail"]
        assert detail.startswith(window["detail"])
        return detail

    def test_not_ready_in_time(self, api: Any, problem: Problem) -> None:
        detail = self.failed(api, problem, "never")
        assert "never was not ready within 0.5 s" in detail
        assert "waiting for a database" in detail
        assert api.get("/api/v1/windows/logs", window="never")["lines"] == ["waiting for a database"]

    def test_ended_before_it_was_ready_and_again(self, api: Any, problem: Problem) -> None:
        for _ in range(2):
            detail = self.failed(api, problem, "early")
            assert "early ended with exit code 3 before it was ready" in detail
            assert "no configuration" in detail

    def test_the_time_ends_before_it_is_ready(self, api: Any, problem: Problem) -> None:
        assert "before it was ready" in self.failed(api, problem, "slow", ttl=0.6)


@pytest.mark.parametrize(
    ("service", "status", "code"), [("blocked", 403, "service_not_allowed"), ("nobody", 404, "service_unknown")]
)
def test_what_may_not_be_opened_has_no_side_effect(
    api: Any, problem: Problem, service: str, status: int, code: str
) -> None:
    before = api.cell.residue()
    detail = problem(api.post(OPEN, service=service), status, code, "service")
    assert service in detail
    assert api.cell.residue() == before
    assert api.status(closed=True, service=service)["closed"] == []
    assert list((api.cell.folder / "state" / api.cell.name / "windows").iterdir()) == []


def test_a_peer_that_is_not_allowed_refuses_who_needs_it(process_api: Any, problem: Problem) -> None:
    for dry_run in (True, False):
        detail = problem(process_api.post(OPEN, service="needs-blocked", dry_run=dry_run), 403, "service_not_allowed")
        assert "blocked is not on the allowlist" in detail
    assert process_api.status(closed=True, service="needs-blocked")["closed"] == []
