"""`ansible-playbook` by hand against a running madre."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vx11.conductor import collection
from vx11.conductor.cell import Cell

CHECKOUT = Path(__file__).resolve().parents[2]
LIFE = Path(__file__).parent / "playbooks" / "life_of_a_window.yml"
Playbook = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def ansible_playbook(tmp_path: Path) -> Playbook:
    """`ansible_playbook(file, url, token, *arguments)` with the inventory of this machine."""
    found = collection.find(CHECKOUT / "matrices" / "e2e")
    environment = os.environ | {
        "ANSIBLE_COLLECTIONS_PATH": str(found.search_path(tmp_path / "collections")),
        "ANSIBLE_HOME": str(tmp_path / "home"),
        "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
        "ANSIBLE_NOCOLOR": "1",
    }

    def run(playbook: Path, url: str, token: str, *more: str) -> "subprocess.CompletedProcess[str]":
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        return subprocess.run(
            [program, "-i", str(CHECKOUT / "inventories" / "local"), str(playbook), *more],
            capture_output=True,
            text=True,
            timeout=120,
            env=environment | {"VX11_URL": url, "VX11_TOKEN": token},
            check=False,
        )

    return run


@pytest.fixture
def two(
    make_bundle: Callable[..., Path], start_cell: Callable[..., Cell], web: dict[str, Any], engine_name: str
) -> Cell:
    """A cell whose catalogue has `web`, which is allowed, and `blocked`, which is not."""
    return start_cell(make_bundle({"web": web, "blocked": web}, ["web"]), engine_name)


def test_a_window_lives_and_every_call_tells_the_truth(ansible_playbook: Playbook, two: Cell) -> None:
    limits = '{"limits": {"pids": 50}}' if "limits.pids" in two.engine.capabilities else '{"limits": {}}'
    done = ansible_playbook(LIFE, two.url, two.token, "-e", limits)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr


def test_the_public_playbook_returns_a_host_to_solo_madre(ansible_playbook: Playbook, two: Cell) -> None:
    playbook = CHECKOUT / "playbooks" / "solo_madre.yml"
    with two.madre() as madre:
        madre.post("/api/v1/windows/open", service="web")
        looked = ansible_playbook(playbook, two.url, two.token, "--check", "--diff")
        assert "changed=1" in looked.stdout
        assert len(madre.status()["windows"]) == 1
        assert "changed=1" in ansible_playbook(playbook, two.url, two.token).stdout
        assert madre.status()["solo_madre"] is True
    assert "changed=0" in ansible_playbook(playbook, two.url, two.token).stdout


@pytest.mark.parametrize(
    ("url", "token", "sentence"),
    [
        ("http://127.0.0.1:9", "x", "127.0.0.1:9"),
        ("not a url", "x", "http or https URL"),
        (None, "garbage", "token"),
        (None, "", "VX11_TOKEN"),
    ],
)
def test_a_wrong_url_or_token_is_one_clear_message(
    ansible_playbook: Playbook,
    make_bundle: Callable[..., Path],
    start_cell: Callable[..., Cell],
    web: dict[str, Any],
    url: str | None,
    token: str,
    sentence: str,
) -> None:
    cell = start_cell(make_bundle({"web": web}), "process")
    done = ansible_playbook(CHECKOUT / "playbooks" / "solo_madre.yml", url or cell.url, token)
    assert done.returncode == 2
    assert "failed=1" in done.stdout or "unreachable=1" in done.stdout
    assert sentence in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
