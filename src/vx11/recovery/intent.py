"""Builds, writes and reads patch intents. Whoever wants one applied does it by hand: there is nothing that could."""

import filecmp
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from vx11.clock import iso, stamp
from vx11.errors import InputError, Vx11Error
from vx11.recovery import findings, hypotheses, impact, proposal, rollback
from vx11.recovery.failure import Explained, Failure
from vx11.recovery.hypotheses import Analysis, Cause
from vx11.recovery.model import (
    Excerpt,
    Ground,
    Hypothesis,
    Intent,
    Metadata,
    Patch,
    RootCause,
    SignOff,
    TechnicalDetails,
)
from vx11.recovery.text import Markdown, fence, inline
from vx11.statefiles import sync_folder

if TYPE_CHECKING:
    from jinja2 import Template

MARKDOWN, DATA, DIFF = "PATCH_INTENT.md", "intent.json", proposal.DIFF
# In the folder of a try: the intent as it was written.
KEPT = "intent"
TEMPLATE = f"{MARKDOWN}.j2"
SECTIONS = (
    "Metadata",
    "Failure summary",
    "Technical details",
    "Root cause analysis",
    "Proposed patch",
    "Impact assessment",
    "Rollback plan",
    "Next actions required",
    "Sign-off",
)
LOG_LINES = 40
TRACEBACKS = 5
TRACEBACK_LINES = 60
REMEMBERED = 500
FOLDER_MODE, FILE_MODE = 0o750, 0o640
_PARTIAL = ".partial-"
_TRACEBACK = "Traceback (most recent call last)"
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})([^`]*)$")
_DELIMITER = re.compile(r"\|?(\s*:?-+:?\s*\|)+\s*:?-*:?\s*")


class IntentError(Vx11Error):
    """A patch intent could not be written or read."""


@dataclass(frozen=True)
class Found:
    """An intent that lies in a folder.

    Attributes:
        intent: None when its data cannot be read.
        missing: what it lacks.
    """

    folder: Path
    intent: Intent | None
    missing: Sequence[str] = ()

    def about(self) -> dict[str, Any]:
        """What is most worth knowing of it, as plain data; nothing but its folder and what it lacks without data."""
        known = {"id": self.folder.name, "folder": str(self.folder), "missing": list(self.missing)}
        if self.intent is None:
            return known
        primary, summary = self.intent.root_cause.primary, self.intent.failure_summary
        return known | {
            "test_case": self.intent.metadata.test_case,
            "impact": summary.impact,
            "error_code": summary.error_code,
            "expected": summary.expected,
            "cause": primary.cause,
            "suspect": primary.suspect,
            "confidence": primary.confidence,
            "signature": self.intent.root_cause.signature,
        }

    def doubt(self) -> str:
        """How it differs from what the evidence of its run has; empty when it does not."""
        if self.intent is None:
            return f"{DATA} is no intent, so that its evidence is not known"
        kept = Path(self.intent.metadata.evidence) / KEPT
        names = sorted(path.name for path in kept.iterdir()) if kept.is_dir() else []
        if not names:
            return f"its evidence is not there to compare it with: {kept}"
        _, changed, unread = filecmp.cmpfiles(kept, self.folder, names, shallow=False)
        wrong = [*(f"{name} was changed" for name in changed), *(f"{name} is gone" for name in unread)]
        return f"it is not as it was written ({', '.join(wrong)}): see {kept}" if wrong else ""

    def __str__(self) -> str:
        lacks = f"  lacks: {', '.join(self.missing)}" if self.missing else ""
        if self.intent is None:
            return f"{self.folder.name}{lacks}"
        primary, summary = self.intent.root_cause.primary, self.intent.failure_summary
        meant = ", expected" if summary.expected else ""
        told = (
            f"{summary.impact} {summary.error_code}{meant}: {primary.suspect} {primary.cause}, {primary.confidence} %"
        )
        return f"{self.folder.name}  {told}{lacks}"


def build(failure: Failure, now_ns: int) -> Intent:
    """The intent for a failure, as data.

    Args:
        now_ns: wall time since the epoch.

    Raises:
        IntentError: what is known of the failure has no such form.
    """
    analysis = hypotheses.analyse(failure)
    primary = analysis.causes[0]
    proposed = proposal.propose(failure, primary)
    try:
        return Intent(
            metadata=_metadata(failure, now_ns),
            failure_summary=findings.summary(failure),
            technical_details=_details(failure),
            root_cause=_root_cause(failure, analysis),
            proposed_patch=proposal.patch(failure, proposed),
            impact=impact.impact(failure, primary, proposed),
            rollback=rollback.steps(failure),
            next_actions=proposal.next_actions(failure, primary),
            sign_off=[SignOff(role="Reviewer"), SignOff(role="Approver")],
        )
    except ValidationError as error:
        raise IntentError(f"there is no intent for {failure.case}: {error}") from error


def write(root: Path, failure: Failure, now_ns: int, redact: Callable[[str], str] = str) -> Path:
    """Writes the intent for a failure; it is there whole or not at all.

    Args:
        redact: takes secrets out of a text.

    Returns:
        Its folder, `PI-<timestamp>-<test_id>.<case>` below the root; a second try has its number at the end.

    Raises:
        IntentError: it cannot be written.
    """
    # Before it is rendered: what Markdown escapes would not be found any more.
    intent = Intent.model_validate(_redacted(build(failure, now_ns).model_dump(by_alias=True), redact))
    folder = root / intent.metadata.intent_id
    partial = root / f"{_PARTIAL}{secrets.token_hex(8)}"
    try:
        root.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        partial.mkdir(mode=FOLDER_MODE)
        try:
            _put(partial / MARKDOWN, redact(render(intent)))
            _put(partial / DATA, redact(intent.model_dump_json(by_alias=True, indent=2)) + "\n")
            if patch := _diff(failure):
                _put(partial / DIFF, redact(patch))
            sync_folder(partial)
            partial.rename(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        sync_folder(root)
    except OSError as error:
        raise IntentError(f"the patch intent {folder} cannot be written: {error.strerror}") from error
    return folder


def keep(folder: Path, attempt: Path) -> Path:
    """Copies a written intent into the evidence of the try that it explains: `KEPT` there.

    Raises:
        IntentError: it cannot be copied.
    """
    try:
        return shutil.copytree(folder, attempt / KEPT)
    except (OSError, shutil.Error) as error:
        raise IntentError(f"the patch intent {folder} cannot be kept as evidence: {error}") from error


def _redacted(value: Any, redact: Callable[[str], str]) -> Any:
    """Each text by itself: a secret that is cut off takes no more with it."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {name: _redacted(item, redact) for name, item in value.items()}
    return [_redacted(item, redact) for item in value] if isinstance(value, list) else value


def _diff(failure: Failure) -> str:
    primary = hypotheses.analyse(failure).causes[0]
    return proposal.diff(failure, proposal.propose(failure, primary))


def explained(root: Path) -> list[Explained]:
    """What the last `REMEMBERED` intents below a root say of their failures, the oldest first."""
    return [one for path in sorted(root.glob("PI-*"))[-REMEMBERED:] if (one := _explained(path))]


def _explained(folder: Path) -> Explained | None:
    """Read without being checked: there may be many, of other versions too."""
    try:
        data = json.loads((folder / DATA).read_text(encoding="utf-8"))
        about, signature = data["metadata"], data["root_cause"]["signature"]
        at = data["failure_summary"]["detected_at"]
        return Explained(folder.name, str(about["test_id"]), str(about["test_case"]), str(signature), str(at))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def schema() -> dict[str, Any]:
    """The JSON Schema of `intent.json`."""
    made = Intent.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | made | {"title": "VX11 patch intent"}


def render(intent: Intent) -> str:
    """The intent as Markdown."""
    return _template().render(intent=intent, patch_yaml=_patch_yaml(intent.proposed_patch))


def missing(folder: Path) -> list[str]:
    """What a written intent lacks: sections that are not there in their order, or are empty; data that is not valid.

    It reads the files. Headings inside of logs do not count. Of a whole intent the list is empty.
    """
    try:
        lines = (folder / MARKDOWN).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        lines = []
    filled = _filled(lines)
    lacking = [name for number, name in enumerate(SECTIONS, start=1) if not filled.get(f"{number}. {name}")]
    return lacking if _data(folder) else [*lacking, DATA]


def listed(root: Path) -> list[Found]:
    """All below a root, the oldest first; none when there is no such folder."""
    if not root.is_dir():
        return []
    return [Found(path, _data(path), tuple(missing(path))) for path in sorted(root.glob("PI-*")) if path.is_dir()]


def named(root: Path, name: str) -> Found:
    """The intent with this id, or the only one with this in its id.

    Raises:
        InputError: there is none, or more than one.
    """
    every = listed(root)
    fitting = [found for found in every if found.folder.name == name]
    fitting = fitting or [found for found in every if name in found.folder.name]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise InputError.of(f"there is no intent {name}; vx11 intent list shows those there are", root)
    raise InputError.of(f"{name} fits several: {', '.join(found.folder.name for found in fitting)}", root)


def _metadata(failure: Failure, now_ns: int) -> Metadata:
    again = f".{failure.attempt}" if failure.attempt > 1 else ""
    return Metadata(
        intent_id=f"PI-{stamp(now_ns)}-{failure.test_id}.{failure.case}{again}",
        generated=iso(now_ns),
        test_id=failure.test_id,
        test_case=failure.case,
        description=failure.description or "none was given",
        attempt=failure.attempt,
        conductor_version=failure.version,
        evidence=str(failure.evidence),
    )


def _details(failure: Failure) -> TechnicalDetails:
    points, left_out = findings.points(failure)
    return TechnicalDetails(
        state_before=_state_before(failure),
        errors=_errors(failure),
        tracebacks=[
            Excerpt(title=f"{test.suite}: {test.name}", text=_tail(test.traceback.splitlines(), TRACEBACK_LINES))
            for test in failure.tests[:TRACEBACKS]
            if test.traceback.strip()
        ],
        logs=_logs(failure),
        evidence_points=points,
        points_left_out=left_out,
        deviations=findings.deviations(failure),
    )


def _state_before(failure: Failure) -> list[str]:
    first = (
        "SOLO_MADRE, as madre was asked for it before the try (solo_madre_before in the run's evidence.jsonl), "
        "and after each case (cleaned_up)"
    )
    windows = [
        f"{w['service']}: opened at {w.get('opened_at')}, ready at {w.get('ready_at') or 'no time: it never was'}, "
        f"limits {_limits(w.get('resources') or {})}"
        for w in failure.windows
    ]
    return [first, *(windows or ["windows: none, or madre did not answer when it was asked for them"])]


def _limits(resources: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in resources.items()) or "none"


def _errors(failure: Failure) -> list[str]:
    found = [failure.play_failure] if failure.play_failure else []
    found += [f"{call.module}: {call.message}" for call in failure.calls if call.failed and call.message]
    found += [f"{test.suite}, {test.name}: {test.message}" for test in failure.tests]
    found += [f"{item.name}: {item.why}" for item in failure.wrong]
    return list(dict.fromkeys(found)) or ["none: nothing that failed said why"]


def _logs(failure: Failure) -> list[Excerpt]:
    kept = [
        Excerpt(title=service, text="\n".join(_excerpt(lines)) or "it wrote nothing")
        for service, lines in failure.logs.items()
    ]
    why = "unknown: no service had a window, or madre did not answer when it was asked for the logs"
    return kept or [Excerpt(title="no service", text=why)]


def _excerpt(lines: Sequence[str]) -> list[str]:
    """The last lines; where a traceback stands before them, it and what follows it at once, then fewer of them."""
    tail = len(lines) - LOG_LINES
    begun = max((number for number, line in enumerate(lines) if _TRACEBACK in line), default=tail)
    if begun >= tail:
        return list(lines[-LOG_LINES:])
    end = len(lines) - LOG_LINES // 2
    shown = list(lines[begun : min(begun + LOG_LINES, end)])
    left_out = end - begun - len(shown)
    return [*shown, *([f"[{left_out} lines left out]"] if left_out else []), *lines[end:]]


def _tail(lines: Sequence[str], limit: int) -> str:
    return "\n".join(lines[-limit:]).strip("\n")


def _root_cause(failure: Failure, analysis: Analysis) -> RootCause:
    primary = analysis.causes[0]
    return RootCause(
        primary=_hypothesis(primary),
        alternatives=[_hypothesis(cause) for cause in analysis.causes[1:]],
        something_else=_percent(analysis.rest),
        left_out=analysis.left_out,
        signature=primary.signature,
        other_cases=_other_cases(failure, primary),
        earlier_runs=_earlier_runs(failure, primary),
    )


def _hypothesis(cause: Cause) -> Hypothesis:
    steps = [f"{ground.weight:+g} {ground.sign.name}" for ground in cause.grounds]
    return Hypothesis(
        cause=cause.rule.name,
        suspect=cause.suspect,
        kind=cause.kind.value,
        claim=cause.rule.claim,
        confidence=min(99, _percent(cause.confidence)),
        score=round(cause.score, 2),
        derived=f"{cause.rule.prior:+g} before any sign, {', '.join([*steps, 'in all'])} {cause.score:+.1f} bits",
        supports=[_ground(ground) for ground in cause.supports],
        contradicts=[_ground(ground) for ground in cause.contradicts],
    )


def _percent(share: float) -> int:
    return max(0, min(100, round(share)))


def _ground(ground: hypotheses.Ground) -> Ground:
    sign = ground.sign
    return Ground(sign=sign.name, observation=sign.text, where=sign.where, bits=ground.weight)


def _other_cases(failure: Failure, cause: Cause) -> list[str]:
    """Those of the run that failed in the same way, then those that use the suspect too."""
    same = [one for one in failure.explained if one.test_id == failure.test_id and one.case != failure.case]
    alike = [f"{one.case} failed in the same way: {one.intent}" for one in same if one.signature == cause.signature]
    sharing = [
        f"{other.case}, which uses it too: {other.verdict}" + (f" ({other.message})" if other.message else "")
        for other in failure.others
        if cause.suspect in other.services
    ]
    judged = f"{len(failure.others)} others were judged by then"
    none = f"unknown: no other case of the run that uses {cause.suspect} had its verdict; {judged}"
    return [*alike, *sharing] or [none]


def _earlier_runs(failure: Failure, cause: Cause) -> list[str]:
    """When the same was seen first, how often, and where last."""
    before = [one for one in failure.explained if one.test_id != failure.test_id]
    alike = [one for one in before if one.signature == cause.signature]
    runs = f"{failure.past.runs} earlier runs of this case lie in this evidence root"
    known = f"{runs}, and {len(before)} intents of other runs"
    if not alike:
        return [f"not seen before: {known}"]
    first, last = alike[0], alike[-1]
    return [
        f"first seen at {first.at}, in {first.case} of the run {first.test_id}: {first.intent}",
        f"seen {len(alike)} times before this, last at {last.at}: {last.intent}",
        known,
    ]


def _patch_yaml(patch: Patch) -> Markdown:
    data = patch.model_dump(by_alias=True, exclude={"validation", "diff"})
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)
    return fence(f"# do not apply automatically\n{text}", "yaml")


@cache
def _template() -> "Template":
    # Only a run with a failure pays for the import.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(  # noqa: S701 - Markdown, not HTML: `finalize` escapes each value
        loader=PackageLoader("vx11.recovery", "."),
        undefined=StrictUndefined,
        finalize=_escaped,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["fence"] = fence
    environment.filters["grounds"] = _grounds
    return environment.get_template(TEMPLATE)


def _grounds(items: Sequence[Ground]) -> str:
    """For a cell of a table."""
    return "; ".join(f"{item.bits:+g} {item.sign} ({item.where})" for item in items) or "nothing"


def _escaped(value: object) -> str:
    return value if isinstance(value, Markdown) else inline(str(value))


def _put(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _filled(lines: Sequence[str]) -> dict[str, bool]:
    """Each section that stands in its order, and whether it says something."""
    titles = [f"{number}. {name}" for number, name in enumerate(SECTIONS, start=1)]
    filled: dict[str, bool] = {}
    current = ""
    for line, outside, is_head in _told(lines):
        if outside and line.startswith("## "):
            title = line[3:].strip()
            current = title if title in titles else ""
            if current:
                filled[current] = False
                titles = titles[titles.index(current) + 1 :]
        elif current and not is_head and any(letter.isalnum() for letter in line):
            filled[current] = filled[current] or not outside or not line.startswith("#")
    return filled


def _told(lines: Sequence[str]) -> Iterator[tuple[str, bool, bool]]:
    """Each line that is no fence itself, whether it is outside of fences, and whether it is the head of a table."""
    mark = ""
    for line, after in pairwise([*lines, ""]):
        match = _FENCE.match(line)
        bare = line.strip()
        if not mark and match:
            mark = match[1]
        elif mark and len(bare) >= len(mark) and not bare.strip(mark[0]):
            mark = ""
        else:
            yield line, not mark, not mark and _DELIMITER.fullmatch(after.strip()) is not None


def _data(folder: Path) -> Intent | None:
    """The intent in a folder; None when its data cannot be read, or is no intent."""
    try:
        return Intent.model_validate_json((folder / DATA).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
