# Copyright (c) VX11 maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a suite's JUnit file says: how many tests had which outcome, and why those failed that did."""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

MESSAGE_LENGTH = 300


class Summary(t.NamedTuple):
    """Counts of tests by outcome, and a line for each that failed."""

    passed: int = 0
    failed: int = 0
    errors: int = 0
    skipped: int = 0
    failures: tuple[str, ...] = ()


def read(path: str) -> Summary:
    """The summary of the file at `path`; an empty one if there is none, or none that was written to its end."""
    try:
        root = ET.parse(path)  # noqa: S314, pytest wrote it for us a moment ago
    except (OSError, ET.ParseError):
        return Summary()
    # A test that fails and whose teardown then fails too stands there twice: it counts once, by the worse outcome.
    outcomes: dict[str, str] = {}
    failures: list[str] = []
    for case in root.iter("testcase"):
        name, outcome = _name(case), _outcome(case)
        outcomes[name] = max(outcome, outcomes.get(name, outcome), key=_ORDER.index)
        if outcome in ("failure", "error"):
            failures.append(f"{name}: {_message(case, outcome)}")
    failed, errors, skipped = (list(outcomes.values()).count(kind) for kind in ("failure", "error", "skipped"))
    # A test that was interrupted stands there like one that passed. Only the suite's own number leaves it out.
    tests = sum(int(suite.get("tests", "0")) for suite in root.iter("testsuite"))
    return Summary(max(0, tests - failed - errors - skipped), failed, errors, skipped, tuple(failures))


_ORDER = ("passed", "skipped", "error", "failure")


def _name(case: ET.Element) -> str:
    """The test as a reader of the suite knows it: its class, if it has one, and its function."""
    inside = case.get("classname", "").split(".")[1:]
    return "::".join([*inside, case.get("name", "?")])


def _outcome(case: ET.Element) -> str:
    return next((kind for kind in ("failure", "error", "skipped") if case.find(kind) is not None), "passed")


def _message(case: ET.Element, outcome: str) -> str:
    element = case.find(outcome)
    text = (element.get("message") or element.text or "") if element is not None else ""
    line = " ".join(text.split())
    return line if len(line) <= MESSAGE_LENGTH else line[: MESSAGE_LENGTH - 1] + "…"
