"""What stands in the way of the core in its own state folder: a damaged file, a second watchdog."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .scene import Enforcer, Scene, on_engines

TTL = 5.0
# Who has no state file to go by looks for marks, more rarely and with a grace for what is just being made.
BY_MARKS = 4.5


@pytest.mark.parametrize(
    ("engine_name", "enforcer"), on_engines(("both", "watchdog", "madre"), ("watchdog",)), indirect=["engine_name"]
)
def test_a_damaged_state_file_costs_its_own_window_alone(stage: Callable[..., Scene], enforcer: Enforcer) -> None:
    scene = stage("damaged", "sound", enforcer=enforcer)
    damaged, sound = scene.open("damaged", ttl=TTL), scene.open("sound", ttl=TTL)
    scene.kill("madre")
    path = scene.state / "windows" / f"{damaged}.json"
    os.truncate(path, path.stat().st_size // 2)
    scene.ledger.may(damaged, "lost", "watchdog")
    scene.ledger.may_be_late(damaged, BY_MARKS)
    if enforcer != "watchdog":
        scene.start("madre")
    scene.await_ends([sound, damaged])
    scene.kept()
    assert not path.exists()


def test_madre_died_between_the_last_record_and_the_removal_of_the_state_file(stage: Callable[..., Scene]) -> None:
    scene = stage("plain")
    window = scene.open("plain", ttl=60)
    path = scene.state / "windows" / f"{window}.json"
    left = path.read_bytes()
    assert scene.try_close("plain").status_code == 200
    scene.kill("madre")
    path.write_bytes(left)
    scene.start("madre")
    scene.kept()
    assert not path.exists()


def test_madre_died_between_the_first_record_and_the_writing_of_the_state_file(stage: Callable[..., Scene]) -> None:
    scene = stage("plain")
    window = scene.open("plain", ttl=60)
    scene.kill("madre", "watchdog")
    (scene.state / "windows" / f"{window}.json").unlink()
    scene.cell.engine.purge(scene.cell.name)
    scene.ledger.may(window, "lost", "open_failed")
    scene.start("madre")
    scene.kept()


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
