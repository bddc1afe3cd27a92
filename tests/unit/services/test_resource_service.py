"""resource-service: open to everybody, or to who shows a token that auth-service accepts now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.services.conftest import Service, Start

USER = {"user": "demo", "password": "demo-only"}


@pytest.fixture
def pair(start: Start) -> tuple[Service, Service]:
    """auth-service and resource-service."""
    auth = start("auth_service.py")
    return auth, start("resource_service.py", env={"AUTH_SERVICE_URL": f"{auth.http.base_url}"})


def test_everybody_sees_what_is_public(pair: tuple[Service, Service]) -> None:
    assert pair[1].http.get("/public").json() == {"message": "This is for everybody."}


def test_a_token_opens_what_is_protected(pair: tuple[Service, Service]) -> None:
    auth, resource = pair
    token = auth.http.post("/token", json=USER).json()["token"]
    answer = resource.http.get("/protected", headers={"Authorization": f"Bearer {token}"})
    assert answer.json() == {"message": "This is for who is known.", "user": "demo"}


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer garbage"}, {"Authorization": "Basic ZGVtbzpkZW1v"}])
def test_without_a_token_it_stays_shut(pair: tuple[Service, Service], headers: dict[str, str]) -> None:
    answer = pair[1].http.get("/protected", headers=headers)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_a_token_is_checked_each_time(pair: tuple[Service, Service]) -> None:
    auth, resource = pair
    headers = {"Authorization": f"Bearer {auth.http.post('/token', json=USER).json()['token']}"}
    assert resource.http.get("/protected", headers=headers).status_code == 200
    assert auth.stop() == 0
    answer = resource.http.get("/protected", headers=headers)
    assert answer.status_code == 502
    assert "No token can be checked" in answer.json()["error"]
    assert resource.http.get("/public").status_code == 200
