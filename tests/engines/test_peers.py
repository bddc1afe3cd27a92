"""Services find each other by the addresses that are put into their environment."""

import copy
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

ASKS = """
import os, time, urllib.request
while True:
    try:
        answer = urllib.request.urlopen(os.environ['FIRST_WEB_URL'] + '/health', timeout=2)
        print('peer says', answer.read().decode(), flush=True)
        time.sleep(60)
    except OSError as error:
        print('not yet', error, flush=True)
        time.sleep(0.05)
"""
SHOWS = """
import json, os, time
print(json.dumps(dict(os.environ)), flush=True)
time.sleep(60)
"""


@pytest.fixture
def pair(bench: Any, web: dict[str, Any], make_entry: Callable[..., Any]) -> tuple[Any, Any]:
    """A web service, and one that asks it."""
    asking = make_entry(ASKS, vx11={"peers": ["first-web"]})
    services = bench.services({"first-web": web, "asking": asking})
    return services["first-web"], services["asking"]


def test_a_peer_that_runs_already_is_reached(bench: Any, pair: tuple[Any, Any], eventually: Callable[..., Any]) -> None:
    first, asking = pair
    up = bench.start(first)
    eventually(lambda: [line for line in bench.lines(up) if "listens on" in line])
    started = bench.start(asking, peers=[first])
    assert json.loads(bench.says(started, "peer says").removeprefix("peer says ")) == {"status": "ok"}


def test_a_peer_that_starts_later_is_reached(bench: Any, pair: tuple[Any, Any]) -> None:
    first, asking = pair
    started = bench.start(asking, peers=[first])
    bench.says(started, "not yet")
    bench.start(first)
    bench.says(started, "peer says")


def test_a_peer_is_reached_again_after_it_was_reopened(bench: Any, pair: tuple[Any, Any]) -> None:
    first, asking = pair
    bench.remove(bench.start(first))
    started = bench.start(asking, peers=[first])
    bench.start(first)
    bench.says(started, "peer says")


def test_a_service_keeps_its_address(process_bench: Any, web: dict[str, Any]) -> None:
    service = process_bench.service(web)
    first = process_bench.start(service)
    process_bench.remove(first)
    assert process_bench.start(service).running.ports == first.running.ports


def test_a_later_madre_knows_the_addresses(
    process_bench: Any, web: dict[str, Any], make_entry: Callable[..., Any]
) -> None:
    services = process_bench.services({"web": web, "asking": make_entry(SHOWS, vx11={"peers": ["web"]})})
    up = process_bench.start(services["web"])
    later = copy.copy(process_bench)
    later.engine = process_bench.later_engine()
    started = later.start(services["asking"], peers=[services["web"]])
    assert later.tells(started)["WEB_URL"] == up.url


def test_an_address_that_another_program_took_is_given_up(process_bench: Any, web: dict[str, Any]) -> None:
    service = process_bench.service(web)
    first = process_bench.start(service)
    process_bench.remove(first)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", first.running.ports[8080]))
        taken.listen()
        assert process_bench.start(service).running.ports != first.running.ports


def test_the_process_engine_says_which_port_to_listen_on(process_bench: Any, make_entry: Callable[..., Any]) -> None:
    started = process_bench.start(process_bench.service(make_entry(SHOWS, ports=["8080", "9090"])))
    assert process_bench.tells(started)["PORT"] == str(started.running.ports[8080])
    assert len(set(started.running.ports.values())) == 2
