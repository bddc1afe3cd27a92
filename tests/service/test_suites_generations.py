"""TC-010: the suite sees whether both generations of the API work, on the same data."""

import pytest

from tests.service.suites import Ran, Stage

LEGACY, MODERN, SUITE = "legacy-api-v1", "modern-api-v2", "compatibility_matrix"
ASSERTS = {"v1_endpoints_work", "v2_new_features_available", "shared_data_consistent"}


def run(stage: Stage) -> Ran:
    stage.open(LEGACY, MODERN)
    return stage.run(SUITE)


def test_both_generations_work(each_stage: Stage) -> None:
    ran = run(each_stage)
    assert ran.passed, ran.output
    assert ran.observations == dict.fromkeys(ASSERTS, True)
    assert ran.metrics["feature_parity_score"] == 100
    assert ran.metrics["v1_vs_v2_latency_ratio"] > 0


@pytest.mark.parametrize(
    ("service", "kind", "wrong"),
    [
        (LEGACY, "keeps_deleted", "v1_endpoints_work"),
        (MODERN, "one_page", "v2_new_features_available"),
        (MODERN, "stale_reads", "shared_data_consistent"),
    ],
)
def test_a_bug_shows_in_its_own_observation(stage: Stage, service: str, kind: str, wrong: str) -> None:
    stage.set_bugs({service: kind})
    ran = run(stage)
    assert not ran.passed
    assert ran.observations == {name: name != wrong for name in ASSERTS}


def test_what_the_second_generation_answers_otherwise_lowers_the_parity(stage: Stage) -> None:
    stage.set_bugs({LEGACY: "keeps_deleted"})
    assert 50 < run(stage).metrics["feature_parity_score"] < 100
