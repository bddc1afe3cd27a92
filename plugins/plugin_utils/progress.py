# Copyright (c) VX11 maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a suite noted while it ran, in its progress.jsonl: how far it came, also if it never ended."""

from __future__ import annotations

import json
import typing as t


class Progress(t.NamedTuple):
    """steps: name, seconds and outcome of each step that ended. running: the test that had begun and not ended.

    ended: when each test ended, nanoseconds of CLOCK_BOOTTIME, as text.
    """

    steps: tuple[dict[str, t.Any], ...] = ()
    running: str | None = None
    ended: t.Mapping[str, str] = {}


def read(path: str) -> Progress:
    """What is in the file at `path`; nothing if there is none. A last line that is torn is left out."""
    steps: list[dict[str, t.Any]] = []
    running = None
    ended: dict[str, str] = {}
    for note in _notes(path):
        if note["event"] == "step":
            steps.append({name: note[name] for name in ("name", "seconds", "outcome")})
        elif note["event"] == "test_begun":
            running = note["name"]
        elif note["event"] == "test_ended":
            running = None
            ended[note["name"]] = note["ns"]
    return Progress(tuple(steps), running, ended)


def _notes(path: str) -> t.Iterator[dict[str, t.Any]]:
    try:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)
    except (FileNotFoundError, ValueError):
        return
