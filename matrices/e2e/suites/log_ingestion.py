"""TC-007: what logging-service has acknowledged is on the disk, and still there after it was cut off and killed."""

import json
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

SERVICE = "logging-service"
ONE_BY_ONE = 40
WRITERS = 4
EACH = 5
# What was acknowledged; the run after the failure finds it among the evidence of the one before.
KEPT = "acknowledged.json"
PAGE = 500

Json = dict[str, Any]


def append(log: httpx.Client, text: str) -> Json:
    """Writes a record; answers it as it was acknowledged, with the milliseconds that took."""
    begun = time.perf_counter()
    answer = log.post("/records", json={"text": text})
    took_ms = (time.perf_counter() - begun) * 1000
    assert answer.status_code == 200, answer.text
    return {**answer.json(), "text": text, "ms": took_ms}


def records(log: httpx.Client) -> list[Json]:
    """All records, in the order in which the service has them."""
    found: list[Json] = []
    while page := log.get("/records", params={"after": len(found), "limit": PAGE}).raise_for_status().json()["records"]:
        found += page
    return found


def missing(acknowledged: list[Json], found: list[Json]) -> list[Json]:
    """The records of the first list that are not in the second one as they were acknowledged."""
    kept = {record["sequence"]: record for record in found}
    wanted = [{name: record[name] for name in ("sequence", "time_ns", "text")} for record in acknowledged]
    return [record for record in wanted if kept.get(record["sequence"]) != record]


def in_order(found: list[Json]) -> bool:
    """Whether no number is left out or comes twice, and time goes forward."""
    times = [int(record["time_ns"]) for record in found]
    return [record["sequence"] for record in found] == list(range(1, len(found) + 1)) and times == sorted(times)


def test_records_are_acknowledged_when_they_are_on_the_disk(
    window: Callable[[str], Any], metric: Callable[..., None], evidence: Callable[[str, Any], Path]
) -> None:
    log = window(SERVICE).http
    one_by_one = [append(log, f"record {number}: zażółć, 記録, \r\n\t\\") for number in range(ONE_BY_ONE)]
    texts = [f"record {number} of writer {writer}" for writer in range(WRITERS) for number in range(EACH)]
    with ThreadPoolExecutor(WRITERS) as writers:
        at_once = list(writers.map(lambda text: append(log, text), texts))
    acknowledged = one_by_one + at_once
    evidence(KEPT, acknowledged)
    metric("log_persistence_latency_ms", statistics.median(record["ms"] for record in one_by_one), "ms")
    found = records(log)
    assert not missing(acknowledged, found)
    assert in_order(found)


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"text": 1}', '{"text": "\\ud800"}'])
def test_what_is_no_record_is_refused(window: Callable[[str], Any], body: str) -> None:
    log = window(SERVICE).http
    before = log.get("/status").json()["records"]
    answer = log.post("/records", content=body)
    assert answer.status_code == 400, answer.text
    assert log.get("/status").json()["records"] == before


@pytest.mark.after("force_failure")
def test_what_was_acknowledged_outlives_the_failure(
    window: Callable[[str], Any],
    madre: httpx.Client,
    observe: Callable[..., None],
    evidence: Callable[[str, Any], Path],
) -> None:
    acknowledged = remembered()
    # The service cannot be reached, and gets no chance to tidy up. What it had only in memory is gone with it.
    post(madre, "close", service=SERVICE, force=True)
    post(madre, "open", service=SERVICE, ttl=60)
    found = records(window(SERVICE).http)
    evidence("after_force_failure.json", found)
    lost = missing(acknowledged, found)
    observe("logs_persisted_before_crash", not lost and in_order(found))
    post(madre, "close", service=SERVICE)
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged records are gone or changed, first {lost[0]}"
    assert in_order(found)


def remembered() -> list[Json]:
    """What the suite's own run of this case has kept."""
    folder = Path(os.environ["VX11_CASE_DIR"], "suites")
    (path,) = folder.glob(f"*/evidence/{KEPT}")
    kept: list[Json] = json.loads(path.read_text(encoding="utf-8"))
    return kept


def post(madre: httpx.Client, verb: str, **body: Any) -> None:
    """A call about a window that succeeds."""
    answer = madre.post(f"/api/v1/windows/{verb}", json=body)
    assert answer.status_code == 200, answer.text
