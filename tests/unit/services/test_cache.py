"""cache: values for a while, in a bounded memory."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.unit.services.conftest import Service, Start

PROGRAM = "cache.py"
# Each of these entries takes ten bytes: the key one, the value, as JSON text, nine.
VALUE = "sevenab"
SIZE = 10


def put(service: Service, key: str, value: object = VALUE, **more: Any) -> httpx.Response:
    return service.http.put(f"/entries/{key}", json={"value": value, **more})


def has(service: Service, key: str) -> bool:
    return service.http.get(f"/entries/{key}").status_code == 200


def stats(service: Service) -> dict[str, int]:
    found: dict[str, int] = service.http.get("/stats").json()
    return found


@pytest.mark.parametrize("value", [None, False, 7, 1.5, "text", "ö\ud800", [1, [2]], {"a": {}}])
def test_any_json_is_kept(start: Start, value: object) -> None:
    service = start(PROGRAM)
    # Written by json.dumps: half a surrogate pair is legal in JSON, and httpx's own encoder would refuse it.
    assert service.http.put("/entries/x", content=json.dumps({"value": value})).json()["expires_in"] == 60
    found = service.http.get("/entries/x").json()
    assert (found["key"], found["value"]) == ("x", value)
    assert 50 < found["expires_in"] <= 60


@pytest.mark.parametrize("key", ["a.b-c_d", "with%20space", "%2Fslash", "caf%C3%A9", "x%00"])
def test_a_key_is_any_text(start: Start, key: str) -> None:
    service = start(PROGRAM)
    assert put(service, key).status_code == 200
    assert has(service, key)
    assert not has(service, "other")


def test_what_is_deleted_is_gone(start: Start) -> None:
    service = start(PROGRAM)
    put(service, "x")
    assert [service.http.delete("/entries/x").json() for _ in range(2)] == [{"deleted": True}, {"deleted": False}]
    assert not has(service, "x")
    assert stats(service)["bytes"] == 0


def test_a_value_ends(start: Start, eventually: Callable[..., Any]) -> None:
    service = start(PROGRAM)
    put(service, "short", ttl=0.05)
    put(service, "long")
    eventually(lambda: not has(service, "short"))
    assert has(service, "long")
    assert stats(service) | {"misses": 0, "hits": 0} == {
        "entries": 1, "bytes": 13, "limit": 4194304, "hits": 0, "misses": 0, "evicted": 0, "expired": 1,
    }  # fmt: skip


def test_a_later_value_is_in_the_place_of_the_earlier(start: Start) -> None:
    service = start(PROGRAM)
    put(service, "x", ttl=0.001)
    put(service, "x", "other")
    assert service.http.get("/entries/x").json()["value"] == "other"
    assert stats(service)["bytes"] == len("x") + len('"other"')


def test_what_was_not_used_for_longest_makes_room(start: Start) -> None:
    service = start(PROGRAM, env={"CACHE_MEMORY": str(3 * SIZE)})
    for key in "abc":
        put(service, key)
    assert has(service, "a")
    put(service, "d")
    assert {key: has(service, key) for key in "abcd"} == {"a": True, "b": False, "c": True, "d": True}
    assert (stats(service)["bytes"], stats(service)["evicted"]) == (3 * SIZE, 1)


def test_what_has_ended_makes_room_first(start: Start, eventually: Callable[..., Any]) -> None:
    service = start(PROGRAM, env={"CACHE_MEMORY": str(3 * SIZE)})
    put(service, "a")
    put(service, "b", ttl=0.05)
    put(service, "c", ttl=0.05)
    eventually(lambda: not has(service, "c"))
    put(service, "d")
    put(service, "e")
    assert {key: has(service, key) for key in "ade"} == {"a": True, "d": True, "e": True}
    assert stats(service)["evicted"] == 0


def test_what_does_not_fit_is_refused_and_costs_nothing(start: Start) -> None:
    service = start(PROGRAM, env={"CACHE_MEMORY": str(SIZE)})
    put(service, "a")
    answer = put(service, "b", VALUE + "x")
    assert answer.status_code == 413
    assert "11 bytes" in answer.json()["error"]
    assert has(service, "a")


def test_many_clients_at_once_keep_the_books_right(start: Start) -> None:
    service = start(PROGRAM, env={"CACHE_MEMORY": str(5 * SIZE)})
    keys = "abcdefghij" * 10
    with ThreadPoolExecutor(10) as pool:
        assert {answer.status_code for answer in pool.map(lambda key: put(service, key), keys)} == {200}
    assert (stats(service)["entries"], stats(service)["bytes"]) == (5, 5 * SIZE)


@pytest.mark.parametrize(
    "body",
    [
        *("{}", '{"value": 1, "ttl": 0}', '{"value": 1, "ttl": -1}', '{"value": 1, "ttl": "5"}'),
        *('{"value": 1, "ttl": true}', '{"value": 1, "ttl": NaN}', '{"value": 1, "ttl": Infinity}'),
    ],
)
def test_a_malformed_request_is_explained(start: Start, body: str) -> None:
    answer = start(PROGRAM).http.put("/entries/x", content=body)
    assert answer.status_code == 400
    assert "The field '" in answer.json()["error"]


def test_without_a_key_there_is_nothing(start: Start) -> None:
    assert start(PROGRAM).http.get("/entries/").status_code == 404
