"""Gathers what is known of a case that failed, and has a patch intent written."""

import hashlib
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from textwrap import shorten

from junitparser import Error, JUnitXml, JUnitXmlError, TestCase, TestSuite
from junitparser import Failure as Failed

from vx11 import __version__
from vx11.catalogue.compose import Catalogue
from vx11.client import Madre
from vx11.conductor import history
from vx11.conductor.judge import CaseResult, Judged
from vx11.conductor.matrix import Case, Matrix
from vx11.conductor.seen import STEPS, Call, Cleaned, Json, Seen, requests
from vx11.errors import Vx11Error
from vx11.evidence.appending import EvidenceError
from vx11.evidence.chain import Chain
from vx11.evidence.reading import INTENT
from vx11.recovery import intent
from vx11.recovery.failure import (
    Assert,
    CleanUp,
    FailedTest,
    Failure,
    OtherCase,
    Request,
    Revision,
    Service,
)
from vx11.recovery.failure import Call as FailedCall
from vx11.recovery.text import safe

LOG_LINES = 200
LOGS = "logs"
GIT_TIMEOUT = 5.0
MESSAGE_LENGTH = 300


@dataclass(frozen=True)
class Tried:
    """The try of a case that an intent may be written for.

    Attributes:
        root: folder of intents.
        folder: of its evidence.
        number: 1 for the first.
        verdicts: the cases of the run that have theirs.
        redact: takes the secrets that the run knows out of a text.
    """

    root: Path
    test_id: str
    plan: Matrix
    chain: Chain
    case: Case
    folder: Path
    number: int
    verdicts: Mapping[str, CaseResult]
    redact: Callable[[str], str] = str


@dataclass(frozen=True)
class Judgement:
    """How it was judged.

    Attributes:
        play_failure: why the playbook or a suite failed, empty when none did.
        late: whether only the clean-up showed that it failed.
        at_ns: when, wall time since the epoch.
    """

    judged: Sequence[Judged]
    message: str
    play_failure: str
    late: bool = False
    at_ns: int = field(default_factory=time.time_ns)

    def is_due(self, calls: Sequence[Call]) -> bool:
        """Whether there has to be an intent: something failed, or a suite did that was meant to."""
        return bool(self.play_failure or was_expected(calls) or not all(item.holds for item in self.judged))


def was_expected(calls: Sequence[Call]) -> bool:
    """Whether a suite failed as it was meant to."""
    return any(call.module == "vx11_suite" and call.result.get("expected_failure") for call in calls)


def logs(madre: Madre, windows: Sequence[Json]) -> dict[str, list[str]]:
    """The last lines of each service that had a window; of those that madre can tell."""
    found: dict[str, list[str]] = {}
    for window in windows:
        parameters = {"window": window["window_id"], "tail": LOG_LINES}
        try:
            lines = madre.call("GET", "/api/v1/windows/logs", params=parameters)["lines"]
        except Vx11Error as error:
            lines = [f"unknown: {error}"]
        found.setdefault(str(window["service"]), []).extend(map(str, lines))
    return found


def keep(folder: Path, lines: Mapping[str, Sequence[str]]) -> None:
    """Keeps what services wrote with the evidence of the try: `logs/<service>.log`, without signed tokens.

    Raises:
        EvidenceError: it cannot be written there.
    """
    try:
        (folder / LOGS).mkdir(exist_ok=True)
        for service, said in lines.items():
            text = "".join(f"{safe(line)}\n" for line in said)
            (folder / LOGS / f"{service}.log").write_text(text, encoding="utf-8")
    except OSError as error:
        raise EvidenceError(f"evidence cannot be written to {folder / LOGS}: {error.strerror}") from error


def write(
    tried: Tried, seen: Seen, judgement: Judgement, lines: Mapping[str, Sequence[str]]
) -> tuple[Path | None, bool]:
    """Writes it, keeps it with the evidence of the try, and records that, or why it could not be done.

    Args:
        lines: the services' logs.

    Returns:
        Its folder, None when it could not be written, and whether it has every section.
    """
    try:
        folder = intent.write(tried.root, failure(tried, seen, judgement, lines), time.time_ns(), tried.redact)
        kept = intent.keep(folder, tried.folder)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the explanation, the case keeps its verdict
        why = str(error) if isinstance(error, Vx11Error | OSError) else repr(error)
        tried.chain.append("conductor", INTENT, tried.case.id, {"written": False, "why": why})
        return None, False
    lacking = intent.missing(folder)
    digests = {path.name: _digest(path) for path in sorted(kept.iterdir())}
    data = {"written": True, "folder": str(folder), "missing": lacking, "sha256": digests, "attempt": tried.number}
    tried.chain.append("conductor", INTENT, tried.case.id, data)
    return folder, not lacking


