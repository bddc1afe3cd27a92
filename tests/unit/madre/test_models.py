"""Requests: what they accept, what they refuse, and what the windows are told."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from vx11.catalogue.limits import Limits
from vx11.clock import NS, Instant
from vx11.engines.port import Usage
from vx11.madre import models
from vx11.windows.usage import Sample
from vx11.windows.window import Reason, State, Window

OPENED = Instant(1000 * NS, 1_795_242_600 * NS, "boot")
WINDOW = Window(
    cell="default",
    window_id="id-1",
    generation=3,
    service="web",
    state=State.OPEN,
    opened=OPENED,
    deadline=OPENED.plus(300),
    opened_by="anna",
    max_ttl=3600,
    max_hold=7200,
    grace=4.0,
    limits=Limits(cpu=0.5, memory=1024),
    endpoints=("http://127.0.0.1:4000",),
    ready=OPENED.plus(0.25),
)


@pytest.mark.parametrize(
    ("ttl", "seconds"), [(30, 30.0), (0.5, 0.5), ("30", 30.0), ("30s", 30.0), ("5m", 300.0), ("1h30m", 5400.0)]
)
def test_forms_of_a_ttl(ttl: Any, seconds: float) -> None:
    assert models.Open(service="web", ttl=ttl).ttl == seconds
    assert models.Extend(service="web", ttl=ttl).ttl == seconds
    assert models.LegacyOpen(service="web", ttl_sec=ttl).ttl_sec == seconds


def test_what_a_request_says_when_it_says_little() -> None:
    request = models.Open(service="web")
    assert (request.ttl, request.hold, request.wait, request.dry_run, request.min_remaining) == (
        None,
        False,
        True,
        False,
        None,
    )
    assert not request.resources.limits()


@pytest.mark.parametrize(
    ("model", "body", "field"),
    [
        (models.Open, {}, "service"),
        (models.Open, {"service": ""}, "service"),
        (models.Open, {"service": "web", "ttl": 0}, "ttl"),
        (models.Open, {"service": "web", "ttl": -5}, "ttl"),
        (models.Open, {"service": "web", "ttl": "soon"}, "ttl"),
        (models.Open, {"service": "web", "ttl": True}, "ttl"),
        (models.Open, {"service": "web", "ttl": float("nan")}, "ttl"),
        (models.Open, {"service": "web", "min_remaining": -1}, "min_remaining"),
        (models.Open, {"service": "web", "tll": 5}, "tll"),
        (models.Open, {"service": "web", "resources": {"cpus": 1}}, "cpus"),
        (models.Open, {"service": "web", "resources": {"cpu": 0}}, "cpu"),
        (models.Open, {"service": "web", "resources": {"cpu": float("inf")}}, "cpu"),
        (models.Open, {"service": "web", "resources": {"memory": "lots"}}, "memory"),
        (models.Open, {"service": "web", "resources": {"memory": 0}}, "memory"),
        (models.Open, {"service": "web", "resources": {"pids": 0}}, "pids"),
        (models.Open, {"service": "web", "resources": {"iops": 0.5}}, "iops"),
        (models.Extend, {"service": "web"}, "ttl"),
        (models.Hold, {"service": "web"}, "hold"),
        (models.SoloMadre, {"dry": True}, "dry"),
    ],
)
def test_what_is_refused_names_its_field(model: type[BaseModel], body: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        model.model_validate(body)
    assert field in {str(part) for error in refused.value.errors() for part in error["loc"]}


@pytest.mark.parametrize(
    ("resources", "limits"),
    [
        ({}, Limits()),
        ({"cpu": 0.5, "memory": "256MB", "pids": 20}, Limits(cpu=0.5, memory=256 * 1024**2, pids=20)),
        ({"memory": 1048576}, Limits(memory=1048576)),
        ({"iops": 100}, Limits(read_iops=100, write_iops=100)),
        ({"iops": 100, "read_iops": 50}, Limits(read_iops=50, write_iops=100)),
        ({"write_iops": 7}, Limits(write_iops=7)),
    ],
)
def test_resources_become_limits(resources: dict[str, Any], limits: Limits) -> None:
    assert models.Resources(**resources).limits() == limits


@pytest.mark.parametrize(
    ("model", "more"), [(models.Close, {}), (models.Hold, {"hold": True}), (models.Extend, {"ttl": 5})]
)
def test_a_window_is_named_by_exactly_one(model: type[models.OneWindow], more: dict[str, Any]) -> None:
    assert model(window_id="id-1", **more).name == "id-1"
    assert model(service="web", **more).name == "web"
    for both in ({}, {"window_id": "id-1", "service": "web"}):
        with pytest.raises(ValidationError, match="exactly one of window_id and service"):
            model(**both, **more)


def test_an_open_window_as_clients_see_it() -> None:
    usage = Usage(cpu_ns=500_000_000, memory=10, memory_peak=20, source="cgroup")
    view = models.WindowView.of(WINDOW, Sample(OPENED.plus(10.25), usage), OPENED.plus(10.25))
    assert (view.state, view.generation, view.opened_by) == ("open", 3, "anna")
    assert (view.opened_at, view.expires_at) == ("2026-11-21T06:30:00.000000000Z", "2026-11-21T06:35:00.000000000Z")
    assert (view.startup_ms, view.remaining_s, view.open_s) == (250.0, 289.75, 10.25)
    assert view.resources == {"cpu": 0.5, "memory": 1024}
    assert (view.closed_at, view.reason, view.close_ms) == (None, None, None)
    assert view.usage is not None
    assert (view.usage.cpu_s, view.usage.cpu_percent, view.usage.io_read_ops) == (0.5, 5.0, None)


def test_a_closed_window_as_clients_see_it() -> None:
    closed = replace(
        WINDOW, state=State.CLOSED, closing=OPENED.plus(20), closed=OPENED.plus(20.5), reason=Reason.REQUESTED
    )
    view = models.WindowView.of(closed, None, OPENED.plus(100))
    assert (view.state, view.reason, view.remaining_s, view.close_ms) == ("closed", "requested", 0.0, 500.0)
    assert view.open_s == 20.5
    assert view.usage is None


def test_the_answer_of_the_older_deployment() -> None:
    still = models.legacy(WINDOW, OPENED.plus(10))
    assert (still.window_id, still.deadline_timestamp) == ("id-1", 1_795_242_900.0)
    assert (still.closed_at, still.duration_sec) == (None, None)
    done = models.legacy(replace(WINDOW, closed=OPENED.plus(20)), OPENED.plus(99))
    assert (done.closed_at, done.duration_sec) == ("2026-11-21T06:30:20.000000000Z", 20.0)


def test_keys_that_the_older_deployment_ignored_are_ignored() -> None:
    assert models.LegacyOpen.model_validate({"service": "web", "mode": "test"}).service == "web"


def test_the_older_deployment_names_a_window_by_exactly_one() -> None:
    assert models.LegacyClose.model_validate({"service": "web", "mode": "test"}).name == "web"
    with pytest.raises(ValidationError, match="exactly one of window_id and service"):
        models.LegacyClose()
