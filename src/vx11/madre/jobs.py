"""Tests that madre starts: each is `vx11 run` in a session of its own, and outlives the madre that started it.

A job is known by its state file alone, so that the next madre finds it. What it came to stands in its evidence.
"""

import contextlib
import json
import logging
import os
import re
import secrets
import signal
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from vx11.clock import Clock, Instant
from vx11.engines import procfs
from vx11.evidence import runs
from vx11.evidence.appending import EvidenceError
from vx11.evidence.runs import Run
from vx11.madre import confined
from vx11.madre.matrices import Matrices
from vx11.madre.refusals import RequestRefused
from vx11.madre.starting import Starter
from vx11.statefiles import write_json
from vx11.windows.books import Evidence

log = logging.getLogger(__name__)
State = Literal["accepted", "running", "finished", "aborted"]
SCHEMA = 1
INTENTS = "patch_intents"
RETRY_AFTER = 30
KEPT = 20
LAST_WORDS = 5
LONGEST_WORD = 300
_ERROR = "vx11: "
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True)
class Wanted:
    """What is to be run.

    Attributes:
        matrix: name of an installed matrix.
        evidence_path: folder below the evidence root.
        profile: throttle profile of the bundle.
        engine: None for madre's own.
    """

    matrix: str
    evidence_path: str
    profile: str
    engine: str | None


