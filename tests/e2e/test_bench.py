"""The benchmark itself works: a short run answers figures that can be true."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """One run of `python -m tests.bench`, as the nox session starts it."""
    command = [sys.executable, "-m", "tests.bench", *words]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Any:
    file = tmp_path_factory.mktemp("bench") / "result.json"
    done = run("overshoot", "calls", "--engine", "process", "--quick", "--json", str(file))
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text(encoding="utf-8"))


def test_overshoot_is_measured(result: Any) -> None:
    rows = {row["name"]: row for row in result["rows"]}
    begins = rows["overshoot, process, close begins"]
    arrives = rows["overshoot, process, stop signal arrives"]
    alone = rows["overshoot, process, madre killed, stop signal arrives"]
    assert begins["count"] == arrives["count"] == alone["count"] == 10
    # No window closes before its time; the signal follows the decision; the watchdog gives madre half a second.
    assert 0 < begins["value"] < arrives["value"] < alone["value"]
    assert alone["value"] >= 500
    for row in (begins, alone):
        assert row["value"] <= row["p95"] <= row["p99"] <= row["worst"]
        assert row["goal"]["figure"] == "p99"
        assert row["verdict"] == ("met" if row["p99"] <= row["goal"]["at_most"] else "not met")


def test_module_calls_are_measured(result: Any) -> None:
    whole, beyond = (row for row in result["rows"] if row["name"].startswith("module call"))
    assert (whole["count"], beyond["count"]) == (20, 20)
    assert 0 < whole["baseline"] < whole["value"] <= whole["worst"]
    assert 0 < beyond["value"] < whole["value"]
    assert beyond["verdict"] == ("met" if beyond["value"] <= beyond["goal"]["at_most"] else "not met")


def test_the_machine_is_described(result: Any) -> None:
    assert result["quick"] is True
    assert result["machine"]["cores"] >= 1
    assert {"kernel", "cgroup", "docker", "python", "vx11"} <= set(result["machine"])


def test_an_unknown_measurement_is_refused() -> None:
    done = run("speed")
    assert done.returncode == 2
    assert "there is no measurement speed" in done.stderr
