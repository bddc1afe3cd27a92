"""The fixtures that suites use."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from vx11.client import Madre
from vx11.conductor.suite_plugin import files, timing
from vx11.conductor.suite_plugin import profile as pace
from vx11.conductor.suite_plugin.files import Value
from vx11.conductor.suite_plugin.windows import WindowHandle


def _required(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise pytest.UsageError(f"{name} is not set; suites run inside a case, by the module vx11_suite")
    return value


@pytest.fixture(scope="session")
def _api() -> Iterator[Madre]:
    with Madre(_required("VX11_URL"), _required("VX11_TOKEN")) as api:
        yield api


@pytest.fixture(scope="session")
def madre(_api: Madre) -> httpx.Client:
    """An HTTP client of madre, with the case's token."""
    return _api.http


@pytest.fixture(scope="session")
def _requests() -> Path | None:
    """Where requests to windows are noted."""
    found = files.folder("VX11_SUITE_DIR")
    return found / files.REQUESTS if found else None


@pytest.fixture
def window(_api: Madre, _requests: Path | None) -> Iterator[Callable[[str], WindowHandle]]:
    """`window("auth-service")` is the window of that service which is open now."""
    handles: list[WindowHandle] = []

    def find(service: str) -> WindowHandle:
        for item in _api.status(service=service)["windows"]:
            if item["state"] == "open":
                handles.append(WindowHandle(item, _requests))
                return handles[-1]
        raise LookupError(f"no window of {service} is open")

    yield find
    for handle in handles:
        handle.close()


@pytest.fixture(scope="session")
def observe() -> Callable[..., None]:
    """`observe(name, value, unit=None)` records what an assert is judged on."""

    def record(name: str, value: Value, unit: str | None = None) -> None:
        files.record("observation", name, value, unit)

    return record


@pytest.fixture(scope="session")
def metric() -> Callable[..., None]:
    """`metric(name, value, unit)` records a measurement."""

    def record(name: str, value: float, unit: str | None = None) -> None:
        files.record("metric", name, value, unit)

    return record


@pytest.fixture(scope="session")
def step() -> Callable[[str], AbstractContextManager[None]]:
    """`with step("upload"):` times a named part of the suite."""
    return timing.step


@pytest.fixture(scope="session")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Any], Path]:
    """`evidence("answer.json", data)` keeps bytes, text, or data as JSON, with the case; answers where it is."""
    kept = files.folder("VX11_SUITE_DIR")
    into = kept / files.EVIDENCE if kept else tmp_path_factory.mktemp(files.EVIDENCE)

    def keep(name: str, content: Any) -> Path:
        return files.keep(into, name, content)

    return keep


@pytest.fixture(scope="session")
def mid_operation() -> Callable[[], None]:
    """`mid_operation()` says "I am in the middle": an `interrupt` of the case acts from now on."""
    return timing.mid_operation


@pytest.fixture(scope="session")
def profile() -> pace.Profile:
    """How hard to push: `{"name": "low_power", "pace": 1.0}`."""
    return pace.current()


@pytest.fixture(scope="session")
def time_scale() -> float:
    """What whoever waits in a suite multiplies by; 1.0 unless the run shortens its waits."""
    return pace.time_scale()
