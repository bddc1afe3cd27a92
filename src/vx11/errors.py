"""What can go wrong, as sentences for people.

Every error of the package derives from `Vx11Error`. The CLI alone turns them into exit codes, madre alone into
problem documents.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


class Vx11Error(Exception):
    """Base of all errors of this package; `str(error)` is a sentence that a user can act on."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in an input: where it is, what is wrong, and what to do."""

    message: str
    path: Path | None = None
    line: int | None = None

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.path, self.line) if part is not None)
        return f"{where}: {self.message}" if where else self.message


class InputError(Vx11Error):
    """Something the user gave is wrong. Carries all problems at once, each with its file and line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: Sequence[Problem] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @classmethod
    def of(cls, message: str, path: Path | None = None, line: int | None = None) -> "InputError":
        """An error with a single problem."""
        return cls([Problem(message, path, line)])


class EnvironmentProblem(Vx11Error):
    """The machine cannot do what was asked: no engine, no permission, a missing program."""
