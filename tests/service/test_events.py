"""What happens to windows is told as it happens: server-sent events of a real cell."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import ServerSentEvent, connect_sse

from vx11 import revocations, tokens
from vx11.client import MadreRefused
from vx11.conductor.cell import Cell

EVENTS, STATUS = "/api/v1/windows/events", "/api/v1/windows/status"
QUIET = 10.0
MOST = 64
STOPS_IN = 2.0
Problem = Callable[..., str]
Told = Iterator[ServerSentEvent]


@contextmanager
def listening(cell: Cell, token: str = "", last_id: str = "", **parameters: str) -> Iterator[Told]:
    """A stream of events; fails when nothing comes for some seconds."""
    headers = {"Authorization": f"Bearer {token or cell.token}"} | ({"Last-Event-ID": last_id} if last_id else {})
    with (
        httpx.Client(base_url=cell.url, timeout=QUIET) as http,
        connect_sse(http, "GET", EVENTS, headers=headers, params=parameters) as source,
    ):
        assert source.response.status_code == 200, source.response.read()
        yield (event for event in source.iter_sse() if event.data)


def until(told: Told, kind: str) -> list[dict[str, Any]]:
    """The data of events up to one of this kind."""
    found: list[dict[str, Any]] = []
    for event in told:
        found.append(event.json())
        assert event.event == found[-1]["event"]
        if event.event == kind:
            return found
    pytest.fail(f"the stream ended before {kind}, after {found}")


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["event"] for event in events]


def ask(cell: Cell, token: str | None, method: str = "GET") -> httpx.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.request(method, f"{cell.url}{EVENTS}", headers=headers, timeout=QUIET)


def test_the_life_of_a_window(api: Any) -> None:
    with listening(api.cell) as told:
        (state,) = until(told, "state")
        assert state["windows"] == []
        window_id = api.open(ttl=300)["window_id"]
        api.done("/api/v1/windows/extend", service="web", ttl=600)
        api.done("/api/v1/windows/hold", service="web", hold=True)
        api.done("/api/v1/windows/hold", service="web", hold=False)
        api.close()
        life = until(told, "closed")
    assert kinds(life) == ["opening", "opened", "extended", "held", "released", "closing", "closed"]
    assert [event["number"] for event in life] == list(range(state["number"] + 1, state["number"] + 8))
    assert [event["at"] for event in life] == sorted(event["at"] for event in life)
    assert {event["window"]["window_id"] for event in life} == {window_id}
    opening, opened, extended, held, released, closing, closed = (event["window"] for event in life)
    states = [window["state"] for window in (opening, opened, extended, held, released, closing, closed)]
    assert states == ["opening", *["open"] * 4, "closing", "closed"]
    assert opening["endpoints"] == []
    assert opened["endpoints"]
    assert opened["expires_at"] < extended["expires_at"] == closed["expires_at"]
    assert [window["hold"] for window in (extended, held, released)] == [False, True, False]
    assert held["hold_until"]
    assert 500 < released["remaining_s"] <= 600
    assert (closing["reason"], closed["reason"]) == ("requested", "requested")
    assert closed["usage"] == api.window(window_id)["usage"] is not None


def test_a_window_warns_before_it_closes_by_itself(process_api: Any) -> None:
    with listening(process_api.cell) as told:
        until(told, "state")
        process_api.open(ttl=3)
        life = until(told, "closed")
    assert kinds(life) == ["opening", "opened", "warning", "closing", "closed"]
    warning, closed = life[2], life[-1]
    assert warning["at"] < warning["window"]["expires_at"]
    assert warning["window"]["state"] == "open"
    assert closed["window"]["reason"] == "expired"


def test_a_failed_open_is_told(process_api: Any) -> None:
    with listening(process_api.cell) as told:
        until(told, "state")
        assert process_api.post("/api/v1/windows/open", service="early").status_code == 502
        life = until(told, "closed")
    assert kinds(life) == ["opening", "closing", "closed"]
    assert life[-1]["window"]["reason"] == "open_failed"
    assert "exit code 3" in life[-1]["window"]["detail"]


def test_who_comes_late_gets_what_is_there(process_api: Any) -> None:
    window = process_api.open(ttl=60)
    with listening(process_api.cell) as told:
        (state,) = until(told, "state")
    (present,) = state["windows"]
    same = ("window_id", "state", "expires_at", "endpoints", "hold", "opened_by", "cell", "needed_by")
    assert {name: present[name] for name in same} == {name: window[name] for name in same}


def test_who_comes_again_gets_what_it_missed(process_api: Any) -> None:
    with listening(process_api.cell) as told:
        next(told)
        process_api.open(ttl=300)
        opening = next(told)
    process_api.close()
    with listening(process_api.cell, last_id=opening.id) as told:
        missed = until(told, "closed")
    assert kinds(missed) == ["opened", "closing", "closed"]
    assert [event["number"] for event in missed] == list(range(opening.json()["number"] + 1, missed[-1]["number"] + 1))


def test_who_comes_again_with_a_strange_id_gets_what_is_there(process_api: Any) -> None:
    with listening(process_api.cell) as told:
        run, _, number = next(told).id.partition("-")
    for last_id in (f"{run}-{int(number) + 1}", f"0-{number}", number, "nonsense"):
        with listening(process_api.cell, last_id=last_id) as told:
            assert next(told).event == "state"


def test_only_one_service(process_api: Any) -> None:
    process_api.open(ttl=300)
    with listening(process_api.cell, service="other") as told:
        (state,) = until(told, "state")
        assert state["windows"] == []
        process_api.close()
        process_api.open("other", ttl=300)
        process_api.close("other")
        life = until(told, "closed")
    assert kinds(life) == ["opening", "opened", "closing", "closed"]
    assert {event["window"]["service"] for event in life} == {"other"}


def test_what_the_stream_is(process_api: Any) -> None:
    headers = {"Authorization": f"Bearer {process_api.cell.token}"}
    with httpx.stream("GET", f"{process_api.cell.url}{EVENTS}", headers=headers, timeout=QUIET) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-accel-buffering"] == "no"
        lines = answer.iter_lines()
        name, event, data, end = (next(lines) for _ in range(4))
    number = json.loads(data.removeprefix("data: "))["number"]
    assert name.startswith("id: ")
    assert name.endswith(f"-{number}")
    assert (event, end) == ("event: state", "")


def test_who_may_listen(process_api: Any, problem: Problem) -> None:
    problem(ask(process_api.cell, None), 401, "token_missing")
    problem(ask(process_api.cell, "nonsense"), 401, "token_invalid")
    others = process_api.token(scopes=["power:write", "system:write", "metrics:read"])
    assert "power:read" in problem(ask(process_api.cell, others), 403, "scope_missing")
    with listening(process_api.cell, token=process_api.token(scopes=["power:read"])) as told:
        assert next(told).event == "state"


def test_a_head_would_have_no_end_and_is_not_taken(process_api: Any) -> None:
    assert ask(process_api.cell, process_api.cell.token, "HEAD").status_code == 405


def test_the_stream_ends_with_the_token(process_api: Any) -> None:
    token = process_api.token(ttl=2, scopes=["power:read"])
    with listening(process_api.cell, token=token) as told:
        assert [event.event for event in told] == ["state"]
    assert ask(process_api.cell, token).status_code == 401


def test_the_stream_ends_when_the_token_is_revoked(process_api: Any) -> None:
    token = process_api.token(scopes=["power:read"])
    with listening(process_api.cell, token=token) as told:
        assert next(told).event == "state"
        bearer = tokens.check(token, [process_api.key], cell=process_api.cell.name)
        revocations.revoke(process_api.cell.folder / "key", bearer.token_id, bearer.expires)
        process_api.open(ttl=60)
        assert list(told) == []


def test_a_client_ends_with_the_usual_error_when_its_token_does(process_api: Any) -> None:
    token = process_api.token(ttl=2, scopes=["power:read"])
    with process_api.cell.madre() as madre:
        madre.http.headers["Authorization"] = f"Bearer {token}"
        events = madre.events()
        assert next(events)["event"] == "state"
        with pytest.raises(MadreRefused, match="invalid or expired") as refused:
            next(events)
    assert refused.value.code == "token_invalid"


def test_there_is_a_limit_of_streams(process_api: Any, problem: Problem, eventually: Callable[..., Any]) -> None:
    with ExitStack() as streams:
        told = [streams.enter_context(listening(process_api.cell)) for _ in range(MOST)]
        assert {next(one).event for one in told} == {"state"}
        refused = ask(process_api.cell, process_api.cell.token)
        problem(refused, 503, "too_many_streams")
        assert int(refused.headers["retry-after"]) > 0
        assert process_api.status()["windows"] == []

    def free() -> bool:
        headers = {"Authorization": f"Bearer {process_api.cell.token}"}
        with httpx.stream("GET", f"{process_api.cell.url}{EVENTS}", headers=headers, timeout=QUIET) as answer:
            return answer.status_code == 200

    eventually(free)


def test_streams_do_not_keep_madre_from_stopping(
    make_bundle: Callable[..., Path], web: dict[str, Any], start_cell: Callable[..., Cell]
) -> None:
    cell = start_cell(make_bundle({"web": web}), "process")
    with ExitStack() as streams:
        told = [streams.enter_context(listening(cell)) for _ in range(20)]
        for one in told:
            next(one)
        madre = cell.core.pop("madre")
        begun = time.monotonic()
        madre.send_signal(signal.SIGTERM)
        assert madre.wait(QUIET) == 0
        assert time.monotonic() - begun < STOPS_IN
        assert [list(one) for one in told] == [[]] * 20  # each ends properly
        madre.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_client_goes_on_after_a_restart(stays: Any, number: signal.Signals) -> None:
    said: list[bool] = []
    with stays.madre() as caller, stays.madre() as madre:
        events = madre.events(answers=said.append)
        assert next(events)["windows"] == []
        opened = caller.post("/api/v1/windows/open", service="web", ttl=300)
        assert [next(events)["event"], next(events)["event"]] == ["opening", "opened"]
        stays.end_madre(number)
        stays.start_madre()
        again = next(events)
        assert again["event"] == "state"
        assert [window["window_id"] for window in again["windows"]] == [opened["window_id"]]
        assert said in ([], [False, True])  # a quick madre is not missed
        caller.post("/api/v1/windows/close", service="web")
        assert [next(events)["event"], next(events)["event"]] == ["closing", "closed"]
