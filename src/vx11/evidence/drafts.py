"""Files on their way into evidence: whoever writes them may say secrets, so they lie elsewhere until they are cleared.

Their place in the evidence is a link for so long, so that names of files that somebody tells stay true.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from vx11.evidence.redact import Redactor


def begin(draft: Path, place: Path) -> None:
    """Has what is written to a place in the evidence lie in a folder outside of it, made anew.

    Raises:
        OSError: one of them cannot be made.
    """
    draft.mkdir(parents=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(draft, target_is_directory=True)


def take_in(draft: Path, place: Path, redactor: Redactor) -> None:
    """Puts a folder where it belongs, without secrets, and removes it where it was; can be done again if it broke off.

    Links stay links; what is neither file, folder nor link is left out.

    Raises:
        OSError: a file cannot be read, or written.
    """
    if place.is_symlink():
        place.unlink()
    place.mkdir(parents=True, exist_ok=True)
    for at, folders, names in os.walk(draft):
        inside = place / Path(at).relative_to(draft)
        for name in (*folders, *names):
            _take(Path(at, name), inside / name, redactor)
    shutil.rmtree(draft)


def take_in_file(draft: Path, place: Path, redactor: Redactor) -> None:
    """Copies one file, without secrets.

    Raises:
        OSError: it cannot be read, or written.
    """
    place.write_bytes(redactor.content(draft.read_bytes()))


def below(folder: Path) -> Iterator[Path]:
    """The folders that were begun below one, two names deep: a case, and the number of its try."""
    yield from (path for path in sorted(folder.glob("*/*")) if path.is_dir() and not path.is_symlink())


def _take(draft: Path, place: Path, redactor: Redactor) -> None:
    if draft.is_symlink():
        place.unlink(missing_ok=True)
        place.symlink_to(draft.readlink())
    elif draft.is_dir():
        place.mkdir(exist_ok=True)
    elif draft.is_file():
        take_in_file(draft, place, redactor)
