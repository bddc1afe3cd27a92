"""Services that need others, on real engines: order, addresses, sharing, and the way back."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from vx11.engines.select import EngineName

READY = {"ready": {"http": {"port": 8080, "path": "/health"}}}
# Serves what it was told about the others, and the file that the migration wrote.
TELLS = """
import http.server, json, os, pathlib
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        found = {name: value for name, value in os.environ.items() if name.endswith('_URL')}
        body = json.dumps(found).encode()
        self.send_response(200); self.end_headers(); self.wfile.write(body)
http.server.ThreadingHTTPServer(('', int(os.environ.get('PORT', 8080))), Handler).serve_forever()
"""
ONCE = "import time; print('begin', flush=True); time.sleep(0.3); print('done', flush=True)"
FAILS = "import sys; print('no table', flush=True); sys.exit(4)"
SOLO_MADRE = "/api/v1/system/solo_madre"


@pytest.fixture
def api(
    make_bundle: Callable[..., Path],
    make_entry: Callable[..., Any],
    web: dict[str, Any],
    start_cell: Callable[..., Any],
    engine_name: EngineName,
    caller: Callable[..., Iterator[Any]],
) -> Iterator[Any]:
    """`shop` needs `db`, which needs `migrate` to have run; `stall` needs `db` too; `broken` needs what fails."""
    completed = {"condition": "service_completed_successfully"}
    entries = {
        "migrate": make_entry(ONCE, ports=[]),
        "fails": make_entry(FAILS, ports=[]),
        "db": {**web, "depends_on": {"migrate": completed}},
        "shop": make_entry(TELLS, vx11=READY, depends_on={"db": {"condition": "service_healthy"}}),
        "stall": make_entry(TELLS, vx11=READY, depends_on=["db"]),
        "broken": make_entry(
            TELLS, vx11=READY, depends_on={"db": {"condition": "service_healthy"}, "fails": completed}
        ),
    }
    yield from caller(start_cell(make_bundle(entries), engine_name))


def told(api: Any, *actions: str) -> list[tuple[str, str]]:
    return [(item["action"], item["data"]["service"]) for item in api.evidence() if item["action"] in actions]


def test_it_is_opened_after_and_closed_before_what_it_needs(api: Any) -> None:
    shop = api.open("shop", ttl=60)
    windows = {item["service"]: item for item in api.status()["windows"]}
    assert {name: item["state"] for name, item in windows.items()} == {"shop": "open", "db": "open"}
    assert (windows["db"]["requested"], windows["db"]["needed_by"]) == (False, ["shop"])
    assert (windows["shop"]["depends_on"], windows["shop"]["requested"]) == (["db"], True)
    assert windows["db"]["expires_at"] == shop["expires_at"]
    assert told(api, "opened", "closed") == [("closed", "migrate"), ("opened", "db"), ("opened", "shop")]
    assert list(httpx.get(shop["endpoints"][0], timeout=5).json()) == ["DB_URL"]
    api.close("shop")
    assert api.status()["windows"] == []
    assert told(api, "closed")[1:] == [("closed", "shop"), ("closed", "db")]
    reasons = {item["data"]["service"]: item["data"]["reason"] for item in api.evidence() if item["action"] == "closed"}
    assert reasons == {"migrate": "completed", "shop": "requested", "db": "requested"}
    assert [item for item in api.cell.engine.inventory(api.cell.name) if item.alive] == []


def test_what_several_need_is_started_once_and_stays_for_the_last(api: Any) -> None:
    with ThreadPoolExecutor(2) as pool:
        opened = list(pool.map(lambda name: api.open(name, ttl=60), ("shop", "stall")))
    assert {item["state"] for item in opened} == {"open"}
    assert sorted(told(api, "opening")) == [("opening", name) for name in ("db", "migrate", "shop", "stall")]
    api.close("shop")
    assert {item["service"] for item in api.status()["windows"]} == {"db", "stall"}
    api.close("stall")
    assert api.status()["windows"] == []


def test_when_what_it_needs_fails_all_is_taken_back(api: Any, problem: Callable[..., str]) -> None:
    said = problem(api.post("/api/v1/windows/open", service="broken"), 502, "open_failed")
    assert "broken needs fails" in said
    assert "exit code 4" in said
    api.until(lambda: api.status()["windows"] == [])
    assert [item for item in api.cell.engine.inventory(api.cell.name) if item.alive] == []
    assert api.post(SOLO_MADRE).json()["solo_madre"]


def test_closing_what_others_need_closes_them_first(api: Any) -> None:
    api.open("shop", ttl=60)
    assert api.close("db")["state"] == "closed"
    assert api.status()["windows"] == []
    assert told(api, "closed")[1:] == [("closed", "shop"), ("closed", "db")]


def test_all_expire_together_also_by_a_later_madre(api: Any) -> None:
    shop = api.open("shop", ttl=12)
    api.end("madre")
    api.cell.start_madre()
    api.connect()
    assert {item["service"]: item["needed_by"] for item in api.status()["windows"]} == {"shop": [], "db": ["shop"]}
    api.in_state(shop["window_id"], "closed", limit=30)
    api.until(lambda: api.status()["windows"] == [])
    assert told(api, "closed")[1:] == [("closed", "shop"), ("closed", "db")]
