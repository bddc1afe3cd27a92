"""The suite of TC-005: an interrupted upload tears nothing, and each bug makes exactly one observation false."""

from typing import Any

import pytest

from tests.service.suites import Stage

SUITE, SERVICE = "large_upload", "upload-service"
HOLDS = {"no_data_corruption": True, "temp_files_cleaned": True}


def windows(stage: Stage) -> list[dict[str, Any]]:
    """Those that were opened since, the last one first."""
    status = stage.madre.status(service=SERVICE, closed=True)
    return [*status["windows"], *status["closed"]]


def test_an_interruption_tears_nothing(each_stage: Stage) -> None:
    (opened,) = each_stage.open(SERVICE)
    ran = each_stage.run(SUITE, interrupt=SERVICE)
    assert ran.passed, ran.output
    assert ran.observations == HOLDS
    assert ran.metrics["cleanup_completeness"] == 100
    (first,) = [window for window in windows(each_stage) if window["window_id"] == opened["window_id"]]
    assert (first["state"], first["reason"]) == ("closed", "requested")
    assert each_stage.madre.status()["windows"] == []


def test_without_an_interruption_the_upload_completes(stage: Stage) -> None:
    (opened,) = stage.open(SERVICE)
    ran = stage.run(SUITE)
    assert ran.passed, ran.output
    assert (ran.observations, ran.metrics["cleanup_completeness"]) == (HOLDS, 100)
    assert [window["window_id"] for window in stage.madre.status()["windows"]] == [opened["window_id"]]


@pytest.mark.parametrize(
    ("kind", "broken", "completeness"),
    [("writes_in_place", "no_data_corruption", 100), ("leaks_temp", "temp_files_cleaned", 0)],
)
def test_a_bug_is_seen(stage: Stage, kind: str, broken: str, completeness: float) -> None:
    stage.set_bugs({SERVICE: kind})
    stage.open(SERVICE)
    ran = stage.run(SUITE, interrupt=SERVICE)
    assert not ran.passed
    assert ran.observations == HOLDS | {broken: False}
    assert ran.metrics["cleanup_completeness"] == completeness
