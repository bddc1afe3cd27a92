"""A git checkout: its state, its files, its history. Reads by the program git alone."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vx11.errors import EnvironmentProblem, InputError

_COMMIT = re.compile(r"commit ([0-9a-f]{40,64})\n")
# Settings of the user must not change what is read, nor run programs of his.
_DIFF = (
    *("--unified=0", "-m", "--no-color", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-show-signature"),
    *("--src-prefix=a/", "--dst-prefix=b/"),
)
# Samples, which have no values in them.
_SAMPLES = {"example", "sample", "template", "dist"}


@dataclass(frozen=True)
class State:
    """What a checkout is at.

    Attributes:
        branch: empty when none is checked out.
        head: the commit.
        changed: files that differ from it, or are not in it.
        remotes: name → address, without who logs in there.
    """

    branch: str
    head: str
    changed: tuple[str, ...]
    remotes: dict[str, str]

    @property
    def clean(self) -> bool:
        """Nothing differs from the commit."""
        return not self.changed


class Repository:
    """A checkout.

    Raises:
        InputError: it is none.
        EnvironmentProblem: git is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_dir() or self._git("rev-parse", "--is-inside-work-tree").strip() != "true":
            raise InputError.of("is not a git checkout", path)

    def state(self) -> State:
        """What it is at now."""
        named = self._git("config", "--get-regexp", r"^remote\..*\.url$", codes=(0, 1)).splitlines()
        remotes = {words[0].split(".")[1]: _without_login(words[-1]) for words in map(str.split, named)}
        return State(
            branch=self._git("branch", "--show-current").strip(),
            head=self._git("rev-parse", "--verify", "HEAD", codes=(0, 128)).strip(),
            changed=tuple(line[3:] for line in self._git("status", "--porcelain", "-z").split("\0") if line),
            remotes=remotes,
        )

    def files(self) -> list[str]:
        """Names of those that are in it, and that could be, as os.fsdecode has them; what is ignored is neither."""
        listed = self._git("ls-files", "-co", "--exclude-standard", "-z", errors="surrogateescape")
        return sorted(filter(None, set(listed.split("\0"))))

    def environment_files(self) -> list[str]:
        """Names of `.env` files that it has, or had in any commit."""
        now = self._git("ls-files", "-z").split("\0")
        ever = self._git("log", "--all", "-m", "--no-renames", "--diff-filter=A", "--name-only", "--format=", "-z")
        return sorted({name for name in (*now, *ever.split("\0")) if is_environment_file(name.strip())})

    def is_shallow(self) -> bool:
        """Whether its history is cut off."""
        return self._git("rev-parse", "--is-shallow-repository").strip() == "true"

    def history(self) -> Iterator[tuple[str, str]]:
        """Each commit of all references, and what it changes, as text; merges against each parent."""
        words = self._words("log", "-p", "--all", "--format=commit %H", *_DIFF)
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as git:
            assert git.stdout
            commit, lines = "", list[str]()
            for raw in git.stdout:
                line = raw.decode(errors="replace")
                if begun := _COMMIT.fullmatch(line):
                    yield from [(commit, "".join(lines))] if lines else []
                    commit, lines = begun[1], []
                else:
                    lines.append(line)
            yield from [(commit, "".join(lines))] if lines else []
        if git.returncode:
            raise EnvironmentProblem(f"git log ended with {git.returncode} in {self.path}")

    def _words(self, *words: str) -> list[str]:
        return ["git", "-C", str(self.path), "-c", "core.quotePath=false", *words]

    def _git(self, *words: str, codes: tuple[int, ...] = (0,), errors: str = "replace") -> str:
        try:
            done = subprocess.run(self._words(*words), capture_output=True, check=False)
        except FileNotFoundError as error:
            raise EnvironmentProblem("git is not installed, and a tree is to be looked at") from error
        if done.returncode not in codes:
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
            raise InputError.of(f"git {words[0]} ended with {done.returncode}: {said[-1]}", self.path)
        return done.stdout.decode(errors=errors)


def is_environment_file(name: str) -> bool:
    """`.env`, or `.env.production`; not `.env.example`, which has no values."""
    base = name.rpartition("/")[2]
    return base == ".env" or (base.startswith(".env.") and base.removeprefix(".env.") not in _SAMPLES)


def _without_login(address: str) -> str:
    return re.sub(r"(?<=://)[^/@]*@", "", address)
