"""The endpoint policy: everything that the application serves stands in it, and nothing else does."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry
from starlette.routing import Route

from vx11 import tokens
from vx11.clock import Clock
from vx11.errors import InputError
from vx11.madre import app, policy, routes
from vx11.madre.policy import BUDGETS, Policy
from vx11.windows.events import Events

TOKEN = {"Authorization": "Bearer x"}
SHIPPED = policy.load()
Write = Callable[[str, str], Path]


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
    operator: Any = None
    return app.build(
        windows, jobs, operator, check=lambda token: everything, policy=SHIPPED, rate=None, registry=CollectorRegistry()
    )


def served(application: FastAPI) -> Iterator[tuple[str, str]]:
    """Method and path of every route, those included that the description leaves out."""
    routers = [value for value in vars(routes).values() if isinstance(value, APIRouter)]
    for route in [*application.routes, *(route for router in routers for route in router.routes)]:
        if isinstance(route, Route) or hasattr(route, "methods"):
            for method in (route.methods or set()) - {"HEAD"}:
                yield method, route.path


def test_every_route_has_an_entry_and_every_entry_a_route(application: FastAPI) -> None:
    assert set(served(application)) == {(endpoint.method, endpoint.path) for endpoint in SHIPPED.endpoints}


def test_every_entry_has_a_budget_and_a_scope_that_tokens_can_have() -> None:
    assert {endpoint.budget for endpoint in SHIPPED.endpoints} <= set(BUDGETS)
    assert {scope for endpoint in SHIPPED.endpoints for scope in endpoint.scopes} <= tokens.SCOPES
    assert [endpoint.path for endpoint in SHIPPED.endpoints if endpoint.auth == "none"] == ["/health"]


@pytest.mark.parametrize(
    ("endpoint", "scopes"),
    [
        ("POST /api/v1/windows/open", {"power:write"}),
        ("POST /api/v1/windows/close", {"power:write"}),
        ("POST /api/v1/windows/hold", {"power:write"}),
        ("POST /api/v1/windows/extend", {"power:write"}),
        ("GET /api/v1/windows/status", {"power:read"}),
        ("POST /api/v1/tests/execute", {"tests:run", "power:write"}),
        ("GET /api/v1/tests/results/{test_id}", {"tests:read"}),
        ("POST /api/v1/system/solo_madre", {"system:write"}),
        ("GET /health", set()),
    ],
)
def test_scopes_are_those_of_the_specification(endpoint: str, scopes: set[str]) -> None:
    (found,) = (one for one in SHIPPED.endpoints if f"{one.method} {one.path}" == endpoint)
    assert found.scopes == scopes


def test_whatever_changes_something_needs_a_scope_to_write() -> None:
    posts = [endpoint for endpoint in SHIPPED.endpoints if endpoint.method == "POST" and "chat" not in endpoint.path]
    assert all(endpoint.scope.endswith(":write") for endpoint in posts)


@pytest.mark.parametrize("path", ["/api/v1/windows/open", "/api/v1/windows/hold", "/api/v1/windows/extend"])
def test_work_never_counts_on_the_budget_of_an_emergency(path: str) -> None:
    emergencies = {
        SHIPPED.find("POST", "/api/v1/windows/close"),
        SHIPPED.find("POST", "/api/v1/system/solo_madre"),
    }
    work = SHIPPED.find("POST", path)
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
    assert (SHIPPED.find(method, path) is not None) is found


CLOSE = "{method: POST, path: /api/v1/windows/close, auth: required, scope: power:write}"
STATUS = "{method: GET, path: /api/v1/windows/status, auth: required, scope: power:read}"


def narrowed(write: Write, *endpoints: str) -> Policy:
    lines = "".join(f"  - {endpoint}\n" for endpoint in endpoints)
    return policy.load(write("policy.yml", f"version: 1\nendpoints:\n{lines or '  []'}\n"))


def test_an_operator_s_file_takes_away_what_it_does_not_name(write: Write) -> None:
    found = narrowed(write, CLOSE, STATUS)
    assert [endpoint.path for endpoint in found.endpoints] == ["/api/v1/windows/close", "/api/v1/windows/status"]
    assert found.find("POST", "/api/v1/windows/open") is None
    assert found.find("GET", "/health") is None
    assert narrowed(write).endpoints == ()


def test_what_it_leaves_keeps_its_budget(write: Write) -> None:
    events = "{method: GET, path: /api/v1/windows/events, auth: required, scope: power:read}"
    found = narrowed(write, CLOSE, events)
    close, stream = found.find("POST", "/api/v1/windows/close"), found.find("GET", "/api/v1/windows/events")
    assert close
    assert stream
    assert (close.budget, stream.endless) == ("close", True)


def test_it_may_ask_for_more_scopes_and_for_a_token_where_none_was_needed(write: Write) -> None:
    found = narrowed(
        write,
        STATUS.replace("power:read", "power:read system:write"),
        "{method: GET, path: /health, auth: required, scope: power:read}",
    )
    assert [endpoint.scopes for endpoint in found.endpoints] == [{"power:read", "system:write"}, {"power:read"}]


def test_the_example_of_the_docs_is_one(write: Write) -> None:
    docs = (Path(__file__).resolve().parents[3] / "docs" / "security.md").read_text(encoding="utf-8")
    example = docs.partition("```yaml\n")[2].partition("```")[0]
    assert policy.load(write("policy.yml", example)).find("GET", "/health")


def test_the_shipped_policy_is_within_itself() -> None:
    assert policy.load(policy.SHIPPED).endpoints == SHIPPED.endpoints


@pytest.mark.parametrize(
    ("endpoint", "problem"),
    [
        ("{method: GET, path: /admin, auth: required, scope: power:read}", "GET /admin is not an endpoint of madre"),
        (STATUS.replace("GET", "POST"), "POST /api/v1/windows/status is not an endpoint of madre"),
        (STATUS.replace("power:read", "tests:read"), "scope: GET /api/v1/windows/status needs a token with the scope"),
        (STATUS.replace("required, scope: power:read", "none"), "auth: GET /api/v1/windows/status needs a token"),
        (STATUS.replace("required, scope: power:read", "required"), "auth: required needs a scope"),
        (STATUS.replace("required", "none"), "auth: none has none"),
        (STATUS.replace("required", "perhaps"), "auth: has to be"),
        (STATUS.replace("GET", "TRACE"), "method: has to be"),
        (STATUS.replace("}", ", budget: solo_madre}"), "budget: the budget of GET /api/v1/windows/status cannot be"),
        (STATUS.replace("}", ", endless: true}"), "endless: the endless of GET /api/v1/windows/status cannot be"),
        (STATUS.replace("}", ", open: true}"), "open: unknown key"),
        (CLOSE, "POST /api/v1/windows/close stands here twice"),
    ],
)
def test_what_widens_is_an_error_with_its_line(write: Write, endpoint: str, problem: str) -> None:
    with pytest.raises(InputError) as refused:
        narrowed(write, CLOSE, endpoint)
    (told,) = refused.value.problems
    assert problem in told.message
    assert "endpoints[1]" in told.message
    assert (told.path and told.path.name, told.line) == ("policy.yml", 4)


def test_every_place_that_widens_is_told_at_once(write: Write) -> None:
    other = "{method: GET, path: /admin, auth: none}"
    with pytest.raises(InputError) as refused:
        narrowed(write, STATUS.replace("power:read", "tests:read"), CLOSE, other)
    assert [problem.line for problem in refused.value.problems] == [3, 5]


@pytest.mark.parametrize("text", ["", "version: 2\nendpoints: []\n", "version: 1\n", "endpoints: []\n", "[]\n"])
def test_what_is_no_policy_is_told(write: Write, text: str) -> None:
    with pytest.raises(InputError, match=r"policy\.yml"):
        policy.load(write("policy.yml", text))


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
