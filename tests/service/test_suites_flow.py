"""The suite of TC-002: windows that need each other answer together, and a slow hop is seen."""

from tests.service.suites import Stage

SUITE = "integrated_flow"
# The cache is opened last: the gateway finds what was not there when it started.
SERVICES = ("auth-service", "api-gateway", "cache")
LIMIT_MS = 100


def test_sound_services_hold_everything(each_stage: Stage) -> None:
    each_stage.open(*SERVICES)
    ran = each_stage.run(SUITE)
    assert ran.passed, ran.output
    assert 0 < ran.observations["inter_service_latency_ms"] < LIMIT_MS
    # A round trip has two hops in it, and a second of the suite many requests.
    assert ran.metrics["cross_service_rtt"] > ran.observations["inter_service_latency_ms"]
    assert ran.metrics["network_iops"] > 10


def test_slow_hops_are_seen(stage: Stage) -> None:
    stage.set_bugs({"api-gateway": "slow_hops"})
    stage.open(*SERVICES)
    ran = stage.run(SUITE, "-k", "test_a_hop_is_quick")
    assert ran.passed, ran.output
    assert ran.observations["inter_service_latency_ms"] > LIMIT_MS


def test_a_missing_service_is_seen(stage: Stage) -> None:
    stage.open("auth-service", "api-gateway")
    ran = stage.run(SUITE)
    assert not ran.passed
    assert "no window of cache is open" in ran.output
