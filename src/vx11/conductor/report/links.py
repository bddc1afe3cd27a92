"""Links from a report into the evidence of a try."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

MOST = 30
_FILES = ("verdict.json", "playbook.yml", "runner/stdout", "steps.jsonl", "observations.jsonl", "usage.jsonl")
_FOLDERS = ("suites", "evidence", "patch_intents")
_MEDIA = {".json": "application/json", ".jsonl": "application/x-ndjson", ".xml": "application/xml"}


@dataclass(frozen=True)
class Link:
    """One file.

    Attributes:
        text: its path below the folder of the try.
        href: relative to the report, percent-encoded.
        media: its media type.
    """

    text: str
    href: str
    media: str


def of(folder: Path, out: Path) -> list[Link]:
    """What a try left, as far as it is there; of its many files the `MOST` that come first.

    Args:
        folder: of the try.
        out: the folder that the report lies in.
    """
    found = [path for path, _ in zip(_files(folder), range(MOST), strict=False)]
    return [Link(str(path.relative_to(folder)), href(path, out), _media(path)) for path in found]


def href(path: Path, out: Path) -> str:
    """The relative reference from a file in `out` to `path`."""
    return quote(os.path.relpath(path, out.resolve()))


def _files(folder: Path) -> Iterator[Path]:
    yield from (path for name in _FILES if (path := folder / name).is_file())
    for name in _FOLDERS:
        yield from sorted(path for path in (folder / name).rglob("*") if path.is_file() and not path.is_symlink())


def _media(path: Path) -> str:
    return _MEDIA.get(path.suffix, "text/plain")
