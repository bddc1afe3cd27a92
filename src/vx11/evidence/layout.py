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
from urllib.parse import quote

from vx11.clock import stamp
from vx11.evidence import drafts
from vx11.evidence.appending import EvidenceError
from vx11.evidence.chain import Chain
from vx11.evidence.keys import PUBLIC, PublicKey, Signer
from vx11.evidence.redact import Redactor
from vx11.statefiles import partial_of, write_json

SCHEMA = 1
# In a run's folder: who conducts it, for as long as its books are open; then the digests of all files.
CONDUCTOR, MANIFEST = "conductor.json", "manifest.json"
CHAIN, REPORT = "evidence.jsonl", "report"
# In a run's folder, and in that of a place that its cases run in.
CASES, DRAFTS = "cases", "drafts"
# In an evidence root: the runs, and what became of each.
INDEX, HEADS = "index.json", "heads.jsonl"
BEGAN, FINISHED, PRUNED = "run_began", "run_finished", "run_pruned"
# What the chain of heads and a tombstone say of a run.
OF_HEAD = ("folder", "records", "head", "manifest")
# What is left of runs that were removed by age, and how the name of a folder begins that is just being removed.
TOMBSTONES, REMOVING = "tombstones", ".removing-"


class RunFolder:
    """The folder of one run, `<timestamp>-<test_id>`.

    Args:
        signer: makes the seals.
        redactor: knows secrets, which are kept out of the chain and of what tries leave.

    Raises:
        EvidenceError: the evidence root cannot be written.
    """

    def __init__(
        self, root: Path, test_id: str, started_wall_ns: int, signer: Signer, redactor: Redactor | None = None
    ) -> None:
        self._signer = signer
        self._redactor = redactor or Redactor()
        self.root = root
        self.test_id = test_id
        self.path = root / f"{stamp(started_wall_ns)}-{test_id}"
        try:
            (self.path / REPORT).mkdir(parents=True)
            for folder in (root, self.path):
                publish(folder, signer.public)
        except OSError as error:
            raise EvidenceError(
                f"evidence cannot be written to {root}: {error.strerror}; name another with --evidence"
            ) from error
        self.chain = Chain(self.path / CHAIN, signer, redactor)

    def begin(self) -> None:
        """Adds to the chain of heads that the run has begun, so that it cannot be removed unseen.

        Raises:
            EvidenceError, OSError: it cannot be written.
        """
        add_head(self.root, BEGAN, self.test_id, {"folder": self.path.name}, self._signer)

    def folder_of(self, case: str, number: int) -> Path:
        """Where one try of a case is."""
        return self.path / CASES / case / str(number)

    @contextlib.contextmanager
    def attempt(self, case: str, number: int, private: Path) -> Iterator[Path]:
        """The folder of one try, made anew; what is written to it is evidence when the try is over, without secrets.

        Args:
            private: a folder that nobody else can read, which has it until then, see `drafts`.

        Raises:
            OSError: it cannot be written.
        """
        draft, folder = private / DRAFTS / case / str(number), self.folder_of(case, number)
        drafts.begin(draft, folder)
        try:
            (folder / "suites").mkdir()
            yield folder
        finally:
            drafts.take_in(draft, folder, self._redactor)

    def index(self, **entry: Any) -> None:
        """Writes what is known of this run into the index of the root; called again, it updates."""
        index(self.root, self.test_id, folder=self.path.name, **entry)

    def finish(self) -> None:
        """Closes the chain and finishes the folder, see `finish`."""
        self.chain.close()
        finish(self.path, self.test_id, self.chain.count, self.chain.head, self._signer)


def publish(folder: Path, key: PublicKey) -> None:
    """Puts a public key into a folder; one that is there already stays.

    Raises:
        OSError: it cannot be written.
    """
    with (folder / PUBLIC).open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if key.to_pem() not in file.read():
            file.write(key.to_pem())


def index(root: Path, test_id: str, **entry: Any) -> None:
    """Writes what is known of a run into the index of a root; called again, it updates."""
    with locked(root / ".index.lock"):
        path = root / INDEX
        runs = _runs_of(path)
        runs[test_id] = runs.get(test_id, {}) | entry
        write_json(path, {"schema": SCHEMA, "runs": runs})


def finish(folder: Path, test_id: str, records: int, head: str, signer: Signer) -> None:
    """Lists the digest of every file of a run, signs that, and adds its head to the chain of heads.

    Args:
        records: how many the run's chain has, and `head` the hash of the last one.

    Raises:
        EvidenceError, OSError: it cannot be written.
    """
    partial_of(folder / MANIFEST).unlink(missing_ok=True)  # of a conductor that died while it wrote it
    about = {"schema": SCHEMA, "test_id": test_id, "records": records, "head": head, "files": digests(folder)}
    write_json(folder / MANIFEST, signed(about, signer))
    data = {"folder": folder.name, "records": records, "head": head, "manifest": digest(folder / MANIFEST)}
    add_head(folder.parent, FINISHED, test_id, data, signer)


def add_head(root: Path, action: str, test_id: str, data: dict[str, Any], signer: Signer) -> None:
    """Adds to the chain of heads that a run began, or what became of it, and seals that.

    Raises:
        EvidenceError, OSError: it cannot be written.
    """
    with locked(root / ".heads.lock"), contextlib.closing(Chain(root / HEADS, signer)) as heads:
        heads.append("conductor", action, test_id, data)


def tombstone_of(folder: Path) -> Path:
    """Where the tombstone of a run is, by the folder that the run has or had."""
    return folder.parent / TOMBSTONES / f"{folder.name}.json"


def signed(about: dict[str, Any], signer: Signer) -> dict[str, Any]:
    """A document with the signature of all else that it says."""
    about = about | {"key": signer.public.id}
    return about | {"signature": signer.sign(about)}


def digests(folder: Path) -> dict[str, str]:
    """Of what stays; the note of who conducts the run goes with the run, and so does an earlier manifest.

    Of a link it is told where it leads, whatever is there; of what is no file that it is none.
    """
    names = {_name(path.relative_to(folder)): path for path in sorted(folder.rglob("*"))}
    return {
        name: _digest(path)
        for name, path in names.items()
        if name not in (CONDUCTOR, MANIFEST) and (path.is_symlink() or not path.is_dir())
    }


def _name(path: Path) -> str:
    """The name of a file as JSON can have it; one that is not UTF-8 in escapes, behind `//`, as no other begins."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return f"//{quote(os.fsencode(path))}"
    return str(path)


def _digest(path: Path) -> str:
    if path.is_symlink():
        return f"link to {_name(path.readlink())}"
    return digest(path) if path.is_file() else "no file"


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


def digest(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits for its turn: several runs may share one root."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
