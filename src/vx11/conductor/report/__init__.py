"""Reports of a run: the summary table, JUnit XML, CTRF JSON, and one page for people.

`record` reads what lies in the folder of a run; the three files are functions of that alone, so that they can be made
anew at any time. They are streamed, one case at a time: a run of many cases is never in memory as a whole.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from vx11.conductor.report import ctrf, junit, page
from vx11.conductor.report.record import Record, read
from vx11.conductor.report.summary import as_json, counts, print_table, summary
from vx11.errors import EnvironmentProblem

__all__ = ["FILES", "as_json", "counts", "print_table", "read", "summary", "write"]

FILES: dict[str, Callable[[TextIO, Record, Path], None]] = {
    "junit.xml": junit.write,
    "ctrf.json": ctrf.write,
    "index.html": page.write,
}


def write(run: Record, out: Path) -> None:
    """Writes the three files of a run; their links lead from `out` into the folder of the run.

    Raises:
        EnvironmentProblem: the folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, writer in FILES.items():
            partial = out / f"{name}.new"
            with partial.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
                writer(file, run, out)
            partial.replace(out / name)
    except OSError as error:
        raise EnvironmentProblem(f"reports cannot be written to {out}: {error.strerror}") from error
