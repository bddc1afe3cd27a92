# Copyright (c) VX11 maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of a suite: the pytest that runs it, what it left, and why it did not pass."""

from __future__ import annotations

import itertools
import os
import sys
import time
import typing as t

from ansible_collections.vx11.power.plugins.plugin_utils import junit, progress
from ansible_collections.vx11.power.plugins.plugin_utils.junit import OneTest
from ansible_collections.vx11.power.plugins.plugin_utils.middle import Middle
from ansible_collections.vx11.power.plugins.plugin_utils.process import Ended, run_group

FAILURES_SHOWN = 10
LINES_SHOWN = 60
LOG, JUNIT, PROGRESS = "output.log", "junit.xml", "progress.jsonl"
NO_TESTS = 5


class Suite(t.NamedTuple):
    """What is to run: a file, of it the tests of these steps or those for after this fault, for so many seconds."""

    name: str
    path: str
    timeout: float
    steps: tuple[str, ...] = ()
    after: str | None = None


class Ran(t.NamedTuple):
    """What came of it.

    running: the test that never ended. ended_at: when each other test did, as in `Progress`. seconds: how long it ran.
    log: where pytest's output is; output: the end of it.
    """

    ended: Ended
    tests: tuple[OneTest, ...]
    steps: tuple[dict[str, t.Any], ...]
    running: str | None
    ended_at: t.Mapping[str, str]
    seconds: float
    log: str | None
    output: tuple[str, ...]

    @property
    def bad(self) -> list[OneTest]:
        """The tests that failed, in themselves or outside."""
        return [test for test in self.tests if test.outcome in ("failed", "error")]

    @property
    def failed_by_itself(self) -> bool:
        """Whether pytest came to its end, and tests failed."""
        return self.ended.code == 1 and not self.ended.timed_out and bool(self.bad)

    def count(self, outcome: str) -> int:
        """How many tests had this outcome."""
        return sum(test.outcome == outcome for test in self.tests)


def new_folder(parent: str, name: str) -> str:
    """A folder for what this run of the suite leaves: `<name>`, `<name>.2` if it has run before, and so on."""
    for number in itertools.count(1):
        path = os.path.join(parent, name if number == 1 else f"{name}.{number}")
        try:
            os.makedirs(path)
        except FileExistsError:
            continue
        return path
    raise AssertionError("numbers do not end")


def run(suite: Suite, folder: str, env: t.Mapping[str, str], middle: Middle | None = None) -> Ran:
    """Run the suite with all that it leaves in `folder`. Raises OSError if it cannot be started.

    middle: who waits for the suite to be in the middle of its work.
    """
    log, xml = os.path.join(folder, LOG), os.path.join(folder, JUNIT)
    own = {"VX11_SUITE": suite.name, "VX11_SUITE_DIR": folder, "PYTHONDONTWRITEBYTECODE": "1"}
    if middle:
        own["VX11_MIDDLE_FD"] = str(middle.end)
    begun = time.monotonic()
    ended = run_group(
        _command(suite, xml),
        log,
        {**env, **own},
        folder,
        suite.timeout,
        pass_fds=[middle.end] if middle else [],
        started=middle.listen if middle else None,
    )
    seconds = time.monotonic() - begun
    noted = progress.read(os.path.join(folder, PROGRESS))
    tests = _with_running(junit.read(xml), noted.running)
    output = tuple(_last_lines(log))
    return Ran(ended, tuple(tests), noted.steps, noted.running, noted.ended, round(seconds, 3), log, output)


def complaint(suite: Suite, ran: Ran) -> str | None:
    """Why the suite did not pass, or None if it did."""
    text = _why(suite, ran)
    if text is None:
        return None
    if ran.bad:
        return text + "".join("\n- " + line for line in _failures(ran))
    return "\n".join([text, *ran.output[-15:]])


def _last_lines(log: str) -> list[str]:
    with open(log, encoding="utf-8", errors="replace") as lines:
        return [line.rstrip("\n") for line in lines][-LINES_SHOWN:]


def _command(suite: Suite, xml: str) -> list[str]:
    """pytest for one file, under the settings beside it alone: a suite acts the same wherever its bundle lies."""
    folder = os.path.dirname(suite.path)
    settings = os.path.join(folder, "pytest.ini")
    return [
        *(sys.executable, "-m", "pytest", "-q"),
        *("-p", "vx11.conductor.suite_plugin"),
        *("-p", "no:cacheprovider"),
        *("-c", settings if os.path.isfile(settings) else os.devnull),
        *("--rootdir", folder),
        *("--confcutdir", folder),
        "--junitxml=" + xml,
        *("--vx11-step=" + step for step in suite.steps),
        *(["--vx11-after=" + suite.after] if suite.after else []),
        suite.path,
    ]


def _with_running(tests: t.Iterable[OneTest], running: str | None) -> list[OneTest]:
    """The tests, with one that never ended; pytest counts it like one that passed, or knows nothing of it."""
    if running is None:
        return list(tests)
    return [*(test for test in tests if test.name != running), OneTest(running, "unfinished", 0.0, "")]


def _why(suite: Suite, ran: Ran) -> str | None:
    total, code = len(ran.tests), ran.ended.code
    where = f"{ran.running} was running" if ran.running else "no test was running"
    if ran.ended.timed_out:
        head = f"The suite {suite.name} was ended at its timeout of {suite.timeout:g} s, while {where}"
        return f"{head}; passed by then: {ran.count('passed')}."
    if ran.bad:
        return f"The suite {suite.name} failed, in {len(ran.bad)} of its {total} tests:"
    if code == NO_TESTS or (code == 0 and not total):
        return None if suite.after else f"The suite {suite.name} holds no tests."
    if code == 0 and not ran.count("passed"):
        return f"The suite {suite.name} proved nothing: all {total} of its tests were skipped."
    if code != 0:
        return f"The suite {suite.name} could not be run to its end: pytest ended with {code}, while {where}."
    return None


def _failures(ran: Ran) -> list[str]:
    shown = [f"{test.name}: {test.message}" for test in ran.bad[:FAILURES_SHOWN]]
    if len(ran.bad) > len(shown):
        shown.append(f"and {len(ran.bad) - len(shown)} more")
    return shown
