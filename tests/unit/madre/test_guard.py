"""The guard: what a request has to bring before any route sees it."""

import asyncio
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from vx11 import tokens
from vx11.madre.guard import Guard
from vx11.madre.settings import Rate

OPEN, CLOSE = "/api/v1/windows/open", "/api/v1/windows/close"
STATUS, SOLO, EXECUTE = "/api/v1/windows/status", "/api/v1/system/solo_madre", "/api/v1/tests/execute"


class Entry:
    """A guard with an application behind it that says who came."""

    def __init__(self, client_of: Any, rate: Rate | None = None) -> None:
        self.records: list[tuple[str, str, str, dict[str, Any]]] = []
        self.came: list[tokens.Bearer | None] = []
        self.guard = Guard(self._app, self._check, rate, lambda *record: self.records.append(record))
        self.client = client_of(self.guard)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.came.append(scope.get("bearer"))
        await JSONResponse({"path": Request(scope).url.path})(scope, receive, send)

    def _check(self, token: str) -> tokens.Bearer:
        """A token is `NAME SCOPE…`, with `+` between, or it is refused."""
        if token.startswith("bad"):
            raise tokens.TokenRefused("Signature has expired")
        name, *scopes = token.split("+")
        return tokens.Bearer(name, frozenset(scopes), f"id-of-{name}", 4_000_000_000)

    def ask(self, method: str, path: str, token: str | None = None, **headers: str) -> Any:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return self.client.request(method, path, headers=headers)


@pytest.fixture
def entry(client_of: Any) -> Entry:
    return Entry(client_of)


def test_health_needs_no_token(entry: Entry) -> None:
    assert entry.ask("GET", "/health").status_code == 200
    assert entry.came == [None]


def test_who_may_comes_through_and_is_known(entry: Entry) -> None:
    assert entry.ask("POST", OPEN, "anna+power:read+power:write").json() == {"path": OPEN}
    (bearer,) = entry.came
    assert bearer
    assert bearer.subject == "anna"


def test_where_two_scopes_are_needed_both_are_enough(entry: Entry) -> None:
    assert entry.ask("POST", EXECUTE, "anna+power:write+tests:run").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer anna+power:read"},
        {"Authorization": "bearer anna+power:read"},
        {"Authorization": "Bearer   anna+power:read  "},
        {"x-vx11-token": "anna+power:read"},
        {"Authorization": "Basic YTpi", "x-vx11-token": "anna+power:read"},
    ],
)
def test_where_a_token_may_stand(entry: Entry, headers: dict[str, str]) -> None:
    assert entry.ask("GET", STATUS, **headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic a"},
    ],
)
def test_without_a_token_nothing_is_answered(entry: Entry, headers: dict[str, str]) -> None:
    answer = entry.ask("GET", STATUS, **headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "token_missing")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert entry.came == []


def test_a_refused_token_is_told_nothing_but_evidence_is(entry: Entry) -> None:
    answer = entry.ask("GET", STATUS, "bad")
    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")
    assert "invalid_token" in answer.headers["www-authenticate"]
    assert "expired" not in answer.text
    ((actor, action, subject, data),) = entry.records
    assert (actor, action, subject, data["why"]) == ("unknown", "token_refused", STATUS, "Signature has expired")
    assert entry.came == []


def test_bad_tokens_cannot_fill_the_disk_with_evidence(entry: Entry) -> None:
    for _ in range(500):
        assert entry.ask("GET", STATUS, "bad").status_code == 401
    assert 1 <= len(entry.records) < 50


@pytest.mark.parametrize(
    ("method", "path", "scopes"),
    [
        ("POST", OPEN, "power:read"),
        ("POST", OPEN, "system:write"),
        ("GET", STATUS, "power:write"),
        ("POST", SOLO, "power:write"),
        ("GET", "/metrics", "power:read"),
        ("GET", STATUS, ""),
        ("POST", EXECUTE, "tests:run"),
        ("POST", EXECUTE, "power:write"),
        ("POST", EXECUTE, "tests:read+tests:run"),
        ("DELETE", "/api/v1/tests/e2e-1", "tests:read"),
    ],
)
def test_a_scope_is_for_what_it_names_alone(entry: Entry, method: str, path: str, scopes: str) -> None:
    answer = entry.ask(method, path, f"anna+{scopes}")
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
    assert entry.records[0][:3] == ("anna", "scope_missing", path)
    assert entry.came == []


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("GET", OPEN, 405, "method_not_allowed"),
        ("DELETE", "/health", 405, "method_not_allowed"),
    ],
)
def test_what_stands_in_no_entry_is_refused_whoever_comes(
    entry: Entry, method: str, path: str, status: int, code: str
) -> None:
    everything = "+".join(["anna", *tokens.SCOPES])
    for token in (None, everything):
        answer = entry.ask(method, path, token)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert entry.came == []


def test_a_websocket_is_no_way_around_the_policy(entry: Entry) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(entry.guard({"type": "websocket", "path": "/health", "headers": []}, receive, send))
    assert [message["type"] for message in sent] == ["websocket.close"]
    assert entry.came == []


def test_too_many_requests_are_told_when_to_come_again(client_of: Any) -> None:
    entry = Entry(client_of, Rate(requests=60, period=60.0, burst=2))
    answers = [entry.ask("POST", OPEN, "anna+power:write") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["code"] == "rate_limited"
    assert answers[2].headers["retry-after"] == "1"
    assert entry.ask("POST", OPEN, "bert+power:write").status_code == 200  # by token
    assert entry.ask("GET", "/health").status_code == 200


def test_an_emergency_stop_is_never_refused_for_noise(client_of: Any) -> None:
    entry = Entry(client_of, Rate(requests=60, period=60.0, burst=1))
    token = "anna+power:write+system:write"
    while entry.ask("POST", OPEN, token).status_code != 429:
        pass
    while entry.ask("POST", CLOSE, token).status_code != 429:
        pass
    assert entry.ask("POST", SOLO, token).status_code == 200


def test_without_a_limit_there_is_none(entry: Entry) -> None:
    assert {entry.ask("POST", OPEN, "anna+power:write").status_code for _ in range(100)} == {200}


def test_what_is_refused_for_another_reason_costs_nothing_of_the_rate(client_of: Any) -> None:
    entry = Entry(client_of, Rate(requests=1, period=3600.0, burst=1))
    for method, path, token in (("GET", "/nowhere", "anna+power:write"), ("POST", SOLO, "anna+power:write")):
        assert entry.ask(method, path, token).status_code in {403, 404}
    assert entry.ask("POST", OPEN, "anna+power:write").status_code == 200
    assert entry.ask("POST", OPEN, "anna+power:write").status_code == 429
