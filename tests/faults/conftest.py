"""What the fault suite shares: how long it may take, who enforces, the services, and a scene of a cell for each test.

The short form is part of `nox -s tests`; `nox -s faults` sets `VX11_FAULTS=full`. Random choices follow one seed, which
is printed, and which `VX11_FAULTS_SEED` sets.
"""

import contextlib
import os
import random
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vx11.conductor.cell import Cell
from vx11.engines.select import EngineName

from . import eyes
from .scene import Enforcer, Scene

SAYS_UP = {"log": "up"}
OBEYS = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print('up', flush=True)
while True: signal.pause()
"""
IGNORES = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('up', flush=True)
while True: signal.pause()
"""
# Each child leads a session of its own, and loses its parent.
FORKS = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True: signal.pause()
        os._exit(0)
    os.wait()
print('up', flush=True)
while True: signal.pause()
"""
DIES = """
import sys, time
print('up', flush=True)
time.sleep(1)
sys.exit(5)
"""
EARLY = "import sys; print('no configuration', flush=True); sys.exit(3)"
MUTE = "import signal\nwhile True: signal.pause()"
GRACE = 1.0
# What may be said of each service: its code, and what differs from the rest.
SERVICES: dict[str, tuple[str, dict[str, Any]]] = {
    "ignores": (IGNORES, {}),
    "forks": (FORKS, {}),
    "dies": (DIES, {}),
    "early": (EARLY, {}),
    "never": (MUTE, {"ready_timeout": "400ms"}),
    "mute": (MUTE, {"ready_timeout": "1m"}),
}
WITHSTAND = ("ignores", "forks")
Stage = Callable[..., Scene]


def pytest_itemcollected(item: pytest.Item) -> None:
    """It is about moments."""
    item.add_marker("moments")


@pytest.fixture(params=["both", "watchdog", "madre"])
def enforcer(request: pytest.FixtureRequest) -> Enforcer:
    """Who sees to deadlines: both, the watchdog alone while madre is dead, or madre with no watchdog."""
    name: Enforcer = request.param
    return name


@pytest.fixture
def seed() -> int:
    """What random choices follow."""
    chosen = int(os.environ.get("VX11_FAULTS_SEED") or secrets.randbelow(2**31))
    print(f"VX11_FAULTS_SEED={chosen}")  # noqa: T201 - pytest shows it with a failure
    return chosen


@pytest.fixture
def dice(seed: int) -> random.Random:
    """Random choices that can be had again."""
    return random.Random(seed)


@pytest.fixture
def stage(
    make_bundle: Callable[..., Path],
    make_entry: Callable[..., dict[str, Any]],
    start_cell: Callable[[Path, EngineName], Cell],
    eventually: Callable[..., Any],
    engine_name: EngineName,
) -> Iterator[Stage]:
    """`stage(*services, enforcer="both")` starts a cell with these services; names not in `SERVICES` obey and live."""
    nonce = f"nonce-{secrets.token_hex(8)}"
    with contextlib.ExitStack() as stack:

        def make(*services: str, enforcer: Enforcer = "both") -> Scene:
            entries = {name: _entry(make_entry, name, nonce) for name in services}
            cell = start_cell(make_bundle(entries), engine_name)
            eye = stack.enter_context(eyes.on(cell))
            graces = {name: GRACE for name in services if name in WITHSTAND}
            return stack.enter_context(contextlib.closing(Scene(cell, enforcer, eye, nonce, graces, eventually)))

        yield make


def _entry(make_entry: Callable[..., dict[str, Any]], name: str, nonce: str) -> dict[str, Any]:
    code, vx11 = SERVICES.get(name, (OBEYS, {}))
    return make_entry(f"# {nonce}\n{code}", vx11={"ready": SAYS_UP, **vx11}, ports=[], stop_grace_period=f"{GRACE:g}s")
