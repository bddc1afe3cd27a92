# Copyright (c) VX11 maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a suite's JUnit file says: which tests had which outcome, and why those failed that did."""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

MESSAGE_LENGTH = 300


class OneTest(t.NamedTuple):
    """A test that ran. outcome is passed, skipped, error (outside of the test itself) or failed."""

    name: str
    outcome: str
    seconds: float
    message: str


def read(path: str) -> list[OneTest]:
    """The tests in the file at `path`; none if there is no file, or none that was written to its end."""
    try:
        root = ET.parse(path)  # noqa: S314, pytest wrote it for us a moment ago
    except (OSError, ET.ParseError):
        return []
    tests: dict[str, OneTest] = {}
    # A test that was interrupted stands there without its name.
    for case in root.iterfind(".//testcase[@name]"):
        test = _test(case)
        tests[test.name] = _both(tests[test.name], test) if test.name in tests else test
    return list(tests.values())


_ELEMENTS = {"failure": "failed", "error": "error", "skipped": "skipped"}
_WORSE = ("passed", "skipped", "error", "failed")


def _test(case: ET.Element) -> OneTest:
    kind = next((kind for kind in _ELEMENTS if case.find(kind) is not None), None)
    outcome = _ELEMENTS[kind] if kind else "passed"
    return OneTest(_name(case), outcome, float(case.get("time", "0")), _message(case, kind) if kind else "")


def _both(one: OneTest, two: OneTest) -> OneTest:
    """A test that fails and whose teardown then fails too stands there twice: it counts once, by the worse outcome."""
    worse = max(one.outcome, two.outcome, key=_WORSE.index)
    message = "; ".join(filter(None, [one.message, two.message]))
    return OneTest(one.name, worse, round(one.seconds + two.seconds, 3), message)


def _name(case: ET.Element) -> str:
    """The test as a reader of the suite knows it: its class, if it has one, and its function."""
    inside = case.get("classname", "").split(".")[1:]
    return "::".join([*inside, case.get("name", "")])


def _message(case: ET.Element, kind: str) -> str:
    element = case.find(kind)
    said, text = (element.get("message") or "", element.text or "") if element is not None else ("", "")
    if said == "collection failure":
        # Of a file that cannot be read pytest says only that; why stands at the end of the traceback.
        said = text.rstrip().rpartition("\n")[2].lstrip("E ")
    line = " ".join((said or text).split())
    return line if len(line) <= MESSAGE_LENGTH else line[: MESSAGE_LENGTH - 1] + "…"
