"""legacy-api-v1 and modern-api-v2: two generations of an API on one store."""

from __future__ import annotations

import json
import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from tests.unit.services.conftest import Service, Start

BOLT = {"name": "bolt", "quantity": 3}
WRONG = [
    {},
    {"name": "bolt"},
    {"quantity": 3},
    {"name": "", "quantity": 3},
    {"name": 1, "quantity": 3},
    {"name": "x" * 201, "quantity": 3},
    {"name": "\ud800", "quantity": 3},
    {"name": "bolt", "quantity": -1},
    {"name": "bolt", "quantity": True},
    {"name": "bolt", "quantity": 1.5},
    {"name": "bolt", "quantity": 2**53},
]


@pytest.fixture
def legacy(start: Start, tmp_path: Path) -> Service:
    return start("legacy_api_v1.py", "--data", tmp_path)


@pytest.fixture
def modern(start: Start, tmp_path: Path) -> Service:
    return start("modern_api_v2.py", "--data", tmp_path)


@pytest.fixture(params=["legacy", "modern"])
def either(request: pytest.FixtureRequest) -> httpx.Client:
    """A client of each, for what both have."""
    service: Service = request.getfixturevalue(request.param)
    return service.http


def add(api: httpx.Client, **item: Any) -> int:
    return int(api.post("/v1/items", json={**BOLT, **item}).raise_for_status().json()["id"])


def test_the_life_of_an_item(either: httpx.Client) -> None:
    number = add(either)
    assert either.get(f"/v1/items/{number}").json() == {"id": number, **BOLT}
    changed = either.put(f"/v1/items/{number}", json={"name": "nut", "quantity": 0})
    assert changed.json() == {"id": number, "name": "nut", "quantity": 0}
    assert either.get("/v1/items").json() == {"items": [changed.json()]}
    assert either.delete(f"/v1/items/{number}").json() == {"deleted": number}
    assert either.get(f"/v1/items/{number}").status_code == 404
    assert either.delete(f"/v1/items/{number}").status_code == 404
    assert either.get("/v1/items").json() == {"items": []}


def test_an_id_is_never_used_again(either: httpx.Client) -> None:
    first = add(either)
    either.delete(f"/v1/items/{first}")
    assert add(either) > first


@pytest.mark.parametrize("body", WRONG)
def test_what_is_no_item_is_refused(either: httpx.Client, body: dict[str, Any]) -> None:
    number = add(either)
    assert either.post("/v1/items", content=json.dumps(body)).status_code == 400
    assert either.put(f"/v1/items/{number}", content=json.dumps(body)).status_code == 400
    assert either.get("/v1/items").json() == {"items": [{"id": number, **BOLT}]}


@pytest.mark.parametrize("name", ["", "one", "-1", "1.0", "9" * 16])
def test_what_is_no_id_is_refused(either: httpx.Client, name: str) -> None:
    assert either.get(f"/v1/items/{name}").status_code == 400


def test_pages_show_each_item_once(modern: Service) -> None:
    numbers = [add(modern.http) for _ in range(5)]
    first = modern.http.get("/v2/items", params={"limit": 2}).json()
    second = modern.http.get("/v2/items", params={"limit": 2, "after": first["next"]}).json()
    third = modern.http.get("/v2/items", params={"limit": 2, "after": second["next"]}).json()
    assert [item["id"] for page in (first, second, third) for item in page["items"]] == numbers
    assert third["next"] is None
    assert modern.http.get("/v2/items", params={"limit": 5}).json()["next"] is None


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "after=-1"])
def test_a_wrong_page_is_refused(modern: Service, query: str) -> None:
    answer = modern.http.get(f"/v2/items?{query}")
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["error"]


@pytest.mark.parametrize("change", [{"name": "nut"}, {"quantity": 9}, {"name": "nut", "quantity": 9}])
def test_a_part_can_be_changed(modern: Service, change: dict[str, Any]) -> None:
    number = add(modern.http)
    answer = modern.http.patch(f"/v2/items/{number}", json=change)
    assert answer.json() == {"id": number, **BOLT, **change, "revision": 2}
    assert modern.http.get(f"/v2/items/{number}").json() == answer.json()


@pytest.mark.parametrize("change", [{}, {"color": "red"}, {"name": ""}, {"quantity": -1}, {"name": None}])
def test_a_wrong_change_is_refused(modern: Service, change: dict[str, Any]) -> None:
    number = add(modern.http)
    assert modern.http.patch(f"/v2/items/{number}", json=change).status_code == 400
    assert modern.http.get(f"/v2/items/{number}").json()["revision"] == 1


