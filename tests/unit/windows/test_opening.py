"""What decides at an opening: how long, with which limits, and what an open window answers."""

from collections.abc import Callable
from typing import Any

import pytest

from vx11.catalogue.compose import Service
from vx11.catalogue.limits import Limits
from vx11.clock import Instant
from vx11.windows.errors import LimitsDiffer, TtlTooLong
from vx11.windows.opening import OpenRequest, expect_same_limits, reused, ttl_of
from vx11.windows.window import Window

MIB = 1024 * 1024
MakeService = Callable[..., Service]


@pytest.fixture
def service(idle_room: Any) -> MakeService:
    """`service(ttl=…, max_ttl=…)` under x-vx11."""

    def make(**vx11: Any) -> Service:
        idle_room.services.add("timed", vx11)
        found: Service = idle_room.services.get("timed")
        return found

    return make


@pytest.mark.parametrize(
    ("stated", "wanted", "seconds"),
    [
        ({}, None, 300),
        ({"ttl": 60}, None, 60),
        ({"ttl": 60}, 90, 90),
        ({"ttl": 60}, 5, 5),
        ({"max_ttl": 100}, None, 100),  # the default of 300 is cut to it
        ({"max_ttl": 100}, 100, 100),
        ({}, 3600, 3600),
    ],
)
def test_how_long_a_window_is_opened(
    service: MakeService, stated: dict[str, float], wanted: float | None, seconds: float
) -> None:
    assert ttl_of(service(**stated), wanted) == seconds


@pytest.mark.parametrize(("max_ttl", "wanted"), [(3600, 3600.1), (100, 101), (100, 1e9)])
def test_a_time_beyond_the_service_s_own_is_refused(service: MakeService, max_ttl: float, wanted: float) -> None:
    with pytest.raises(TtlTooLong, match=r"timed may stay open for .* at most, not "):
        ttl_of(service(max_ttl=max_ttl), wanted)


@pytest.fixture
def window(idle_room: Any) -> Window:
    """Opened now for 60 s with limits, at most for an hour."""
    limits = Limits(cpu=0.5, memory=256 * MIB, read_iops=5000, pids=100)
    kept: Window = idle_room.on_file(limits=limits)
    return kept


@pytest.mark.parametrize(
    "wanted",
    [
        Limits(),
        Limits(cpu=0.5),
        Limits(cpu=0.5004),  # less than the kernel can tell
        Limits(memory=256 * MIB),
        Limits(memory=256 * MIB + 100),  # the same number of pages
        Limits(read_iops=5000, pids=100),
    ],
)
def test_the_same_limits_are_fine_and_so_is_not_to_ask(window: Window, wanted: Limits) -> None:
    expect_same_limits(window, wanted)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (Limits(cpu=0.6), "cpu"),
        (Limits(cpu=0.49), "cpu"),
        (Limits(memory=255 * MIB), "memory"),
        (Limits(memory=256 * MIB + 100_000), "memory"),
        (Limits(read_iops=5001), "read_iops"),
        (Limits(read_iops=8000), "read_iops"),
        (Limits(pids=99), "pids"),
        (Limits(write_iops=10), "write_iops"),  # it has none
        (Limits(pids=1, cpu=4), "cpu, pids"),
    ],
)
def test_other_limits_than_it_has_are_refused(window: Window, wanted: Limits, names: str) -> None:
    with pytest.raises(LimitsDiffer) as refused:
        expect_same_limits(window, wanted)
    assert str(refused.value) == f"web is open with other limits than asked for ({names}); close it first"


@pytest.mark.parametrize(
    ("min_remaining", "ttl", "after", "left"),
    [
        (None, 600, 10, 50),  # never silently extended
        (None, 5, 10, 50),  # nor shortened
        (50, 600, 10, 50),  # it has that much
        (51, 600, 10, 600),
        (51, 30, 10, 51),  # at least what was asked for remains
        (30, 600, 10, 50),
        (1, 300, 70, 300),  # overdue, and not closed yet
    ],
)
def test_an_open_window_is_extended_only_if_it_has_less_left(
    window: Window, min_remaining: float | None, ttl: float, after: float, left: float
) -> None:
    now: Instant = window.opened.plus(after)
    request = OpenRequest("web", ttl=ttl, min_remaining=min_remaining)
    assert reused(window, request, ttl, now).remaining(now) == pytest.approx(left)


def test_a_held_window_has_the_time_of_its_hold(window: Window) -> None:
    now = window.opened.plus(59)
    held = window.held(True, now)
    assert reused(held, OpenRequest("web", min_remaining=600), 600, now) is held


def test_an_open_window_is_not_extended_for_who_wants_other_limits(window: Window) -> None:
    request = OpenRequest("web", limits=Limits(cpu=2), min_remaining=500)
    with pytest.raises(LimitsDiffer):
        reused(window, request, 600, window.opened)


def test_an_extension_by_opening_has_the_service_s_cap_too(window: Window) -> None:
    with pytest.raises(TtlTooLong):
        reused(window, OpenRequest("web", min_remaining=100), 3600, window.opened.plus(10))
