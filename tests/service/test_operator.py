"""The operator endpoint: questions in words, answered from what is so just now; never a 5xx."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
