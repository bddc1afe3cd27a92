"""Who may do what: tokens, their claims and scopes, and the rate at which they are taken."""

import secrets
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from vx11.conductor.cell import Cell

OPEN, CLOSE, HOLD, EXTEND = (f"/api/v1/windows/{verb}" for verb in ("open", "close", "hold", "extend"))
STATUS, LOGS, SOLO_MADRE = "/api/v1/windows/status", "/api/v1/windows/logs", "/api/v1/system/solo_madre"
Problem = Callable[..., str]
SCOPES = {
    ("POST", OPEN): "power:write",
    ("POST", CLOSE): "power:write",
    ("POST", HOLD): "power:write",
    ("POST", EXTEND): "power:write",
    ("GET", STATUS): "power:read",
    ("GET", LOGS): "power:read",
    ("POST", SOLO_MADRE): "system:write",
    ("GET", "/metrics"): "metrics:read",
    ("GET", "/openapi.json"): "power:read",
    ("GET", "/docs"): "power:read",
    ("POST", "/madre/power/window/open"): "power:write",
    ("POST", "/madre/power/window/close"): "power:write",
}
ALL = "power:read power:write system:write metrics:read tests:run tests:read operator:chat fault:write"


def ask(cell: Cell, token: str | None, method: str = "GET", path: str = STATUS, **more: Any) -> httpx.Response:
    """One request with this token."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.request(method, f"{cell.url}{path}", headers=headers, timeout=10, **more)


def claims(cell: Cell, **changed: Any) -> dict[str, Any]:
    """Those of a good token, with changes; what is None is left out."""
    good = {
        "iss": "vx11-madre",
        "sub": "tester",
        "aud": cell.name,
        "exp": int(time.time()) + 60,
        "jti": str(uuid.uuid4()),
        "scope": "power:read",
    }
    return {name: value for name, value in (good | changed).items() if value is not None}


def test_a_good_token_is_taken_in_each_form(process_api: Any) -> None:
    token = jwt.encode(claims(process_api.cell), process_api.key, algorithm="HS256")
    for headers in ({"Authorization": f"bearer {token}"}, {"x-vx11-token": token}):
        assert httpx.get(f"{process_api.cell.url}{STATUS}", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": 1},
        {"exp": int(time.time()) - 60},
        {"nbf": int(time.time()) + 86400},
        {"aud": "another-cell"},
        {"iss": "somebody-else"},
        {"sub": 5},
        {"scope": ["power:read"]},
        *({name: None} for name in ("iss", "sub", "aud", "exp", "jti", "scope")),
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_claims_that_are_wrong_or_missing(process_api: Any, problem: Problem, changed: dict[str, Any]) -> None:
    token = jwt.encode(claims(process_api.cell, **changed), process_api.key, algorithm="HS256")
    answer = ask(process_api.cell, token)
    problem(answer, 401, "token_invalid")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("algorithm", ["none", "HS512", "HS384"])
def test_other_algorithms_are_refused(process_api: Any, problem: Problem, algorithm: str) -> None:
    key = None if algorithm == "none" else process_api.key * 2
    token = jwt.encode(claims(process_api.cell), key, algorithm=algorithm)
    problem(ask(process_api.cell, token), 401, "token_invalid")


def test_another_key_is_refused(process_api: Any, problem: Problem) -> None:
    token = jwt.encode(claims(process_api.cell), secrets.token_bytes(32), algorithm="HS256")
    problem(ask(process_api.cell, token), 401, "token_invalid")


@pytest.mark.parametrize("token", ["x", "a.b.c", "a" * 5000, "..", "é".encode().decode("latin-1")])
def test_garbage_is_refused(process_api: Any, problem: Problem, token: str) -> None:
    answer = httpx.get(
        f"{process_api.cell.url}{STATUS}", headers=[(b"Authorization", f"Bearer {token}".encode("latin-1"))]
    )
    problem(answer, 401, "token_invalid")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic dXNlcjpwYXNz"])
def test_no_token_at_all(process_api: Any, problem: Problem, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = httpx.get(f"{process_api.cell.url}{STATUS}", headers=headers)
    problem(answer, 401, "token_missing")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(("endpoint", "scope"), SCOPES.items(), ids=str)
def test_each_endpoint_needs_its_scope(
    process_api: Any, problem: Problem, endpoint: tuple[str, str], scope: str
) -> None:
    others = [name for name in ALL.split() if name != scope]
    token = process_api.token(scopes=others)
    detail = problem(ask(process_api.cell, token, *endpoint, json=None), 403, "scope_missing")
    assert scope in detail
    problem(ask(process_api.cell, None, *endpoint), 401, "token_missing")
    enough = ask(process_api.cell, process_api.token(scopes=[scope]), *endpoint)
    assert enough.status_code not in (401, 403)


class Limited(Cell):
    """A cell whose madre has the rate limit of the specification (§2)."""

    def _flags(self) -> Any:
        return [*super()._flags(), "--rate-limit", "60/min:10"]


@pytest.fixture(scope="module")
def limited_api(
    bundle: Path, tmp_path_factory: pytest.TempPathFactory, caller: Callable[..., Iterator[Any]]
) -> Iterator[Any]:
    """A caller of such a cell."""
    cell = Limited(f"t-{secrets.token_hex(4)}", bundle, "process", tmp_path_factory.mktemp("evidence"))
    try:
        cell.start()
        yield from caller(cell)
    finally:
        cell.stop()
        assert cell.purge() == []


def test_a_token_has_a_budget_and_emergencies_have_their_own(limited_api: Any, problem: Problem) -> None:
    limited_api.open(ttl=60)
    assert [limited_api.http.get(STATUS).status_code for _ in range(9)] == [200] * 9
    # One request a second comes back meanwhile, which a slow machine may need for some of them.
    answers = (limited_api.http.get(STATUS) for _ in range(50))
    refused = next(answer for answer in answers if answer.status_code != 200)
    problem(refused, 429, "rate_limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    problem(limited_api.post(OPEN, service="web"), 429, "rate_limited")
    assert limited_api.close()["state"] == "closed"
    assert limited_api.done(SOLO_MADRE)["solo_madre"]
    assert httpx.get(f"{limited_api.cell.url}/health").status_code == 200
    assert ask(limited_api.cell, limited_api.token()).status_code == 200
    assert [limited_api.post(SOLO_MADRE, dry_run=True).status_code for _ in range(20)] == [200] * 20


def test_what_was_refused_stands_in_the_evidence_and_the_token_does_not(limited_api: Any) -> None:
    token = jwt.encode(claims(limited_api.cell, exp=1), limited_api.key, algorithm="HS256")
    ask(limited_api.cell, token)
    ask(limited_api.cell, limited_api.token(subject="a-reader", scopes=["power:read"]), "POST", SOLO_MADRE)
    refused, missing = limited_api.evidence()[-2:]
    assert (refused["action"], refused["subject"], refused["actor"]) == ("token_refused", STATUS, "tester")
    assert (missing["action"], missing["actor"], missing["data"]["scope"]) == (
        "scope_missing",
        "a-reader",
        "system:write",
    )
    assert token not in limited_api.evidence_path.read_text(encoding="utf-8")


def test_who_sends_bad_tokens_is_told_to_wait_and_others_are_not(limited_api: Any, problem: Problem) -> None:
    forged = [jwt.encode(claims(limited_api.cell), secrets.token_bytes(32), algorithm="HS256") for _ in range(40)]
    answers = [ask(limited_api.cell, token) for token in forged]
    assert {answer.status_code for answer in answers} == {401, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    problem(refused, 429, "rate_limited")
    assert int(refused.headers["retry-after"]) >= 1
    spoofed = {"Authorization": f"Bearer {forged[0]}", "X-Forwarded-For": "192.0.2.1"}
    statuses = [httpx.get(f"{limited_api.cell.url}{STATUS}", headers=spoofed).status_code for _ in range(5)]
    assert 429 in statuses
    assert ask(limited_api.cell, limited_api.token()).status_code == 200


def test_answers_tell_of_the_budget(limited_api: Any) -> None:
    token = limited_api.token()
    first, second = (ask(limited_api.cell, token) for _ in range(2))
    assert first.headers["ratelimit-policy"] == second.headers["ratelimit-policy"] == '"work";q=10;w=10'
    assert first.headers["ratelimit"] == '"work";r=9;t=1'
    assert second.headers["ratelimit"].startswith('"work";r=')
    dry = ask(limited_api.cell, token, "POST", SOLO_MADRE, json={"dry_run": True})
    assert dry.headers["ratelimit"] == '"solo_madre";r=99;t=1'
