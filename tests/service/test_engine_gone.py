"""While the Docker daemon does not answer nothing is claimed or forgotten; when it is back, closing goes on."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vx11.conductor.cell import Cell

pytestmark = pytest.mark.docker
OPEN, STATUS, SOLO_MADRE = "/api/v1/windows/open", "/api/v1/windows/status", "/api/v1/system/solo_madre"
Problem = Callable[..., str]


@pytest.fixture
def far_api(bundle: Path, line: Any, tmp_path: Path, caller: Callable[..., Iterator[Any]]) -> Iterator[Any]:
    """A cell whose daemon is at the other end of the line."""
    cell = Cell(f"t-{secrets.token_hex(4)}", bundle, "docker", tmp_path / "evidence")
    try:
        cell.start()
        yield from caller(cell)
    finally:
        if not line.path.exists():
            line.mend()
        cell.stop()
        assert cell.purge() == []


def test_a_window_that_cannot_be_closed_is_stuck_until_it_can(far_api: Any, line: Any, problem: Problem) -> None:
    window = far_api.open(ttl=60)
    line.cut()
    problem(far_api.http.get(STATUS), 503, "engine_unavailable")
    problem(far_api.post(SOLO_MADRE, dry_run=True), 503, "engine_unavailable")
    assert far_api.post(OPEN, service="other").status_code in (502, 503)
    stuck = far_api.close()
    assert (stuck["state"], stuck["closed_at"]) == ("stuck", None)
    problem(far_api.post(OPEN, service="web"), 409, "window_stuck")
    line.mend()
    closed = far_api.in_state(window["window_id"], "closed")
    assert closed["reason"] == "requested"
    assert far_api.cell.engine.inventory(far_api.cell.name) == []
    actions = [item["action"] for item in far_api.evidence() if item["subject"] == window["window_id"]]
    assert actions[-1] == "closed"
    assert "stuck" in actions
    far_api.until(lambda: far_api.status()["solo_madre"])
