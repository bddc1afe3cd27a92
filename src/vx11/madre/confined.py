"""Folders that a request may name: below a root, whatever it tries."""

import os
import stat
from pathlib import Path, PurePosixPath

from vx11.evidence.layout import CHAIN


def below(root: Path, given: str) -> Path:
    """The folder that a request means: `given` below the root, every symbolic link on the way followed.

    It need not be there. The root itself is `.`.

    Raises:
        ValueError: it is no relative path, leads out of the root, is no folder, or lies in the evidence of a run.
    """
    _expect_relative(given)
    root = root.resolve()
    try:
        found = Path(os.path.realpath(root / given))
        inside = [part for part in (found, *found.parents) if part.is_relative_to(root)]
        if not inside:
            raise ValueError("leads out of the evidence root")
        if not all(_may_be_folder(part) for part in inside):
            raise ValueError("is not a folder")
        # Every folder with the evidence of a run has one.
        if any((part / CHAIN).exists() for part in inside):
            raise ValueError("lies in evidence that is there already")
    except OSError as error:
        raise ValueError(f"cannot be a folder: {error.strerror}") from error
    return found


def _expect_relative(given: str) -> None:
    if not given or not given.isprintable():
        raise ValueError("has to be the path of a folder, in characters that can be printed")
    if given.startswith("/"):
        raise ValueError("has to be relative; it counts from the evidence root")
    if ".." in PurePosixPath(given).parts:
        raise ValueError("may not go up with ..")


def _may_be_folder(path: Path) -> bool:
    """It is one, or is not there yet. A symbolic link that is left after all were followed leads round in a circle."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return True
