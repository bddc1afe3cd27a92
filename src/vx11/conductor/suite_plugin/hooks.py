"""What the plugin adds to a run of pytest: options and marks, the choice of tests, and a note of each as it begins."""

import signal
from collections.abc import Generator

import pytest

from vx11.conductor.suite_plugin import selection, timing
from vx11.conductor.suite_plugin.files import progress

MARKS = (
    'step(name): the test is a named step; the action\'s "steps" select and order steps',
    "after(fault): the test runs after this fault, and not in the suite's own run",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options that vx11_suite sets."""
    group = parser.getgroup("vx11")
    group.addoption("--vx11-step", action="append", default=[], metavar="NAME", help="run this step; may be repeated")
    group.addoption("--vx11-after", metavar="FAULT", help="run only what is marked for after this fault")


def pytest_configure(config: pytest.Config) -> None:
    """Declares the marks; and listens to the signal by which a suite that hangs is asked where it is."""
    for mark in MARKS:
        config.addinivalue_line("markers", mark)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in all that a shell has started in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keeps the tests that are asked for. Where the suite could not be read, that is what has to be told."""
    if session.testsfailed:
        return
    chosen = selection.choose(items, config.getoption("--vx11-step"), config.getoption("--vx11-after"))
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


def pytest_runtest_logstart(nodeid: str) -> None:
    """Notes which test runs, so that it can be named when it never ends."""
    progress("test_begun", name=_name(nodeid))


def pytest_runtest_logfinish(nodeid: str) -> None:
    """Notes that it has ended."""
    progress("test_ended", name=_name(nodeid))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Times a test that is a named step."""
    name = selection.step_of(item)
    if name is None:
        return (yield)
    with timing.step(name):
        return (yield)


def _name(nodeid: str) -> str:
    """`TestToken::test_expiry` for `suite.py::TestToken::test_expiry`."""
    return nodeid.partition("::")[2] or nodeid
