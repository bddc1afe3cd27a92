"""`auto` takes docker where a daemon answers, else processes, and says which and why."""

import gc
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vx11.engines import select
from vx11.engines.port import EngineError
from vx11.engines.select import EngineName

NOWHERE = "tcp://127.0.0.1:1"


@pytest.fixture(autouse=True)
def _leaks() -> Iterator[None]:
    """The SDK does not close the socket of a connection that failed; what it leaves is collected here."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        (NOWHERE, "Connection refused"),
        ("unix:///nonexistent/docker.sock", "No such file or directory"),
        ("nonsense", "Invalid bind address format: port is required: nonsense"),
    ],
    ids=["refused", "no socket", "no address"],
)
def test_auto_without_a_daemon_is_process_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, why: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    engine = select.make("auto", "e-auto", tmp_path / "state", tmp_path / "data")
    assert engine.name == "process"
    assert engine.why == f"no Docker daemon answers at {address} (DOCKER_HOST names another): {why}"


@pytest.mark.docker
def test_auto_with_a_daemon_is_docker_and_says_why(open_bench: Callable[[EngineName], Any]) -> None:
    engine = open_bench("auto").engine
    assert (engine.name, engine.why) == ("docker", "a Docker daemon answers")


def test_docker_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", NOWHERE)
    with pytest.raises(EngineError, match="no Docker daemon answers at "):
        select.make("docker", "e-auto", tmp_path / "state", tmp_path / "data")


def test_what_was_asked_for_says_so(tmp_path: Path) -> None:
    assert select.make("process", "e-auto", tmp_path / "state", tmp_path / "data").why == "asked for"


def test_processes_need_their_folders(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(EngineError, match="the process engine cannot use "):
        select.make("process", "e-auto", tmp_path / "state", tmp_path / "data")