def failure(tried: Tried, seen: Seen, judgement: Judgement, lines: Mapping[str, Sequence[str]]) -> Failure:
    """What is known, as recovery takes it."""
    boot = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return Failure(
        test_id=tried.test_id,
        case=tried.case.id,
        description=tried.case.description,
        attempt=tried.number,
        version=__version__,
        judged_ns=judgement.at_ns,
        message=judgement.message,
        evidence=tried.folder,
        matrix=tried.plan.path,
        playbook=tried.case.playbook,
        play_failure=judgement.play_failure,
        expected=was_expected(seen.calls),
        late=judgement.late,
        asserts=[Assert(a.name, a.expected, a.observed, a.holds, a.why) for a in judgement.judged],
        calls=[
            FailedCall(
                c.module,
                c.args,
                boot + c.begun_ns,
                boot + c.ended_ns,
                c.failed,
                c.message,
                c.result,
                f"{STEPS}:{c.line}",
            )
            for c in seen.calls
        ],
        tests=failed_tests(tried.folder),
        windows=seen.windows,
        logs=lines,
        records=seen.evidence,
        requests=asked(tried.folder, boot),
        samples=seen.samples,
        past=history.past(tried.chain.path.parent.parent, tried.test_id, tried.case.id),
        explained=intent.explained(tried.root),
        services=[_service(name, tried.plan.catalogue) for name in tried.case.services],
        others=[_other(result, tried.plan) for result in tried.verdicts.values() if result.case != tried.case.id],
        revision=revision(tried.plan.folder),
        clean_up=_clean_up(seen.cleaned),
    )


def failed_tests(folder: Path) -> list[FailedTest]:
    """Those of all suites that ran, from the JUnit files that pytest wrote below the folder of a try."""
    files = sorted((folder / "suites").rglob("*.xml"))
    return [replace(test, where=f"{path.relative_to(folder)}") for path in files for test in _failed_in(path)]


def asked(folder: Path, boot: int) -> list[Request]:
    """Those of all suites to windows; `boot` is the wall time at which CLOCK_BOOTTIME was 0."""
    found = []
    for path in sorted((folder / "suites").glob("*/requests.jsonl")):
        for number, line in requests(path):
            ended = boot + int(line["begun_ns"]) + round(float(line["ms"]) * 1e6)
            where = f"{path.relative_to(folder)}:{number}"
            found.append(Request(line["suite"], line["url"], line["status"], line["error"] or "", ended, where))
    return found


def _failed_in(path: Path) -> Iterator[FailedTest]:
    try:
        report = JUnitXml.fromfile(str(path))
    except (OSError, ValueError, SyntaxError, JUnitXmlError):  # cut short, as of a suite that was killed
        return
    for suite in report if isinstance(report, JUnitXml) else [report]:
        yield from _failed_of(suite, path)


def _failed_of(suite: TestSuite, path: Path) -> Iterator[FailedTest]:
    begun, spent = _begin(suite.timestamp), 0.0
    for case in suite:
        spent += float(case.time or 0)
        bad = next((item for item in case.result if isinstance(item, Failed | Error)), None)
        if bad is not None:
            ended = None if begun is None else begun + round(spent * 1e9)
            message = shorten(str(bad.message or ""), MESSAGE_LENGTH, placeholder=" …")
            yield FailedTest(_suite_of(case, path), str(case.name), message, str(bad.text or ""), ended)


def _suite_of(case: TestCase, path: Path) -> str:
    """pytest's name of the module is that of the suite's file."""
    return str(case.classname or path.stem).partition(".")[0]


def _begin(timestamp: str | None) -> int | None:
    try:
        return round(datetime.fromisoformat(timestamp or "").timestamp() * 1e9)
    except ValueError:
        return None


def _service(name: str, catalogue: Catalogue) -> Service:
    found = catalogue.services.get(name)
    if found is None:
        return Service(name)
    entry = found.entry
    process = entry.vx11.process
    return Service(
        name,
        limits=entry.limits().to_json(),
        ready_timeout=entry.vx11.ready_timeout,
        program=(process.command if process else None) or entry.command or (),
        neighbours=entry.neighbours(),
        max_ttl=entry.vx11.max_ttl,
        needed_by=[other for other, service in catalogue.services.items() if name in service.entry.depends_on],
    )


def _other(result: CaseResult, plan: Matrix) -> OtherCase:
    services = next((case.services for case in plan.cases if case.id == result.case), ())
    return OtherCase(result.case, result.verdict.value, result.message, services)


def _clean_up(cleaned: Cleaned | None) -> CleanUp | None:
    if cleaned is None:
        return None
    return CleanUp(cleaned.solo_madre, cleaned.entry_answers, cleaned.leaked or (), cleaned.recovery_ms / 1000)


def revision(folder: Path) -> Revision | None:
    """Where a folder stands in git; None when it is in no repository, or git is not there."""
    head = _git(folder, "rev-parse", "--show-toplevel", "HEAD")
    if head is None or len(head) != 2 or _git(folder, "ls-files", "--error-unmatch", "--", ".") is None:
        return None
    changed = _git(folder, "status", "--porcelain", "--", ".") or []
    return Revision(Path(head[0]), head[1], [line[3:] for line in changed])


def _git(folder: Path, *words: str) -> list[str] | None:
    command = ["git", "--no-optional-locks", "-C", str(folder), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_TIMEOUT, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.splitlines() if done.returncode == 0 else None


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
