"""Measures what is asked for and shows it: `python -m tests.bench [MEASUREMENT…] [--engine NAME] [--json FILE]`."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from tests.bench import (
    calls,
    conducting,
    evidence,
    gateway,
    idle,
    opening,
    overshoot,
    report,
    sampling,
    soak,
    throughput,
)
from tests.bench.cells import BenchError
from tests.bench.figures import Row
from vx11.engines.docker import connect
from vx11.engines.port import EngineError
from vx11.engines.select import EngineName
from vx11.errors import Vx11Error

MEASUREMENTS: dict[str, Callable[..., list[Row]]] = {
    "open": opening.measure,
    "overshoot": overshoot.measure,
    "throughput": throughput.measure,
    "idle": idle.measure,
    "sampling": sampling.measure,
    "conducting": conducting.measure,
    "calls": calls.measure,
    "evidence": evidence.measure,
    "gateway": gateway.measure,
}
# Long ones, only when they are asked for.
LONG: dict[str, Callable[..., list[Row]]] = {"soak": soak.measure}
ENGINES: tuple[EngineName, ...] = ("process", "docker")


def main(words: Sequence[str] | None = None) -> int:
    """Entry point. Ends with 0 whatever the figures are, with 1 when something could not be measured."""
    parser = argparse.ArgumentParser(prog="nox -s bench --", description="Measures madre and the watchdog.")
    parser.add_argument(
        "what",
        nargs="*",
        metavar="MEASUREMENT",
        help=f"of {', '.join(MEASUREMENTS)}; default: all of these; or {', '.join(LONG)}",
    )
    parser.add_argument("--engine", action="append", choices=ENGINES, help="default: each that is there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result here too")
    parser.add_argument("--quick", action="store_true", help="few samples: tries the benchmark rather than the machine")
    options = parser.parse_args(words)
    if unknown := sorted(set(options.what) - set(MEASUREMENTS) - set(LONG)):
        parser.error(f"there is no measurement {', '.join(unknown)}")
    console = Console(width=None if sys.stdout.isatty() else report.WIDTH)
    facts = report.machine()
    rows: list[Row] = []
    for engine in options.engine or ENGINES:
        if not options.engine and engine == "docker" and not _has_docker():
            rows.append(Row("all, docker", "", None, note="not measured, since no Docker daemon answers"))
            continue
        for name in options.what or MEASUREMENTS:
            console.print(f"{name}, {engine} …", style="dim")
            rows += _measured(name, engine, quick=options.quick)
    facts["load_after"] = report.load()
    report.print_table(console, rows, facts)
    if options.json:
        text = json.dumps(report.as_json(rows, facts, quick=options.quick), indent=2)
        options.json.write_text(f"{text}\n", encoding="utf-8")
    return 1 if any(row.failed for row in rows) else 0


def _measured(name: str, engine: EngineName, *, quick: bool) -> list[Row]:
    """The rows of one measurement; one that says why when it failed, since the others are worth having."""
    try:
        return (MEASUREMENTS | LONG)[name](engine, quick=quick)
    except (BenchError, Vx11Error) as error:
        return [Row(f"{name}, {engine}", "", None, note=f"failed: {error}", failed=True)]


def _has_docker() -> bool:
    try:
        connect(2).close()
    except EngineError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
