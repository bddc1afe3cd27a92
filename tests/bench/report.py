"""What is shown and kept: a table, JSON, and the machine that the figures were measured on."""

import os
import platform
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import psutil
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.bench.cells import state_root
from tests.bench.figures import Row
from vx11 import __version__
from vx11.engines import cgroups
from vx11.engines.docker import connect
from vx11.engines.port import EngineError

STYLES = {"met": "green", "not met": "red"}
WIDTH = 150


def machine() -> dict[str, Any]:
    """Facts that figures depend on; nothing that names the machine."""
    hierarchy = cgroups.detect()
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
        "cgroup": f"v{hierarchy.version}" if hierarchy else "not writable",
        "docker": _docker_version(),
        "python": platform.python_version(),
        "vx11": __version__,
        "state_on": _filesystem(str(state_root())),
        "evidence_on": _filesystem(tempfile.gettempdir()),
        "load_before": load(),
    }


def load() -> float:
    """Processes that ran or waited to, over the last minute; what others do here is in it."""
    return round(os.getloadavg()[0], 2)


def _docker_version() -> str:
    try:
        client = connect(2)
    except EngineError:
        return "none"
    try:
        return str(client.version()["Version"])
    finally:
        client.close()


def _filesystem(folder: str) -> str:
    """The type of the file system that holds a folder: the one with the longest mount point above it."""
    above = [
        item
        for item in psutil.disk_partitions(all=True)
        if os.path.commonpath([item.mountpoint, folder]) == item.mountpoint
    ]
    return max(above, key=lambda item: len(item.mountpoint)).fstype if above else "unknown"


def as_json(rows: Iterable[Row], facts: dict[str, Any], *, quick: bool) -> dict[str, Any]:
    """The whole result."""
    return {
        "schema": 1,
        "measured_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "quick": quick,
        "machine": facts,
        "rows": [row.to_json() for row in rows],
    }


def print_table(console: Console, rows: Sequence[Row], facts: dict[str, Any]) -> None:
    """One line a row, notes below."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("measured")
    for heading in ("n", "median", "p95", "p99", "max", "", "baseline", "ratio", "goal", ""):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(row.name, *_cells(row))
    console.print(table)
    for row in rows:
        if row.note:
            console.print(Text(f"{row.name}: {row.note}", "dim"))
    console.print(Text(", ".join(f"{name} {value}" for name, value in facts.items()), "dim"))


def _cells(row: Row) -> list[str | Text]:
    figures = [_number(value) for value in (row.value, row.p95, row.p99, row.worst)]
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    goal = f"{row.goal.figure} ≤ {row.goal.at_most:g}" if row.goal else ""
    verdict = Text(row.verdict, STYLES[row.verdict]) if row.verdict else ""
    return [
        str(row.count) if row.value is not None else "",
        *figures,
        row.unit,
        _number(row.baseline),
        ratio,
        goal,
        verdict,
    ]


def _number(value: float | None) -> str:
    """Three digits that mean something."""
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
