"""Secrets in a checkout and in its history, found by detect-secrets. Of each is told where it is and its kind alone."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vx11.errors import EnvironmentProblem, InputError
from vx11.release.repository import Repository

if TYPE_CHECKING:
    from detect_secrets.core.potential_secret import PotentialSecret

BASELINE = ".secrets.baseline"
# It would try what it finds at the service that it is for.
_TRIES = "detect_secrets.filters.common.is_ignored_due_to_verification_policies"
# It would pass over files that are not there now, which those of a history need not be.
_PRESENT = "detect_secrets.filters.common.is_invalid_file"
# The file of what was judged has the hash of each.
_OF_BASELINE = "detect_secrets.filters.common.is_baseline_file"


@dataclass(frozen=True, order=True)
class Found:
    """Where something looks like a secret; never the secret.

    Attributes:
        commit: of the history; empty in the tree.
    """

    commit: str
    file: str
    line: int
    kind: str

    def __str__(self) -> str:
        at = f"{self.file}:{self.line} of {self.commit[:12]}" if self.commit else f"{self.file}:{self.line}"
        return f"{at} ({self.kind})"


@dataclass(frozen=True)
class Known:
    """Findings that people have judged: `is_secret: false` in a baseline of detect-secrets.

    Attributes:
        settings: what it was made with, its filters and plugins; empty without a baseline.
        harmless: kind and hash of each.
    """

    settings: dict[str, Any]
    harmless: frozenset[tuple[str, str]]


def known(baseline: Path | None) -> Known:
    """What a baseline says; nothing is known without one.

    Raises:
        InputError: it is no baseline.
    """
    if baseline is None:
        return Known({}, frozenset())
    try:
        told = json.loads(baseline.read_text(encoding="utf-8"))
        judged = [one for found in told["results"].values() for one in found if one.get("is_secret") is False]
        filters = [one for one in told["filters_used"] if one["path"] not in (_TRIES, _OF_BASELINE)]
        filters.append({"path": _OF_BASELINE, "filename": baseline.name})
        settings = {"plugins_used": told["plugins_used"], "filters_used": filters}
        return Known(settings, frozenset((str(one["type"]), str(one["hashed_secret"])) for one in judged))
    except OSError as error:
        raise InputError.of(f"cannot be read: {error.strerror}", baseline) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError.of("is not a baseline of detect-secrets (detect-secrets scan makes one)", baseline) from error


def in_tree(repository: Repository, known: Known) -> tuple[list[Found], int]:
    """What looks like a secret in the files of a checkout, and how many files there are."""
    files = repository.files()
    found = []
    with _scanner(known) as (scan_file, _):
        for name in files:
            secrets = scan_file(str(repository.path / name))
            shown = os.fsencode(name).decode(errors="replace")
            found += [Found("", shown, one.line_number, one.type) for one in secrets if _counts(one, known)]
    return sorted(set(found)), len(files)


def in_history(repository: Repository, known: Known) -> tuple[list[Found], int]:
    """What looks like a secret in what any commit has added, also if it is gone since; and how many commits."""
    found, count = list[Found](), 0
    with _scanner(known) as (_, scan_diff):
        for commit, text in repository.history():
            count += 1
            secrets = scan_diff(text)
            found += [Found(commit, one.filename, one.line_number, one.type) for one in secrets if _counts(one, known)]
    return sorted(set(found)), count


def _counts(secret: "PotentialSecret", known: Known) -> bool:
    return (secret.type, secret.secret_hash) not in known.harmless


Scan = Callable[[str], Iterator["PotentialSecret"]]


@contextlib.contextmanager
def _scanner(known: Known) -> Iterator[tuple[Scan, Scan]]:
    """How a file is scanned, and a diff.

    Raises:
        EnvironmentProblem: the library is not installed.
    """
    try:
        import unidiff  # noqa: F401 - detect-secrets needs it for diffs, and does not ask for it
        from detect_secrets.core.scan import scan_diff, scan_file
        from detect_secrets.settings import default_settings, get_settings, transient_settings
    except ImportError as error:
        raise EnvironmentProblem(f"{error.name} is not installed; pip install 'vx11[closing]' brings it") from error
    with transient_settings(known.settings) if known.settings else default_settings():
        get_settings().disable_filters(_PRESENT)
        yield scan_file, scan_diff
