"""What a suite leaves: lines that say what happened, and files of evidence.

`observations.jsonl` in the folder of the case; in the folder of the suite `progress.jsonl` (tests, steps, the middle of
an operation), `requests.jsonl` (requests to windows) and `evidence/`. Each line is written in one write.
"""

import json
import os
import re
import time
from pathlib import Path
from typing import Any

from vx11.conductor.names import MEASURED
from vx11.conductor.observations import FILE

PROGRESS = "progress.jsonl"
REQUESTS = "requests.jsonl"
EVIDENCE = "evidence"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
Value = bool | int | float | str


def now() -> int:
    """Nanoseconds on CLOCK_BOOTTIME, by which all of a case is timed."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def folder(variable: str) -> Path | None:
    """The folder that `VX11_CASE_DIR` or `VX11_SUITE_DIR` names, None outside a case."""
    found = os.environ.get(variable)
    return Path(found) if found else None


def append(path: Path, line: dict[str, Any]) -> None:
    """Appends one line of JSON.

    Raises:
        OSError: it could not be written, or only in part.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    try:
        data = json.dumps(line).encode() + b"\n"
        if os.write(handle, data) != len(data):
            raise OSError(28, "only a part of the line could be written, the disk is probably full", str(path))
    finally:
        os.close(handle)


def progress(event: str, **fields: Any) -> None:
    """Notes what the suite has come to; nowhere outside a case."""
    if found := folder("VX11_SUITE_DIR"):
        append(found / PROGRESS, {"schema": 1, "event": event, **fields, "ns": str(now())})


def record(kind: str, name: str, value: Value, unit: str | None) -> None:
    """Records an `observation` or a `metric` of the case.

    Raises:
        ValueError: the name is malformed, or one that the conductor measures itself.
        TypeError: the value is not one that can be judged.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be recorded: a name has a-z, 0-9 and _, a letter first")
    if name in MEASURED:
        raise ValueError(f"{name!r} cannot be recorded: the conductor measures it itself; choose another name")
    if not isinstance(value, bool | int | float | str):
        raise TypeError(f"{name} is a {type(value).__name__}; a value is true or false, a number, or text")
    if found := folder("VX11_CASE_DIR"):
        source = f"suite:{os.environ.get('VX11_SUITE', '')}"
        line = {"kind": kind, "name": name, "value": value, "unit": unit, "ns": str(time.time_ns()), "source": source}
        append(found / FILE, line)


def keep(into: Path, name: str, content: Any) -> Path:
    """Keeps bytes, text, or what can be JSON, as a file of this name.

    Returns:
        Where it is.

    Raises:
        ValueError: the name is not one of a file, or has been used.
        TypeError: the content cannot be JSON.
    """
    if not _FILE_NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot name evidence: use letters, digits, dots, _ and -, a letter or digit first")
    data = content if isinstance(content, bytes) else _text(content).encode()
    into.mkdir(parents=True, exist_ok=True)
    path = into / name
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError as error:
        raise ValueError(f"there is evidence {name} already; what is kept is never replaced") from error
    return path


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, indent=2, sort_keys=True) + "\n"