@dataclass(frozen=True)
class Job:
    """One test that was accepted.

    Attributes:
        evidence: the evidence root of its run.
        pid, started: its process; the start in clock ticks since boot.
    """

    test_id: str
    matrix: str
    profile: str
    engine: str
    evidence: Path
    accepted: Instant
    accepted_by: str
    pid: int
    started: int
    cancelled_by: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The form of the state file."""
        return {
            "schema": SCHEMA,
            **asdict(self),
            "evidence": str(self.evidence),
            "accepted": self.accepted.to_json(),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Job":
        """Reads what `to_json` wrote.

        Raises:
            KeyError, TypeError: it is not that.
        """
        known = dict(data)
        del known["schema"]
        known |= {"evidence": Path(data["evidence"]), "accepted": Instant.from_json(data["accepted"])}
        return cls(**known)


@dataclass(frozen=True)
class Result:
    """A test as it stands.

    Attributes:
        state: accepted, running, finished, aborted.
        job: None for a run that nobody asked madre for, or of which it knows no more.
        run: its evidence; None before there is any.
        reason: why it was aborted.
    """

    test_id: str
    state: State
    job: Job | None
    run: Run | None
    reason: str | None = None

    @property
    def passed(self) -> bool | None:
        """Whether all is well; None until it has ended."""
        if self.state in ("accepted", "running"):
            return None
        return self.state == "finished" and self.run is not None and self.run.passed


class Jobs:
    """The jobs of one cell, at most one of them at a time.

    Args:
        folder: for state files and logs.
        matrices: what can be run.
        root: the evidence root that no run leaves; patch intents lie beside it.
        engine: what runs services where a request does not say.
        evidence: the chain of this cell.
        clock: time.
        starter: begins their processes.
    """

    def __init__(
        self,
        *,
        folder: Path,
        matrices: Matrices,
        root: Path,
        engine: str,
        evidence: Evidence,
        clock: Clock,
        starter: Starter,
    ) -> None:
        self._folder = folder
        self._matrices = matrices
        self._root = root.resolve()
        self._engine = engine
        self._evidence = evidence
        self._clock = clock
        self._starter = starter
        self._lock = threading.Lock()

    def execute(self, wanted: Wanted, actor: str) -> Job:
        """Starts a test whose matrix is right.

        Raises:
            RequestRefused: something is wrong with the request or the matrix, another test runs, or this cannot be
                recorded; nothing was started.
        """
        with self._lock:
            self._expect_none()
            try:
                place = confined.below(self._root, wanted.evidence_path)
            except ValueError as error:
                detail = f"evidence_path {wanted.evidence_path!r} {error}"
                raise RequestRefused("invalid_request", detail, "evidence_path") from error
            bundle = self._matrices.expect(wanted.matrix, wanted.profile)
            with _unrecorded():
                return self._start(wanted, bundle, place, actor)

    def result(self, test_id: str) -> Result:
        """What a test has come to so far: one of this madre, of an earlier one, or any run below the evidence root.

        Raises:
            RequestRefused: there is none of this id.
        """
        job = self._job(test_id)
        alive = job is not None and self._is_alive(job)  # asked first: what is over by then has closed its books
        run = runs.find(job.evidence if job else self._root, test_id)
        if job is None:
            if run is None:
                raise _unknown(test_id)
            return _of_others(test_id, run)
        if alive:
            return Result(test_id, "running" if run else "accepted", job, run)
        if run and run.state == "finished":
            return Result(test_id, "finished", job, run)
        return Result(test_id, "aborted", job, run, self._why(job))

    def latest(self) -> Result | None:
        """The test that was asked for last; None when none was."""
        job = next(self._jobs(), None)
        return self.result(job.test_id) if job else None

    def cancel(self, test_id: str, actor: str) -> Result:
        """Tells a test to end, which then cleans up by itself.

        Raises:
            RequestRefused: there is none of this id that madre started, or it has ended.
        """
        job = self._job(test_id)
        if job is None:
            raise _unknown(test_id)
        if not self._is_alive(job):
            raise RequestRefused("test_ended", f"the test {test_id} has ended already")
        try:  # as closing does, it goes on where this cannot be written
            self._evidence.append(actor, "test_cancelled", test_id)
            self._save(replace(job, cancelled_by=actor))
        except (EvidenceError, OSError) as error:
            log.error("%s", error)
        procfs.send(job.pid, job.started, signal.SIGTERM)
        return self.result(test_id)

    def _expect_none(self) -> None:
        for job in self._jobs():
            if self._is_alive(job):
                detail = f"the test {job.test_id} of {job.matrix} runs; one runs at a time"
                raise RequestRefused("test_running", detail, retry_after=RETRY_AFTER, test_id=job.test_id)

    def _start(self, wanted: Wanted, bundle: Path, place: Path, actor: str) -> Job:
        test_id, engine = f"e2e-{secrets.token_hex(4)}", wanted.engine or self._engine
        self._folder.mkdir(parents=True, exist_ok=True)
        self._forget_old()
        about = {"matrix": wanted.matrix, "profile": wanted.profile, "engine": engine, "evidence": str(place)}
        self._evidence.append(actor, "test_accepted", test_id, about)
        flags = {
            "test-id": test_id,
            "evidence": place,
            "intents": self._root.parent / INTENTS,
            "engine": engine,
            "profile": wanted.profile,
        }
        options = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        with self._starter([str(bundle), *options], self._log(test_id)) as waiting:
            job = Job(
                test_id=test_id,
                matrix=wanted.matrix,
                profile=wanted.profile,
                engine=engine,
                evidence=place,
                accepted=self._clock.now(),
                accepted_by=actor,
                pid=waiting.pid,
                started=waiting.started,
            )
            self._save(job)
            waiting.go()
        return job

    def _is_alive(self, job: Job) -> bool:
        return job.accepted.boot_id == self._clock.boot_id and procfs.is_alive(job.pid, job.started)

    def _why(self, job: Job) -> str:
        """Why it came to no good end: who cancelled it, or else its last words."""
        if job.cancelled_by:
            return f"cancelled by {job.cancelled_by}"
        try:
            lines = self._log(job.test_id).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        # An error may have several lines, of which only the first is marked; all of it stands last.
        begin = next((number for number, line in enumerate(lines) if line.startswith(_ERROR)), 0)
        said = [line.removeprefix(_ERROR)[:LONGEST_WORD] for line in lines[begin:] if line.strip()]
        return "its process ended; last it said: " + ("\n".join(said[-LAST_WORDS:]) or "nothing")

    def _jobs(self) -> Iterator[Job]:
        """All that are known, the newest first."""
        found = [self._job(path.stem) for path in self._folder.glob("*.json")]
        yield from sorted((job for job in found if job), key=lambda job: job.accepted.wall_ns, reverse=True)

    def _job(self, test_id: str) -> Job | None:
        if not _ID.fullmatch(test_id):
            return None
        try:
            return Job.from_json(json.loads(self._file(test_id).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.error("the state of the test %s cannot be read: %s", test_id, error)
            return None

    def _save(self, job: Job) -> None:
        write_json(self._file(job.test_id), job.to_json())

    def _forget_old(self) -> None:
        """Keeps the state folder small; evidence still has what they came to."""
        for job in list(self._jobs())[KEPT:]:
            self._file(job.test_id).unlink(missing_ok=True)
            self._log(job.test_id).unlink(missing_ok=True)

    def _file(self, test_id: str) -> Path:
        return self._folder / f"{test_id}.json"

    def _log(self, test_id: str) -> Path:
        return self._folder / f"{test_id}.log"


def environment() -> dict[str, str]:
    """What jobs see: this environment without what configures this madre."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith("VX11_") or name == "VX11_BASE_IMAGE"
    }


def _of_others(test_id: str, run: Run) -> Result:
    if run.state == "finished":
        return Result(test_id, "finished", None, run)
    if run.state == "aborted":
        return Result(test_id, "aborted", None, run)
    if procfs.lives(run.conductor):
        return Result(test_id, "running", None, run)
    return Result(test_id, "aborted", None, run, "its process ended")


def _unknown(test_id: str) -> RequestRefused:
    return RequestRefused("test_unknown", f"there is no test {test_id} below the evidence root of tests")


@contextlib.contextmanager
def _unrecorded() -> Iterator[None]:
    """What cannot be written down is not started."""
    try:
        yield
    except EvidenceError as error:
        raise RequestRefused("evidence_unavailable", f"no test was started: {error}") from error
    except OSError as error:
        detail = f"no test was started, since this failed: {error.filename or 'its process'}: {error.strerror}"
        raise RequestRefused("tests_unavailable", detail) from error
