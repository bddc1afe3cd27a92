# Copyright (c) VX11 maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each call of a module did in a case: a line in $VX11_CASE_DIR/steps.jsonl, which the conductor measures by."""

from __future__ import annotations

import os
import time
import typing as t

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.playbook.task import Task
from ansible_collections.vx11.power.plugins.plugin_utils import lines

FILE = "steps.jsonl"
# In the environment of a case: its folder.
FOLDER = "VX11_CASE_DIR"
SCHEMA = 1

Result = t.Dict[str, t.Any]


def recorded(task: Task, work: t.Callable[[], Result]) -> Result:
    """Do the work of a task, and write down what it did; outside a case and in check mode only do it.

    The line has the times of CLOCK_BOOTTIME in nanoseconds, as text, and `wall_ns` for display. The token is left out;
    of a task with no_log, all that was given and returned is.
    """
    folder = os.environ.get(FOLDER)
    if not folder or task.check_mode:
        return work()
    # Taken before the work, which may add options of its own.
    given = {name: value for name, value in task.args.items() if name != "token"}
    begun, wall = now(), time.time_ns()
    try:
        result = work()
    except AnsibleError as error:
        _append(folder, _line(task, given, begun, wall, {"failed": True, "msg": error.message}))
        raise
    _append(folder, _line(task, given, begun, wall, result))
    return result


def now() -> int:
    """Nanoseconds on CLOCK_BOOTTIME, by which all of a case is timed."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _line(task: Task, given: Result, begun: int, wall: int, result: Result) -> Result:
    returned = {name: value for name, value in result.items() if _is_told(name)}
    return {
        "schema": SCHEMA,
        "module": task.action.rpartition(".")[2],
        "args": {} if task.no_log else given,
        "begun_ns": str(begun),
        "ended_ns": str(now()),
        "wall_ns": str(wall),
        "changed": bool(result.get("changed")),
        "failed": bool(result.get("failed")),
        "msg": None if task.no_log else result.get("msg"),
        "result": {} if task.no_log else returned,
    }


def _is_told(name: str) -> bool:
    """Whether a value of a result is what the module returned, and stands nowhere else in the line."""
    return name not in ("changed", "failed", "msg", "invocation", "exception") and not name.startswith("_ansible")


def _append(folder: str, line: Result) -> None:
    path = os.path.join(folder, FILE)
    try:
        lines.append(path, [line])
    except OSError as error:
        raise AnsibleActionFail(f"What the task did cannot be written to {path}: {error.strerror}.") from error
