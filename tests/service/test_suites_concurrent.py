"""TC-012: the suite sees whether two services share what they should not, or come to other results."""

import pytest

from tests.service.suites import Ran, Stage

NAMES, SUITE = ("service-x", "service-y"), "concurrent_access"
ASSERTS = {"no_resource_contention", "isolation_maintained", "results_deterministic"}


def run(stage: Stage) -> Ran:
    stage.open(*NAMES)
    return stage.run(SUITE)


def test_two_services_do_not_disturb_each_other(each_stage: Stage) -> None:
    ran = run(each_stage)
    assert ran.passed, ran.output
    assert ran.observations == dict.fromkeys(ASSERTS, True)
    assert ran.metrics == {"contention_count": 0}


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("shared_lock", "no_resource_contention"),
        ("shared_files", "isolation_maintained"),
        ("random", "results_deterministic"),
    ],
)
def test_a_bug_shows_in_its_own_observation(stage: Stage, kind: str, wrong: str) -> None:
    stage.set_bugs(dict.fromkeys(NAMES, kind))
    ran = run(stage)
    assert not ran.passed
    assert ran.observations == {name: name != wrong for name in ASSERTS}
    assert (ran.metrics["contention_count"] > 0) == (kind == "shared_lock")
