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


def test_a_window_closes_while_the_daemon_does_not_answer(far_api: Any, line: Any, problem: Problem) -> None:
    far_api.open(ttl=60)
    line.cut()
    problem(far_api.http.get(STATUS), 503, "engine_unavailable")
    problem(far_api.post(SOLO_MADRE, dry_run=True), 503, "engine_unavailable")
    assert far_api.post(OPEN, service="other").status_code in (502, 503)
    far_api.until(lambda: "engine_away" in [item["action"] for item in far_api.evidence()])
    closed = far_api.close()
    assert (closed["state"], closed["reason"]) == ("closed", "requested")
    line.mend()
    far_api.until(lambda: far_api.cell.engine.inventory(far_api.cell.name) == [])
    assert far_api.status()["solo_madre"]


def test_a_window_expires_while_the_daemon_does_not_answer(far_api: Any, line: Any) -> None:
    window = far_api.open(ttl=4)
    line.cut()
    far_api.until(lambda: [item for item in far_api.evidence() if item["action"] == "closed"])
    (closed,) = [item for item in far_api.evidence() if item["action"] == "closed"]
    assert (closed["subject"], closed["data"]["reason"]) == (window["window_id"], "expired")
    assert closed["data"]["open_s"] < 6
