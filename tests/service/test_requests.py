"""What is wrong with a request is said as a problem document that names the field; nothing is done then."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx
import pytest

OPEN, CLOSE, HOLD, EXTEND = (f"/api/v1/windows/{verb}" for verb in ("open", "close", "hold", "extend"))
STATUS, LOGS, SOLO_MADRE = "/api/v1/windows/status", "/api/v1/windows/logs", "/api/v1/system/solo_madre"
Problem = Callable[..., str]
HUGE = 10**30
WRONG: list[tuple[str, Any, str]] = [
    (OPEN, {}, "service"),
    (OPEN, {"service": ""}, "service"),
    (OPEN, {"service": 5}, "service"),
    (OPEN, {"service": ["web"]}, "service"),
    (OPEN, {"service": "web", "tlt": 5}, "tlt"),
    (OPEN, {"service": "web", "ttl": 0}, "ttl"),
    (OPEN, {"service": "web", "ttl": -1}, "ttl"),
    (OPEN, {"service": "web", "ttl": "soon"}, "ttl"),
    (OPEN, {"service": "web", "ttl": "5 parsecs"}, "ttl"),
    (OPEN, {"service": "web", "ttl": True}, "ttl"),
    (OPEN, {"service": "web", "hold": "perhaps"}, "hold"),
    (OPEN, {"service": "web", "min_remaining": -1}, "min_remaining"),
    (OPEN, {"service": "web", "resources": {"disk": 1}}, "resources.disk"),
    (OPEN, {"service": "web", "resources": {"cpu": 0}}, "resources.cpu"),
    (OPEN, {"service": "web", "resources": {"cpu": "many"}}, "resources.cpu"),
    (OPEN, {"service": "web", "resources": {"memory": "lots"}}, "resources.memory"),
    (OPEN, {"service": "web", "resources": {"memory": 0}}, "resources.memory"),
    (OPEN, {"service": "web", "resources": {"memory": HUGE}}, "resources.memory"),
    (OPEN, {"service": "web", "resources": {"iops": -1}}, "resources.iops"),
    (OPEN, {"service": "web", "resources": {"iops": HUGE}}, "resources.iops"),
    (OPEN, {"service": "web", "resources": {"pids": 1.5}}, "resources.pids"),
    (OPEN, {"service": "web", "resources": {"pids": HUGE}}, "resources.pids"),
    (OPEN, {"service": "web", "resources": []}, "resources"),
    (CLOSE, {}, "body"),
    (CLOSE, {"service": "web", "window_id": "1"}, "body"),
    (CLOSE, {"service": "web", "reason": "tired"}, "reason"),
    (HOLD, {"service": "web"}, "hold"),
    (EXTEND, {"service": "web"}, "ttl"),
    (EXTEND, {"service": "web", "ttl": "-5s"}, "ttl"),
    (SOLO_MADRE, {"dry": True}, "dry"),
    (SOLO_MADRE, {"dry_run": "perhaps"}, "dry_run"),
    (OPEN, [], "body"),
    (OPEN, "web", "body"),
    (OPEN, None, "body"),
]


@pytest.mark.parametrize(("path", "body", "field"), WRONG, ids=lambda value: json.dumps(value)[:60])
def test_the_field_that_is_wrong_is_named(process_api: Any, problem: Problem, path: str, body: Any, field: str) -> None:
    detail = problem(process_api.http.post(path, json=body), 422, "invalid_request", field)
    assert field in detail
    assert process_api.status()["windows"] == []


@pytest.mark.parametrize("field", ["ttl", "min_remaining"])
def test_a_time_beyond_all_measure_is_wrong(process_api: Any, problem: Problem, field: str) -> None:
    problem(process_api.post(OPEN, service="web", **{field: HUGE}), 422, "invalid_request", field)


def test_a_time_beyond_what_the_service_allows_is_too_long(process_api: Any, problem: Problem) -> None:
    problem(process_api.post(OPEN, service="web", ttl=1e9), 422, "ttl_too_long", "ttl")


@pytest.mark.parametrize(
    "text",
    [b"{", b'{"service": "web"', b"", b"\xff\xfe", b"service=web", b'{"service": "web", "ttl": NaN}', b"[" * 5000],
)
def test_what_is_not_json(process_api: Any, problem: Problem, text: bytes) -> None:
    answer = process_api.http.post(OPEN, content=text, headers={"Content-Type": "application/json"})
    problem(answer, 422, "invalid_request")
    assert process_api.status()["windows"] == []


def test_a_number_without_end_is_no_limit(process_api: Any, problem: Problem) -> None:
    for name, value in (("cpu", "1e999"), ("cpu", "Infinity"), ("memory", "1e999")):
        text = f'{{"service": "web", "resources": {{"{name}": {value}}}}}'
        answer = process_api.http.post(OPEN, content=text, headers={"Content-Type": "application/json"})
        problem(answer, 422, "invalid_request", f"resources.{name}")


def test_names_that_are_no_names_are_unknown(process_api: Any, problem: Problem) -> None:
    for name in ("../web", "web\x00", "w" * 10_000, "wéb", "web web"):
        problem(process_api.post(OPEN, service=name), 404, "service_unknown", "service")
        problem(process_api.post(CLOSE, service=name), 404, "no_window")
        problem(process_api.http.get(LOGS, params={"window": name}), 404, "no_window")


def test_half_a_character_is_not_text(process_api: Any, problem: Problem) -> None:
    answer = process_api.http.post(
        OPEN, content=b'{"service": "\\ud800"}', headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_several_mistakes_are_told_at_once(process_api: Any, problem: Problem) -> None:
    answer = process_api.post(OPEN, ttl="soon", colour="blue")
    for field in ("service", "ttl", "colour"):
        problem(answer, 422, "invalid_request", field)


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/v1/windows", "/redoc", f"{OPEN}/", "/health/..%2fopenapi.json", "//health"]
)
def test_everything_else_is_denied(process_api: Any, problem: Problem, path: str) -> None:
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        problem(process_api.http.request(method, path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", OPEN), ("PUT", OPEN), ("POST", STATUS), ("DELETE", "/health"), ("OPTIONS", CLOSE)]
)
def test_methods_that_an_endpoint_does_not_take(process_api: Any, problem: Problem, method: str, path: str) -> None:
    problem(process_api.http.request(method, path), 405, "method_not_allowed")


def test_health_needs_no_token(process_api: Any) -> None:
    answer = httpx.get(f"{process_api.cell.url}/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    head = httpx.head(f"{process_api.cell.url}/health")
    assert (head.status_code, head.content) == (200, b"")


def test_the_description_needs_a_token_and_shows_every_endpoint(process_api: Any, problem: Problem) -> None:
    for path in ("/openapi.json", "/docs"):
        problem(httpx.get(f"{process_api.cell.url}{path}"), 401, "token_missing")
        assert process_api.http.get(path).status_code == 200
    paths = process_api.get("/openapi.json")["paths"]
    assert {OPEN, CLOSE, HOLD, EXTEND, STATUS, LOGS, SOLO_MADRE, "/health", "/metrics"} <= set(paths)
    assert paths["/madre/power/window/open"]["post"]["deprecated"]


def test_clients_of_the_older_deployment(process_api: Any, problem: Problem) -> None:
    http = httpx.Client(base_url=process_api.cell.url, headers={"x-vx11-token": process_api.cell.token})
    with http:
        opened = http.post("/madre/power/window/open", json={"service": "web", "ttl_sec": 30, "mode": "ignored"}).json()
        window = process_api.window(opened["window_id"])
        assert window["state"] == "open"
        assert opened["deadline_timestamp"] == pytest.approx(window_deadline(window), abs=0.001)
        closed = http.post("/madre/power/window/close", json={"window_id": opened["window_id"]}).json()
        assert closed["window_id"] == opened["window_id"]
        assert closed["closed_at"].endswith("Z")
        assert 0 < closed["duration_sec"] < 30
        problem(http.post("/madre/power/window/close", json={"service": "web"}), 404, "no_window")
        problem(http.post("/madre/power/window/close", json={}), 422, "invalid_request")
        problem(http.post("/madre/power/window/open", json={"ttl_sec": 5}), 422, "invalid_request", "service")
        problem(http.post("/madre/power/window/open", json={"service": "blocked"}), 403, "service_not_allowed")


def window_deadline(window: Any) -> float:
    """Seconds since 1970 when a window closes."""
    return datetime.fromisoformat(window["expires_at"]).timestamp()
