"""auth-service: real tokens, and every way to get them wrong."""

from __future__ import annotations

import base64
import json
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
