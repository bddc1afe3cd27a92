"""Runs a matrix, from the proof of SOLO_MADRE before to the proof that nothing is left after."""

import contextlib
import secrets
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from vx11 import __version__
from vx11.conductor import collection, judge, matrix, observations, play, report
from vx11.conductor.cell import Cell
from vx11.conductor.expected import Expected
from vx11.conductor.judge import CaseResult, Judged, Verdict
from vx11.conductor.matrix import Case, Matrix
from vx11.conductor.observations import Observed
from vx11.conductor.progress import Progress
from vx11.engines.docker import DockerEngine
from vx11.engines.port import CAPABILITIES, EngineError
from vx11.engines.select import EngineName
from vx11.errors import EnvironmentProblem, InputError, Vx11Error
from vx11.evidence.chain import verify
from vx11.evidence.layout import RunFolder
from vx11.statefiles import write_json

CONDUCTOR = "conductor"
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Options:
    """How to run.

    Attributes:
        cases: ids to run; none for all.
        evidence: the evidence root.
        report: a further folder for reports, if they are wanted outside the evidence too.
    """

    matrix: Path
    cases: tuple[str, ...] = ()
    engine: EngineName = "process"
    evidence: Path = Path("evidence")
    report: Path | None = None


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    Attributes:
        left: what could not be removed at the end, empty when nothing is left.
        interrupted: somebody stopped it.
    """

    test_id: str
    folder: Path
    results: Sequence[CaseResult]
    left: Sequence[str]
    interrupted: bool

    def to_json(self) -> dict[str, Any]:
        """As plain data, for whoever reads it with a program."""
        return {
            "test_id": self.test_id,
            "evidence": str(self.folder),
            "passed": self.passed,
            "interrupted": self.interrupted,
            "left": list(self.left),
            "cases": [report.as_json(result) for result in self.results],
        }

    @property
    def passed(self) -> bool:
        """Every case passed or was skipped for a reason, and nothing is left."""
        return not self.left and all(item.verdict in (Verdict.PASSED, Verdict.SKIPPED) for item in self.results)


def run(options: Options, progress: Progress) -> RunResult:
    """Runs the cases of a matrix one after the other.

    Raises:
        InputError: matrix, catalogue or allowlist is wrong; nothing was started.
        EnvironmentProblem, EngineError, EvidenceError: this machine cannot run it.
    """
    found = collection.find(options.matrix)
    plan = matrix.load(options.matrix, found).chosen(options.cases)
    if options.report:
        try:
            options.report.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError.of(f"reports cannot be put there: {error.strerror}", options.report) from error
    test_id = f"e2e-{secrets.token_hex(4)}"
    folder = RunFolder(options.evidence.resolve(), test_id, time.time_ns())
    with _cancelled_by_signals(progress) as cancelled:
        return _Run(options, plan, found, folder, progress, cancelled).all()


class _Cancelled(Vx11Error):
    """Somebody stopped the run while it prepared."""


class _Run:
    def __init__(
        self,
        options: Options,
        plan: Matrix,
        found: collection.Collection,
        folder: RunFolder,
        progress: Progress,
        cancelled: threading.Event,
    ) -> None:
        self.options = options
        self.plan = plan
        self.found = found
        self.folder = folder
        self.progress = progress
        self.cancelled = cancelled
        self.chain = folder.chain
        self.results: list[CaseResult] = []
        self.left: list[str] = []

    def all(self) -> RunResult:
        """The whole run; its books are closed whatever happens."""
        about = {"matrix": str(self.plan.path), "cases": [case.id for case in self.plan.cases], "version": __version__}
        self.folder.index(state="running", **about)
        self.chain.append(CONDUCTOR, "run_started", self.folder.test_id, about)
        try:
            self._in_cell()
        except Vx11Error as error:
            self._give_up(str(error))
            raise
        except BaseException as error:
            self._give_up(repr(error))
            raise
        self._close_books()
        return RunResult(self.folder.test_id, self.folder.path, self.results, self.left, self.cancelled.is_set())

    def _give_up(self, why: str) -> None:
        """Every planned case has a verdict, also when the run cannot go on."""
        self.chain.append(CONDUCTOR, "run_failed", self.folder.test_id, {"why": why})
        self._abort_rest(why)
        self._close_books()

    def _in_cell(self) -> None:
        name = self.folder.test_id
        cell = Cell(name, self.plan.folder, self.options.engine, self.folder.path / "cells")
        self.progress.note(f"engine {cell.engine.name}: {cell.engine.why}")
        if lacking := [name for name in CAPABILITIES if name not in cell.engine.capabilities]:
            self.progress.note(f"it cannot do here: {', '.join(lacking)}")
        try:
            self._prepare(cell)
            cell.start()
            self._prove_start(cell)
            for case in self.plan.cases:
                if self.cancelled.is_set():
                    break
                self._case(cell, case)
        except _Cancelled:
            pass  # every case gets its verdict below
        finally:
            self._end(cell)
        self._abort_rest("the run was interrupted before this case")

    def _prepare(self, cell: Cell) -> None:
        """Images are built before the cases, so that no case waits for a build."""
        needed = {name for case in self.plan.cases for name in case.services}
        built: set[str] = set()
        for name in sorted(needed):
            service = self.plan.catalogue.services[name]
            if name not in self.plan.allowlist.digests or self.cancelled.is_set():
                continue
            if isinstance(cell.engine, DockerEngine) and service.entry.build:
                image = cell.engine.image_of(service)
                if image not in built:
                    self.progress.note(f"building {image}")
                    cell.engine.build(service, self._built)
                    built.add(image)
            else:
                cell.engine.prepare(service)

    def _built(self, line: str) -> None:
        if self.cancelled.is_set():
            raise _Cancelled("interrupted while an image was built")
        if line.startswith("Step "):
            self.progress.note(f"  {line}")

    def _prove_start(self, cell: Cell) -> None:
        with cell.madre() as madre:
            proof = madre.solo_madre(dry_run=True)
        self.chain.append(CONDUCTOR, "solo_madre_before", cell.name, {"proof": _plain(proof)})
        if not proof["solo_madre"]:
            runs = [item["what"] for item in (*proof["running"], *proof["foreign"])]
            raise EnvironmentProblem(
                f"the cell is not in SOLO_MADRE, so nothing was started; there runs: {', '.join(runs)}"
            )

    def _case(self, cell: Cell, case: Case) -> None:
        missing = [name for name in case.requires if name not in cell.engine.capabilities]
        if missing:
            why = f"the engine {cell.engine.name} cannot do {', '.join(missing)} here"
            self._verdict(CaseResult(case.id, Verdict.SKIPPED, why), None)
            return
        if not cell.is_alive():
            cell.stop()
            cell.start()
        self.progress.started(case)
        self.chain.append(CONDUCTOR, "case_started", case.id, {"playbook": case.playbook.name})
        attempt = self.folder.attempt(case.id, 1)
        begun = time.monotonic()
        result = _CaseRun(self, cell, case, attempt).result()
        self._verdict(replace(result, duration=time.monotonic() - begun), attempt)

    def _verdict(self, result: CaseResult, attempt: Path | None) -> None:
        self.results.append(result)
        if attempt:
            write_json(attempt / "verdict.json", {"schema": 1, **report.as_json(result)})
        seen = {item.name: item.observed for item in result.asserts}
        record = {"verdict": result.verdict.value, "message": result.message, "observed": seen}
        self.chain.append(CONDUCTOR, "verdict", result.case, record)
        self.progress.finished(result)

    def _abort_rest(self, why: str) -> None:
        done = {result.case for result in self.results}
        for case in self.plan.cases:
            if case.id not in done:
                self._verdict(CaseResult(case.id, Verdict.ABORTED, why), None)

    def _end(self, cell: Cell) -> None:
        """The cell goes, with everything that carries its mark."""
        cell.stop()
        try:
            self.left = cell.purge()
        except EngineError as error:
            self.left = [str(error)]
        self.chain.append(CONDUCTOR, "cell_ended", cell.name, {"left": list(self.left)})

    def _close_books(self) -> None:
        state = "aborted" if any(item.verdict is Verdict.ABORTED for item in self.results) else "finished"
        counts = report.counts(self.results)
        self.chain.append(CONDUCTOR, "run_finished", self.folder.test_id, {"state": state, "verdicts": counts})
        junit = self.folder.path / "report" / "junit.xml"
        report.write_junit(junit, self.plan.folder.name, self.results)
        if self.options.report:
            shutil.copy(junit, self.options.report / junit.name)
        self.folder.finish()
        records, findings = verify(self.chain.path)
        if findings:
            self.left = [
                *self.left,
                f"evidence that does not verify: record {findings[0].record} {findings[0].message}",
            ]
        self.folder.index(state=state, verdicts=counts, records=records, head=self.chain.head)


class _CaseRun:
    """One try of one case."""

    def __init__(self, whole: _Run, cell: Cell, case: Case, attempt: Path) -> None:
        self.whole = whole
        self.cell = cell
        self.case = case
        self.attempt = attempt

    def result(self) -> CaseResult:
        """Plays, judges what was recorded, cleans up outside the playbook, judges what the clean-up shows."""
        before = self.cell.residue()
        shutil.copyfile(self.case.playbook, self.attempt / "playbook.yml")
        played = self._play()
        seen = observations.read(self.attempt)
        own, base = self._split_asserts()
        judged = judge.judge(own, seen.observations)
        self._record_judged("judged_recorded", judged)
        clean = self._clean_up(before, played.leftovers)
        judged += (after := judge.judge(base, clean))
        self._record_judged("judged_clean_up", after)
        verdict, message = judge.verdict(judged, played.failure or seen.failure())
        if played.aborted:
            verdict, message = Verdict.ABORTED, "interrupted"
        missing = () if played.aborted else tuple(name for name in self.case.metrics if name not in seen.metrics)
        return CaseResult(
            self.case.id, verdict, message, asserts=tuple(judged), metrics=seen.metrics, missing_metrics=missing
        )

    def _play(self) -> play.Played:
        scratch = self.cell.folder / "case"
        scratch.mkdir(mode=0o700)
        environment = {
            "VX11_URL": self.cell.url,
            "VX11_TOKEN": self.cell.token,
            "VX11_CASE_DIR": str(self.attempt),
            "VX11_MATRIX_DIR": str(self.whole.plan.folder),
        }
        what = play.Play(
            playbook=self.case.playbook,
            url=self.cell.url,
            collections=self.whole.found.search_path(scratch / "collections"),
            scratch=scratch,
            environment=environment,
            keep=self.attempt / "runner",
            timeout=self.case.timeout,
        )
        try:
            return play.play(what, lambda task: self.whole.progress.at(self.case, task), self.whole.cancelled)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _split_asserts(self) -> tuple[dict[str, Expected], dict[str, Expected]]:
        own = {name: want for name, want in self.case.asserts.items() if name not in matrix.BASE_ASSERTS}
        base = {name: want for name, want in self.case.asserts.items() if name in matrix.BASE_ASSERTS}
        return own, base

    def _record_judged(self, action: str, judged: Sequence[Judged]) -> None:
        data = {item.name: {"holds": item.holds, "observed": item.observed, "why": item.why} for item in judged}
        self.whole.chain.append(CONDUCTOR, action, self.case.id, data)

    def _clean_up(self, before: set[str], leftovers: int) -> dict[str, Observed]:
        """Back to SOLO_MADRE whatever happened; answers the observations of the base asserts."""
        self.whole.progress.at(self.case, "returns to SOLO_MADRE")
        answers = self._entry_answers()
        solo = self._return_to_solo_madre()
        if not solo:
            self.cell.engine.purge(self.cell.name)
            self.cell.engine.setup()
        self.cell.engine.remove_volumes(self.cell.name)
        leaked = sorted(self.cell.residue() - before)
        if leftovers:
            leaked.append(f"{leftovers} processes of the playbook")
        data = {"solo_madre": solo, "entry_answers": answers, "leaked": leaked}
        self.whole.chain.append(CONDUCTOR, "cleaned_up", self.case.id, data)
        return {
            "system_returns_to_solo_madre": Observed(solo, None, CONDUCTOR),
            "tentaculo_link_available": Observed(answers, None, CONDUCTOR),
            "no_resource_leaks": Observed(not leaked, None, CONDUCTOR),
        }

    def _entry_answers(self) -> bool:
        with self.cell.madre() as madre:
            return madre.is_alive()

    def _return_to_solo_madre(self) -> bool:
        """madre's word, and the engine's own inventory."""
        try:
            with self.cell.madre() as madre:
                said = bool(madre.solo_madre()["solo_madre"])
        except Vx11Error as error:
            self.whole.chain.append(CONDUCTOR, "solo_madre_failed", self.case.id, {"why": str(error)})
            return False
        return said and not any(found.alive for found in self.cell.engine.inventory(self.cell.name))


def _plain(proof: dict[str, object]) -> dict[str, object]:
    """The proof without what is no business of evidence: usage figures are floats of varying length."""
    return {name: proof[name] for name in ("solo_madre", "checked_at", "core", "running", "foreign")}


@contextlib.contextmanager
def _cancelled_by_signals(progress: Progress) -> Iterator[threading.Event]:
    """What ends a program ends the case that runs, then the run cleans up; they never end the clean-up."""
    cancelled = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if not cancelled.is_set():
            progress.note("interrupted: ending the case and cleaning up")
        cancelled.set()

    before = [(number, signal.signal(number, handle)) for number in ENDING]
    try:
        yield cancelled
    finally:
        for number, old in before:
            signal.signal(number, old)