def test_a_change_for_a_revision_that_is_past_is_refused(modern: Service) -> None:
    number = add(modern.http)
    answers = [
        modern.http.patch(f"/v2/items/{number}", json={"quantity": 9}, headers={"If-Match": revision})
        for revision in ("1", "1", "2", "new")
    ]
    assert [answer.status_code for answer in answers] == [200, 412, 200, 400]
    assert "revision 2, not 1" in answers[1].json()["error"]
    assert modern.http.patch("/v2/items/999", json={"quantity": 9}).status_code == 404


def test_the_first_generation_has_nothing_of_the_second(legacy: Service) -> None:
    assert legacy.http.get("/v2/items").status_code == 404


def test_each_reads_at_once_what_the_other_wrote(legacy: Service, modern: Service) -> None:
    number = add(legacy.http)
    assert modern.http.get(f"/v2/items/{number}").json() == {"id": number, **BOLT, "revision": 1}
    modern.http.patch(f"/v2/items/{number}", json={"quantity": 7})
    assert legacy.http.get(f"/v1/items/{number}").json() == {"id": number, "name": "bolt", "quantity": 7}


def test_they_may_write_at_the_same_time(legacy: Service, modern: Service) -> None:
    with ThreadPoolExecutor(8) as writers:
        numbers = list(writers.map(lambda n: add((legacy, modern)[n % 2].http, quantity=n), range(60)))
    expected = sorted(({"id": number, "name": "bolt", "quantity": n} for n, number in enumerate(numbers)), key=by_id)
    assert legacy.http.get("/v1/items").json() == {"items": expected}
    assert modern.http.get("/v1/items").json() == {"items": expected}


def by_id(item: dict[str, Any]) -> int:
    return int(item["id"])


def test_they_may_start_at_the_same_time(start: Start, tmp_path: Path) -> None:
    programs = ("legacy_api_v1.py", "modern_api_v2.py")
    for turn in range(3):
        both = [start(program, "--data", tmp_path / str(turn), wait=False) for program in programs]
        for service in both:
            service.wait_until_healthy()
        number = add(both[0].http)
        assert both[1].http.get(f"/v2/items/{number}").status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_items_outlive_the_service(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    first = start("legacy_api_v1.py", "--data", tmp_path)
    item = add(first.http)
    first.stop(number)
    assert start("modern_api_v2.py", "--data", tmp_path).http.get(f"/v1/items/{item}").json() == {"id": item, **BOLT}
    with closing(sqlite3.connect(tmp_path / "items.sqlite3")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("program", ["legacy_api_v1.py", "modern_api_v2.py"])
def test_a_folder_that_cannot_be_used_is_told(start: Start, tmp_path: Path, program: str) -> None:
    (tmp_path / "file").touch()
    service = start(program, "--data", tmp_path / "file", wait=False)
    assert service.process.wait(5) == 1
    assert "Give --data a folder" in service.log.read_text()


def test_keeps_deleted_only_says_so(start: Start, tmp_path: Path) -> None:
    api = start("legacy_api_v1.py", "--data", tmp_path, env={"BUG": "keeps_deleted"}).http
    number = add(api)
    assert api.delete(f"/v1/items/{number}").json() == {"deleted": number}
    assert api.get(f"/v1/items/{number}").status_code == 200


def test_one_page_never_goes_on(start: Start, tmp_path: Path) -> None:
    api = start("modern_api_v2.py", "--data", tmp_path, env={"BUG": "one_page"}).http
    numbers = [add(api) for _ in range(3)]
    page = api.get("/v2/items", params={"after": numbers[1], "limit": 1}).json()
    assert [item["id"] for item in page["items"]] == numbers[:1]


def test_stale_reads_miss_what_others_write(start: Start, legacy: Service, tmp_path: Path) -> None:
    api = start("modern_api_v2.py", "--data", tmp_path, env={"BUG": "stale_reads"}).http
    number = add(api)
    assert api.get(f"/v2/items/{number}").json()["quantity"] == 3
    legacy.http.put(f"/v1/items/{number}", json={"name": "bolt", "quantity": 9})
    assert api.get(f"/v2/items/{number}").json()["quantity"] == 3
    api.patch(f"/v2/items/{number}", json={"name": "nut"})
    assert api.get(f"/v2/items/{number}").json() == {"id": number, "name": "nut", "quantity": 9, "revision": 3}
