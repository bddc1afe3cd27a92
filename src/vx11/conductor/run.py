"""Runs a matrix, from the proof of SOLO_MADRE before to the proof that nothing is left after.

Cases wait more than they work, so they run side by side, each in a place that has no other case at the same time: a
cell, or a host of an inventory.
"""

import contextlib
import os
import secrets
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from vx11 import __version__
from vx11.catalogue import profiles
from vx11.catalogue.compose import Service
from vx11.conductor import collection, confidential, crashed, inventory, matrix, report
from vx11.conductor.attempt import CONDUCTOR, Attempt, Surroundings
from vx11.conductor.cell import Cell
from vx11.conductor.conducted import Conducted, Visit
from vx11.conductor.host import Host, expect_able
from vx11.conductor.images import Cancelled
from vx11.conductor.inventory import InventoryHost
from vx11.conductor.judge import CaseResult, Verdict
from vx11.conductor.matrix import Case
from vx11.conductor.place import Place
from vx11.conductor.progress import Progress, Unfailing
from vx11.engines.select import EngineName
from vx11.errors import InputError, Vx11Error
from vx11.evidence import audit
from vx11.evidence.audit import Trust
from vx11.evidence.keys import Signer
from vx11.evidence.layout import CONDUCTOR as NOTE
from vx11.evidence.layout import RunFolder, digest
from vx11.evidence.redact import Redactor
from vx11.statefiles import write_json

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What cells are planned by, in seconds: what a case takes beyond its waits, how long it keeps a core busy, and what the
# start of a cell does.
CASE_WORK, CASE_BUSY, CELL_BUSY = 6.0, 3.0, 1.5
INTENTS = "patch_intents"
CELL_MEMORY = 256 * 1024 * 1024
MAX_CELLS = 16


@dataclass(frozen=True)
class Options:
    """How to run.

    Attributes:
        cases: ids to run; none for all.
        tags: run those that have one of them, too.
        evidence: the evidence root.
        intents: the folder of patch intents; None for `patch_intents` beside the evidence root.
        report: a further folder for reports, if they are wanted outside the evidence too.
        cells: how many cases run side by side; None for as many as shorten the run and fit into memory.
        profile: throttle profile of the bundle.
        time_scale: by how much waits and times to live are longer than the matrix says.
        test_id: the id of the run; None to make one up.
        inventory: the hosts that cases run on; None to run them in cells.
        limit: a pattern that chooses among those hosts.
    """

    matrix: Path
    cases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    engine: EngineName = "process"
    evidence: Path = Path("evidence")
    intents: Path | None = None
    report: Path | None = None
    cells: int | None = None
    profile: str = profiles.DEFAULT
    time_scale: float = 1.0
    test_id: str | None = None
    inventory: Path | None = None
    limit: str | None = None


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    Attributes:
        left: what could not be removed at the end, empty when nothing is left.
        interrupted: somebody stopped it.
        problem: why this machine could not run it to its end, empty when it could.
    """

    test_id: str
    folder: Path
    results: Sequence[CaseResult]
    left: Sequence[str]
    interrupted: bool
    time_scale: float = 1.0
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain data, for whoever reads it with a program."""
        return {
            "test_id": self.test_id,
            "evidence": str(self.folder),
            "passed": self.passed,
            "interrupted": self.interrupted,
            "time_scale": self.time_scale,
            "left": list(self.left),
            "problem": self.problem or None,
            "cases": [report.as_json(result) for result in self.results],
        }

    @property
    def passed(self) -> bool:
        """Every case passed or was skipped for a reason, and nothing is left."""
        good = all(item.verdict in (Verdict.PASSED, Verdict.SKIPPED) for item in self.results)
        return good and not self.left and not self.problem


