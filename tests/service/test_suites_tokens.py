"""The suite of TC-008: sound services hold everything, and each bug makes exactly one observation false."""

import pytest

from tests.service.suites import Stage

SUITE = "token_flow"
SERVICES = ("auth-service", "resource-service")
STEPS = ["get_token", "access_protected_resource", "token_expiry", "refresh_flow"]
HOLDS = {"token_validity_enforced": True, "expired_token_rejected": True, "refresh_works": True}


def test_sound_services_hold_everything(each_stage: Stage) -> None:
    each_stage.open(*SERVICES)
    ran = each_stage.run(SUITE, *(f"--vx11-step={name}" for name in STEPS))
    assert ran.passed, ran.output
    assert ran.observations == HOLDS
    assert 0 < ran.metrics["token_issue_time_ms"] < 1000
    assert 0 < ran.metrics["auth_overhead_ms"] < 1000


@pytest.mark.parametrize(
    ("service", "kind", "broken"),
    [
        ("auth-service", "accepts_forged", "token_validity_enforced"),
        ("resource-service", "needs_no_token", "token_validity_enforced"),
        ("auth-service", "accepts_expired", "expired_token_rejected"),
        ("resource-service", "remembers_tokens", "expired_token_rejected"),
        ("auth-service", "reuses_refresh", "refresh_works"),
    ],
)
def test_a_bug_is_seen(stage: Stage, service: str, kind: str, broken: str) -> None:
    stage.set_bugs({service: kind})
    stage.open(*SERVICES)
    ran = stage.run(SUITE)
    assert not ran.passed
    assert ran.observations == HOLDS | {broken: False}


def test_waits_can_be_shortened(stage: Stage) -> None:
    stage.open(*SERVICES)
    ran = stage.run(SUITE, "--vx11-step=token_expiry", env={"VX11_TIME_SCALE": "0.25"})
    assert ran.passed, ran.output
    assert ran.observations == {"expired_token_rejected": True}
