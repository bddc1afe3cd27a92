"""An audit: the gates or a baseline, looked at and kept in a folder that is evidence as that of a run is."""

import contextlib
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from vx11 import __version__
from vx11.evidence.appending import EvidenceError
from vx11.evidence.keys import Signer
from vx11.evidence.layout import REPORT, RunFolder, digest
from vx11.evidence.redact import Redactor
from vx11.release import baseline, contract, deliverables, gates, scorecard
from vx11.release.baseline import Baseline
from vx11.release.config import Release
from vx11.release.deliverables import Closed
from vx11.release.gates import GATES, Gate
from vx11.release.p0 import running as p0
from vx11.release.verdicts import Check, Outcome, Result
from vx11.statefiles import write_json

ACTOR = "closing"
# As the evidence of runs has it, so that whatever reads runs reads audits.
VERDICTS = {Outcome.PASSED: "passed", Outcome.FAILED: "failed", Outcome.NOT_APPLICABLE: "skipped"}


class Audit:
    """The folder of one audit, `<UTC time>-<kind>-<eight characters>`.

    Args:
        root: the folder of audits.
        kind: `baseline` or `gates`.
        cases: what gets a verdict in it.
        token: is kept out of all that is written.

    Raises:
        EvidenceError: it cannot be written.
    """

    def __init__(self, root: Path, kind: str, cases: Sequence[str], token: str) -> None:
        self._redactor = Redactor([token])
        self._cases = cases
        self._verdicts: dict[str, str] = {}
        try:
            self._folder = RunFolder(
                root, f"{kind}-{secrets.token_hex(4)}", time.time_ns(), Signer.of(), self._redactor
            )
        except EvidenceError as error:
            why = error.__cause__.strerror if isinstance(error.__cause__, OSError) else error
            raise EvidenceError(
                f"an audit cannot be written to {root}: {why}; name another folder with --audit"
            ) from error

    @property
    def path(self) -> Path:
        """The folder."""
        return self._folder.path

    @contextlib.contextmanager
    def open(self, url: str) -> Iterator["Audit"]:
        """Begins it, and closes its books whatever happens."""
        self._folder.begin()
        self._folder.index(state="running", conductor=os.getpid(), cases=list(self._cases))
        about = {"url": url, "version": __version__, "cases": list(self._cases)}
        self._record("run_started", self._folder.test_id, about)
        state = "aborted"
        try:
            yield self
            state = "finished"
        finally:
            counts = dict(Counter(self._verdicts.values()))
            self._record("run_finished", self._folder.test_id, {"state": state, "verdicts": counts})
            self._folder.finish()
            chain = self._folder.chain
            self._folder.index(state=state, verdicts=counts, records=chain.count, head=chain.head)

    def keep(self, name: str, about: dict[str, Any]) -> None:
        """Writes a file, and its digest into the chain."""
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        write_json(path, self._redactor.value(about))
        self._record("kept", name, {"sha256": digest(path)})

    def verdict(self, case: str, verdict: str, message: str) -> None:
        """Writes what a gate came to."""
        self._verdicts[case] = verdict
        self._record("verdict", case, {"verdict": verdict, "message": message, "attempts": 1})

    def _record(self, action: str, subject: str, data: dict[str, Any]) -> None:
        self._folder.chain.append(ACTOR, action, subject, data)


def freeze(root: Path, release: Release, token: str) -> tuple[Path, Baseline]:
    """Takes a baseline; answers the folder that has it, and what was found.

    Raises:
        InputError, EvidenceError, OSError.
    """
    with Audit(root, "baseline", (), token).open(release.url) as audit:
        found = baseline.take(release)
        audit.keep("baseline.json", found.to_json())
    return audit.path, found


def look(
    root: Path, release: Release, token: str, chosen: Sequence[Gate], tell: Callable[[Result], None]
) -> tuple[Path, list[Result], Closed | None]:
    """Looks at gates, one after the other. All eight of them close a release: then there are deliverables, too.

    Args:
        tell: is told of each gate as soon as it has its outcome.

    Returns:
        The folder, what each gate came to, and the closing if all of them were looked at.

    Raises:
        InputError, EvidenceError, OSError.
    """
    results: list[Result] = []
    probes = [release.madre.is_alive()]
    with Audit(root, "gates", [_case(gate) for gate in chosen], token).open(release.url) as audit:
        found = baseline.take(release)
        audit.keep("baseline.json", found.to_json())
        for gate in chosen:
            result = gates.run(gate, release)
            probes.append(release.madre.is_alive())
            audit.keep(f"gates/{gate.number}.json", result.to_json())
            audit.verdict(_case(gate), VERDICTS[result.outcome], result.reason)
            results.append(result)
            tell(result)
        closed = _close(audit, release, found, results, probes, token) if len(chosen) == len(GATES) else None
    return audit.path, results, closed


def _case(gate: Gate) -> str:
    return f"gate-{gate.number}"


def _close(
    audit: Audit, release: Release, found: Baseline, results: Sequence[Result], probes: Sequence[bool], token: str
) -> Closed:
    tried: list[Check] = p0.run(release.url, token)
    by_number = {result.number: result for result in results}
    contracted = contract.lines(found.running, by_number)
    scores = scorecard.scores(by_number, tried, probes, contracted)
    closed = Closed(found, results, tried, contracted, scores)
    deliverables.write(audit.path / REPORT, closed)
    return closed
