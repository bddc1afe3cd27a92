"""The pytest plugin of suites: windows of the case, and what is observed and measured.

Suites run with `-p vx11.conductor.suite_plugin`. Without `VX11_CASE_DIR`, as when somebody runs a suite by hand,
observations go nowhere else than into the test's output.
"""

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from vx11.client import Madre
from vx11.conductor.matrix import BASE_ASSERTS
from vx11.conductor.observations import FILE

_NAME = re.compile(r"[a-z][a-z0-9_]*")
Value = bool | int | float | str


@dataclass(frozen=True)
class WindowHandle:
    """An open window.

    Attributes:
        info: the window as madre's API describes it.
    """

    info: dict[str, Any]

    @property
    def endpoints(self) -> list[str]:
        """Its URLs."""
        return list(self.info["endpoints"])

    @property
    def url(self) -> str:
        """The first of them."""
        if not self.endpoints:
            raise LookupError(f"the window of {self.info['service']} has no endpoint; give its entry ports or expose")
        return self.endpoints[0]


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


@pytest.fixture
def window(_api: Madre) -> Callable[[str], WindowHandle]:
    """`window("auth-service")` is the open window of that service."""

    def find(service: str) -> WindowHandle:
        for item in _api.status(service=service)["windows"]:
            if item["state"] == "open":
                return WindowHandle(item)
        raise LookupError(f"no window of {service} is open")

    return find


@pytest.fixture
def observe() -> Callable[..., None]:
    """`observe(name, value, unit=None)` records what an assert is judged on."""

    def record(name: str, value: Value, unit: str | None = None) -> None:
        _append("observation", name, value, unit)

    return record


@pytest.fixture
def metric() -> Callable[..., None]:
    """`metric(name, value, unit)` records a measurement."""

    def record(name: str, value: float, unit: str | None = None) -> None:
        _append("metric", name, value, unit)

    return record


def _append(kind: str, name: str, value: Value, unit: str | None) -> None:
    if not _NAME.fullmatch(name) or name in BASE_ASSERTS:
        raise ValueError(
            f"{name!r} cannot be recorded: a name has a-z, 0-9 and _, and is not one of the conductor's own"
        )
    if not isinstance(value, bool | int | float | str):
        raise TypeError(f"{name} is a {type(value).__name__}; a value is true or false, a number, or text")
    line = {
        "kind": kind,
        "name": name,
        "value": value,
        "unit": unit,
        "ns": str(time.time_ns()),
        "source": f"suite:{os.environ.get('VX11_SUITE', '')}",
    }
    folder = os.environ.get("VX11_CASE_DIR")
    if folder:
        handle = os.open(Path(folder) / FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            os.write(handle, json.dumps(line).encode() + b"\n")
        finally:
            os.close(handle)
