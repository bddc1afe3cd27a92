"""The client of the power API turns whatever answers, or does not, into sentences."""

import json
import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from vx11 import client
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


class Restarting:
    """A madre that answers each request for events in turn: with a stream, a problem, or not at all."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def stream(text: str) -> httpx.Response:
    return httpx.Response(200, text=text, headers={"Content-Type": "text/event-stream"})


def problem(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, json={"status": status, "code": code, "detail": code})


GONE = httpx.ConnectError("Connection refused")
REFUSED = problem(401, "token_invalid")


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that a client would have waited."""
    waited: list[float] = []
    monkeypatch.setattr(client.time, "sleep", waited.append)
    return waited


def test_events_are_decoded_and_comments_are_none(pauses: list[float]) -> None:
    text = ':\n\nid: a-1\nevent: state\ndata: {"number": 1}\n\n:\n\nid: a-2\nevent: opened\ndata: {"number": 2}\n\n'
    madre = Restarting(stream(text), REFUSED)
    with madre_that(madre) as found:
        events = found.events(service="web")
        assert [next(events), next(events)] == [{"number": 1}, {"number": 2}]
        with pytest.raises(MadreRefused):
            next(events)
    assert madre.asked[0].url.path == "/api/v1/windows/events"
    assert dict(madre.asked[0].url.params) == {"service": "web"}
    assert madre.asked[0].headers["accept"] == "text/event-stream"
    assert "last-event-id" not in madre.asked[0].headers


def test_after_a_restart_it_goes_on_from_the_last_event(pauses: list[float]) -> None:
    first = stream('id: a-7\ndata: {"number": 7}\n\nid: a-8\ndata: {"num')
    too_many = problem(503, "too_many_streams")
    madre = Restarting(first, *[GONE] * 5, too_many, stream('id: b-1\ndata: {"number": 1}\n\n'), GONE, REFUSED)
    said: list[tuple[bool, int]] = []
    with madre_that(madre) as found:
        events = found.events(answers=lambda now: said.append((now, len(madre.asked))))
        assert [next(events), next(events)] == [{"number": 7}, {"number": 1}]
        with pytest.raises(MadreRefused, match="token_invalid"):
            next(events)
    assert [request.headers.get("last-event-id") for request in madre.asked] == [None, *["a-7"] * 7, "b-1", "b-1"]
    assert said == [(False, 2), (True, 8), (False, 9)]  # once each time
    assert pauses == [0.5, 1, 2, 4, 5, 5, 5, 0.5, 1]


@pytest.mark.parametrize("answer", [GONE, REFUSED, problem(503, "too_many_streams"), httpx.Response(200, json={})])
def test_the_first_try_has_to_do(pauses: list[float], answer: httpx.Response | Exception) -> None:
    with madre_that(Restarting(answer)) as found, pytest.raises((MadreUnreachable, MadreRefused)):
        next(found.events())
    assert pauses == []


@pytest.mark.parametrize("code", [401, 403, 404, 422])
def test_what_madre_refuses_for_good_ends_it(pauses: list[float], code: int) -> None:
    madre = Restarting(stream("id: a-1\ndata: {}\n\n"), problem(code, "no"))
    with madre_that(madre) as found:
        events = found.events()
        assert next(events) == {}
        with pytest.raises(MadreRefused, match="no"):
            next(events)


@pytest.mark.parametrize(
    ("window", "name"),
    [("web", "service"), ("3f2a1c00-0000-4000-8000-000000000000", "window_id")],
)
def test_a_fault_names_the_window_as_the_user_does(window: str, name: str) -> None:
    with madre_that(lambda request: httpx.Response(200, content=request.content)) as madre:
        assert madre.fault(window, "pause", active=False) == {name: window, "kind": "pause", "active": False}


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


def test_waiting_for_a_test_goes_on_while_madre_restarts_or_is_asked_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "TEST_PAUSE", 0)
    answers = iter(
        [
            httpx.Response(200, json={"state": "accepted"}),
            httpx.ConnectError("refused"),
            httpx.Response(429, json={"status": 429}),
            httpx.Response(200, json={"state": "running"}),
            httpx.Response(200, json={"state": "aborted", "passed": False}),
        ]
    )

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.raw_path == b"/api/v1/tests/results/e2e%2F1"
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return found

    with madre_that(answer) as madre:
        assert madre.ended_test("e2e/1") == {"state": "aborted", "passed": False}


def test_waiting_for_a_test_that_is_not_there_ends() -> None:
    unknown = madre_that(always(404, json={"status": 404, "detail": "there is no test"}))
    with unknown as madre, pytest.raises(MadreRefused, match="there is no test"):
        madre.ended_test("e2e-1")