def run(options: Options, progress: Progress) -> RunResult:
    """Runs the cases of a matrix, after what conductors that died have left in the same evidence root.

    Raises:
        InputError: matrix, catalogue, allowlist, profile or inventory is wrong; nothing was started.
        EvidenceError: there can be no evidence; nothing was started.
    """
    parts = collection.find(options.matrix)
    plan = matrix.load(options.matrix, parts).chosen(options.cases, options.tags)
    profile = profiles.named(plan.folder / profiles.FILE, options.profile)
    if options.report:
        try:
            options.report.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError.of(f"reports cannot be put there: {error.strerror}", options.report) from error
    hosts = _hosts(options, parts)
    signer = Signer.of()
    tokens = [token for host in hosts for token in (host.token, host.service_token)]
    redactor = Redactor([*confidential.values(plan.catalogue), *tokens])
    test_id = options.test_id or f"e2e-{secrets.token_hex(4)}"
    intents = (options.intents or options.evidence.resolve().parent / INTENTS).resolve()
    root, progress = options.evidence.resolve(), Unfailing(progress)
    with _cancelled_by_signals(progress) as cancelled:
        for found in crashed.recover(root):
            progress.note(str(found))
        folder = RunFolder(root, test_id, time.time_ns(), signer, redactor)
        around = Surroundings(
            test_id=test_id,
            plan=plan,
            chain=folder.chain,
            collections=parts.search_path,
            cancelled=cancelled,
            profile_name=options.profile,
            profile=profile,
            written=[folder.root, intents, *([options.report.resolve()] if options.report else [])],
            intents=intents,
            scale=options.time_scale,
            redact=redactor.text,
        )
        return _Run(options, around, folder, signer, redactor, progress, hosts).all()


def _hosts(options: Options, parts: collection.Collection) -> list[InventoryHost]:
    if options.inventory is None:
        return []
    return inventory.read(options.inventory, options.limit, parts, os.environ.get("VX11_TOKEN", ""))


