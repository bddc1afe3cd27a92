"""TC-008: tokens of auth-service open resource-service, for as long as they live, and are renewed once each."""

import base64
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

# The demo user of services/auth_service.py.
USER = {"user": "demo", "password": "demo-only"}
SAMPLES = 15
# A busy machine may take longer for two requests than a token lives; then it gets one that lives longer.
LIFETIMES_S = (0.4, 1.0, 4.0)
FOREVER_S = 10_000_000

Json = dict[str, Any]


@pytest.fixture
def auth(window: Callable[[str], Any]) -> httpx.Client:
    """A client of the case's auth-service."""
    client: httpx.Client = window("auth-service").http
    return client


@pytest.fixture
def resource(window: Callable[[str], Any]) -> httpx.Client:
    """A client of the case's resource-service."""
    client: httpx.Client = window("resource-service").http
    return client


def issued(auth: httpx.Client, **more: Any) -> Json:
    """What auth-service gives the demo user."""
    answer: Json = auth.post("/token", json={**USER, **more}).raise_for_status().json()
    return answer


def refreshed(auth: httpx.Client, refresh_token: str) -> httpx.Response:
    """What auth-service says to a refresh token."""
    return auth.post("/refresh", json={"refresh_token": refresh_token})


def shown(service: httpx.Client, path: str, token: str | None) -> int:
    """The status of a request with a token, or with none."""
    return service.get(path, headers={} if token is None else {"Authorization": f"Bearer {token}"}).status_code


def milliseconds(service: httpx.Client, path: str, method: str = "GET", **more: Any) -> float:
    """How long a request takes that succeeds."""
    return service.request(method, path, **more).raise_for_status().elapsed.total_seconds() * 1000


def worthless(token: str) -> dict[str, str | None]:
    """What is no token of the demo user, or not the one that was issued."""
    payload, _, signature = token.partition(".")
    claims = json.loads(base64.urlsafe_b64decode(payload))
    other = base64.urlsafe_b64encode(json.dumps({**claims, "user": "root"}).encode()).decode()
    return {
        "no token": None,
        "garbage": "garbage",
        "another user, old signature": f"{other}.{signature}",
        "no signature": f"{payload}.",
        "another signature": f"{payload}.{base64.urlsafe_b64encode(bytes(32)).decode()}",
    }


@pytest.mark.step("get_token")
def test_who_knows_the_password_gets_a_token(auth: httpx.Client, metric: Callable[..., None]) -> None:
    times = [milliseconds(auth, "/token", "POST", json=USER) for _ in range(SAMPLES)]
    metric("token_issue_time_ms", statistics.median(times), "ms")
    usual, longer, shorter = issued(auth), issued(auth, lifetime=FOREVER_S), issued(auth, lifetime=1)
    assert usual["token"] != longer["token"]
    assert (longer["expires_in"], shorter["expires_in"]) == (usual["expires_in"], 1)
    assert auth.post("/token", json={**USER, "password": "wrong"}).status_code == 401


@pytest.mark.step("access_protected_resource")
def test_a_token_opens_what_is_protected(
    auth: httpx.Client, resource: httpx.Client, observe: Callable[..., None], metric: Callable[..., None]
) -> None:
    token = issued(auth)["token"]
    accepted = (shown(auth, "/verify", token), shown(resource, "/protected", token))
    tried = worthless(token)
    refused = {name: (shown(auth, "/verify", bad), shown(resource, "/protected", bad)) for name, bad in tried.items()}
    observe("token_validity_enforced", accepted == (200, 200) and set(refused.values()) == {(401, 401)})
    assert accepted == (200, 200)
    assert refused == dict.fromkeys(tried, (401, 401))

    headers = {"Authorization": f"Bearer {token}"}
    pairs = [
        (milliseconds(resource, "/public"), milliseconds(resource, "/protected", headers=headers))
        for _ in range(SAMPLES)
    ]
    # What else the machine does only ever adds, so the least of many tells the two apart.
    quickest_open, quickest_guarded = (min(times) for times in zip(*pairs, strict=True))
    metric("auth_overhead_ms", quickest_guarded - quickest_open, "ms")


@pytest.mark.step("token_expiry")
def test_a_token_ends(
    auth: httpx.Client, resource: httpx.Client, observe: Callable[..., None], time_scale: float
) -> None:
    for lifetime in LIFETIMES_S:
        token = issued(auth, lifetime=lifetime * time_scale)["token"]
        ends = time.monotonic() + lifetime * time_scale
        alive = (shown(auth, "/verify", token), shown(resource, "/protected", token))
        if time.monotonic() < ends:
            break
    time.sleep(max(0.0, ends - time.monotonic()))
    ended = (shown(auth, "/verify", token), shown(resource, "/protected", token))
    observe("expired_token_rejected", (alive, ended) == ((200, 200), (401, 401)))
    assert (alive, ended) == ((200, 200), (401, 401))


@pytest.mark.step("refresh_flow")
def test_a_refresh_token_works_once(auth: httpx.Client, resource: httpx.Client, observe: Callable[..., None]) -> None:
    first = issued(auth)
    renewed = refreshed(auth, first["refresh_token"])
    second = renewed.json()
    again = refreshed(auth, first["refresh_token"]).status_code
    accepted = renewed.status_code == 200 and shown(resource, "/protected", second["token"]) == 200
    goes_on = renewed.status_code == 200 and refreshed(auth, second["refresh_token"]).status_code == 200
    unknown = refreshed(auth, "garbage").status_code
    observe("refresh_works", accepted and goes_on and (again, unknown) == (401, 401))
    assert renewed.status_code == 200, renewed.text
    assert second["token"] != first["token"]
    assert (accepted, goes_on) == (True, True)
    assert (again, unknown) == (401, 401), "a refresh token worked twice"
