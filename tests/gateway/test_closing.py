"""Gates that ask a host, through its only port."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.haproxy


def gates(host: Any, folder: Path, *numbers: int) -> tuple[int, Any]:
    """How the command ended, and what it told."""
    environment = {name: value for name, value in os.environ.items() if name not in ("VX11_URL", "VX11_CONFIG")}
    environment["VX11_TOKEN"] = host.token("power:read", "system:write", "operator:chat")
    (folder / "closing.yml").write_text("pace: 0s\n", encoding="utf-8")
    words = ["--url", host.url, "--madre", str(host.configuration), "--config", str(folder / "closing.yml")]
    chosen = [word for number in numbers for word in ("--gate", str(number))]
    command = [sys.executable, "-m", "vx11", "gates", "--json", "--audit", str(folder / "audit"), *words, *chosen]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    return done.returncode, json.loads(done.stdout)


def test_a_host_with_its_gateway(host: Any, tmp_path: Path) -> None:
    code, told = gates(host, tmp_path, 2, 4, 7, 8)
    assert [gate["outcome"] for gate in told["gates"]] == ["failed", *["passed"] * 3], told
    assert code == 1
    wrong = [check["what"] for check in told["gates"][0]["checks"] if not check["holds"]]
    assert wrong == ["a watchdog is alive"]  # there is none on such a host
    seen = " ".join(check["what"] for check in told["gates"][2]["checks"])
    assert "in entry (process " in seen
    assert f"in madre (process {host.parts['madre'].pid})" in seen


def test_a_madre_that_is_dead_behind_its_gateway(new_host: Any, tmp_path: Path) -> None:
    host = new_host()
    host.end("madre", kill=True)
    code, told = gates(host, tmp_path, 2, 8)
    assert [gate["outcome"] for gate in told["gates"]] == ["failed"] * 2, told
    assert code == 1
