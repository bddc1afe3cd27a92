"""Whoever dies, and in whatever order they come back: windows close on time, and what is held or extended stays."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from .scene import Part, Scene, on_engines

BOTH: tuple[Part, Part] = ("madre", "watchdog")
SHORT, LONG = 3.0, 4.5
TO_COME_BACK = 2.0  # seconds a part of the core


@dataclass(frozen=True)
class Deaths:
    """Who is killed before any deadline of interest, who comes back in time, and who only after it."""

    killed: tuple[Part, ...]
    in_time: tuple[Part, ...] = ()
    too_late: tuple[Part, ...] = ()
    at_the_deadline: tuple[Part, ...] = ()


DEATHS = {
    "madre, back too late": Deaths(("madre",), too_late=("madre",)),
    "madre, back in time": Deaths(("madre",), in_time=("madre",)),
    "watchdog": Deaths(("watchdog",), too_late=("watchdog",)),
    "both, madre back first, in time": Deaths(BOTH, in_time=("madre", "watchdog")),
    "both, watchdog back first, in time": Deaths(BOTH, in_time=("watchdog", "madre")),
    "both, only the watchdog back in time": Deaths(BOTH, in_time=("watchdog",), too_late=("madre",)),
    "both, madre back first, too late": Deaths(BOTH, too_late=("madre", "watchdog")),
    "both, watchdog back first, too late": Deaths(BOTH, too_late=("watchdog", "madre")),
    "both at the deadline": Deaths((), at_the_deadline=BOTH, too_late=("madre", "watchdog")),
}


ON_DOCKER = ("both, watchdog back first, in time", "both at the deadline")


@pytest.mark.parametrize(("engine_name", "death"), on_engines(DEATHS, ON_DOCKER), indirect=["engine_name"])
def test_windows_close_on_time_and_not_before(stage: Callable[..., Scene], death: str) -> None:
    deaths = DEATHS[death]
    long = LONG + TO_COME_BACK * len(deaths.in_time)
    scene = stage("plain", "extended", "held", "asked")
    scene.open("asked", ttl=60)
    assert scene.try_close("asked").status_code == 200
    held = scene.open("held", ttl=SHORT, hold=True)
    extended = scene.open("extended", ttl=SHORT)
    scene.extend(extended, ttl=long)
    plain = scene.open("plain", ttl=long)
    scene.kill(*deaths.killed)
    scene.start(*deaths.in_time)
    scene.await_deadline(plain)
    scene.kill(*deaths.at_the_deadline)
    if not (deaths.at_the_deadline or (deaths.killed == BOTH and not deaths.in_time)):
        scene.await_ends([plain, extended])
    scene.start(*deaths.too_late)
    scene.await_ends([plain, extended])
    assert scene.runs(held)
    scene.release(held)
    scene.kept()
