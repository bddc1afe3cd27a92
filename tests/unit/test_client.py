"""The client of the power API turns whatever answers, or does not, into sentences."""

import json
import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from vx11.client import Madre, MadreRefused, MadreUnreachable, named

Answer = Callable[[httpx.Request], httpx.Response]


def madre_that(answer: Answer) -> Madre:
    madre = Madre("http://madre.test", "secret")
    madre.http = httpx.Client(base_url="http://madre.test", transport=httpx.MockTransport(answer))
    return madre


def always(status: int, **content: Any) -> Answer:
    return lambda request: httpx.Response(status, **content)


def test_a_post_leaves_out_what_is_none() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"window_id": "w"})

    with madre_that(answer) as madre:
        assert madre.post("/api/v1/windows/open", service="web", ttl=None, hold=False) == {"window_id": "w"}
    assert (asked[0].method, asked[0].url.path) == ("POST", "/api/v1/windows/open")
    assert json.loads(asked[0].content) == {"service": "web", "hold": False}


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        ({}, {"closed": "false"}),
        ({"service": "web", "closed": True}, {"closed": "true", "service": "web"}),
    ],
)
def test_the_query_of_a_status(arguments: dict[str, Any], query: dict[str, str]) -> None:
    with madre_that(lambda request: httpx.Response(200, json=dict(request.url.params))) as madre:
        assert madre.status(**arguments) == query


def test_solo_madre_says_whether_it_is_a_dry_run() -> None:
    with madre_that(lambda request: httpx.Response(200, content=request.content)) as madre:
        assert madre.solo_madre(dry_run=True) == {"dry_run": True}


@pytest.mark.parametrize(
    ("problem", "code", "message"),
    [
        ({"code": "no_window", "detail": "nothing is open", "title": "None"}, "no_window", "nothing is open"),
        ({"title": "There is none"}, "", "There is none"),
        ({"odd": 1}, "", "{'odd': 1}"),
        (["odd"], "", "['odd']"),
    ],
)
def test_a_refusal_carries_its_code_and_sentence(problem: Any, code: str, message: str) -> None:
    with madre_that(always(409, json=problem)) as madre, pytest.raises(MadreRefused) as refused:
        madre.call("GET", "/x")
    assert refused.value.code == code
    assert str(refused.value) == message


def test_an_answer_that_is_no_object_is_refused() -> None:
    with madre_that(always(200, json=[1])) as madre, pytest.raises(MadreRefused, match=r"\[1\]"):
        madre.call("GET", "/x")


def test_something_else_at_the_address_is_told() -> None:
    page = always(502, text="<html>Bad Gateway</html>")
    with madre_that(page) as madre, pytest.raises(MadreUnreachable, match="is not a madre: 502, not JSON"):
        madre.call("GET", "/x")


def test_nobody_at_the_address_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with Madre(url) as madre:
            with pytest.raises(MadreUnreachable, match=f"no madre answers at {url}: .*; is vx11 serve running"):
                madre.status()
            assert not madre.is_alive()


def test_what_is_no_address_is_told() -> None:
    with Madre("http://127.0.0.1:8000") as madre, pytest.raises(MadreUnreachable, match="is not an address"):
        madre.call("GET", "http://[::1")


@pytest.mark.parametrize(
    ("answer", "alive"),
    [
        (always(200, json={"status": "ok"}), True),
        (always(200, json={"status": "odd"}), False),
        (always(404, json={"detail": "no"}), False),
        (always(200, text="ok"), False),
    ],
)
def test_alive_is_only_what_says_so(answer: Answer, *, alive: bool) -> None:
    with madre_that(answer) as madre:
        assert madre.is_alive() is alive


def test_the_token_is_sent_as_bearer_and_only_if_there_is_one() -> None:
    with Madre("http://madre.test", "secret") as madre, Madre("http://madre.test") as other:
        assert madre.http.headers["authorization"] == "Bearer secret"
        assert "authorization" not in other.http.headers


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("7f1d8a52-6d9c-4a7e-9a51-0d0a7c1f3b66", "window_id"),
        ("auth-service", "service"),
        ("a-b-c-d-e", "service"),
    ],
)
def test_a_window_is_named_by_id_or_service(name: str, field: str) -> None:
    assert named(name) == {field: name}
