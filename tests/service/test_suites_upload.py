"""The suite of TC-005: an interrupted upload tears nothing, and each bug makes exactly one observation false."""

from typing import Any

import pytest

from tests.service.suites import Stage

SUITE, SERVICE = "large_upload", "upload-service"
GRACE_MS = 2000  # stop_grace_period of the catalogue
HOLDS = {"no_data_corruption": True, "temp_files_cleaned": True}


def closed(stage: Stage, window_id: str) -> dict[str, Any]:
    """A window that was closed."""
    windows = stage.madre.status(service=SERVICE, closed=True)["closed"]
    (found,) = [window for window in windows if window["window_id"] == window_id]
    return dict(found)


def test_an_interruption_tears_nothing(each_stage: Stage) -> None:
    (opened,) = each_stage.open(SERVICE)
    ran = each_stage.run(SUITE, interrupt=SERVICE)
    assert ran.passed, ran.output
    assert ran.observations == HOLDS
    assert ran.metrics["cleanup_completeness"] == 100
    interrupted = closed(each_stage, opened["window_id"])
    assert interrupted["reason"] == "requested"
    assert interrupted["close_ms"] < GRACE_MS
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


def test_a_service_that_has_to_be_killed_loses_nothing(stage: Stage) -> None:
    stage.set_bugs({SERVICE: "hangs_at_stop"})
    (opened,) = stage.open(SERVICE)
    ran = stage.run(SUITE, interrupt=SERVICE)
    assert ran.passed, ran.output
    assert ran.observations == HOLDS
    assert closed(stage, opened["window_id"])["close_ms"] >= GRACE_MS
