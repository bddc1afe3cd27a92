"""An operator's policy takes endpoints away and asks for more; it gives nothing."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from vx11.conductor.cell import Cell

OPEN, CLOSE, STATUS = (f"/api/v1/windows/{verb}" for verb in ("open", "close", "status"))
SOLO_MADRE = "/api/v1/system/solo_madre"
POLICY = f"""\
version: 1
endpoints:
  - {{method: GET, path: /health, auth: none}}
  - {{method: GET, path: {STATUS}, auth: required, scope: power:read metrics:read}}
  - {{method: POST, path: {CLOSE}, auth: required, scope: power:write}}
  - {{method: POST, path: {SOLO_MADRE}, auth: required, scope: system:write}}
"""
Problem = Callable[..., str]


class Narrowed(Cell):
    """A cell whose madre has an operator's policy."""

    def _flags(self) -> Any:
        path = self.folder / "policy.yml"
        path.write_text(POLICY, encoding="utf-8")
        return [*super()._flags(), "--policy", str(path)]


@pytest.fixture(scope="module")
def narrowed_api(
    bundle: Path, tmp_path_factory: pytest.TempPathFactory, caller: Callable[..., Iterator[Any]]
) -> Iterator[Any]:
    """A caller of such a cell."""
    cell = Narrowed(f"t-{secrets.token_hex(4)}", bundle, "process", tmp_path_factory.mktemp("evidence"))
    try:
        cell.start()
        yield from caller(cell)
    finally:
        cell.stop()
        assert cell.purge() == []


def test_what_it_does_not_name_is_no_endpoint_for_anybody(narrowed_api: Any, problem: Problem) -> None:
    problem(narrowed_api.post(OPEN, service="web"), 404, "not_found")
    problem(narrowed_api.post("/madre/power/window/open", service="web"), 404, "not_found")
    problem(narrowed_api.http.get("/openapi.json"), 404, "not_found")
    problem(narrowed_api.http.get(SOLO_MADRE), 405, "method_not_allowed")


def test_what_it_names_works_as_before(narrowed_api: Any, problem: Problem) -> None:
    assert httpx.get(f"{narrowed_api.cell.url}/health").status_code == 200
    assert narrowed_api.done(SOLO_MADRE)["solo_madre"]
    problem(narrowed_api.post(CLOSE, service="web"), 404, "no_window")


def test_it_asks_for_the_scopes_that_it_adds(narrowed_api: Any, problem: Problem) -> None:
    headers = {"Authorization": f"Bearer {narrowed_api.token(scopes=['power:read'])}"}
    answer = httpx.get(f"{narrowed_api.cell.url}{STATUS}", headers=headers)
    assert "power:read metrics:read" in problem(answer, 403, "scope_missing")
    assert narrowed_api.status()["windows"] == []
