"""compute-service: works out a digest from a seed, and keeps it; runs under any name, several times side by side.

POST /jobs {"id", "seed", "rounds"} -> {"service", "id", "digest", "held_up"};
GET /jobs/ID -> {"service", "id", "digest"}; GET /jobs -> {"service", "jobs": {id: digest}};
GET /whoami -> {"service", "process", "folder", "files"}: PID namespace and number, device and inode, names.

The digest is SHA-256 of the seed in UTF-8, hashed `rounds` times: the same seed and rounds always give the same digest.
Each job is a file below `--data`. Its jobs work one after the other; the folder is locked for each, against a second
program that would work on the same one. `held_up` tells that somebody else had the lock.

BUG=shared_lock    locks the folder that its own lies in, as all do that lie there
BUG=shared_files   also looks for jobs in the folders beside its own
BUG=random         the digest depends on the moment
"""

import argparse
import fcntl
import hashlib
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _http import HttpError, Request, Server, bug

KINDS = ("shared_lock", "shared_files", "random")
ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
MOST_ROUNDS = 10_000_000
ENDING = ".job"


def digest_of(seed: str, rounds: int) -> str:
    """The digest of a seed, in hexadecimal."""
    digest = seed.encode(errors="surrogatepass")
    for _ in range(rounds):
        digest = hashlib.sha256(digest).digest()
    return digest.hex()


class Jobs:
    """The jobs of one service, below one folder.

    Args:
        name: whose they are.
        data: the folder.
        kind: the bug it has.
    """

    def __init__(self, name: str, data: Path, kind: str) -> None:
        self._name = name
        self._data = data
        self._kind = kind
        self._at_work = threading.Lock()

    def run(self, request: Request) -> dict[str, object]:
        """Does a job and keeps its result; one that is there is done again."""
        body = request.json()
        job, seed, rounds = valid_id(request.text("id")), request.text("seed"), body.get("rounds")
        if not isinstance(rounds, int) or isinstance(rounds, bool) or not 1 <= rounds <= MOST_ROUNDS:
            raise HttpError(400, f"rounds is {rounds!r}; send a whole number from 1 to {MOST_ROUNDS}.")
        with self._at_work, self._locked() as held_up:
            digest = digest_of(f"{seed}{time.time_ns()}" if self._kind == "random" else seed, rounds)
            self._keep(job, digest)
        return {"service": self._name, "id": job, "digest": digest, "held_up": held_up}

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        """Holds the lock of the folder; says whether it had to wait for it."""
        folder = self._data.parent if self._kind == "shared_lock" else self._data
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield not locked_at_once(handle)
        finally:
            os.close(handle)

    def _keep(self, job: str, digest: str) -> None:
        unfinished = self._data / f"{job}.new"
        try:
            unfinished.write_text(digest, encoding="ascii")
            unfinished.replace(self._data / f"{job}{ENDING}")
        except OSError as error:
            raise HttpError(507, f"The result of {job} cannot be kept: {error.strerror}.") from error

    def _found(self) -> dict[str, Path]:
        """The file of each job, by id."""
        folders = [self._data]
        if self._kind == "shared_files":
            folders += sorted(folder for folder in self._data.parent.iterdir() if folder.is_dir())
        return {path.stem: path for folder in folders for path in sorted(folder.glob(f"*{ENDING}"))}

    def jobs(self, _request: Request) -> dict[str, object]:
        """All results."""
        return {"service": self._name, "jobs": {job: path.read_text("ascii") for job, path in self._found().items()}}

    def job(self, request: Request) -> dict[str, object]:
        """One result."""
        job = valid_id(request.name)
        path = self._found().get(job)
        if path is None:
            raise HttpError(404, f"{self._name} has no job {job}.")
        return {"service": self._name, "id": job, "digest": path.read_text("ascii")}

    def whoami(self, _request: Request) -> dict[str, object]:
        """Who this is, as told from inside."""
        folder = self._data.stat()
        return {
            "service": self._name,
            "process": [Path("/proc/self/ns/pid").stat().st_ino, os.getpid()],
            "folder": [folder.st_dev, folder.st_ino],
            "files": sorted(path.name for path in self._data.iterdir()),
        }


def locked_at_once(handle: int) -> bool:
    """Takes the lock of a file (flock(2)); whether nobody else had it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(handle, fcntl.LOCK_EX)
        return False
    return True


def valid_id(text: str) -> str:
    """The id of a job.

    Raises:
        HttpError: 400, it is none.
    """
    if not ID.fullmatch(text):
        raise HttpError(400, f"id is {text!r}; send up to 64 of a-z, 0-9 and -, not beginning with -.")
    return text


def main() -> None:
    """Runs the service until it is told to stop."""
    parser = argparse.ArgumentParser(description="Works out digests, and keeps them.")
    parser.add_argument("--name", required=True, help="the name to answer with")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder of its results")
    arguments, kind = parser.parse_args(), bug(*KINDS)
    try:
        arguments.data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SystemExit(
            f"{arguments.name} cannot use {arguments.data}: {error}. Give --data a folder it may write."
        ) from error
    jobs = Jobs(arguments.name, arguments.data, kind)
    routes = {
        "/jobs": {"GET": jobs.jobs, "POST": jobs.run},
        "/jobs/": {"GET": jobs.job},
        "/whoami": {"GET": jobs.whoami},
    }
    Server(arguments.name, routes).run()


if __name__ == "__main__":
    main()
