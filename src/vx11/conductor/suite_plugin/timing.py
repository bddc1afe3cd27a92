"""Named parts of a suite, and the middle of an operation."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from vx11.conductor.suite_plugin import files

MIDDLE = "VX11_MIDDLE_FD"


@contextmanager
def step(name: str) -> Iterator[None]:
    """Times a part of the suite, whatever becomes of it: `passed`, `failed` or `skipped`."""
    begun = files.now()
    outcome = "failed"
    try:
        yield
        outcome = "passed"
    except pytest.skip.Exception:
        outcome = "skipped"
        raise
    finally:
        seconds = round((files.now() - begun) / 1e9, 6)
        files.progress("step", name=name, outcome=outcome, seconds=seconds, begun_ns=str(begun))


def mid_operation() -> None:
    """Says that the suite is in the middle of what is to be interrupted; returns at once."""
    files.progress("mid_operation")
    if handle := os.environ.pop(MIDDLE, None):
        # Only the first middle counts: who waits for it has what they need.
        os.write(int(handle), b"m")
        os.close(int(handle))
