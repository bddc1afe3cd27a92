"""What an entry stands for beyond its own text: the files that it is built from, reads its variables from, and runs.

What is pulled is known by its image's digest alone, where the entry has one (`image: NAME@sha256:…`).
"""

import hashlib
import os
import re
import stat
import time
from functools import lru_cache
from pathlib import Path

import rfc8785

from vx11.catalogue.compose import Service
from vx11.errors import InputError

IGNORE = ".dockerignore"
# Digests of files that have not changed since are not computed again; the service may be asked for at any time.
_REMEMBERED = 10_000
# Nanoseconds; a file that has just changed may change again without another time, since the clock of files has ticks.
_SETTLED = 1_000_000_000


def digest(service: Service, apart: Path) -> str:
    """What the allowlist has of a service: sha256, in hexadecimal, over its entry and the digests of its files.

    Args:
        apart: the allowlist, which counts as no part of any build although it may lie in its context.

    Raises:
        InputError: a file cannot be read.
    """
    found = files(service, apart)
    return hashlib.sha256(service.canonical + (rfc8785.dumps(found) if found else b"")).hexdigest()


def files(service: Service, apart: Path) -> dict[str, str]:
    """The digests of files by the key that names them.

    Raises:
        InputError: a file cannot be read.
    """
    entry, found = service.entry, {}
    try:
        if entry.build:
            found["build"] = _context(service.base / entry.build.context, entry.build.dockerfile, apart)
        for number, name in enumerate(entry.env_file):
            found[f"env_file[{number}]"] = _of_file(service.base / name)
        # On the process engine these are what an image is on the other one.
        for number, word in enumerate(entry.vx11.process.command if entry.vx11.process else ()):
            if not word.startswith("/") and _is_file(service.base / word):
                found[f"x-vx11.process.command[{number}]"] = _of_file(service.base / word)
    except OSError as error:
        message = f"{service.name} has no digest, since a file of it cannot be read: {error.strerror}"
        raise InputError.of(message, Path(error.filename or service.base)) from error
    return found


def _context(folder: Path, dockerfile: str, apart: Path) -> str:
    """All that a build is given: names, contents, where links lead, what can be executed."""
    if not folder.is_dir():
        return ""
    sent = _sent(folder, dockerfile)
    found = {_text(name): _of(folder / name) for name in sent if not _is_same(folder / name, apart)}
    if dockerfile not in found and (folder / dockerfile).is_file():  # it may lie elsewhere
        found[dockerfile] = _of(folder / dockerfile)
    return hashlib.sha256(rfc8785.dumps(found)).hexdigest()


def _sent(folder: Path, dockerfile: str) -> set[str]:
    """What of a folder is sent to whoever builds: all but what its `.dockerignore` names.

    Raises:
        InputError: that cannot be read.
    """
    from docker.utils.build import exclude_paths

    ignore = folder / IGNORE
    lines = ignore.read_text(encoding="utf-8", errors="replace").splitlines() if ignore.is_file() else []
    patterns = [line for line in map(str.strip, lines) if line and not line.startswith("#")]
    try:
        return set(exclude_paths(str(folder), patterns, dockerfile=dockerfile))
    except re.error as error:
        raise InputError.of(f"a pattern in it cannot be read: {error}", ignore) from error


def _is_file(path: Path) -> bool:
    """Whether a word of a command names one; words that no file could be called, such as code, do not."""
    try:
        return path.is_file()
    except OSError:
        return False


def _is_same(path: Path, other: Path) -> bool:
    return path.name == other.name and path.exists() and other.exists() and path.samefile(other)


def _of(path: Path) -> str:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return f"link to {_text(str(path.readlink()))}"
    if not stat.S_ISREG(status.st_mode):
        return "folder" if stat.S_ISDIR(status.st_mode) else "special"
    return f"{'program' if status.st_mode & 0o111 else 'file'} {_of_file(path)}"


def _text(name: str) -> str:
    """A name of a file, which need not be text."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _of_file(path: Path) -> str:
    status = path.stat()
    if time.time_ns() - status.st_ctime_ns < _SETTLED:
        return _sha256(path)
    seen = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return _remembered(path, seen)


@lru_cache(_REMEMBERED)
def _remembered(path: Path, seen: tuple[int, ...]) -> str:
    """The digest of a file as it was when it was `seen`; ctime cannot be set back by whoever changes a file."""
    return _sha256(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
