"""TC-001: auth-service gives tokens to who knows the password, accepts its own tokens, and refuses all else."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

# The demo user of services/auth_service.py.
USER = {"user": "demo", "password": "demo-only"}
CLOCK_TOLERANCE_S = 5.0


@pytest.fixture
def auth(window: Callable[[str], Any]) -> httpx.Client:
    """A client of the case's auth-service."""
    client: httpx.Client = window("auth-service").http
    return client


@pytest.fixture
def token(auth: httpx.Client) -> str:
    """A token of the demo user."""
    return str(auth.post("/token", json=USER).raise_for_status().json()["token"])


def verify(auth: httpx.Client, authorization: str) -> httpx.Response:
    """Asks the service whose token it is."""
    return auth.get("/verify", headers={"Authorization": authorization})


def test_it_is_healthy(auth: httpx.Client) -> None:
    answer = auth.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_the_right_password_gets_a_token(auth: httpx.Client) -> None:
    answer = auth.post("/token", json=USER)
    assert answer.status_code == 200, answer.text
    assert answer.json()["token"]
    assert answer.json()["expires_in"] > 0


def test_a_token_says_who_and_until_when(auth: httpx.Client) -> None:
    issued = auth.post("/token", json=USER).json()
    answer = verify(auth, f"Bearer {issued['token']}")
    assert answer.status_code == 200, answer.text
    assert answer.json()["user"] == USER["user"]
    left_s = (datetime.fromisoformat(answer.json()["expires_at"]) - datetime.now(UTC)).total_seconds()
    assert left_s == pytest.approx(issued["expires_in"], abs=CLOCK_TOLERANCE_S)


@pytest.mark.parametrize(
    "credentials",
    [
        {**USER, "password": "wrong"},
        {**USER, "password": ""},
        {**USER, "user": "nobody"},
        {"user": USER["password"], "password": USER["user"]},
    ],
    ids=["wrong password", "empty password", "unknown user", "swapped"],
)
def test_wrong_credentials_get_none(auth: httpx.Client, credentials: dict[str, str]) -> None:
    answer = auth.post("/token", json=credentials)
    assert answer.status_code == 401, answer.text
    assert "token" not in answer.json()


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer garbage", "Bearer a.b", "Basic ZGVtbzpkZW1v"])
def test_what_is_no_token_is_refused(auth: httpx.Client, authorization: str) -> None:
    assert verify(auth, authorization).status_code == 401


@pytest.mark.parametrize("position", [0, -2], ids=["what it says", "its signature"])
def test_a_changed_token_is_refused(auth: httpx.Client, token: str, position: int) -> None:
    changed = list(token)
    changed[position] = "A" if token[position] != "A" else "B"
    assert verify(auth, f"Bearer {''.join(changed)}").status_code == 401


@pytest.mark.parametrize("body", ["", "{", "[]", '{"user": "demo"}', '{"user": "demo", "password": 1}'])
def test_a_malformed_request_is_told_so(auth: httpx.Client, body: str) -> None:
    answer = auth.post("/token", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]


def test_there_is_nothing_else(auth: httpx.Client) -> None:
    assert auth.get("/admin").status_code == 404


@pytest.mark.parametrize(("method", "path"), [("GET", "/token"), ("POST", "/verify")])
def test_a_wrong_method_is_refused(auth: httpx.Client, method: str, path: str) -> None:
    assert auth.request(method, path).status_code == 405
