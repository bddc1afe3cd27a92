"""One try of one case: plays, measures, judges, cleans up whatever happened, judges what only that shows."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from vx11.catalogue.profiles import Profile
from vx11.conductor import intents, judge, measures, observations, play, seen
from vx11.conductor.cell import PART_OF
from vx11.conductor.intents import Judgement, Tried
from vx11.conductor.judge import CaseResult, Judged, Verdict
from vx11.conductor.last_state import last_state
from vx11.conductor.matrix import Case, Matrix
from vx11.conductor.observations import Observations
from vx11.conductor.place import Place
from vx11.conductor.seen import Cleaned, Json, Seen
from vx11.conductor.watcher import Watcher
from vx11.errors import Vx11Error
from vx11.evidence.chain import Chain

CONDUCTOR = "conductor"
# Seconds for what madre answers at once, unless it hangs: that must not hold up the end of a case for long.
ANSWER = 10.0
# What may change in a bundle while its cases run.
_NOT_BUNDLE = ("__pycache__", ".pytest_cache", ".git")


@dataclass(frozen=True)
class Surroundings:
    """What all tries of a run share.

    Attributes:
        collections: makes a folder for ANSIBLE_COLLECTIONS_PATH below a scratch folder.
        written: folders that the run itself writes, which do not count as parts of the bundle.
        intents: folder of patch intents.
        scale: by how much waits and times to live are longer than the matrix says.
        verdicts: of the cases that have theirs by now.
        redact: takes the secrets that the run knows out of a text.
    """

    test_id: str
    plan: Matrix
    chain: Chain
    collections: Callable[[Path], Path]
    cancelled: threading.Event
    profile_name: str
    profile: Profile
    written: Sequence[Path]
    intents: Path
    scale: float = 1.0
    verdicts: dict[str, CaseResult] = field(default_factory=dict)
    redact: Callable[[str], str] = str


class Attempt:
    """One try.

    Args:
        folder: where its evidence goes.
        number: 1 for the first.
        at: told each step.
    """

    def __init__(
        self, around: Surroundings, place: Place, case: Case, folder: Path, number: int, at: Callable[[str], None]
    ) -> None:
        self._around = around
        self._place = place
        self._case = case
        self._folder = folder
        self._number = number
        self._at = at

    def result(self) -> CaseResult:
        """All of it; raises only what leaves nothing to judge."""
        begun = time.monotonic()
        self._prove_solo_madre()
        residue, records, size = self._place.residue(), len(self._place.records()), self._place.evidence_size()
        known, bundle = self._window_ids(), self._bundle()
        playbook = self._playbook()
        with self._place.madre(ANSWER) as madre, Watcher(madre, self._folder, self._place.interval):
            played = self._play(playbook)
        ended = time.monotonic()
        recorded = observations.read(self._folder)
        before = self._seen(known, records)
        own = {name: want for name, want in self._case.asserts.items() if name not in measures.AFTER}
        observed = dict(recorded.observations) | measures.measure(before, own, measures.RECORDED)
        judged = judge.judge(own, observed)
        self._record("judged_recorded", judged)
        failure = played.failure or recorded.failure(before.calls)
        judgement = Judgement(tuple(judged), judge.verdict(judged, failure)[1], failure)
        is_due = judgement.is_due(before.calls) and not played.aborted
        logs = self._logs(before) if is_due else {}
        cleaned = self._clean_up(residue, played.leftovers, ended)
        if is_due:
            cleaned = self._explained(replace(before, cleaned=cleaned), cleaned, judgement, logs)
        cleaned = replace(cleaned, bundle_unchanged=self._bundle() == bundle, evidence_bytes=self._evidence_bytes(size))
        after = self._seen(known, records, cleaned)
        late = {name: want for name, want in self._case.asserts.items() if name in measures.AFTER}
        judged_late = judge.judge(late, measures.measure(after, late, measures.AFTER))
        self._record("judged_clean_up", judged_late)
        judged += judged_late
        verdict, message = judge.verdict(judged, failure)
        if played.aborted:
            verdict, message = Verdict.ABORTED, "interrupted"
        elif verdict is not Verdict.PASSED and not is_due:
            judgement = Judgement(tuple(judged), message, failure, late=True)
            cleaned = self._explained(after, cleaned, judgement, self._logs(after))
        metrics = self._metrics(recorded, before, after)
        return CaseResult(
            self._case.id,
            verdict,
            message,
            duration=time.monotonic() - begun,
            asserts=tuple(judged),
            metrics=metrics,
            missing_metrics=() if played.aborted else tuple(name for name in self._case.metrics if name not in metrics),
            attempt=self._number,
            intent=str(cleaned.intent) if cleaned.intent else None,
        )

    def _prove_solo_madre(self) -> None:
        """What madre says of it before the case."""
        with self._place.madre() as madre:
            proof = madre.solo_madre(dry_run=True)
        # Usage figures are floats of varying length, and no business of evidence.
        told = {name: proof[name] for name in ("solo_madre", "checked_at", "core", "running", "foreign")}
        self._around.chain.append(CONDUCTOR, "solo_madre_before", self._case.id, {"proof": told})

    def _logs(self, found: Seen) -> dict[str, list[str]]:
        """What the services of the case wrote, by madre's word; kept with the evidence."""
        with self._place.madre(ANSWER) as madre:
            lines = intents.logs(madre, found.windows)
        intents.keep(self._folder, lines)
        return lines

    def _explained(
        self, found: Seen, cleaned: Cleaned, judgement: Judgement, logs: Mapping[str, Sequence[str]]
    ) -> Cleaned:
        """With the patch intent that is written for the failure."""
        around = self._around
        tried = Tried(
            root=around.intents,
            test_id=around.test_id,
            plan=around.plan,
            chain=around.chain,
            case=self._case,
            folder=self._folder,
            number=self._number,
            verdicts=dict(around.verdicts),
            redact=around.redact,
        )
        folder, is_complete = intents.write(tried, found, judgement, logs)
        return replace(cleaned, intent=folder, intent_complete=is_complete)

    def _metrics(self, recorded: Observations, before: Seen, after: Seen) -> dict[str, Any]:
        """Those that the case names, in its order, then what else was recorded."""
        found = measures.measure(after, self._case.metrics, {**measures.RECORDED, **measures.AFTER})
        found = dict(recorded.metrics) | measures.measure(before, self._case.metrics, measures.RECORDED) | found
        named = {name: found[name] for name in self._case.metrics if name in found}
        return named | found

    def _playbook(self) -> Path:
        """As it is played: the case's own, or compiled from its actions; kept with the evidence."""
        kept = self._folder / "playbook.yml"
        scaled = self._around.scale != 1 and self._case.actions.steps
        if self._case.playbook and not scaled:
            shutil.copyfile(self._case.playbook, kept)
            return self._case.playbook
        kept.write_text(self._case.compiled(self._around.scale), encoding="utf-8")
        return kept

    def _play(self, playbook: Path) -> play.Played:
        scratch = self._place.folder / "case"
        scratch.mkdir(mode=0o700)
        try:
            what = play.Play(
                playbook=playbook,
                inventory=self._place.inventory(scratch),
                collections=self._around.collections(scratch / "collections"),
                scratch=scratch,
                environment=self._environment(),
                keep=self._folder / "runner",
                timeout=self._case.timeout,
                last_state=self._last_state,
            )
            return play.play(what, self._place.workers.take(), self._at, self._around.cancelled)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _last_state(self) -> str:
        with self._place.madre() as madre:
            return last_state(madre, self._folder)

    def _environment(self) -> dict[str, str]:
        return {
            PART_OF: self._place.mark,
            "VX11_URL": self._place.url,
            "VX11_TOKEN": self._place.token,
            "VX11_SERVICE_TOKEN": self._place.service_token,
            "VX11_CASE_DIR": str(self._folder),
            "VX11_MATRIX_DIR": str(self._around.plan.folder),
            "VX11_PROFILE": self._around.profile_name,
            "VX11_PACE": f"{self._around.profile.pace:g}",
            "VX11_TIME_SCALE": f"{self._around.scale:g}",
        }

    def _seen(self, known: set[str], records: int, cleaned: Cleaned | None = None) -> Seen:
        case, catalogue = self._case, self._around.plan.catalogue
        checked = {
            name
            for name, service in catalogue.services.items()
            if service.entry.vx11.ready or service.entry.healthcheck
        }
        return Seen(
            calls=seen.calls(self._folder),
            windows=[window for window in self._windows() if window["window_id"] not in known],
            samples=seen.samples(self._folder),
            evidence=self._place.records()[records:],
            residue=sorted(self._place.residue() or ()),
            cycle=_cycle(case, {name: service.entry.depends_on for name, service in catalogue.services.items()}),
            ready_checked=frozenset(checked),
            cleaned=cleaned,
        )

    def _windows(self) -> list[Json]:
        """All that the place has or had, in the order of their opening; none when madre does not answer."""
        try:
            with self._place.madre(ANSWER) as madre:
                status = madre.status(closed=True)
        except Vx11Error:
            return []
        return sorted([*status["windows"], *status["closed"]], key=lambda window: str(window["opened_at"]))

    def _window_ids(self) -> set[str]:
        return {str(window["window_id"]) for window in self._windows()}

    def _record(self, action: str, judged: Sequence[Judged]) -> None:
        data = {item.name: {"holds": item.holds, "observed": item.observed, "why": item.why} for item in judged}
        self._around.chain.append(CONDUCTOR, action, self._case.id, data)

    def _clean_up(self, before: set[str] | None, leftovers: int, ended: float) -> Cleaned:
        """Back to SOLO_MADRE whatever happened.

        Args:
            before: what carried the cell's mark, or ran on the host, before the case.
            leftovers: how many processes the playbook left.
            ended: when the playbook was over, monotonic.
        """
        self._at("returns to SOLO_MADRE")
        with self._place.madre() as madre:
            answers = madre.is_alive()
        why = self._place.return_to_solo_madre() if answers else "madre does not answer"
        recovery_ms = 1000 * (time.monotonic() - ended)
        if why:
            self._around.chain.append(CONDUCTOR, "solo_madre_failed", self._case.id, {"why": why})
            self._place.restore()
        self._place.remove_data()
        after = self._place.residue()
        leaked = None if before is None or after is None else sorted(after - before)
        if leftovers:
            leaked = [*(leaked or ()), f"{leftovers} processes of the playbook"]
        data = {"solo_madre": not why, "entry_answers": answers, "leaked": leaked}
        self._around.chain.append(CONDUCTOR, "cleaned_up", self._case.id, data)
        return Cleaned(solo_madre=not why, entry_answers=answers, leaked=leaked, recovery_ms=recovery_ms)

    def _evidence_bytes(self, before: int | None) -> int | None:
        own = sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())
        now = self._place.evidence_size()
        return None if now is None or before is None else own + now - before

    def _bundle(self) -> dict[str, tuple[int, int, int]]:
        """Each file of the bundle, and the playbook, with what tells that it was changed."""
        files = [*_files(self._around.plan.folder, self._around.written)]
        if self._case.playbook:
            files.append(self._case.playbook)
        status = {str(path): found for path in files if (found := _status(path))}
        return {path: (found.st_ino, found.st_size, found.st_mtime_ns) for path, found in status.items()}


def _status(path: Path) -> os.stat_result | None:
    """None of what has gone since it was listed, as an editor's files do: that must not end a run."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _files(folder: Path, written: Sequence[Path]) -> Iterator[Path]:
    for at, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _NOT_BUNDLE and Path(at, name) not in written]
        paths = [Path(at, name) for name in names if name not in _NOT_BUNDLE]
        yield from (path for path in paths if path.is_file() and not path.is_symlink())


def _cycle(case: Case, catalogue: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Services of a case that need one another in a circle; empty without."""
    needs = {name: {*needed, *case.dependencies.get(name, ())} for name, needed in catalogue.items()}
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        return tuple(error.args[1])
    return ()
