"""The operator endpoint: questions in words, answered from what is so just now; never a 5xx."""

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vx11.madre.language import LIMIT

CHAT = "/operator/api/chat"


@pytest.fixture
def ask(process_api: Any) -> Callable[[str], Any]:
    """`ask(message)` answers the whole answer."""
    token = process_api.token(scopes=["operator:chat"])

    def chat(message: str) -> Any:
        answer = process_api.http.post(CHAT, json={"message": message}, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    return chat


def test_in_solo_madre_it_answers_by_itself(ask: Callable[[str], Any]) -> None:
    told = ask("Is this host in SOLO_MADRE?")
    assert told["response"].startswith("Yes: only the core runs.")
    assert (told["degraded"], told["fallback_source"]) == (True, "local_llm_degraded")
    assert told["intent"] == "solo_madre"


@pytest.mark.parametrize(
    ("question", "intent", "expected"),
    [
        ("What is open?", "open", r"web is open, closes in (2|1) min .*"),
        ("is anything running", "open", r"web is open, closes in .*"),
        ("When does web close?", "closes_when", r"web is open, closes in .*"),
        ("how long has web left", "closes_when", r"web is open, closes in .*"),
        ("Who opened it?", "opened_by", r"web was opened by conductor at .*"),
        ("How much memory does web use?", "usage", r"web uses .*|What web uses is not known\."),
        ("are only the core services up?", "solo_madre", r"No: web runs beside the core\."),
        ("Which services can I open?", "services", r"Services that may be opened: .*web.*"),
        ("How did the last test go?", "last_test", r"No test was run from here\.|The last test, .*"),
        ("hello", "help", r"I can tell .*"),
        ("Sing me a song", "unknown", r"I did not understand that\. I can tell .*"),
        ("", "unknown", r"I did not understand that\. .*"),
    ],
)
def test_what_it_knows(process_api: Any, ask: Callable[[str], Any], question: str, intent: str, expected: str) -> None:
    process_api.open(ttl=120)
    told = ask(question)
    assert told["intent"] == intent
    assert re.fullmatch(expected, told["response"], re.DOTALL), told


def test_it_tells_why_a_window_closed(process_api: Any, ask: Callable[[str], Any]) -> None:
    window = process_api.open("crashes")
    process_api.in_state(window["window_id"], "closed")
    assert re.match(r"crashes closed at \S+ \(crashed\): .*5", ask("Why did crashes close?")["response"])


def test_of_several_windows_the_one_that_is_named(process_api: Any, ask: Callable[[str], Any]) -> None:
    process_api.open("web")
    process_api.open("other")
    assert len(ask("what is open")["response"].splitlines()) == 2
    assert ask("is other open?")["response"].startswith("other is open")


def test_a_session_keeps_its_id(process_api: Any, ask: Callable[[str], Any]) -> None:
    token = process_api.token(scopes=["operator:chat"])
    headers = {"Authorization": f"Bearer {token}"}
    answer = process_api.http.post(CHAT, json={"message": "hi", "session_id": "mine"}, headers=headers)
    assert answer.json()["session_id"] == "mine"
    assert len({ask("hi")["session_id"] for _ in range(3)}) == 3


def test_it_needs_its_own_scope(process_api: Any, problem: Callable[..., str]) -> None:
    problem(process_api.post(CHAT, message="hi"), 403, "scope_missing")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(message=st.text(max_size=4000))
def test_whatever_is_asked_is_answered(ask: Callable[[str], Any], message: str) -> None:
    assert ask(message)["response"]


@pytest.mark.parametrize("body", [{}, {"message": None}, {"message": "x" * 4001}, {"message": "hi", "more": 1}, []])
def test_a_wrong_request_is_told(process_api: Any, problem: Callable[..., str], body: Any) -> None:
    headers = {"Authorization": f"Bearer {process_api.token(scopes=['operator:chat'])}"}
    problem(process_api.http.post(CHAT, json=body, headers=headers), 422, "invalid_request")


# the language service


class Speaker:
    """The language service of the shared cell, whose window is open."""

    def __init__(self, api: Any) -> None:
        self.window = api.open("speaker", ttl=120)
        self.log = api.cell.folder / "madre.log"
        self._said = self.log.stat().st_size

    def asked(self) -> list[Any]:
        """What it was sent so far."""
        return httpx.get(f"{self.window['endpoints'][0]}/asked", timeout=5).json()

    def complaint(self) -> str:
        """What madre says of it since it is open."""
        return self.log.read_bytes()[self._said :].decode()


@pytest.fixture
def speaker(process_api: Any) -> Speaker:
    """It, open."""
    return Speaker(process_api)


def is_degraded(told: Any) -> bool:
    """Whether madre answered by herself; checks that all of the answer says so."""
    sources = {True: "local_llm_degraded", False: None}
    assert told["fallback_source"] == sources[told["degraded"]]
    assert not told["degraded"] or told["response"] == told["facts"]
    return bool(told["degraded"])


def test_a_language_service_answers_while_it_is_open(process_api: Any, ask: Callable[[str], Any]) -> None:
    assert is_degraded(ask("What is open?"))
    assert process_api.status()["windows"] == []  # asking has opened nothing
    window = process_api.open("speaker", ttl=60)
    told = ask("What is open?")
    assert not is_degraded(told)
    assert told["response"] == f"As I see it: {told['facts']}"
    assert re.fullmatch(r"speaker is open, closes in .*", told["facts"])
    assert told["intent"] == "open"
    after = process_api.window(window["window_id"])
    assert (after["state"], after["expires_at"]) == ("open", window["expires_at"])
    process_api.close("speaker")
    assert is_degraded(ask("What is open?"))


def test_it_is_told_the_question_and_the_facts_and_nothing_else(process_api: Any, speaker: Speaker) -> None:
    token = process_api.token(scopes=["operator:chat"])
    headers = {"Authorization": f"Bearer {token}", "Cookie": "a=b", "X-Mine": "1"}
    question = {"message": "Is it dark? \u2028 \U0001f311", "session_id": "mine"}
    told = process_api.http.post(CHAT, json=question, headers=headers).json()
    (asked,) = speaker.asked()
    facts = {"intent": "solo_madre", "text": told["facts"]}
    assert (asked["path"], asked["body"]) == ("/chat", question | {"facts": facts})
    assert {name.lower() for name in asked["headers"]} == {
        *("host", "connection", "accept", "accept-encoding"),
        *("content-type", "content-length"),
    }
    assert token not in str(asked)


def test_a_session_that_was_not_named_is_the_same_for_both(ask: Callable[[str], Any], speaker: Speaker) -> None:
    assert ask("hi")["session_id"] == speaker.asked()[0]["body"]["session_id"]


@pytest.mark.parametrize(
    ("message", "why"),
    [
        *((wrong, "not a JSON object with a reply") for wrong in ("not JSON", "no object", "no reply", "no text")),
        *((wrong, "not a JSON object with a reply") for wrong in ("nothing in it", "half a character", "deep")),
        *((wrong, "not a JSON object with a reply") for wrong in ("half", "a huge length")),
        *((wrong, "larger than 64 KiB") for wrong in ("large", "a long head", "goes on")),
        *((wrong, "not HTTP") for wrong in ("not HTTP", "a huge chunk", "a wrong chunk")),
        ("nothing", "the connection failed: RemoteDisconnected"),
        ("elsewhere", "it answered 307"),
        ("broken", "it answered 500"),
        ("accepted", "it answered 202"),
    ],
)
def test_whatever_it_answers_the_operator_is_answered(
    ask: Callable[[str], Any], speaker: Speaker, message: str, why: str
) -> None:
    begun = time.monotonic()
    assert is_degraded(ask(message))
    assert time.monotonic() - begun < LIMIT
    assert re.search(f"speaker did not answer an operator: .*{re.escape(why)}", speaker.complaint())
    assert [item["path"] for item in speaker.asked()] == ["/chat"]
    assert not is_degraded(ask("hello"))


def test_what_is_slow_is_not_waited_for_and_holds_nobody_up(
    process_api: Any, ask: Callable[[str], Any], speaker: Speaker, eventually: Callable[..., Any]
) -> None:
    messages = ["late", "drips"] * 5
    with ThreadPoolExecutor(len(messages)) as pool:
        begun = time.monotonic()
        answers = [pool.submit(ask, message) for message in messages]
        eventually(speaker.asked)
        process_api.status()
        assert process_api.close("speaker")["state"] == "closed"
        assert time.monotonic() - begun < LIMIT
        assert all(is_degraded(answer.result()) for answer in answers)
    window = process_api.open("speaker")
    begun = time.monotonic()
    assert is_degraded(ask("drips"))
    assert LIMIT <= time.monotonic() - begun < LIMIT + 2
    assert "not complete after 5 s" in speaker.complaint()
    assert process_api.window(window["window_id"])["state"] == "open"


def test_a_window_that_closes_over_a_question(
    process_api: Any, ask: Callable[[str], Any], speaker: Speaker, eventually: Callable[..., Any]
) -> None:
    with ThreadPoolExecutor(1) as pool:
        begun = time.monotonic()
        answer = pool.submit(ask, "late")
        eventually(speaker.asked)
        process_api.close("speaker", force=True)
        assert is_degraded(answer.result())
        assert time.monotonic() - begun < LIMIT
    assert "speaker did not answer an operator: the connection failed" in speaker.complaint()
