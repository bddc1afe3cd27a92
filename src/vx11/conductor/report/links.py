"""Links from a report into the evidence of a try."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from vx11.conductor.report.record import Try
from vx11.recovery.intent import KEPT

MOST = 30
_FILES = ("verdict.json", "playbook.yml", "runner/stdout", "steps.jsonl", "observations.jsonl", "usage.jsonl")
_MEDIA = {
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".md": "text/markdown",
    ".xml": "application/xml",
}


@dataclass(frozen=True)
class Link:
    """One file.

    Attributes:
        text: its path below the folder of the try, or that of the folder of patch intents.
        href: relative to the report, percent-encoded.
        media: its media type.
    """

    text: str
    href: str
    media: str


def of(item: Try, out: Path) -> list[Link]:
    """What a try left, as far as it is there, its patch intent first; of many files the `MOST` that come first.

    Args:
        out: the folder that the report lies in.
    """
    intent = Path(item.result.intent) if item.result.intent else None
    found = [(path, intent.parent) for path in _below(intent)] if intent else []
    found += [(path, item.folder) for path in _files(item.folder)]
    return [Link(str(path.relative_to(top)), href(path, out), _media(path)) for path, top in found[:MOST]]


def href(path: Path, out: Path) -> str:
    """The relative reference from a file in `out` to `path`."""
    return quote(os.path.relpath(path, out.resolve()))


def _files(folder: Path) -> Iterator[Path]:
    yield from (path for name in _FILES if (path := folder / name).is_file())
    yield from _below(folder / KEPT)
    yield from _below(folder / "suites")


def _below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _media(path: Path) -> str:
    return _MEDIA.get(path.suffix, "text/plain")
