"""What a service's log says of a failure: stack traces, and words of the system that mean the same in every program.
Pure.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

_BEGIN = "Traceback (most recent call last)"
_FRAME = re.compile(r'\s*File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<function>.+))?')
_RAISED = re.compile(r"(?P<error>[A-Za-z_][\w.]*)(?::|$)")
_LIBRARY = re.compile(r"/(?:lib|lib64)/python3|/site-packages/|^<")
# The words of errno, of allocators, of runtimes and of shells; see errno(3) and signal(7).
WORDS = {
    "says_port_taken": re.compile(r"address (?:is )?already in use|EADDRINUSE", re.IGNORECASE),
    "says_disk_full": re.compile(
        r"no space left on device|disk quota exceeded|file too large|(?:database or )?disk is full|disk full"
        r"|ENOSPC|EDQUOT|EFBIG",
        re.IGNORECASE,
    ),
    "says_no_memory": re.compile(
        r"\bMemoryError\b|cannot allocate memory|out of memory|bad_alloc|OutOfMemoryError|ENOMEM", re.IGNORECASE
    ),
    "says_no_process": re.compile(
        r"can't start new thread|fork: (?:retry: )?resource temporarily unavailable"
        r"|resource temporarily unavailable.*(?:fork|thread|clone)|pthread_create.*failed"
        r"|BlockingIOError.*resource temporarily unavailable|unable to create (?:new )?native thread",
        re.IGNORECASE,
    ),
    "says_no_peer": re.compile(
        r"connection (?:refused|reset by peer|aborted|timed out)|ECONNREFUSED|ECONNRESET|EHOSTUNREACH|ETIMEDOUT"
        r"|name or service not known|temporary failure in name resolution|no route to host|network is unreachable"
        r"|remote end closed connection|could not connect to|URLError",
        re.IGNORECASE,
    ),
    "says_deadly": re.compile(
        r"segmentation fault|SIGSEGV|SIGABRT|SIGBUS|SIGILL|bus error|core dumped|Fatal Python error",
        re.IGNORECASE,
    ),
    "says_stuck": re.compile(r"^Timeout \(\d+:\d\d:\d\d(?:\.\d+)?\)!|deadlock|blocked for more than", re.IGNORECASE),
    "says_not_set_up": re.compile(
        r"ModuleNotFoundError|can't open file|command not found|unrecognized arguments|invalid option"
        r"|missing required|no such file or directory|permission denied|is not set\b",
        re.IGNORECASE,
    ),
    "says_refused": re.compile(r"-> 40[13]\b|\" 40[13] \d"),
}


@dataclass(frozen=True)
class Trace:
    """A stack trace.

    Attributes:
        at: the number of the line that says what was raised; the first is 1.
        file, line, function: the last frame that is no library's; the function is a named one.
        source: that line of the program, empty where the log does not have it.
        error: the name of what was raised.
        said: that line.
    """

    at: int
    file: str
    line: int
    function: str
    error: str
    said: str
    source: str = ""

    def __str__(self) -> str:
        where = f"{self.function} " if self.function else ""
        return f"{self.error} in {where}({PurePath(self.file).name}:{self.line})"


def traces(lines: Sequence[str]) -> list[Trace]:
    """The stack traces of a log, in its order; those of Python, since other languages name no one form."""
    return [found for number, line in enumerate(lines) if _BEGIN in line and (found := _trace(lines, number))]


def _trace(lines: Sequence[str], begin: int) -> Trace | None:
    frames: list[tuple[re.Match[str], str]] = []
    for number in range(begin + 1, len(lines)):
        line = lines[number]
        if match := _FRAME.match(line):
            below = lines[number + 1] if number + 1 < len(lines) else ""
            frames.append((match, "" if _FRAME.match(below) or not below.startswith("    ") else below.strip()))
        elif frames and line and not line[0].isspace():
            raised = _RAISED.match(line)
            own = [frame for frame in frames if not _LIBRARY.search(frame[0]["file"])] or frames
            last, source = own[-1]
            named = [frame["function"] for frame, _ in own if frame["function"] and frame["function"][0] != "<"]
            function = named[-1] if named else last["function"] or ""
            error = raised["error"].rpartition(".")[2] if raised else "an exception"
            return Trace(number + 1, last["file"], int(last["line"]), function, error, line, source)
    return None


def words(lines: Sequence[str]) -> Iterator[tuple[str, int, str]]:
    """Which of the words a log says: their name, and number and text of the last line that says them."""
    for name, pattern in WORDS.items():
        found = [(number, line) for number, line in enumerate(lines, start=1) if pattern.search(line)]
        if found:
            yield name, *found[-1]
