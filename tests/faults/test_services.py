"""Services that behave badly: whatever they do, their windows end, and the reason is right."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from .scene import FULL, Enforcer, Scene, on_engines

TTL = 6.0
# Long enough that whoever is back sees the death before the deadline.
TTL_OF_DEAD = 30.0
# How many open at the same time, and how much longer than one alone each may then take.
PARALLEL, SLACK = 8, 5.0
# The short form has fewer windows: other tests have been at the machine right before.
SHORT_HOUSE = {"process": 25, "docker": 6}


def test_whatever_services_do_their_windows_end(stage: Callable[..., Scene], enforcer: Enforcer) -> None:
    scene = stage("ignores", "forks", "dies", "early", "never", "mute", enforcer=enforcer)
    for fails in ("early", "never"):
        answer = scene.try_open(fails, ttl=60)
        assert (answer.status_code, answer.json()["code"]) == (502, "open_failed"), answer.text
    mute = scene.open("mute", ttl=TTL, wait=False)
    windows = [scene.open("ignores", ttl=TTL), scene.open("forks", ttl=TTL)]
    dies = scene.open("dies", ttl=TTL_OF_DEAD)
    scene.leave_to_enforcer()
    # While madre is dead nobody can tell a death from an end by the watchdog, nor is there always an exit code.
    scene.ledger.may(dies, "crashed", *(("lost", "watchdog") if enforcer == "watchdog" else ()))
    scene.ledger.may(mute, "open_failed", "expired", "watchdog")
    scene.await_ends([dies])
    scene.await_enforcer(windows)
    scene.kept()


@pytest.mark.parametrize("ttl", [TTL_OF_DEAD, TTL], ids=["in time", "too late"])
def test_a_service_that_dies_while_nobody_looks_has_not_expired(stage: Callable[..., Scene], ttl: float) -> None:
    scene = stage("dies")
    window = scene.open("dies", ttl=ttl)
    scene.kill("madre", "watchdog")
    scene.ledger.may(window, "crashed", "lost")
    scene.await_ends([window])
    if ttl == TTL:
        scene.await_deadline(window)
    scene.start("madre")
    scene.await_closed(window)
    scene.kept()


@pytest.mark.alone
@pytest.mark.parametrize(
    ("engine_name", "enforcer"),
    on_engines(("both", "watchdog", "madre"), ("watchdog",)),
    indirect=["engine_name"],
)
def test_a_full_house_closes_in_the_same_second(
    stage: Callable[..., Scene], enforcer: Enforcer, engine_name: str
) -> None:
    count = 50 if FULL else SHORT_HOUSE[engine_name]
    names = [f"s{number}" for number in range(count)]
    scene = stage("first", *names, enforcer=enforcer)
    begun = scene.moment_after(0)
    scene.open("first", ttl=60)
    scene.try_close("first")
    deadline = scene.moment_after(3.0 - count * scene.seconds_to(begun) / PARALLEL * SLACK)
    with ThreadPoolExecutor(PARALLEL) as callers:
        list(callers.map(lambda name: scene.open(name, ttl=scene.seconds_to(deadline)), names))
    windows = [window for window, promise in scene.ledger.promises.items() if promise.service in names]
    assert len(windows) == count
    scene.leave_to_enforcer()
    scene.await_enforcer(windows)
    dues = [scene.ledger.promises[window].deadline.first for window in windows]
    assert max(dues) - min(dues) < 1.0
    scene.kept()
