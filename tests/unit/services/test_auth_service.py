"""auth-service: real tokens, and every way to get them wrong."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import httpx

    from tests.unit.services.conftest import Service, Start

USER = {"user": "demo", "password": "demo-only"}


def token_of(service: Service) -> str:
    return str(service.http.post("/token", json=USER).raise_for_status().json()["token"])


def verify(service: Service, token: str) -> httpx.Response:
    return service.http.get("/verify", headers={"Authorization": f"Bearer {token}"})


def test_a_token_is_issued_and_accepted(start: Start) -> None:
    service = start("auth_service.py", env={"AUTH_TOKEN_TTL": "120"})
    issued = service.http.post("/token", json=USER).json()
    assert issued["expires_in"] == 120
    answer = verify(service, issued["token"]).json()
    assert answer["user"] == "demo"
    left = datetime.fromisoformat(answer["expires_at"]) - datetime.now(UTC)
    assert 100 < left.total_seconds() <= 120


def test_the_user_is_configuration(start: Start) -> None:
    service = start("auth_service.py", env={"AUTH_USER": "zoë", "AUTH_PASSWORD": "pa:ss"})
    assert service.http.post("/token", json=USER).status_code == 401
    assert service.http.post("/token", json={"user": "zoë", "password": "pa:ss"}).status_code == 200


@pytest.mark.parametrize(
    "credentials",
    [{**USER, "user": "root"}, {**USER, "password": "demo"}, {**USER, "password": ""}, {**USER, "user": "\ud800"}],
)
def test_wrong_credentials_are_refused(start: Start, credentials: dict[str, str]) -> None:
    # Written by json.dumps: half a surrogate pair is legal in JSON, and httpx's own encoder would refuse it.
    answer = start("auth_service.py").http.post("/token", content=json.dumps(credentials))
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json() == {"error": "The user or the password is wrong."}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[" * 60_000, "not valid JSON"),
        (b"[]", "not an object"),
        (b'{"password": "demo"}', "'user' is missing"),
        (b'{"user": "demo", "password": 7}', "'password' is missing or is not text"),
    ],
)
def test_a_malformed_request_is_explained(start: Start, body: bytes, message: str) -> None:
    answer = start("auth_service.py").http.post("/token", content=body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


def test_a_token_expires(start: Start) -> None:
    service = start("auth_service.py", env={"AUTH_TOKEN_TTL": "0"})
    answer = verify(service, token_of(service))
    assert answer.status_code == 401
    assert "expired" in answer.json()["error"]


def test_a_token_with_other_claims_is_refused(start: Start) -> None:
    service = start("auth_service.py")
    signature = token_of(service).partition(".")[2]
    claims = base64.urlsafe_b64encode(json.dumps({"user": "root", "expires": 9e9}).encode()).decode()
    assert verify(service, f"{claims}.{signature}").status_code == 401


@pytest.mark.parametrize("token", ["garbage", ".", "a.b", "=.=", "..."])
def test_garbage_is_refused(start: Start, token: str) -> None:
    assert verify(start("auth_service.py"), token).status_code == 401


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic ZGVtbzpkZW1v"}, {"Authorization": "Bearer"}])
def test_without_a_token_it_says_what_to_send(start: Start, headers: dict[str, str]) -> None:
    answer = start("auth_service.py").http.get("/verify", headers=headers)
    assert answer.status_code == 401
    assert "Authorization: Bearer TOKEN" in answer.json()["error"]


def test_each_start_has_a_key_of_its_own(start: Start) -> None:
    token = token_of(start("auth_service.py"))
    assert verify(start("auth_service.py"), token).status_code == 401


def test_secrets_stay_out_of_the_log(start: Start) -> None:
    service = start("auth_service.py")
    token = token_of(service)
    verify(service, token)
    assert service.stop() == 0
    log = service.log.read_text()
    assert "POST /token" in log
    assert token not in log
    assert USER["password"] not in log


def test_a_wrong_lifetime_is_told(start: Start) -> None:
    service = start("auth_service.py", wait=False, env={"AUTH_TOKEN_TTL": "5m"})
    assert service.process.wait(5) == 1
    assert "AUTH_TOKEN_TTL is '5m'" in service.log.read_text()


def refresh(service: Service, token: object, **more: object) -> httpx.Response:
    return service.http.post("/refresh", json={"refresh_token": token, **more})


def test_a_refresh_token_gives_new_tokens(start: Start) -> None:
    service = start("auth_service.py", env={"AUTH_REFRESH_TTL": "1200"})
    first = service.http.post("/token", json=USER).json()
    assert first["refresh_expires_in"] == 1200
    second = refresh(service, first["refresh_token"]).json()
    assert set(second) == set(first)
    assert {second["token"], second["refresh_token"]}.isdisjoint({first["token"], first["refresh_token"]})
    assert verify(service, second["token"]).json()["user"] == "demo"
    assert verify(service, first["token"]).status_code == 200


def test_a_refresh_token_works_once(start: Start) -> None:
    service = start("auth_service.py")
    token = service.http.post("/token", json=USER).json()["refresh_token"]
    with ThreadPoolExecutor(10) as pool:
        answers = sorted(answer.status_code for answer in pool.map(refresh, [service] * 10, [token] * 10))
    assert answers == [200] + [401] * 9
    assert "used before" in refresh(service, token).json()["error"]


def test_a_refresh_token_ends(start: Start) -> None:
    service = start("auth_service.py", env={"AUTH_REFRESH_TTL": "0"})
    token = service.http.post("/token", json=USER).json()["refresh_token"]
    assert refresh(service, token).status_code == 401


def test_one_token_is_not_the_other(start: Start) -> None:
    service = start("auth_service.py")
    issued = service.http.post("/token", json=USER).json()
    assert refresh(service, issued["token"]).status_code == 401
    assert verify(service, issued["refresh_token"]).status_code == 401


def test_a_refresh_token_is_worth_something_where_it_was_issued(start: Start) -> None:
    token = start("auth_service.py").http.post("/token", json=USER).json()["refresh_token"]
    assert refresh(start("auth_service.py"), token).status_code == 401


@pytest.mark.parametrize("token", ["", "garbage", "\ud800"])
def test_what_is_no_refresh_token_is_refused(start: Start, token: str) -> None:
    # See above about half a surrogate pair.
    answer = start("auth_service.py").http.post("/refresh", content=json.dumps({"refresh_token": token}))
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(("wanted", "given"), [(0, 0), (0.5, 0.5), (119, 119), (120, 120), (121, 120), (1e300, 120)])
def test_a_lifetime_may_be_shorter_and_never_longer(start: Start, wanted: float, given: float) -> None:
    service = start("auth_service.py", env={"AUTH_TOKEN_TTL": "120"})
    issued = service.http.post("/token", json={**USER, "lifetime": wanted}).json()
    assert issued["expires_in"] == given
    assert refresh(service, issued["refresh_token"], lifetime=wanted).json()["expires_in"] == given
    assert verify(service, issued["token"]).status_code == (200 if given else 401)


@pytest.mark.parametrize("lifetime", ["-1", '"5"', "true", "null", "NaN"])
def test_a_lifetime_that_is_none_is_refused_and_uses_nothing_up(start: Start, lifetime: str) -> None:
    service = start("auth_service.py")
    token = service.http.post("/token", json=USER).json()["refresh_token"]
    answer = service.http.post("/refresh", content=f'{{"refresh_token": "{token}", "lifetime": {lifetime}}}')
    assert answer.status_code == 400
    assert "'lifetime'" in answer.json()["error"]
    assert refresh(service, token).status_code == 200
