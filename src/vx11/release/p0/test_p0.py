"""What has to hold of a host before anything else: `VX11_URL=… VX11_TOKEN=… pytest test_p0.py`.

The token has power:read, system:write and operator:chat. Nothing is opened and nothing is closed.
"""

import os
from collections.abc import Iterator

import httpx
import pytest


@pytest.fixture
def entry() -> Iterator[httpx.Client]:
    """The host's only port."""
    with httpx.Client(base_url=os.environ["VX11_URL"], trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture
def headers() -> dict[str, str]:
    """Those of somebody who may ask."""
    return {"Authorization": f"Bearer {os.environ['VX11_TOKEN']}"}


def test_the_entry_is_alive(entry: httpx.Client) -> None:
    """GET /health needs no token."""
    answer = entry.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_without_a_token_nothing_is_told(entry: httpx.Client) -> None:
    """All else needs one."""
    assert entry.get("/api/v1/windows/status").status_code == 401


def test_what_is_not_allowed_is_denied(entry: httpx.Client, headers: dict[str, str]) -> None:
    """Endpoints that the policy does not name."""
    assert entry.get("/api/v1/windows/never", headers=headers).status_code in (403, 404)


def test_a_watchdog_is_alive(entry: httpx.Client, headers: dict[str, str]) -> None:
    """The second enforcer."""
    assert entry.get("/api/v1/windows/status", headers=headers).json()["watchdog"] is True


def test_only_the_core_runs(entry: httpx.Client, headers: dict[str, str]) -> None:
    """SOLO_MADRE, as madre proves it."""
    answer = entry.post("/api/v1/system/solo_madre", json={"dry_run": True}, headers=headers)
    assert answer.json()["solo_madre"] is True


def test_the_operator_is_answered(entry: httpx.Client, headers: dict[str, str]) -> None:
    """Also when no language service is open."""
    answer = entry.post("/operator/api/chat", json={"message": "What is open?"}, headers=headers)
    assert answer.status_code == 200
    assert (answer.json()["degraded"], answer.json()["fallback_source"]) == (True, "local_llm_degraded")
