"""What tests of recovery share: a failure of a case with one window, which each test changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vx11.recovery.failure import Failure

AT = 1_764_000_000_000_000_000
MakeFailure = Callable[..., Failure]


def window_of(service: str = "web", **more: Any) -> dict[str, Any]:
    """A window as madre's API describes it."""
    return {
        "window_id": f"id-of-{service}",
        "service": service,
        "opened_at": "2025-11-24T16:00:00.000000000Z",
        "ready_at": "2025-11-24T16:00:00.100000000Z",
        "endpoints": [f"http://127.0.0.1:4{len(service):04}"],
        "resources": {},
        "usage": None,
        "reason": None,
        "detail": None,
        "open_s": 2.0,
        **more,
    }


@pytest.fixture(scope="session")
def make_window() -> Callable[..., dict[str, Any]]:
    """`make_window(service, **more)`; see `window_of`."""
    return window_of


@pytest.fixture(scope="session")
def make_failure() -> MakeFailure:
    """`make_failure(**more)` is a failure with these attributes, of the case TC-011."""

    def make(**more: Any) -> Failure:
        known: dict[str, Any] = {
            "test_id": "e2e-1",
            "case": "TC-011",
            "description": "a failure",
            "attempt": 1,
            "version": "0.1.0",
            "judged_ns": AT,
            "message": "it failed",
            "evidence": Path("/evidence/TC-011/1"),
            "matrix": Path("/bundle/matrix.yml"),
        }
        return Failure(**known | more)

    return make
