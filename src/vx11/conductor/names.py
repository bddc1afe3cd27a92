"""Names of observations and metrics that the conductor measures itself, so that nobody else records them.

What each means stands in docs/matrix.md. Imports nothing: suites load it too.
"""

MEASURED = frozenset(
    {
        # of every case
        "system_returns_to_solo_madre",
        "tentaculo_link_available",
        "no_resource_leaks",
        # TC-001
        "window_auto_closed",
        "max_cpu_percent",
        "memory_delta_mb",
        "startup_time_ms",
        "service_uptime_s",
        "cleanup_time_ms",
        # TC-002
        "concurrent_windows",
        "no_port_conflicts",
        "total_memory_peak_mb",
        # TC-003
        "service_running_after_ttl",
        "auto_close_after_release",
        "hold_duration_s",
        # TC-004
        "cpu_not_exceeded",
        "memory_not_exceeded",
        "iops_within_limit",
        "throttle_effectiveness_percent",
        # TC-005
        "graceful_shutdown",
        "interruption_latency_ms",
        # TC-006
        "startup_order_correct",
        "dependency_health_checks_pass",
        "circular_dependency_detected",
        "chain_startup_time_ms",
        "dependency_wait_time_ms",
        # TC-007
        "evidence_timestamped",
        "audit_trail_complete",
        "evidence_size_bytes",
        # TC-009
        "blocked_service_rejected",
        "no_side_effects_from_blocked",
        # TC-011
        "patch_intent_generated",
        "system_recovered_to_solo_madre",
        "no_auto_patch_applied",
        "failure_detection_time_ms",
        "recovery_time_ms",
        # TC-012
        "parallelization_efficiency",
    }
)
