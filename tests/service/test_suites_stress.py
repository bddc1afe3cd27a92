"""TC-004: the suite sees whether data-processor does its work at its limits."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.service.suites import Stage

SERVICE, SUITE = "data-processor", "stress_processing"
LIMITS = {"cpu": 0.5, "memory": "256MB", "iops": 100}
# Less work for what is not about time.
QUICK = {"VX11_PACE": "0.1"}


@pytest.mark.root
def test_the_work_is_done_within_the_limits(each_stage: Stage) -> None:
    each_stage.open(SERVICE, resources=LIMITS)
    ran = each_stage.run(SUITE)
    assert ran.passed, ran.output
    assert ran.metrics["throughput_vs_baseline"] > 0
    usage = each_stage.close(SERVICE)["usage"]
    assert usage["memory_peak_bytes"] >= 190 * 2**20
    assert usage["io_write_ops"] >= 200


@pytest.mark.root
def test_limits_lower_the_throughput(stage: Stage) -> None:
    stage.open(SERVICE, resources=LIMITS)
    limited = stage.run(SUITE)
    stage.close(SERVICE)
    stage.open(SERVICE)
    free = stage.run(SUITE)
    assert limited.metrics["throughput_vs_baseline"] < free.metrics["throughput_vs_baseline"]


def test_work_that_is_only_claimed_is_seen(stage: Stage) -> None:
    stage.set_bugs({SERVICE: "lazy"})
    stage.open(SERVICE)
    ran = stage.run(SUITE, env=QUICK)
    assert not ran.passed
    assert "test_all_the_work_is_done" in ran.output


@pytest.mark.root
def test_a_service_that_takes_more_than_it_may_does_not_survive(stage: Stage, eventually: Callable[..., Any]) -> None:
    stage.set_bugs({SERVICE: "greedy"})
    (opened,) = stage.open(SERVICE, resources={"memory": "256MB"})
    ran = stage.run(SUITE, env=QUICK)
    assert not ran.passed
    assert "test_it_has_survived" in ran.output

    def closed() -> list[str]:
        windows = stage.madre.status(service=SERVICE, closed=True)["closed"]
        return [item["reason"] for item in windows if item["window_id"] == opened["window_id"]]

    assert eventually(closed) == ["crashed"]