def cells_for(cases: Sequence[Case], scale: float = 1.0, memory: int | None = None) -> int:
    """The fewest cells that make the run about as short as it can be.

    More of them let more cases wait at the same time, until the longest case alone, or the work of all, takes longer.

    Args:
        memory: bytes that may be used; by default half of what this machine has available.
    """
    times = [case.waits() * scale + CASE_WORK for case in cases if not case.exclusive] or [0.0]
    room = (psutil.virtual_memory().available // 2 if memory is None else memory) // CELL_MEMORY
    cores = os.cpu_count() or 1

    def estimate(cells: int) -> float:
        busy = (len(times) * CASE_BUSY + cells * CELL_BUSY) / cores
        return max(*times, sum(times) / cells, busy) + cells * CELL_BUSY / cores

    return min(range(1, max(1, min(room, len(times), MAX_CELLS)) + 1), key=estimate)


def cell_count(cases: Sequence[Case], options: Options) -> int:
    """The cells of a run: as many as are asked for, if there are cases that share them."""
    sharing = sum(not case.exclusive for case in cases)
    return min(options.cells or cells_for(cases, options.time_scale), max(1, sharing))


class _Queue:
    """The cases still to be done, the longest first, so that the last to end is not the last to begin."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self._cases = sorted(cases, key=lambda case: (-case.priority, -case.waits()))
        self._lock = threading.Lock()

    def next(self, place: Place) -> Case | None:
        """The next one that a place can run, None when there is none."""
        with self._lock:
            found = next((case for case in self._cases if not place.lacks(case)), None)
            if found:
                self._cases.remove(found)
            return found

    def has(self, place: Place) -> bool:
        """Whether there is one that a place can run."""
        with self._lock:
            return any(not place.lacks(case) for case in self._cases)


class _Run:
    def __init__(
        self,
        options: Options,
        around: Surroundings,
        folder: RunFolder,
        signer: Signer,
        redactor: Redactor,
        progress: Progress,
        hosts: Sequence[InventoryHost],
    ) -> None:
        self.options = options
        self._signer = signer
        self._redactor = redactor
        self.around = around
        self.plan = around.plan
        self.folder = folder
        self.progress = progress
        self.chain = folder.chain
        self.results = around.verdicts
        self.left: list[str] = []
        self.problem = ""
        self._hosts = hosts
        self._lost: dict[str, str] = {}
        self._giving_up = threading.Event()
        number = len(hosts) or cell_count(self.plan.cases, options)
        marks = [f"{folder.test_id}-{index + 1}" for index in range(number)] if number > 1 else [folder.test_id]
        cases = [case.id for case in self.plan.cases]
        engine: EngineName = "auto" if hosts else options.engine
        self._conducted = Conducted.by_this_process(folder.test_id, cases, marks, engine)

    def all(self) -> RunResult:
        """The whole run; its books are closed whatever happens."""
        about = {
            "matrix": str(self.plan.path),
            "cases": [case.id for case in self.plan.cases],
            "version": __version__,
            "profile": self.options.profile,
            "time_scale": str(self.options.time_scale),
            **({"hosts": [host.name for host in self._hosts]} if self._hosts else {}),
        }
        descriptions = {case.id: case.description for case in self.plan.cases}
        try:
            with self._giving_up_on_problems():
                self._conducted.write(self.folder.path)
                self.folder.index(state="running", conductor=os.getpid(), **about)
                self.folder.begin()
                mark = confidential.mark(confidential.values(self.plan.catalogue), self._signer)
                told = {
                    "matrix_sha256": digest(self.plan.path),
                    confidential.MARK: mark,
                    "descriptions": descriptions,
                }
                self.chain.append(CONDUCTOR, "run_started", self.folder.test_id, about | told)
                self._in_places()
        except BaseException as error:
            self._give_up(repr(error))
            raise
        finally:
            self._abort_rest(self.problem or "the run was interrupted before this case")
            self._close_books()
        return RunResult(
            self.folder.test_id,
            self.folder.path,
            self._in_order(),
            self.left,
            self.around.cancelled.is_set(),
            self.options.time_scale,
            self.problem,
        )

    @contextlib.contextmanager
    def _giving_up_on_problems(self) -> Iterator[None]:
        """What this machine cannot do ends the run, in order."""
        try:
            yield
        except (Vx11Error, OSError) as error:
            self._give_up(_sentence(error))

    def _give_up(self, why: str) -> None:
        """No further case begins; the first reason is the one that is told."""
        self.problem = self.problem or why
        self._giving_up.set()

    def _record(self, action: str, subject: str, data: dict[str, Any]) -> None:
        with self._giving_up_on_problems():
            self.chain.append(CONDUCTOR, action, subject, data)

    def _in_order(self) -> list[CaseResult]:
        return [self.results[case.id] for case in self.plan.cases if case.id in self.results]

    def _in_places(self) -> None:
        places: list[Place] = []
        try:
            if self._hosts:
                self._visit(places)
            else:
                self._make_cells(places)
            self._introduce(places)
            with contextlib.suppress(Cancelled):  # every case gets its verdict
                self._work(places)
        finally:
            with ThreadPoolExecutor(len(places) or 1) as pool:
                list(pool.map(self._end, places))

    def _make_cells(self, places: list[Place]) -> None:
        root = self.folder.path / "cells"
        for name in self._conducted.cells:
            cell = Cell(name, self.plan.folder, self.options.engine, root, self.options.profile, self._redactor)
            places.append(cell)
        self._conducted.on(cell.engine.name).write(self.folder.path)

    def _visit(self, places: list[Place]) -> None:
        """Asks all hosts before anything is done on one of them.

        Raises:
            EnvironmentProblem: some cannot run the cases; has all that is wrong with all of them.
        """
        assert self.options.inventory
        path = self.options.inventory.resolve()
        known = zip(self._hosts, self._conducted.cells, strict=True)
        hosts = [Host(found, path, mark, self.plan) for found, mark in known]
        places += hosts
        expect_able(hosts)
        visit = Visit(str(path), self.options.limit, [host.guest() for host in hosts])
        replace(self._conducted, visit=visit).write(self.folder.path)
        for host in hosts:
            self.chain.append(CONDUCTOR, "host_asked", host.name, host.facts())

    def _introduce(self, places: Sequence[Place]) -> None:
        self.progress.planned(self.plan.cases, self.options.time_scale)
        for place in places if self._hosts else places[:1]:  # cells are all alike
            for line in place.about():
                self.progress.note(line)
        if len(places) > 1:
            self.progress.note(f"{len(places)} {places[0].kind}s side by side")
        if self.options.time_scale != 1:
            self.progress.note(
                f"waits and times to live are {self.options.time_scale:g} times as long as they should be"
            )

    def _work(self, places: Sequence[Place]) -> None:
        """All places at once, then what needs the machine for itself in one of them."""
        able = [case for case in self.plan.cases if not self._skips(places, case)]
        if not able:
            return
        together = _Queue([case for case in able if not case.exclusive])
        alone = _Queue([case for case in able if case.exclusive])
        prepared = threading.Event()
        with ThreadPoolExecutor(len(places), thread_name_prefix="place") as pool:
            working = [pool.submit(self._use, place, together, prepared) for place in places]
            try:
                places[0].prepare(self._services(), self.progress.note, self.around.cancelled)
                prepared.set()
                _raise_first(working)
            except BaseException:
                self._giving_up.set()
                raise
            finally:
                prepared.set()
        for place in places:
            self._cases(place, alone)
        self._expect_all_done(places, able)

    def _services(self) -> list[Service]:
        """Those that cases need and may open."""
        needed = {name for case in self.plan.cases for name in case.services} & set(self.plan.allowlist.digests)
        return [self.plan.catalogue.services[name] for name in sorted(needed)]

    def _use(self, place: Place, queue: _Queue, prepared: threading.Event) -> None:
        place.workers.prepare()
        place.begin()
        prepared.wait()
        self._cases(place, queue)

    def _is_ending(self) -> bool:
        return self.around.cancelled.is_set() or self._giving_up.is_set()

    def _cases(self, place: Place, queue: _Queue) -> None:
        while not self._is_ending() and self._is_usable(place):
            case = queue.next(place)
            if case is None:
                break
            place.workers.go_on = queue.has(place)
            self._case(place, case)

    def _is_usable(self, place: Place) -> bool:
        why = place.unusable()
        if why and place.name not in self._lost:
            self._lost[place.name] = why
            self.progress.note(f"no further case runs there: {why}")
            self._record(f"{place.kind}_lost", place.name, {"why": why})
        return not why

    def _expect_all_done(self, places: Sequence[Place], able: Sequence[Case]) -> None:
        """A run in which cases are left because there is no place for them any more has a problem."""
        if not self._is_ending() and any(case.id not in self.results for case in able):
            self._give_up(f"no {places[0].kind} is left that can run the rest: {'; '.join(self._lost.values())}")

    def _skips(self, places: Sequence[Place], case: Case) -> bool:
        """Whether no place can do what a case needs; then it has its verdict."""
        whys = {place.name: place.lacks(case) for place in places}
        if not all(whys.values()):
            return False
        alike = set(whys.values())
        why = alike.pop() if len(alike) == 1 else "; ".join(f"{name}: {why}" for name, why in whys.items())
        self._verdict(CaseResult(case.id, Verdict.SKIPPED, why))
        return True

    def _case(self, place: Place, case: Case) -> None:
        """One case, which has a verdict whatever happens."""
        self.progress.started(case)
        try:
            result = self._tries(place, case)
        except (Vx11Error, OSError) as error:
            result = self._ended_by(place, case, _sentence(error))
        except Exception as error:  # noqa: BLE001 - a mistake in the conductor takes one case, not the run
            result = self._broken_off(case, error)
            with self._giving_up_on_problems():
                place.end_all()
        self._verdict(result)

    def _ended_by(self, place: Place, case: Case, why: str) -> CaseResult:
        """What becomes of a case that could not go on: a host that is gone takes it alone, all else ends the run."""
        if lost := place.unusable():
            return CaseResult(case.id, Verdict.FAILED, lost, host=_host(place))
        self._give_up(why)
        return CaseResult(case.id, Verdict.ABORTED, why, host=_host(place))

    def _broken_off(self, case: Case, error: Exception) -> CaseResult:
        kept = self.folder.path / "cases" / case.id / "traceback.txt"
        with self._giving_up_on_problems():
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(self._redactor.text("".join(traceback.format_exception(error))), encoding="utf-8")
        return CaseResult(case.id, Verdict.ABORTED, f"the conductor failed: {error!r}; see {kept}")

    def _tries(self, place: Place, case: Case) -> CaseResult:
        """Tries a case until it passes or its retries are used up; one that passed later is flaky."""
        earlier: list[CaseResult] = []
        while True:
            result = self._attempt(place, case, len(earlier) + 1)
            passed = result.verdict is Verdict.PASSED
            if passed or result.verdict is Verdict.ABORTED or len(earlier) == case.retries or place.unusable():
                break
            earlier.append(result)
            self.progress.note(f"{case.id} {result.verdict}, and is tried again: {result.message}")
        if passed and earlier:
            message = f"passed at try {result.attempt}; before: {earlier[-1].message}"
            result = replace(result, verdict=Verdict.FLAKY, message=message)
        return replace(result, earlier=tuple(earlier))

    def _attempt(self, place: Place, case: Case, number: int) -> CaseResult:
        place.ready_for(case)
        self.chain.append(CONDUCTOR, "case_started", case.id, {"attempt": number, place.kind: place.name})
        at = partial(self.progress.at, case)
        with self.folder.attempt(case.id, number, place.folder) as folder:
            result = replace(Attempt(self.around, place, case, folder, number, at).result(), host=_host(place))
            if result.message and (lost := place.unusable()):
                result = replace(result, message=f"{lost}; {result.message}")
            write_json(folder / "verdict.json", {"schema": 1, **report.as_json(result)})
        return result

    def _verdict(self, result: CaseResult) -> None:
        self.results[result.case] = result
        seen = {item.name: item.observed for item in result.asserts}
        record = {
            "verdict": result.verdict.value,
            "message": result.message,
            "observed": seen,
            "attempts": len(result.earlier) + 1,
        }
        self._record("verdict", result.case, record)
        self.progress.finished(result)

    def _abort_rest(self, why: str) -> None:
        for case in self.plan.cases:
            if case.id not in self.results:
                self._verdict(CaseResult(case.id, Verdict.ABORTED, why))

    def _end(self, place: Place) -> None:
        """Nothing of the run stays there."""
        try:
            left = place.end()
        except (Vx11Error, OSError) as error:
            left = [_sentence(error)]
        self.left += left
        self._record(f"{place.kind}_ended", place.name, {"left": list(left)})

    def _close_books(self) -> None:
        results = self._in_order()
        state = "aborted" if any(item.verdict is Verdict.ABORTED for item in results) else "finished"
        counts = report.counts(results)
        if self.problem:
            self._record("run_failed", self.folder.test_id, {"why": self.problem})
        self._record("run_finished", self.folder.test_id, {"state": state, "verdicts": counts})
        with self._giving_up_on_problems():
            self._report()
        with self._giving_up_on_problems():
            self.folder.finish()
            checked = audit.check(self.folder.path, Trust.by(self._signer))
            self.left += [f"evidence that does not verify: {finding}" for finding in checked.findings]
            self.folder.index(state=state, verdicts=counts, records=self.chain.count, head=self.chain.head)
            (self.folder.path / NOTE).unlink()

    def _report(self) -> None:
        record = report.read(self.folder.path)
        for folder in (self.folder.path / "report", self.options.report):
            if folder:
                report.write(record, folder)


def _raise_first(working: Sequence[Future[None]]) -> None:
    """Waits for all; as soon as one has failed, its error."""
    done, _ = wait(working, return_when=FIRST_EXCEPTION)
    for future in done:
        future.result()


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'the system'}: {error.strerror or error}"
    return str(error)


def _host(place: Place) -> str | None:
    return place.name if place.kind == "host" else None


@contextlib.contextmanager
def _cancelled_by_signals(progress: Progress) -> Iterator[threading.Event]:
    """What ends a program ends the case that runs, then the run cleans up; they never end the clean-up."""
    cancelled = threading.Event()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def obey() -> None:
        # Whichever thread gets a signal writes it here at once; a handler would have to wait for the main thread.
        while numbers := os.read(reading, 64):
            for _ in set(numbers) & set(ENDING):
                if cancelled.is_set():
                    progress.note("the clean-up is under way already; nothing would be gained by breaking it off")
                    continue
                cancelled.set()
                progress.note("interrupted: ending the case and cleaning up")

    obeying = threading.Thread(target=obey, name="signals", daemon=True)
    obeying.start()
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    before = [(number, signal.signal(number, _do_nothing)) for number in ENDING]
    try:
        yield cancelled
    finally:
        for number, old in before:
            signal.signal(number, old)
        signal.set_wakeup_fd(wakeup)
        os.close(writing)
        obeying.join()
        os.close(reading)


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """What has no handler ends the program."""
