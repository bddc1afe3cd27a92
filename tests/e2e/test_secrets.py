"""Secrets never stay in evidence, whoever says them: services, suites, playbooks, a failure's message."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PLANTED = "plum-cake-4711"
TOKEN = re.compile(rb"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+")
SAYS = "import os, signal; print('up with', os.environ['DB_PASSWORD'], flush=True); signal.pause()"
SUITE = """
import os


def test_it_tells_all(window, observe):
    said = window("talker").logs() if hasattr(window("talker"), "logs") else ""
    observe("told", os.environ.get("VX11_TOKEN", "no token"))
    print(os.environ.get("VX11_TOKEN"), said)
    assert os.environ.get("VX11_TOKEN") == "PLANTED", os.environ.get("VX11_TOKEN")
"""


@pytest.fixture
def ran(
    make_bundle: Callable[..., Path],
    make_entry: Callable[..., dict[str, Any]],
    write_matrix: Callable[..., Path],
    run_matrix: Callable[..., Any],
) -> Any:
    """A run in which everybody tells a password and a token."""
    entry = make_entry(SAYS, environment={"DB_PASSWORD": PLANTED}, ports=[], vx11={"ready": {"log": "up"}})
    bundle = make_bundle({"talker": entry}, allow=["talker"])
    (bundle / "suites").mkdir()
    (bundle / "suites" / "talks.py").write_text(SUITE.replace("PLANTED", PLANTED), encoding="utf-8")
    tasks = [
        {"vx11.power.vx11_window": {"service": "talker", "state": "open", "ttl": "30s"}},
        {"ansible.builtin.debug": {"msg": "{{ lookup('env', 'VX11_TOKEN') }} " + PLANTED}},
        {"vx11.power.vx11_observe": {"name": "said", "value": PLANTED}},
        {"vx11.power.vx11_suite": {"suite": "talks"}},
    ]
    return run_matrix(write_matrix(bundle, {"tells": (tasks, {"services": ["talker"]})}), "--json")


def test_no_file_has_a_secret(ran: Any) -> None:
    assert ran.case("tells")["verdict"] == "failed"
    files = [path for root in (ran.folder, ran.evidence.parent / "patch_intents") for path in root.rglob("*")]
    contents = {path: path.read_bytes() for path in files if path.is_file()}
    assert len(contents) > 10
    assert [path for path, content in contents.items() if PLANTED.encode() in content] == []
    assert [path for path, content in contents.items() if TOKEN.search(content)] == []
    assert any(b"[redacted]" in content for content in contents.values())
    assert ran.result["left"] == []
