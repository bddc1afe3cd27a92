"""TC-007: the suite sees whether what logging-service acknowledged outlives it."""

from tests.service.suites import Ran, Stage

SERVICE, SUITE = "logging-service", "log_ingestion"
PERSISTED = "logs_persisted_before_crash"


def before_and_after(stage: Stage) -> tuple[Ran, Ran]:
    """The suite's own run, and the one after the failure."""
    stage.open(SERVICE)
    before = stage.run(SUITE)
    return before, stage.run(SUITE, "--vx11-after=force_failure", after=before)


def test_acknowledged_records_outlive_the_service(each_stage: Stage) -> None:
    before, after = before_and_after(each_stage)
    assert before.passed, before.output
    assert before.metrics["log_persistence_latency_ms"] > 0
    assert PERSISTED not in before.observations
    assert after.passed, after.output
    assert after.observations == {PERSISTED: True}
    assert not each_stage.madre.status()["windows"]


def test_records_that_were_only_in_memory_are_missed(stage: Stage) -> None:
    stage.set_bugs({SERVICE: "buffers"})
    before, after = before_and_after(stage)
    assert before.passed, before.output
    assert not after.passed
    assert after.observations == {PERSISTED: False}
    assert "acknowledged records are gone" in after.output
