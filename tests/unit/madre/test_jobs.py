"""Jobs without a madre: what is started and recorded when something goes wrong, and what a later madre makes of it."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vx11.clock import Clock
from vx11.engines import procfs
from vx11.evidence.appending import EvidenceError
from vx11.evidence.keys import Signer
from vx11.evidence.layout import RunFolder
from vx11.madre import starting
from vx11.madre.jobs import KEPT, Job, Jobs, Wanted
from vx11.madre.refusals import RequestRefused

WANTED = Wanted("quick", ".", "low_power", None)
CLOCK = Clock()


class Installed:
    """Matrices that are always right; the bundle is nowhere, so that a job ends at once."""

    def expect(self, name: str, profile: str) -> Path:
        return Path("/nowhere") / name


class Noted:
    """Evidence in memory, which can be full."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str, str]] = []
        self.full = False

    def append(self, actor: str, action: str, subject: str, data: Any = None, *, sync: bool = True) -> None:
        if self.full:
            raise EvidenceError("the disk is full")
        self.records.append((actor, action, subject))


class Desk:
    """Jobs in folders of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root, self.evidence = folder / "jobs", folder / "tests", Noted()

    def jobs(self, **more: Any) -> Jobs:
        """Those that a madre has which starts now."""
        starter = starting.child({"PATH": os.environ["PATH"], "MARK": str(self.folder)})
        given: dict[str, Any] = {"folder": self.folder, "matrices": Installed(), "root": self.root}
        given |= {
            "engine": "process",
            "evidence": self.evidence,
            "clock": CLOCK,
            "starter": starter,
        }
        return Jobs(**(given | more))

    def write(self, **more: Any) -> Job:
        """A job whose process is this one, or what `more` says."""
        pid = os.getpid()
        job = Job(
            test_id="e2e-1",
            matrix="quick",
            profile="low_power",
            engine="process",
            evidence=self.root,
            accepted=CLOCK.now(),
            accepted_by="anna",
            pid=pid,
            started=procfs.start_time(pid) or 0,
        )
        job = replace(job, **more)
        self.folder.mkdir(exist_ok=True)
        (self.folder / f"{job.test_id}.json").write_text(json.dumps(job.to_json()), encoding="utf-8")
        return job


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_job_is_read_as_it_was_written(desk: Desk) -> None:
    job = desk.write(cancelled_by="bob")
    assert desk.jobs().result("e2e-1").job == job


def test_a_job_of_an_earlier_madre_keeps_others_from_running(desk: Desk) -> None:
    desk.write()
    assert desk.jobs().result("e2e-1").state == "accepted"
    with pytest.raises(RequestRefused) as refused:
        desk.jobs().execute(WANTED, "anna")
    assert (refused.value.code, refused.value.more) == ("test_running", {"test_id": "e2e-1"})
    assert desk.evidence.records == []


@pytest.mark.parametrize(
    "other",
    [{"started": 1}, {"pid": 2**22 + 1}, {"accepted": replace(CLOCK.now(), boot_id="another")}],
    ids=["another process of that number", "no process", "an earlier boot"],
)
def test_a_process_that_is_not_the_job_is_not_taken_for_it(desk: Desk, other: dict[str, Any]) -> None:
    desk.write(**other)
    jobs = desk.jobs()
    result = jobs.result("e2e-1")
    assert (result.state, result.passed) == ("aborted", False)
    assert result.reason == "its process ended; last it said: nothing"
    with pytest.raises(RequestRefused) as refused:
        jobs.cancel("e2e-1", "anna")
    assert refused.value.code == "test_ended"


def test_the_last_words_of_a_job_are_the_reason(desk: Desk, eventually: Callable[..., Any]) -> None:
    jobs = desk.jobs()
    job = jobs.execute(WANTED, "anna")
    result = eventually(lambda: found if (found := jobs.result(job.test_id)).state == "aborted" else None)
    assert "last it said: " in result.reason
    assert "/nowhere/quick" in result.reason
    assert "vx11: " not in result.reason
    assert desk.evidence.records == [("anna", "test_accepted", job.test_id)]


def test_an_error_of_several_lines_is_told_whole(desk: Desk, eventually: Callable[..., Any]) -> None:
    jobs = desk.jobs()
    job = jobs.execute(WANTED, "anna")
    eventually(lambda: jobs.result(job.test_id).state == "aborted")
    (log,) = desk.folder.rglob(f"{job.test_id}.log")
    log.write_text("TC-001 aborted\nvx11: the image was not built:\nStep 1/8\n\nno such host\n", encoding="utf-8")
    reason = jobs.result(job.test_id).reason
    assert reason == "its process ended; last it said: the image was not built:\nStep 1/8\nno such host"


def test_what_cannot_be_recorded_is_not_started(desk: Desk) -> None:
    desk.evidence.full = True
    with pytest.raises(RequestRefused) as refused:
        desk.jobs().execute(WANTED, "anna")
    assert refused.value.code == "evidence_unavailable"
    assert list(desk.folder.iterdir()) == []


def test_a_job_whose_state_cannot_be_written_never_begins(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Any]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vx11.madre.jobs.write_json", full)
    with pytest.raises(RequestRefused, match="No space left") as refused:
        desk.jobs().execute(WANTED, "anna")
    assert refused.value.code == "tests_unavailable"
    eventually(lambda: procfs.marked("MARK", str(desk.folder)) == [])
    (log,) = desk.folder.iterdir()
    assert log.read_bytes() == b""


def test_a_cancel_that_cannot_be_recorded_goes_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int, int]] = []
    monkeypatch.setattr("vx11.madre.jobs.procfs.send", lambda *what: sent.append(what))
    job = desk.write()
    desk.evidence.full = True
    desk.jobs().cancel("e2e-1", "anna")
    assert sent == [(job.pid, job.started, 15)]


@pytest.mark.parametrize("text", ["", "[]", "{}", "not json", '{"schema": 2, "pid": 1}'])
def test_a_state_that_cannot_be_read_is_no_job(desk: Desk, text: str, caplog: pytest.LogCaptureFixture) -> None:
    desk.folder.mkdir()
    (desk.folder / "e2e-1.json").write_text(text, encoding="utf-8")
    with pytest.raises(RequestRefused) as refused:
        desk.jobs().result("e2e-1")
    assert refused.value.code == "test_unknown"
    assert "the state of the test e2e-1 cannot be read" in caplog.text


@pytest.mark.parametrize("name", ["..", "../jobs/e2e-1", "E2E-1", "", "a" * 41, "e2e-1\n", "e2e_1"])
def test_only_names_of_tests_are_looked_for(desk: Desk, name: str) -> None:
    desk.write()
    with pytest.raises(RequestRefused):
        desk.jobs().result(name)


def test_old_jobs_are_forgotten(desk: Desk) -> None:
    for number in range(KEPT + 5):
        desk.write(test_id=f"old-{number}", started=1, accepted=CLOCK.now())
    job = desk.jobs().execute(WANTED, "anna")
    kept = {path.stem for path in desk.folder.glob("*.json")}
    assert kept == {job.test_id, *(f"old-{number}" for number in range(5, KEPT + 5))}


@pytest.mark.parametrize(
    ("conductor", "state", "found"),
    [
        (os.getpid(), "running", "running"),
        (2**22 + 1, "running", "aborted"),
        (0, "running", "aborted"),
        (0, "finished", "finished"),
        (0, "aborted", "aborted"),
    ],
    ids=["runs", "died", "unknown", "finished", "aborted"],
)
def test_a_run_that_madre_did_not_start_is_known_by_the_index(
    desk: Desk, conductor: int, state: str, found: str
) -> None:
    run = RunFolder(desk.root, "e2e-9", 0, Signer.of())
    run.index(state=state, conductor=conductor, cases=["one"])
    run.chain.close()
    result = desk.jobs().result("e2e-9")
    assert (result.state, result.job) == (found, None)
    with pytest.raises(RequestRefused) as refused:
        desk.jobs().cancel("e2e-9", "anna")
    assert refused.value.code == "test_unknown"
