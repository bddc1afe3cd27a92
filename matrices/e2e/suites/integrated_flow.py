"""TC-002: api-gateway answers through auth-service and cache, which are windows of their own."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

# The demo user of services/auth_service.py.
USER = {"user": "demo", "password": "demo-only"}
ROUNDS = 20
# How many primes there are below a number.
PRIMES = {0: 0, 2: 0, 3: 1, 10: 4, 1000: 168, 100_000: 9592}

Json = dict[str, Any]


@pytest.fixture
def gateway(window: Callable[[str], Any]) -> httpx.Client:
    """A client of the case's api-gateway."""
    client: httpx.Client = window("api-gateway").http
    return client


@pytest.fixture
def cache(window: Callable[[str], Any]) -> httpx.Client:
    """A client of the case's cache, which has no answer yet."""
    client: httpx.Client = window("cache").http
    for below in PRIMES:
        client.delete(entry(below)).raise_for_status()
    return client


@pytest.fixture
def headers(window: Callable[[str], Any]) -> dict[str, str]:
    """The headers of a request by the demo user."""
    token = window("auth-service").http.post("/token", json=USER).raise_for_status().json()["token"]
    return {"Authorization": f"Bearer {token}"}


def entry(below: int) -> str:
    """Where the gateway keeps an answer."""
    return f"/entries/primes-below-{below}"


def ask(gateway: httpx.Client, below: int, headers: dict[str, str]) -> Json:
    """What the gateway answers."""
    answer: Json = gateway.get("/primes", params={"below": below}, headers=headers).raise_for_status().json()
    return answer


def test_answers_are_right_and_kept(gateway: httpx.Client, cache: httpx.Client, headers: dict[str, str]) -> None:
    for kept in ("miss", "hit"):
        answers = {below: ask(gateway, below, headers) for below in PRIMES}
        assert {below: answer["count"] for below, answer in answers.items()} == PRIMES
        assert {(answer["user"], answer["cache"]) for answer in answers.values()} == {(USER["user"], kept)}
    assert {below: cache.get(entry(below)).json()["value"] for below in PRIMES} == PRIMES


def test_a_kept_answer_is_for_nobody_without_a_token(
    gateway: httpx.Client, cache: httpx.Client, headers: dict[str, str]
) -> None:
    ask(gateway, 1000, headers)
    for authorization in ({}, {"Authorization": "Bearer garbage"}, {"Authorization": f"{headers['Authorization']}x"}):
        assert gateway.get("/primes", params={"below": 1000}, headers=authorization).status_code == 401


def test_a_hop_is_quick(
    gateway: httpx.Client,
    cache: httpx.Client,
    headers: dict[str, str],
    observe: Callable[..., None],
    metric: Callable[..., None],
) -> None:
    hops: list[float] = []
    trips: list[float] = []
    begun = time.perf_counter()
    for _ in range(ROUNDS):
        sent = time.perf_counter()
        hops += ask(gateway, 1000, headers)["hops_ms"]
        trips.append((time.perf_counter() - sent) * 1000)
    took_s = time.perf_counter() - begun
    observe("inter_service_latency_ms", statistics.median(hops), "ms")
    metric("cross_service_rtt", statistics.median(trips), "ms")
    metric("network_iops", (len(trips) + len(hops)) / took_s, "1/s")
    # Each asks auth-service and the cache; the first also fills it.
    assert len(hops) == 2 * ROUNDS + 1
