"""TC-010: both generations of the API work side by side on one store; the second has what the first has, and more.

Each test leaves the store without the items that it made. Each works with the generation that it is about, and tidies
up with the second one, so that an observation is false for its own reason alone.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

LEGACY = "legacy-api-v1"
MODERN = "modern-api-v2"
ABSENT = 2**40
SAMPLES = 31
PAGED = 7
PAGE = 3
WRITERS = 4
EACH = 8

Json = dict[str, Any]
Answer = tuple[int, Json]


@pytest.fixture
def v1(window: Callable[[str], Any]) -> httpx.Client:
    """A client of the first generation."""
    client: httpx.Client = window(LEGACY).http
    return client


@pytest.fixture
def v2(window: Callable[[str], Any]) -> httpx.Client:
    """A client of the second one."""
    client: httpx.Client = window(MODERN).http
    return client


@pytest.fixture(autouse=True)
def tidied(v2: httpx.Client) -> Iterator[None]:
    """The store has no more items after a test than before."""
    before = {item["id"] for item in v2.get("/v1/items").json()["items"]}
    yield
    for item in v2.get("/v1/items").json()["items"]:
        if item["id"] not in before:
            v2.delete(f"/v1/items/{item['id']}")


def add(api: httpx.Client, name: str = "bolt", quantity: int = 1) -> int:
    """Makes an item; answers its id."""
    return int(api.post("/v1/items", json={"name": name, "quantity": quantity}).raise_for_status().json()["id"])


@dataclass(frozen=True)
class Operation:
    """A request of the first generation, and what it has to answer.

    Attributes:
        ask: sends it; is given the client and the id of an item that is there, a bolt of quantity 1.
        answers: status, and the body without ids; None for an error, whose text is not promised.
    """

    name: str
    ask: Callable[[httpx.Client, int], httpx.Response]
    answers: tuple[int, Json | None]

    def answered(self, api: httpx.Client) -> tuple[int, Json | None]:
        """What it answers, in the form of `answers`; on an item of its own."""
        answer = self.ask(api, add(api))
        body = answer.json()
        if answer.is_error:
            return answer.status_code, None if body.get("error") else body
        return answer.status_code, {name: value for name, value in body.items() if name not in ("id", "deleted")}


def item(api: httpx.Client, method: str, number: int, **body: Any) -> httpx.Response:
    """A request for one item."""
    return api.request(method, f"/v1/items/{number}", json=body or None)


def removed(api: httpx.Client, number: int) -> httpx.Response:
    """An item that was there a moment ago."""
    item(api, "DELETE", number).raise_for_status()
    return item(api, "GET", number)


def replaced(api: httpx.Client, number: int) -> httpx.Response:
    """An item that was another one a moment ago."""
    item(api, "PUT", number, name="nut", quantity=9).raise_for_status()
    return item(api, "GET", number)


BOLT = {"name": "bolt", "quantity": 1}
NUT = {"name": "nut", "quantity": 9}
OPERATIONS = [
    Operation("add", lambda api, _: api.post("/v1/items", json=NUT), (200, NUT)),
    Operation("add without a name", lambda api, _: api.post("/v1/items", json={"quantity": 1}), (400, None)),
    Operation("add less than nothing", lambda api, _: api.post("/v1/items", json={**NUT, "quantity": -1}), (400, None)),
    Operation("add what is no JSON", lambda api, _: api.post("/v1/items", content="{"), (400, None)),
    Operation("read", lambda api, number: item(api, "GET", number), (200, BOLT)),
    Operation("read what is not there", lambda api, _: item(api, "GET", ABSENT), (404, None)),
    Operation("read without an id", lambda api, _: api.get("/v1/items/first"), (400, None)),
    Operation("replace", lambda api, number: item(api, "PUT", number, **NUT), (200, NUT)),
    Operation("read what was replaced", replaced, (200, NUT)),
    Operation("replace by half", lambda api, number: item(api, "PUT", number, name="nut"), (400, None)),
    Operation("replace what is not there", lambda api, _: item(api, "PUT", ABSENT, **NUT), (404, None)),
    Operation("delete", lambda api, number: item(api, "DELETE", number), (200, {})),
    Operation("read what was deleted", removed, (404, None)),
    Operation("delete what is not there", lambda api, _: item(api, "DELETE", ABSENT), (404, None)),
    Operation("a method that there is not", lambda api, number: item(api, "PATCH", number, **NUT), (405, None)),
]


def test_the_first_generation_works(v1: httpx.Client, observe: Callable[..., None]) -> None:
    wrong = {op.name: got for op in OPERATIONS if (got := op.answered(v1)) != op.answers}
    number = add(v1)
    listed = [each for each in v1.get("/v1/items").json()["items"] if each["id"] == number]
    observe("v1_endpoints_work", not wrong and listed == [{"id": number, **BOLT}])
    assert not wrong
    assert listed == [{"id": number, **BOLT}]


def test_the_second_generation_answers_what_the_first_does(
    v1: httpx.Client, v2: httpx.Client, metric: Callable[..., None]
) -> None:
    differ = [op.name for op in OPERATIONS if op.answered(v2) != op.answered(v1)]
    metric("feature_parity_score", 100 * (len(OPERATIONS) - len(differ)) / len(OPERATIONS), "%")
    assert not differ


def test_the_second_generation_has_more(v1: httpx.Client, v2: httpx.Client, observe: Callable[..., None]) -> None:
    features = {
        "pages": has_pages(v2),
        "partial update": has_partial_update(v2),
        "update of what nobody else has changed": has_conditional_update(v2),
        "not in the first generation": v1.get("/v2/items").status_code == 404,
    }
    observe("v2_new_features_available", all(features.values()))
    assert all(features.values()), features


def has_pages(v2: httpx.Client) -> bool:
    """Whether walking the pages shows each item once, in order, with no page too long."""
    made = [add(v2) for _ in range(PAGED)]
    seen: list[int] = []
    after = made[0] - 1
    for _ in range(PAGED):  # enough for any walk that goes forward
        page = v2.get("/v2/items", params={"after": after, "limit": PAGE}).json()
        seen += [each["id"] for each in page["items"]]
        after = page.get("next")
        if len(page["items"]) > PAGE or after is None:
            break
    return seen == made and after is None


def has_partial_update(v2: httpx.Client) -> bool:
    """Whether a field can be changed without the others."""
    number = add(v2)
    before = read(v2, number)
    changed = patch(v2, number, {"quantity": 5})
    return changed == (200, {**before[1], "quantity": 5, "revision": before[1]["revision"] + 1})


def has_conditional_update(v2: httpx.Client) -> bool:
    """Whether a change for a revision that is past is refused, and one for that in force is not."""
    number = add(v2)
    revision = str(read(v2, number)[1]["revision"])
    first = patch(v2, number, {"quantity": 5}, revision)
    second = patch(v2, number, {"quantity": 6}, revision)
    return (first[0], second[0]) == (200, 412) and read(v2, number) == first


def read(v2: httpx.Client, number: int) -> Answer:
    """An item, as the second generation shows it."""
    answer = v2.get(f"/v2/items/{number}")
    return answer.status_code, answer.json()


def patch(v2: httpx.Client, number: int, body: Json, revision: str | None = None) -> Answer:
    """Changes a part of an item."""
    headers = {"If-Match": revision} if revision else {}
    answer = v2.patch(f"/v2/items/{number}", json=body, headers=headers)
    return answer.status_code, answer.json()


def test_both_see_the_same_data(v1: httpx.Client, v2: httpx.Client, observe: Callable[..., None]) -> None:
    seen = {
        "what the first writes, the second reads": forth(v1, v2),
        "what the second writes, the first reads": back(v1, v2),
        "items made at the same time are all there": nothing_lost(v1, v2),
        "changes made at the same time all count": no_change_lost(v1, v2),
    }
    observe("shared_data_consistent", all(seen.values()))
    assert all(seen.values()), seen


def forth(v1: httpx.Client, v2: httpx.Client) -> bool:
    """The second generation reads an item, the first changes it, the second reads it again."""
    number = add(v1)
    before = read(v2, number)[1]
    item(v1, "PUT", number, **NUT).raise_for_status()
    after = read(v2, number)[1]
    return before == {"id": number, **BOLT, "revision": 1} and after == {"id": number, **NUT, "revision": 2}


def back(v1: httpx.Client, v2: httpx.Client) -> bool:
    """The first reads what the second makes, changes and removes."""
    number = add(v2)
    made = item(v1, "GET", number).json()
    patch(v2, number, {"name": "nut"})
    changed = item(v1, "GET", number).json()
    item(v2, "DELETE", number).raise_for_status()
    gone = item(v1, "GET", number).status_code
    return (made, changed, gone) == ({"id": number, **BOLT}, {"id": number, "name": "nut", "quantity": 1}, 404)


def at_the_same_time(ask: Callable[[int], Any]) -> list[Any]:
    """What `ask` answers to the numbers from 0 on, asked by several threads."""
    with ThreadPoolExecutor(WRITERS) as writers:
        return list(writers.map(ask, range(WRITERS * EACH)))


def nothing_lost(v1: httpx.Client, v2: httpx.Client) -> bool:
    """Both add items, in turns and at the same time: each has an id of its own, and both show each as it was made."""
    made = at_the_same_time(lambda turn: add((v1, v2)[turn % 2], f"item {turn}", turn))
    wanted = [{"id": number, "name": f"item {turn}", "quantity": turn} for turn, number in enumerate(made)]
    shown = [[item(api, "GET", number).json() for number in made] for api in (v1, v2)]
    return len(set(made)) == len(made) and shown == [wanted, wanted]


def no_change_lost(v1: httpx.Client, v2: httpx.Client) -> bool:
    """Both change one item at the same time: each change that was answered has raised the revision by one."""
    number = add(v1)

    def change(turn: int) -> int:
        if turn % 2:
            return patch(v2, number, {"quantity": turn})[0]
        return item(v1, "PUT", number, name="nut", quantity=turn).status_code

    answers = at_the_same_time(change)
    last = patch(v2, number, {"name": "last"})[1]
    return set(answers) == {200} and last["revision"] == len(answers) + 2


def test_how_quick_they_are(v1: httpx.Client, v2: httpx.Client, metric: Callable[..., None]) -> None:
    number = add(v1)
    times = [(seconds(v1, f"/v1/items/{number}"), seconds(v2, f"/v2/items/{number}")) for _ in range(SAMPLES)]
    first, second = (statistics.median(column) for column in zip(*times, strict=True))
    metric("v1_vs_v2_latency_ratio", first / second, "ratio")


def seconds(api: httpx.Client, path: str) -> float:
    """How long it takes to read an item."""
    begun = time.perf_counter()
    answer = api.get(path)
    took = time.perf_counter() - begun
    assert answer.status_code == 200, answer.text
    return took
