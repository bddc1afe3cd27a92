"""Answers an operator's questions about windows, tests and SOLO_MADRE, from what is so just now.

It knows a fixed set of questions by their words, and never fails: what cannot be found out is said. While a language
service is open, that one is told what was found out and says it in words of its own.
"""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from vx11.madre import language
from vx11.madre.jobs import Jobs, Result
from vx11.units import show_duration
from vx11.windows import solo_madre
from vx11.windows.manager import Windows
from vx11.windows.window import State, Window

log = logging.getLogger(__name__)
HELP = (
    "I can tell what is open, when a service closes, who opened it, what it uses, why it closed, whether this host is "
    "in SOLO_MADRE, which services there are, and how the last test went."
)


@dataclass(frozen=True)
class Reply:
    """An answer.

    Attributes:
        intent: which question was understood; `unknown` when none was, `failed` when it could not be found out.
        facts: what is so.
        said: what the language service made of it; None when it is not open, or did not answer.
    """

    intent: str
    facts: str
    said: str | None = None


class Operator:
    """Whoever answers.

    Args:
        windows: those of the cell.
        jobs: its tests.
        allowed: names of the services that may be opened now.
        speaker: name of the one that is the language service.
    """

    def __init__(
        self,
        windows: Windows,
        jobs: Jobs,
        allowed: Callable[[], Sequence[str]],
        speaker: Callable[[], str | None],
    ) -> None:
        self._windows = windows
        self._jobs = jobs
        self._allowed = allowed
        self._speaker = speaker
        self._intents: Sequence[tuple[str, re.Pattern[str], Callable[[str], str]]] = [
            (name, re.compile(words, re.IGNORECASE), answer)
            for name, words, answer in (
                ("solo_madre", r"solo.?madre|only the core|dark", self._solo_madre),
                ("last_test", r"\b(tests?|matrix|run|e2e|passed|failed)\b", self._last_test),
                ("why_closed", r"\bwhy\b.*\bclos|\bclosed\b|\bcrash|\bstopped\b", self._closed),
                ("closes_when", r"\bwhen\b|\bhow long\b|\btime left\b|\bexpire|\bremain|\bdeadline", self._open),
                ("opened_by", r"\bwho\b", self._who),
                ("usage", r"\b(use|uses|using|usage|cpu|processor|memory|load)\b", self._usage),
                ("services", r"\b(services|catalogue|catalog)\b|\bcan (i|be) open", self._services),
                ("open", r"\bopen\b|\bwindows?\b|\brunning\b|\bruns\b|\bstatus\b|\bup\b", self._open),
                ("help", r"\bhelp\b|\bhello\b|\bhi\b|what can you", lambda _: HELP),
            )
        ]

    def answer(self, message: str, session_id: str) -> Reply:
        """Answers a message, whatever it is."""
        found = self._find_out(message)
        window = self._speaking()
        if window is None:
            return found
        facts = {"intent": found.intent, "text": found.facts}
        try:
            said = language.ask(_port(window), {"message": message, "session_id": session_id, "facts": facts})
        except language.NoAnswer as error:
            log.error("%s did not answer an operator: %s", window.service, error)
            return found
        return replace(found, said=said)

    def _speaking(self) -> Window | None:
        """The window of the language service, while it is open."""
        is_open = {window.service: window for window in self._windows.windows() if window.state is State.OPEN}
        name = self._speaker() if is_open else None
        return is_open.get(name) if name else None

    def _find_out(self, message: str) -> Reply:
        for name, words, answer in self._intents:
            if words.search(message):
                try:
                    return Reply(name, answer(message))
                except Exception as error:  # noqa: BLE001 - whatever it was, an operator gets an answer
                    log.error("the operator's question for %s was not answered: %s", name, error)
                    return Reply("failed", f"I cannot tell just now: {error}")
        return Reply("unknown", f"I did not understand that. {HELP}")

    def _meant(self, message: str, windows: Sequence[Window]) -> list[Window]:
        """Those whose service is named; all of them where none is."""
        words = set(re.findall(r"[a-z0-9_-]+", message.lower()))
        return [window for window in windows if window.service in words] or list(windows)

    def _solo_madre(self, message: str) -> str:
        proof = solo_madre.check(self._windows)
        if proof.solo:
            return f"Yes: only the core runs. Looked at {proof.checked.iso()}."
        runs = [window.service for window in proof.windows]
        runs += [item.what for item in proof.unaccounted]
        runs += [item.what for item in proof.foreign]
        return f"No: {', '.join(runs)} run{'s' if len(runs) == 1 else ''} beside the core."

    def _open(self, message: str) -> str:
        windows = self._windows.windows()
        if not windows:
            return "Nothing is open."
        return "\n".join(self._line(window) for window in self._meant(message, windows))

    def _line(self, window: Window) -> str:
        left = show_duration(max(0.0, window.remaining(self._windows.clock.now())))
        held = ", held" if window.hold else ""
        state = f"closes in {left}{held}" if window.state is State.OPEN else f"is {window.state.value}"
        return f"{window.service} {'is open, ' if window.state is State.OPEN else ''}{state}."

    def _who(self, message: str) -> str:
        windows = self._meant(message, self._windows.windows() or self._windows.closed()[:1])
        found = [f"{window.service} was opened by {window.opened_by} at {window.opened.iso()}." for window in windows]
        return "\n".join(found) or "Nothing is open, and nothing was lately."

    def _closed(self, message: str) -> str:
        windows = self._meant(message, self._windows.closed())[:5]
        return "\n".join(map(_end, windows)) or "Nothing has closed lately."

    def _usage(self, message: str) -> str:
        return "\n".join(map(self._used, self._meant(message, self._windows.windows()))) or "Nothing is open."

    def _used(self, window: Window) -> str:
        sample = self._windows.usage(window)
        if sample is None:
            return f"What {window.service} uses is not known."
        percent, memory = window.cpu_percent(sample), sample.usage.memory
        parts = [
            "" if percent is None else f"{percent:.1f} % of a processor since it was ready",
            "" if memory is None else f"{memory / 2**20:.0f} MiB of memory",
        ]
        return f"{window.service} uses {' and '.join(filter(None, parts)) or 'nothing that can be measured'}."

    def _services(self, message: str) -> str:
        names = self._allowed()
        return f"Services that may be opened: {', '.join(names)}." if names else "No service may be opened."

    def _last_test(self, message: str) -> str:
        result = self._jobs.latest()
        return _test(result) if result else "No test was run from here."


def _port(window: Window) -> int:
    """The first one of this host at which it speaks HTTP; 0 without one."""
    urls = map(urlsplit, window.endpoints)
    return next((url.port or 0 for url in urls if url.scheme == "http"), 0)


def _end(window: Window) -> str:
    assert window.closed
    detail = f": {window.detail}" if window.detail else ""
    return f"{window.service} closed at {window.closed.iso()} ({window.reason}){detail}."


def _test(result: Result) -> str:
    name = result.job.matrix if result.job else result.test_id
    verdicts = result.run.verdicts if result.run else ()
    wrong = [f"{item.case} {item.verdict}" for item in verdicts if item.verdict not in ("passed", "skipped")]
    done = f"{len(verdicts)} of {len(result.run.planned)} cases" if result.run else "no case yet"
    failed = f"; {', '.join(wrong)}" if wrong else ""
    return f"The last test, {name} ({result.test_id}), is {result.state}: {done}{failed}."
