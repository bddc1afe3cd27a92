"""The endpoint policy: everything that the application serves stands in it, and nothing else does."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry
from starlette.routing import Route

from vx11 import tokens
from vx11.clock import Clock
from vx11.madre import app, policy, routes
from vx11.madre.policy import BUDGETS, ENDPOINTS
from vx11.windows.events import Events

TOKEN = {"Authorization": "Bearer x"}


class NoWindows:
    """As many windows as an application needs to be put together."""

    cell = "default"
    clock = Clock()
    store = SimpleNamespace(watchdog_is_alive=lambda: False)
    sampler = SimpleNamespace(spent=0.0, interval=1.0)
    events = Events()

    def windows(self) -> list[Any]:
        return []

    def record(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def application() -> FastAPI:
    everything = tokens.Bearer("anna", tokens.SCOPES, "id-1", 4_000_000_000)
    windows: Any = NoWindows()
    jobs: Any = None
    return app.build(windows, jobs, check=lambda token: everything, rate=None, registry=CollectorRegistry())


def served(application: FastAPI) -> Iterator[tuple[str, str]]:
    """Method and path of every route, those included that the description leaves out."""
    routers = [value for value in vars(routes).values() if isinstance(value, APIRouter)]
    for route in [*application.routes, *(route for router in routers for route in router.routes)]:
        if isinstance(route, Route) or hasattr(route, "methods"):
            for method in (route.methods or set()) - {"HEAD"}:
                yield method, route.path


def test_every_route_has_an_entry_and_every_entry_a_route(application: FastAPI) -> None:
    assert set(served(application)) == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}


def test_every_entry_has_a_budget_and_a_scope_that_tokens_can_have() -> None:
    assert {endpoint.budget for endpoint in ENDPOINTS} <= set(BUDGETS)
    assert {scope for endpoint in ENDPOINTS for scope in (endpoint.scope or "").split()} <= tokens.SCOPES
    assert [endpoint.path for endpoint in ENDPOINTS if endpoint.scope is None] == ["/health"]


def test_whatever_changes_something_needs_a_scope_to_write() -> None:
    posts = [endpoint for endpoint in ENDPOINTS if endpoint.method == "POST"]
    assert all(str(endpoint.scope).endswith(":write") for endpoint in posts)


@pytest.mark.parametrize("path", ["/api/v1/windows/open", "/api/v1/windows/hold", "/api/v1/windows/extend"])
def test_work_never_counts_on_the_budget_of_an_emergency(path: str) -> None:
    emergencies = {
        policy.find("POST", "/api/v1/windows/close"),
        policy.find("POST", "/api/v1/system/solo_madre"),
    }
    work = policy.find("POST", path)
    assert work
    assert work.budget not in {endpoint.budget for endpoint in emergencies if endpoint}


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("GET", "/health", True),
        ("HEAD", "/health", True),
        ("GET", "/api/v1/windows/events", True),
        ("HEAD", "/api/v1/windows/events", False),
        ("POST", "/health", False),
        ("GET", "/health/", False),
        ("GET", "//health", False),
        ("GET", "/Health", False),
        ("GET", "/", False),
        ("GET", "/redoc", False),
        ("GET", "/docs/oauth2-redirect", False),
        ("OPTIONS", "/api/v1/windows/open", False),
        ("GET", "/api/v1/windows/open", False),
        ("POST", "/api/v1/windows/open", True),
        ("POST", "/api/v1/windows/../windows/open", False),
        ("GET", "/api/v1/tests/results/e2e-1", True),
        ("HEAD", "/api/v1/tests/results/e2e-1", True),
        ("POST", "/api/v1/tests/results/e2e-1", False),
        ("GET", "/api/v1/tests/results/", False),
        ("GET", "/api/v1/tests/results", False),
        ("GET", "/api/v1/tests/results/e2e-1/more", False),
        ("DELETE", "/api/v1/tests/e2e-1", True),
        ("DELETE", "/api/v1/tests/execute", False),
        ("DELETE", "/api/v1/tests/", False),
        ("DELETE", "/api/v1/tests", False),
        ("GET", "/{test_id}", False),
    ],
)
def test_only_what_stands_there_exactly_is_let_through(method: str, path: str, *, found: bool) -> None:
    assert (policy.find(method, path) is not None) is found


@pytest.mark.parametrize("path", ["/", "/redoc", "/admin", "/api/v1/windows", "/docs/oauth2-redirect"])
def test_what_is_not_served_is_a_problem_document(application: FastAPI, client_of: Any, path: str) -> None:
    answer = client_of(application).request("GET", path, headers=TOKEN)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"


def test_the_description_and_the_metrics_are_served_to_who_may(application: FastAPI, client_of: Any) -> None:
    client = client_of(application)
    assert client.request("GET", "/openapi.json", headers=TOKEN).json()["info"]["title"] == "VX11 power"
    assert client.request("GET", "/docs", headers=TOKEN).status_code == 200
    assert "vx11_watchdog_alive 0.0" in client.request("GET", "/metrics", headers=TOKEN).text
    for path in ("/openapi.json", "/docs", "/metrics"):
        assert client.request("GET", path).status_code == 401


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        (b"{", ["body"]),
        (b"[]", ["body"]),
        (b"{}", ["service"]),
        (b'{"service": "web", "ttl": "soon"}', ["ttl"]),
        (b'{"service": "web", "ttl": 0, "hold": "perhaps"}', ["ttl", "hold"]),
        (b'{"service": "web", "resources": {"cpu": -1, "gpu": 1}}', ["resources.cpu", "resources.gpu"]),
        (b'{"service": "web", "tll": 5}', ["tll"]),
        (b'{"service": ""}', ["service"]),
    ],
)
def test_a_wrong_request_is_told_with_its_fields(
    application: FastAPI, client_of: Any, content: bytes, fields: list[str]
) -> None:
    headers = TOKEN | {"Content-Type": "application/json"}
    answer = client_of(application).request("POST", "/api/v1/windows/open", content=content, headers=headers)
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "invalid_request"
    assert [item["field"] for item in problem["errors"]] == fields
    assert all(field in problem["detail"] for field in fields)
