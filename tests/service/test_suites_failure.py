"""TC-011: the suite fails on each bug of buggy-service, says what is wrong, and is quick about it."""

import pytest

from tests.service.suites import Stage

SERVICE, SUITE = "buggy-service", "failure_scenario"
QUICK_S = 20.0


def test_it_fails_on_the_bug_of_the_catalogue(each_stage: Stage) -> None:
    each_stage.open(SERVICE)
    ran = each_stage.run(SUITE)
    assert not ran.passed
    assert "answered 500" in ran.output
    assert "IndexError: list index out of range" in ran.output
    assert "1 failed" in ran.output
    assert ran.seconds < QUICK_S


@pytest.mark.parametrize(
    ("kind", "test", "message"),
    [
        ("off_by_one", "test_every_page_can_be_read", "IndexError"),
        ("leak", "test_memory_does_not_grow_with_reading", "made the service grow by"),
        ("deadlock", "test_reading_and_writing_at_the_same_time", "got no answer within 2 s"),
        ("crash", "test_an_empty_note_can_be_read", "ended without an answer"),
        ("wrong_encoding", "test_a_note_comes_back_as_it_was_sent", "comes back as 'P?íli?"),
    ],
)
def test_each_bug_fails_the_test_that_is_about_it(stage: Stage, kind: str, test: str, message: str) -> None:
    stage.set_bugs({SERVICE: kind})
    stage.open(SERVICE)
    ran = stage.run(SUITE)
    assert not ran.passed
    assert f"{SUITE}.py::{test}" in ran.output
    assert message in ran.output
    assert ran.seconds < QUICK_S


def test_without_a_bug_it_passes(stage: Stage) -> None:
    stage.set_bugs({SERVICE: ""})
    stage.open(SERVICE)
    ran = stage.run(SUITE)
    assert ran.passed, ran.output
