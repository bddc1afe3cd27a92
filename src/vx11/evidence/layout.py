"""Where evidence lies: one folder a run below the evidence root, an index over all runs, a chain of run heads."""

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vx11.clock import stamp
from vx11.evidence.chain import Chain, EvidenceError
from vx11.statefiles import write_json

SCHEMA = 1
# In a run's folder: who conducts it, for as long as its books are open.
CONDUCTOR = "conductor.json"


class RunFolder:
    """The folder of one run, `<timestamp>-<test_id>`.

    Raises:
        EvidenceError: the evidence root cannot be written.
    """

    def __init__(self, root: Path, test_id: str, started_wall_ns: int) -> None:
        self.root = root
        self.test_id = test_id
        self.path = root / f"{stamp(started_wall_ns)}-{test_id}"
        try:
            (self.path / "report").mkdir(parents=True)
        except OSError as error:
            raise EvidenceError(
                f"evidence cannot be written to {root}: {error.strerror}; name another with --evidence"
            ) from error
        self.chain = Chain(self.path / "evidence.jsonl")

    def attempt(self, case: str, number: int) -> Path:
        """The folder of one try of a case, made anew."""
        folder = self.path / "cases" / case / str(number)
        (folder / "suites").mkdir(parents=True)
        return folder

    def index(self, **entry: Any) -> None:
        """Writes what is known of this run into the index of the root; called again, it updates."""
        index(self.root, self.test_id, folder=self.path.name, **entry)

    def finish(self) -> None:
        """Closes the chain, lists the digest of every file, and adds the run's head to the chain of heads."""
        self.chain.close()
        finish(self.path, self.test_id, self.chain.count, self.chain.head)


def index(root: Path, test_id: str, **entry: Any) -> None:
    """Writes what is known of a run into the index of a root; called again, it updates."""
    with _locked(root / ".index.lock"):
        path = root / "index.json"
        runs = _runs_of(path)
        runs[test_id] = runs.get(test_id, {}) | entry
        write_json(path, {"schema": SCHEMA, "runs": runs})


def finish(folder: Path, test_id: str, records: int, head: str) -> None:
    """Lists the digest of every file of a run, and adds its head to the chain of heads.

    Raises:
        EvidenceError, OSError: it cannot be written.
    """
    write_json(folder / "manifest.json", {"schema": SCHEMA, "test_id": test_id, "files": _digests(folder)})
    with _locked(folder.parent / ".heads.lock"):
        heads = Chain(folder.parent / "heads.jsonl")
        try:
            data = {"folder": folder.name, "records": records, "head": head}
            heads.append("conductor", "run_finished", test_id, data)
        finally:
            heads.close()


def _digests(folder: Path) -> dict[str, str]:
    """Of what stays; the note of who conducts the run goes with the run, and so does an earlier manifest."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    names = {str(path.relative_to(folder)): path for path in files}
    return {name: _digest(path) for name, path in names.items() if name not in (CONDUCTOR, "manifest.json")}


def _runs_of(path: Path) -> dict[str, Any]:
    """The runs that an index lists; one that cannot be read is moved aside, never lost."""
    try:
        runs: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["runs"]
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError):
        path.replace(path.with_name(f"index.broken-{time.time_ns()}.json"))
        return {}
    return runs


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Waits for its turn: several runs may share one root."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
