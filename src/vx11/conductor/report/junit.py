"""JUnit XML in the surefire dialect.

A test case a case, with its metrics as properties. It has the outcome of the case; the tries before the last one are
`rerunFailure`, or `flakyFailure` where the last one passed. A flaky case has a failure beside them: readers that do not
know of flakes must not take it for passed.
"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO
from xml.sax.saxutils import escape, quoteattr

from vx11.clock import iso
from vx11.conductor.judge import CaseResult, Verdict
from vx11.conductor.report import links
from vx11.conductor.report.record import CaseRecord, Record, Try

# What XML 1.0 cannot hold, escaped or not; messages of tasks may have it.
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(file: TextIO, run: Record, out: Path) -> None:
    """Writes it, one case at a time."""
    xml = _Xml(file)
    xml.begin()
    found = Counter(_KINDS[verdict] for verdict in run.verdicts())
    numbers = {"tests": len(run.planned), "failures": found["failure"], "errors": found["error"]}
    time = _seconds((run.ended_ns - run.begun_ns) / 1e9)
    more = {"skipped": found["skipped"], "timestamp": iso(run.begun_ns)}
    about = {
        "test_id": run.test_id,
        "engine": run.engine,
        "profile": run.profile,
        "time_scale": f"{run.time_scale:g}",
        "version": run.version,
        "state": run.state,
    }
    with (
        xml.element("testsuites", name=run.name, time=time, **numbers),
        xml.element("testsuite", name=run.name, time=time, **numbers, **more),
    ):
        _properties(xml, about)
        for case in run.cases():
            _case(xml, run.name, case, out)


# What a verdict is in JUnit's words; what passed is nothing.
_KINDS = {
    Verdict.PASSED: "",
    Verdict.FAILED: "failure",
    Verdict.LEAKED: "failure",
    Verdict.FLAKY: "failure",
    Verdict.SKIPPED: "skipped",
    Verdict.ABORTED: "error",
}


def _case(xml: "_Xml", suite: str, case: CaseRecord, out: Path) -> None:
    result = case.result
    with xml.element("testcase", name=case.id, classname=suite, time=_seconds(result.duration)):
        _properties(xml, {name: str(seen) for name, seen in result.metrics.items()})
        _outcome(xml, case, result, ("failure",))
        for item in case.tries[:-1]:
            _earlier(xml, item, "flaky" if case.verdict is Verdict.FLAKY else "rerun")
        _outcome(xml, case, result, ("skipped", "error"))
        if case.tries:
            with xml.element("system-out"):
                xml.text("\n".join(line for item in case.tries for line in _where(item, out)))


def _outcome(xml: "_Xml", case: CaseRecord, result: CaseResult, kinds: tuple[str, ...]) -> None:
    """The outcome, if it is one of these: their place among the others is fixed."""
    kind = _KINDS[case.verdict]
    if kind in kinds:
        typed = {} if kind == "skipped" else {"type": case.verdict.value}
        with xml.element(kind, message=case.message, **typed):
            xml.text("\n".join(_wrong(result)))


def _earlier(xml: "_Xml", item: Try, prefix: str) -> None:
    message = f"try {item.number}: {item.result.message}"
    kind = "Error" if item.result.verdict is Verdict.ABORTED else "Failure"
    with xml.element(f"{prefix}{kind}", message=message, type=item.result.verdict.value), xml.element("stackTrace"):
        xml.text("\n".join([message, *_wrong(item.result)]))


def _wrong(result: CaseResult) -> list[str]:
    return [f"{item.name}: {item.why}" for item in result.asserts if not item.holds]


def _where(item: Try, out: Path) -> Iterator[str]:
    where = f" on the host {item.result.host}" if item.result.host else ""
    yield f"try {item.number} {item.result.verdict.value} after {item.result.duration:.3f} s{where}"
    for link in links.of(item, out):
        yield f"[[ATTACHMENT|{link.href}]]"


def _properties(xml: "_Xml", found: dict[str, str]) -> None:
    if found:
        with xml.element("properties"):
            for name, value in found.items():
                with xml.element("property", name=name, value=value):
                    pass


def _seconds(value: float) -> str:
    return f"{value:.3f}"


class _Xml:
    """Writes XML as it comes."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def begin(self) -> None:
        """The declaration."""
        self._file.write('<?xml version="1.0" encoding="utf-8"?>\n')

    @contextmanager
    def element(self, tag: str, /, **attributes: object) -> Iterator[None]:
        """An element around what is written inside."""
        named = "".join(f" {name}={quoteattr(_clean(str(value)))}" for name, value in attributes.items())
        self._file.write(f"<{tag}{named}>")
        yield
        self._file.write(f"</{tag}>\n")

    def text(self, text: str) -> None:
        """Text, escaped."""
        self._file.write(escape(_clean(text)))


def _clean(text: str) -> str:
    return _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text)
