"""api-gateway: answers through its peers, and what happens when one is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from tests.unit.services.conftest import Service, Start

USER = {"user": "demo", "password": "demo-only"}


class Trio:
    """The gateway and its two peers, each a process."""

    def __init__(self, start: Start) -> None:
        self.auth, self.cache = start("auth_service.py"), start("cache.py")
        urls = {"AUTH_SERVICE_URL": f"{self.auth.http.base_url}", "CACHE_URL": f"{self.cache.http.base_url}"}
        self.gateway: Service = start("api_gateway.py", env=urls)
        token = self.auth.http.post("/token", json=USER).json()["token"]
        self.headers = {"Authorization": f"Bearer {token}"}

    def ask(self, below: object = 100) -> httpx.Response:
        return self.gateway.http.get(f"/primes?below={below}", headers=self.headers)


@pytest.fixture
def trio(start: Start) -> Trio:
    return Trio(start)


def test_an_answer_is_worked_out_once(trio: Trio) -> None:
    first, second = trio.ask().json(), trio.ask().json()
    assert (first["user"], first["count"], first["cache"]) == ("demo", 25, "miss")
    assert (second["user"], second["count"], second["cache"]) == ("demo", 25, "hit")
    assert (len(first["hops_ms"]), len(second["hops_ms"])) == (3, 2)
    assert all(0 < hop < 5000 for hop in first["hops_ms"])
    assert trio.cache.http.get("/entries/primes-below-100").json()["value"] == 25


@pytest.mark.parametrize(
    ("below", "count"), [(0, 0), (1, 0), (2, 0), (3, 1), (4, 2), (10, 4), (25, 9), (100_000, 9592)]
)
def test_primes_are_counted(trio: Trio, below: int, count: int) -> None:
    assert trio.ask(below).json()["count"] == count


@pytest.mark.parametrize("below", ["", "-1", "x", "1e3", "100001", "1" * 5000])
def test_a_wrong_number_is_refused(trio: Trio, below: str) -> None:
    answer = trio.ask(below)
    assert answer.status_code == 400
    assert "at most 100000" in answer.json()["error"]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer garbage"}])
def test_without_a_token_a_kept_answer_is_not_given(trio: Trio, headers: dict[str, str]) -> None:
    trio.ask()
    answer = trio.gateway.http.get("/primes?below=100", headers=headers)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert "count" not in answer.json()


def test_without_a_cache_it_answers_all_the_same(trio: Trio) -> None:
    trio.ask()
    assert trio.cache.stop() == 0
    answer = trio.ask().json()
    assert (answer["count"], answer["cache"]) == (25, "unavailable")


def test_without_auth_service_nobody_is_let_in(trio: Trio) -> None:
    assert trio.auth.stop() == 0
    answer = trio.ask()
    assert answer.status_code == 502
    assert "auth-service did not answer" in answer.json()["error"]


def test_a_peer_that_speaks_something_else_is_told(start: Start) -> None:
    # Its 404 for GET /verify is JSON, and no user.
    other = f"{start('cache.py').http.base_url}"
    gateway = start("api_gateway.py", env={"AUTH_SERVICE_URL": other, "CACHE_URL": other})
    assert gateway.http.get("/primes?below=5").status_code == 401


@pytest.mark.parametrize("missing", ["AUTH_SERVICE_URL", "CACHE_URL"])
def test_a_peer_that_nobody_told_of_is_named(start: Start, missing: str) -> None:
    urls = {"AUTH_SERVICE_URL": "http://127.0.0.1:9", "CACHE_URL": "http://127.0.0.1:9", missing: ""}
    service = start("api_gateway.py", wait=False, env=urls)
    assert service.process.wait(5) == 1
    assert f"{missing} is not set" in service.log.read_text()
