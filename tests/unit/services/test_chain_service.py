"""chain_service: a chain that is asked to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.services.conftest import Service, Start

PROGRAM = "chain_service.py"


def above(start: Start, name: str, below: Service, below_name: str) -> Service:
    url = {f"{below_name.upper().replace('-', '_')}_URL": f"{below.http.base_url}"}
    return start(PROGRAM, "--name", name, "--below", below_name, env=url)


@pytest.fixture
def chain(start: Start) -> list[Service]:
    """service-c, service-b, service-a."""
    a = start(PROGRAM, "--name", "service-a")
    b = above(start, "service-b", a, "service-a")
    return [above(start, "service-c", b, "service-b"), b, a]


def test_each_asks_the_one_below(chain: list[Service]) -> None:
    identities = [service.http.get("/identity").json() for service in chain]
    assert [identity["service"] for identity in identities] == ["service-c", "service-b", "service-a"]
    assert len({identity["instance"] for identity in identities}) == 3
    for top, service in enumerate(chain):
        assert service.http.get("/chain").json() == {"chain": identities[top:]}


@pytest.mark.parametrize(("gone", "named"), [(1, "service-b"), (2, "service-a")])
def test_a_broken_chain_is_told(chain: list[Service], gone: int, named: str) -> None:
    assert chain[gone].stop() == 0
    answer = chain[0].http.get("/chain")
    assert answer.status_code == 502
    assert f"{named} did not answer" in answer.json()["error"]


def test_the_one_below_has_to_be_known(start: Start) -> None:
    service = start(PROGRAM, "--name", "service-b", "--below", "service-a", wait=False)
    assert service.process.wait(5) == 1
    assert "SERVICE_A_URL is not set" in service.log.read_text()


def test_without_a_name_it_shows_its_usage(start: Start) -> None:
    service = start(PROGRAM, wait=False)
    assert service.process.wait(5) == 2
    assert "--name" in service.log.read_text()
