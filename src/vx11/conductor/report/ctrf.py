"""CTRF, the Common Test Report Format: JSON for programs that read the results of tests (ctrf.io, version 0.0.0).

Its words are fewer than ours: what leaked failed, what was aborted is `other`; the verdict itself is the `rawStatus`. A
case that is flaky counts as passed there, since that is what the format calls flaky, and has `flaky` set.
"""

import json
import uuid
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from vx11 import __version__
from vx11.clock import iso
from vx11.conductor import seen
from vx11.conductor.judge import CaseResult, Verdict
from vx11.conductor.report import links
from vx11.conductor.report.record import CaseRecord, Record, Try
from vx11.conductor.report.timeline import told

SPEC = "0.0.0"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://ctrf.io")
_STATUS = {
    Verdict.PASSED: "passed",
    Verdict.FLAKY: "passed",
    Verdict.FAILED: "failed",
    Verdict.LEAKED: "failed",
    Verdict.SKIPPED: "skipped",
    Verdict.ABORTED: "other",
}


def write(file: TextIO, run: Record, out: Path) -> None:
    """Writes it, one case at a time."""
    # The tests stand last, so that what is before them and after them can be written around them.
    before, after = json.dumps(_document(run), indent=1).rsplit("[]", 1)
    file.write(before + "[")
    for number, case in enumerate(run.cases()):
        file.write(",\n" if number else "\n")
        file.write(json.dumps(_test(run, case, out)))
    file.write(f"\n]{after}\n")


def _document(run: Record) -> dict[str, Any]:
    verdicts = run.verdicts()
    found = Counter(_STATUS[verdict] for verdict in verdicts)
    begun, ended = _ms(run.begun_ns), _ms(run.ended_ns)
    summary = {
        "tests": len(run.planned),
        **{status: found[status] for status in ("passed", "failed", "skipped", "pending", "other")},
        "flaky": verdicts.count(Verdict.FLAKY),
        "suites": 1,
        "start": begun,
        "stop": ended,
        "duration": ended - begun,
    }
    about = {
        "engine": run.engine,
        "profile": run.profile,
        "time_scale": run.time_scale,
        "state": run.state,
        "problem": run.problem,
        "left": run.left,
    }
    return {
        "reportFormat": "CTRF",
        "specVersion": SPEC,
        "reportId": _id(run.test_id),
        "timestamp": iso(run.ended_ns),
        "generatedBy": f"vx11 {__version__}",
        "results": {
            "tool": {"name": "vx11", "version": run.version},
            "summary": summary,
            "environment": {"reportName": run.name, "buildId": run.test_id, "extra": about},
            "tests": [],
        },
    }


def _test(run: Record, case: CaseRecord, out: Path) -> dict[str, Any]:
    result = case.result
    earlier = case.tries[:-1]
    last = case.tries[-1] if case.tries else None
    return {
        "id": _id(f"{run.name}/{case.id}"),
        "name": case.id,
        "status": _STATUS[case.verdict],
        "rawStatus": case.verdict.value,
        "suite": [run.name],
        "type": "e2e",
        **({"message": case.message} if case.message else {}),
        **_times(result, last),
        "retries": len(earlier),
        "retryAttempts": [_earlier(item, out) for item in earlier],
        "flaky": case.verdict is Verdict.FLAKY,
        "steps": _steps(last) if last else [],
        "attachments": _attachments(last, out) if last else [],
        "extra": {"description": case.description, **_judged(result)},
    }


def _earlier(item: Try, out: Path) -> dict[str, Any]:
    return {
        "attempt": item.number,
        "status": _STATUS[item.result.verdict],
        "message": item.result.message,
        **_times(item.result, item),
        "attachments": _attachments(item, out),
        "extra": {"rawStatus": item.result.verdict.value, **_judged(item.result)},
    }


def _times(result: CaseResult, item: Try | None) -> dict[str, int]:
    duration = round(1000 * result.duration)
    if item is None or item.started is None:
        return {"duration": duration}
    begun = _ms(item.started.wall_ns)
    return {"duration": duration, "start": begun, "stop": begun + duration}


def _judged(result: CaseResult) -> Mapping[str, Any]:
    return {
        **({"host": result.host} if result.host else {}),
        "asserts": [
            {"name": a.name, "expected": a.expected, "observed": a.observed, "holds": a.holds, "why": a.why}
            for a in result.asserts
        ],
        "metrics": {
            name: {"value": found.value, "unit": found.unit, "source": found.source}
            for name, found in result.metrics.items()
        },
        "missing_metrics": list(result.missing_metrics),
    }


def _steps(item: Try) -> list[dict[str, str]]:
    return [{"name": told(call), "status": "failed" if call.failed else "passed"} for call in seen.calls(item.folder)]


def _attachments(item: Try, out: Path) -> list[dict[str, str]]:
    return [{"name": link.text, "contentType": link.media, "path": link.href} for link in links.of(item, out)]


def _id(text: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, text))


def _ms(ns: int) -> int:
    return ns // 1_000_000
