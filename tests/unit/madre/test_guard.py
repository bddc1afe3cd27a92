"""The guard: what a request has to bring before any route sees it."""

import asyncio
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from vx11 import tokens
from vx11.madre import policy
from vx11.madre.guard import Guard
from vx11.madre.settings import Rate

OPEN, CLOSE = "/api/v1/windows/open", "/api/v1/windows/close"
STATUS, SOLO, EXECUTE = "/api/v1/windows/status", "/api/v1/system/solo_madre", "/api/v1/tests/execute"


class Entry:
    """A guard with an application behind it that says who came."""

    def __init__(self, client_of: Any, rate: Rate | None = None) -> None:
        self.records: list[tuple[str, str, str, dict[str, Any]]] = []
        self.came: list[tokens.Bearer | None] = []
        self.holds: list[Any] = []
        self.revoked = False
        self.guard = Guard(self._app, self._check, policy.load(), rate, lambda *record: self.records.append(record))
        self.client = client_of(self.guard)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.came.append(scope.get("bearer"))
        self.holds.append(scope.get("holds"))
        await JSONResponse({"path": Request(scope).url.path})(scope, receive, send)

    def _check(self, token: str) -> tokens.Bearer:
        """A token is `NAME SCOPE…`, with `+` between, or it is refused."""
        if token == "bad+ours":
            raise tokens.TokenRefused("Signature has expired", "anna", "id-1")
        if token.startswith("bad") or self.revoked:
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
        {"Authorization": "Bearer anna+power:read", "x-vx11-token": "anna+power:read"},
        {"Authorization": "Bearer anna+power:read", "x-vx11-token": ""},
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
    assert answer.headers["www-authenticate"] == (
        'Bearer error="invalid_token", error_description="invalid or expired token"'
    )
    assert answer.json()["detail"] == "invalid or expired token"
    ((actor, action, subject, data),) = entry.records
    assert (actor, action, subject) == ("unknown", "token_refused", STATUS)
    assert data == {"why": "Signature has expired", "client": "127.0.0.1", "unrecorded_before": 0}
    assert entry.came == []


def test_evidence_knows_whose_token_was_refused_where_that_is_sure(entry: Entry) -> None:
    entry.ask("GET", STATUS, "bad+ours")
    ((actor, _, _, data),) = entry.records
    assert (actor, data["token_id"]) == ("anna", "id-1")


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ([("Authorization", "Bearer a+power:read"), ("Authorization", "Bearer b+power:read")], "stands there twice"),
        ([("Authorization", "Bearer a+power:read"), ("authorization", "Bearer a+power:read")], "stands there twice"),
        ([("Authorization", "Basic YTpi"), ("Authorization", "Bearer a+power:read")], "stands there twice"),
        ([("x-vx11-token", "a+power:read"), ("X-VX11-Token", "b+power:read")], "stands there twice"),
        ([("Authorization", "Bearer a+power:read"), ("x-vx11-token", "b+power:read")], "have different tokens"),
    ],
)
def test_of_several_tokens_none_is_taken(entry: Entry, headers: list[tuple[str, str]], why: str) -> None:
    answer = entry.client.request("GET", STATUS, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")
    assert why in entry.records[0][3]["why"]
    assert entry.came == []


@pytest.mark.parametrize(
    "path", ["/api/v1/windows/%73tatus", "/api/v1/windows%2Fstatus", "/api/v1/windows/status%00", "/api/v1/tests/%2e"]
)
def test_a_path_with_escapes_is_none(entry: Entry, path: str) -> None:
    answer = entry.ask("GET", path, "anna+power:read")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert entry.came == []


def test_who_is_behind_a_request_can_be_asked_again(entry: Entry) -> None:
    entry.ask("GET", STATUS, "anna+power:read")
    (holds,) = entry.holds
    assert holds()
    entry.revoked = True
    assert not holds()


def test_bad_tokens_cannot_fill_the_disk_with_evidence(entry: Entry) -> None:
    for _ in range(500):
        assert entry.ask("GET", STATUS, "bad").status_code == 401
    assert 1 <= len(entry.records) < 50


def test_nor_can_good_ones_that_may_not(entry: Entry) -> None:
    for _ in range(500):
        assert entry.ask("POST", SOLO, "anna+power:read").status_code == 403
    assert 1 <= len(entry.records) < 50


def test_an_address_that_sends_bad_tokens_is_told_to_wait_and_good_ones_are_not(client_of: Any) -> None:
    entry = Entry(client_of, Rate(requests=60, period=3600.0, burst=5))
    answers = [entry.ask("GET", STATUS, f"bad-{number}") for number in range(50)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 45
    assert int(answers[-1].headers["retry-after"]) > 1
    assert len(entry.records) == 5
    assert entry.ask("GET", STATUS, "anna+power:read").status_code == 200


def test_each_answer_tells_of_the_budget_that_it_counted_on(client_of: Any) -> None:
    entry = Entry(client_of, Rate(requests=60, period=60.0, burst=2))
    token = "anna+power:write"
    found = [entry.ask("POST", path, token) for path in (OPEN, CLOSE, OPEN, OPEN, SOLO)]
    assert [(answer.status_code, answer.headers["ratelimit"].split(";")[:2]) for answer in found] == [
        (200, ['"work"', "r=1"]),
        (200, ['"close"', "r=19"]),
        (200, ['"work"', "r=0"]),
        (429, ['"work"', "r=0"]),
        (403, ['"solo_madre"', "r=19"]),
    ]
    assert [answer.headers["ratelimit-policy"] for answer in found[:2]] == ['"work";q=2;w=2', '"close";q=20;w=2']
    for answer in (entry.ask("GET", "/health"), entry.ask("POST", OPEN), entry.ask("POST", OPEN, "bad")):
        assert "ratelimit" not in answer.headers


def test_without_a_limit_nothing_is_told_of_one(entry: Entry) -> None:
    assert "ratelimit" not in entry.ask("POST", OPEN, "anna+power:write").headers


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
    assert answer.headers["www-authenticate"].startswith('Bearer error="insufficient_scope", scope="')
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


def test_what_no_token_is_asked_for_costs_nothing_of_the_rate(client_of: Any) -> None:
    entry = Entry(client_of, Rate(requests=1, period=3600.0, burst=1))
    for method, path in (("GET", "/nowhere"), ("GET", OPEN), ("GET", "/health")):
        assert entry.ask(method, path, "anna+power:write").status_code in {200, 404, 405}
    assert entry.ask("POST", OPEN, "anna+power:write").status_code == 200
    assert entry.ask("POST", OPEN, "anna+power:write").status_code == 429


def test_to_try_what_is_not_allowed_costs_like_anything_else(client_of: Any) -> None:
    entry = Entry(client_of, Rate(requests=1, period=3600.0, burst=1))
    assert entry.ask("POST", OPEN, "anna+power:read").status_code == 403
    assert entry.ask("GET", STATUS, "anna+power:read").status_code == 429
