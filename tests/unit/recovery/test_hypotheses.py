"""How signs make causes: which rule, how sure, and what is told for it and against it."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vx11.recovery import hypotheses
from vx11.recovery.failure import Assert, Call, CleanUp, Failure, Past, Service
from vx11.recovery.rules import RULES, Kind, Rule
from vx11.recovery.sign import Sign

MakeFailure = Callable[..., Failure]
NAMES = sorted({name for rule in RULES for name in (*rule.opens, *rule.others)})
SIGNS = st.builds(
    Sign,
    name=st.sampled_from(NAMES),
    about=st.sampled_from(["web", "cache", "TC-001"]),
    text=st.just("something"),
    where=st.just("somewhere"),
    share=st.sampled_from([1.0, 0.5]),
)


def sign(name: str, about: str = "web", share: float = 1.0, key: str = "") -> Sign:
    return Sign(name, about, f"the text of {name}", f"the place of {name}", share, key)


def top(*found: Sign) -> hypotheses.Cause:
    return hypotheses.causes(found)[0]


def refusal(code: str, module: str = "vx11_window") -> Call:
    problem = {"code": code, "detail": "no"}
    return Call(module, {"service": "web"}, 1, 2, failed=True, message="refused", result={"problem": problem})


@given(st.lists(SIGNS, max_size=20))
def test_confidences_and_the_rest_make_a_whole(found: list[Sign]) -> None:
    causes = hypotheses.causes(found)
    shares = [cause.confidence for cause in causes]
    assert shares == sorted(shares, reverse=True)
    odds = sum(2**cause.score for cause in causes)
    assert sum(shares) == pytest.approx(100 * odds / (1 + odds))
    for cause in causes:
        weights = [ground.weight for ground in cause.grounds]
        assert cause.score == pytest.approx(cause.rule.prior + sum(weights))
        assert {*cause.supports, *cause.contradicts} == {*cause.grounds}
        assert any(ground.sign.name in cause.rule.opens for ground in cause.grounds)


@given(st.lists(SIGNS, min_size=1, max_size=10))
def test_what_is_seen_twice_does_not_count_twice(found: list[Sign]) -> None:
    once, twice = hypotheses.causes(found), hypotheses.causes([*found, *found])
    assert [(c.rule.name, c.suspect, c.score) for c in once] == [(c.rule.name, c.suspect, c.score) for c in twice]


def test_the_formula_is_that_of_the_docs() -> None:
    cause = top(sign("exit_code"), sign("traceback"))
    assert (cause.rule.name, cause.score) == ("crashed", -4 + 8 + 1)
    others = [c.score for c in hypotheses.causes([sign("exit_code"), sign("traceback")])[1:]]
    assert cause.confidence == pytest.approx(100 * 2**5 / (1 + 2**5 + sum(2**score for score in others)))


def test_each_ground_has_its_place_and_its_side() -> None:
    cause = top(sign("sigkill"), sign("memory_full"), sign("exit_code", "cache"))
    memory = next(c for c in hypotheses.causes([sign("sigkill"), sign("memory_full")]) if c.rule.name == "killed")
    assert cause.rule.name == "memory_limit"
    assert [ground.sign.name for ground in cause.supports] == ["memory_full", "sigkill"]
    assert [ground.sign.where for ground in memory.contradicts] == ["the place of memory_full"]


def test_a_sign_that_is_shared_says_less() -> None:
    assert top(sign("answers_wrong", share=0.5)).score == top(sign("answers_wrong")).score - 3.5


def test_the_signature_is_the_same_for_the_same_bug_alone() -> None:
    one = top(sign("traceback", key="IndexError in page"), sign("says_5xx", key="test_pages status 500"))
    assert one.signature == "bug of web: IndexError in page / test_pages status 500"
    assert top(sign("traceback", key="KeyError in page")).signature != one.signature


def test_nothing_that_fits_is_said_to_be_so(make_failure: MakeFailure) -> None:
    found = hypotheses.analyse(make_failure(play_failure=""))
    assert (found.causes[0].rule.name, found.causes[0].confidence, found.rest) == ("none", 0.0, 100)


def test_of_many_causes_the_unlikely_ones_are_left_out(make_failure: MakeFailure) -> None:
    calls = [refusal("service_not_allowed"), refusal("limits_not_applied"), refusal("ttl_too_long")]
    found = hypotheses.analyse(make_failure(calls=calls, play_failure="task 'Open': refused"))
    assert len(found.causes) == 3
    assert found.left_out == 1


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_a_rule_is_opened_by_what_speaks_for_it(rule: Rule) -> None:
    assert all(weight > 0 for weight in rule.opens.values())
    assert not rule.opens.keys() & rule.others.keys()
    assert rule.prior < 0


def test_names_of_rules_are_their_own() -> None:
    names = [rule.name for rule in RULES]
    assert len(names) == len(set(names))


LATE = "web was not ready within 3.0 s: nobody answered GET /health at its port 8080"
FAILURES: dict[str, tuple[dict[str, Any], tuple[str, Kind, str]]] = {
    "vanished": ({"windows": [{"reason": "lost"}]}, ("crashed", Kind.SERVICE, "web")),
    "killed near its limit before it was ready": (
        {
            "windows": [
                {
                    "reason": "open_failed",
                    "detail": "web ended with exit code -9 before it was ready",
                    "resources": {"memory": 100},
                    "usage": {"memory_peak_bytes": 99},
                }
            ]
        },
        ("memory_limit", Kind.LIMITS, "web"),
    ),
    "late, and was always slow": (
        {
            "windows": [{"reason": "open_failed", "detail": LATE, "open_s": 3.0, "usage": {"cpu_s": 0.6}}],
            "past": Past(3, {}, {"web": [2500.0, 2900.0]}),
            "services": [Service("web", ready_timeout=3.0)],
        },
        ("ready_timeout", Kind.LIMITS, "web"),
    ),
    "late, and was always quick": (
        {
            "windows": [{"reason": "open_failed", "detail": LATE, "open_s": 3.0, "usage": {"cpu_s": 0.6}}],
            "past": Past(3, {}, {"web": [250.0, 290.0]}),
        },
        ("never_ready", Kind.SERVICE, "web"),
    ),
    "not enforced": ({"calls": [refusal("limits_not_applied")]}, ("engine_lacks", Kind.ENVIRONMENT, "web")),
    "no evidence": ({"calls": [refusal("evidence_unavailable")]}, ("core_refused", Kind.CORE, "madre")),
    "not in solo": ({"clean_up": CleanUp(False, True)}, ("not_solo_madre", Kind.CORE, "madre")),
    "too much": (
        {"windows": [{}], "asserts": [Assert("used_mb", "< 50", "90 MB", holds=False)]},
        ("uses_too_much", Kind.SERVICE, "web"),
    ),
    "within what it ever was": (
        {
            "windows": [{}],
            "asserts": [Assert("hop_ms", "< 50", "60 ms", holds=False)],
            "past": Past(3, {"hop_ms": [48.0, 61.0, 49.0]}),
        },
        ("bound", Kind.MATRIX, "hop_ms"),
    ),
    "far beyond what it ever was": (
        {
            "windows": [{}],
            "asserts": [Assert("hop_ms", "< 50", "160 ms", holds=False)],
            "past": Past(3, {"hop_ms": [8.0, 11.0, 9.0]}),
        },
        ("slower", Kind.SERVICE, "web"),
    ),
    "no figure": (
        {"windows": [{}], "asserts": [Assert("refresh_works", "true", "false", holds=False)]},
        ("wrong_answer", Kind.SERVICE, "web"),
    ),
    "no syntax": ({"play_failure": "ansible-playbook ended with 4: syntax"}, ("task", Kind.PLAYBOOK, "TC-011")),
}


@pytest.mark.parametrize("name", FAILURES)
def test_of_what_has_no_seeded_fault_the_cause_is_found_too(
    make_failure: MakeFailure, make_window: Callable[..., dict[str, Any]], name: str
) -> None:
    about, expected = FAILURES[name]
    known = {**about, "windows": [make_window(**window) for window in about.get("windows", ())]}
    cause = hypotheses.analyse(make_failure(**known)).causes[0]
    assert (cause.rule.name, cause.kind, cause.suspect) == expected
