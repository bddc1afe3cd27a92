"""Matrices that are installed on the host: one bundle a folder, whose name is its `matrix_id`.

They are checked by `vx11 matrix validate` in a process of its own: what reads a matrix is as large as all the rest of
madre, and is needed for a second.
"""

import json
import subprocess
import sys
from pathlib import Path

from vx11.catalogue import profiles
from vx11.errors import InputError, Problem
from vx11.madre.refusals import RequestRefused

MATRIX = "matrix.yml"
CHECK_LIMIT = 60.0
_WRONG = 2


class Matrices:
    """Those of one folder.

    Args:
        folder: where they are installed.
        environment: what the process that checks them sees.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder.resolve()
        self._environment = environment

    def names(self) -> list[str]:
        """Those there are."""
        return sorted(path.parent.name for path in self._folder.glob(f"*/{MATRIX}"))

    def expect(self, name: str, profile: str) -> Path:
        """The bundle of a matrix that can be run as it stands.

        Raises:
            RequestRefused: there is none of this name, it has no such profile, or something in it is wrong; with all
                that is wrong.
        """
        bundle = self._folder / name
        if name not in self.names():
            there = ", ".join(self.names()) or f"none in {self._folder}"
            raise RequestRefused("matrix_unknown", f"there is no matrix {name}; there are: {there}", "matrix_id")
        found = [("matrix_id", problem) for problem in self._problems(bundle)]
        try:
            profiles.named(bundle / profiles.FILE, profile)
        except InputError as error:
            found += [("throttle_profile", problem) for problem in error.problems]
        if found:
            detail = "\n".join(str(problem) for _, problem in found)
            raise RequestRefused("matrix_invalid", detail, errors=[_told(field, item, bundle) for field, item in found])
        return bundle

    def _problems(self, bundle: Path) -> list[Problem]:
        command = [sys.executable, "-m", "vx11", "matrix", "validate", str(bundle), "--json"]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                cwd="/",
                env=self._environment,
                timeout=CHECK_LIMIT,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RequestRefused("tests_unavailable", f"the matrix could not be checked: {error}") from error
        if done.returncode not in (0, _WRONG):
            raise RequestRefused("tests_unavailable", f"the matrix could not be checked: {done.stderr.strip()}")
        return [
            Problem(item["message"], Path(item["path"]) if item["path"] else None, item["line"])
            for item in json.loads(done.stdout)["problems"]
        ]


def _told(field: str, problem: Problem, bundle: Path) -> dict[str, str | int | None]:
    """A problem for clients; files of the bundle are named from its folder."""
    path = problem.path
    inside = path is not None and path.is_relative_to(bundle)
    file = str(path.relative_to(bundle) if path and inside else path) if path else None
    return {"field": field, "message": problem.message, "file": file, "line": problem.line}
