"""What stands in the way of the core in its own state folder: a damaged file, a second watchdog."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from .scene import Enforcer, Scene

TTL = 5.0


def test_a_damaged_state_file_costs_its_own_window_alone(stage: Callable[..., Scene], enforcer: Enforcer) -> None:
    scene = stage("damaged", "sound", enforcer=enforcer)
    damaged, sound = scene.open("damaged", ttl=TTL), scene.open("sound", ttl=TTL)
    scene.kill("madre")
    path = scene.state / "windows" / f"{damaged}.json"
    os.truncate(path, path.stat().st_size // 2)
    # Who cannot read when it ends can only end it, as soon as madre is back.
    scene.ledger.may(damaged, "lost", "watchdog")
    if enforcer == "watchdog":
        scene.await_ends([sound])
    scene.start("madre")
    scene.await_ends([sound, damaged])
    scene.kept()
    assert not path.exists()


def test_a_second_watchdog_is_refused_until_the_first_is_dead(stage: Callable[..., Scene]) -> None:
    scene = stage("plain")
    second = _watchdog(scene.state)
    assert second.returncode == 3, second.stderr
    assert "another watchdog looks after" in second.stderr
    window = scene.open("plain", ttl=2)
    scene.kill("madre", "watchdog")
    scene.start("watchdog")
    scene.await_ends([window])
    scene.kept()


def _watchdog(state: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-I", "-m", "vx11.watchdog", "--state", str(state)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=20)
