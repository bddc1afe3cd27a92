"""buggy-service: keeps notes in memory, and has the bug that BUG names. Without BUG it has none.

POST /notes {"text"} -> {"id"}, counted from 1; GET /notes/ID -> {"id", "text"}; GET /notes?page=1 -> {"page", "pages",
"notes"}, ten a page; GET /status -> {"notes", "memory_kb"}.

BUG=off_by_one      the last page asks for a note more than there is: 500, with a stack trace in the log
BUG=leak            each note that is read stays in memory once more, padded to 256 KiB: it grows without end
BUG=deadlock        reading a page and writing a note take two locks in opposite order: at once, neither answers
BUG=crash           reading a note with an empty text follows a null pointer: the process dies of SIGSEGV
BUG=wrong_encoding  notes are kept in Latin-1: other characters come back as question marks

Its log has the stack trace of an exception, of a deadly signal, and of every thread when a request that takes both
locks lasts longer than half a second.
"""

import contextlib
import ctypes
import faulthandler
import os
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from _http import HttpError, Request, Server, bug

KINDS = ("off_by_one", "leak", "deadlock", "crash", "wrong_encoding")
PAGE = 10
SLOW_S = 0.5
LEAKED = 256 * 1024
# How long a thread that is to meet another in a deadlock has one lock before it asks for the second.
BETWEEN_LOCKS_S = 0.05


class Notes:
    """The notes and the routes. `_texts` is guarded by one lock, the count of pages by another."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._encoding = "latin-1" if kind == "wrong_encoding" else "utf-8"
        self._texts: list[bytes] = []
        self._pages = 0
        self._read: list[bytes] = []
        self._texts_lock = threading.Lock()
        self._pages_lock = threading.Lock()

    def add(self, request: Request) -> dict[str, object]:
        """Keeps a note."""
        text = request.text("text").encode(self._encoding, errors="replace")
        with told_when_slow(), self._both(self._texts_lock, self._pages_lock):
            self._texts.append(text)
            self._pages = -(-len(self._texts) // PAGE)
            return {"id": len(self._texts)}

    def note(self, request: Request) -> dict[str, object]:
        """Answers a note."""
        number = whole("the id of the note", request.name)
        with self._texts_lock:
            if not 1 <= number <= len(self._texts):
                raise HttpError(404, f"There is no note {number}; there are {len(self._texts)}.")
            text = self._texts[number - 1]
        if self._kind == "leak":
            self._read.append(text.ljust(LEAKED))
        if self._kind == "crash" and not text:
            ctypes.string_at(0)
        return {"id": number, "text": text.decode(self._encoding)}

    def page(self, request: Request) -> dict[str, object]:
        """Answers a page of notes."""
        page = whole("page", request.query.get("page", "1"))
        order = [self._texts_lock, self._pages_lock]
        if self._kind == "deadlock":
            order.reverse()
        with told_when_slow(), self._both(*order):
            if not 1 <= page <= self._pages:
                raise HttpError(404, f"There is no page {page}; there are {self._pages}.")
            begin = (page - 1) * PAGE
            end = min(begin + PAGE, len(self._texts))
            if self._kind == "off_by_one" and page == self._pages:
                end += 1
            texts = [self._texts[number].decode(self._encoding) for number in range(begin, end)]
            return {"page": page, "pages": self._pages, "notes": texts}

    @contextlib.contextmanager
    def _both(self, first: threading.Lock, second: threading.Lock) -> Iterator[None]:
        with first:
            if self._kind == "deadlock":
                time.sleep(BETWEEN_LOCKS_S)
            with second:
                yield

    def status(self, _request: Request) -> dict[str, object]:
        """How many notes there are, and the memory that the process has."""
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return {"notes": len(self._texts), "memory_kb": pages * os.sysconf("SC_PAGESIZE") // 1024}


@contextlib.contextmanager
def told_when_slow() -> Iterator[None]:
    """Writes where every thread is into the log, if what is done within it takes too long."""
    faulthandler.dump_traceback_later(SLOW_S)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def whole(name: str, text: str) -> int:
    """A number; `name` says what it is.

    Raises:
        HttpError: 400, the text is something else.
    """
    if not text.isdecimal() or len(text) > 15:
        raise HttpError(400, f"{name} is {text!r}; send a whole number, one or more.")
    return int(text)


def main() -> None:
    """Runs the service until it is told to stop."""
    notes = Notes(bug(*KINDS))
    faulthandler.enable()
    # A crash is told by its stack trace; nothing is written beside the program.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    routes = {
        "/notes": {"GET": notes.page, "POST": notes.add},
        "/notes/": {"GET": notes.note},
        "/status": {"GET": notes.status},
    }
    Server("buggy-service", routes).run()


if __name__ == "__main__":
    main()
