"""The kill ladder: what hangs in a case ends with it, whatever it does, on each version of ansible-core.

ansible-core 2.19 puts its workers into sessions of their own and 2.18 does not, so that what
ends the one leaks the other.
"""

import fcntl
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
OLDER = "2.18"
# Reused like nox's environments; it has this checkout, so that it is never out of date.
ENVIRONMENT = CHECKOUT / ".nox" / f"ansible-core-{OLDER}"
BUILD_TIMEOUT = 300
DAEMON = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(300)
    os._exit(0)
time.sleep(300)
"""
SUITE = """
import time

def test_passes():
    pass

def test_hangs():
    time.sleep(300)
"""
SLEEP = {"ansible.builtin.command": "sleep 300"}
CASES: dict[str, list[Any]] = {
    "module": [SLEEP],
    "suite": [{"vx11.power.vx11_suite": {"name": "hangs"}}],
    "async": [SLEEP | {"async": 300, "poll": 1}],
    "async-left-alone": [SLEEP | {"async": 300, "poll": 0}, SLEEP],
    "deaf": [{"ansible.builtin.shell": "trap '' TERM INT HUP; while :; do sleep 300; done"}],
    "daemon": [{"ansible.builtin.command": {"argv": [sys.executable, "-c", DAEMON]}}],
    "paused": [{"ansible.builtin.pause": {"seconds": 300}}],
}
# Long enough to come to the task that hangs, also on a machine that has much to do.
TIMEOUT = "12s"


def _built() -> str:
    """What is wrong with the environment of the older version, after trying to make it; empty when nothing is."""
    python = ENVIRONMENT / "bin" / "python"
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-e", str(CHECKOUT)]
    try:
        ENVIRONMENT.parent.mkdir(exist_ok=True)
        with (ENVIRONMENT.parent / f"{ENVIRONMENT.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _version(python).startswith(OLDER):
                venv.create(ENVIRONMENT, with_pip=True, clear=True)
                command = [str(python), *install, f"ansible-core=={OLDER}.*"]
                subprocess.run(command, capture_output=True, text=True, timeout=BUILD_TIMEOUT, check=True)
    except subprocess.CalledProcessError as error:
        return (error.stderr.strip() or "pip failed").splitlines()[-1]
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return ""


def _version(python: Path) -> str:
    """Of ansible-core, in an environment that has all of ours too; empty without."""
    code = "import vx11.conductor.run, ansible.release as r; print(r.__version__)"
    try:
        return subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60, check=False).stdout
    except OSError:
        return ""


@pytest.fixture(scope="module", params=["2.19", OLDER])
def python(request: pytest.FixtureRequest) -> str:
    """An interpreter that has this version of ansible-core."""
    version: str = request.param
    found = sys.executable
    if version == OLDER:
        found = str(ENVIRONMENT / "bin" / "python")
        if why := _built():
            if "ansible" in os.environ.get("VX11_REQUIRE", "").split(","):
                pytest.fail(f"ansible-core {OLDER} is required here (VX11_REQUIRE), but {why}", pytrace=False)
            pytest.skip(f"needs ansible-core {OLDER}: {why}")
    assert _version(Path(found)).startswith(version)
    return found


@pytest.fixture(scope="module")
def ran(
    python: str,
    make_bundle: Callable[..., Path],
    write_matrix: Callable[..., Path],
    run_matrix: Callable[..., Any],
    web: dict[str, Any],
) -> Any:
    """All that hangs, for as long as a case may take; `run_matrix` proves that no process and no file is left."""
    bundle = make_bundle({"web": web})
    (bundle / "suites").mkdir()
    (bundle / "suites" / "hangs.py").write_text(SUITE)
    cases = {name: (tasks, {"timeout": TIMEOUT}) for name, tasks in CASES.items()}
    return run_matrix(write_matrix(bundle, cases), "--json", "--cells", "4", python=python)


@pytest.mark.parametrize("case", CASES)
def test_what_hangs_is_ended_in_time(ran: Any, case: str) -> None:
    found = ran.case(case)
    assert found["verdict"] == "failed", found
    assert "it was not done after 12.0 s; it was at the task" in found["message"]
    assert "no window was open" in found["message"]
    assert all(item["holds"] for item in found["asserts"]), found


def test_the_test_that_hangs_is_named(ran: Any) -> None:
    assert "the suite hangs was at test_hangs for" in ran.case("suite")["message"]


def test_the_run_ends_in_order(ran: Any) -> None:
    assert (ran.code, ran.result["left"], ran.result["problem"]) == (1, [], None)
