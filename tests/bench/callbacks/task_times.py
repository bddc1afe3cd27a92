"""An Ansible callback that writes how long each task took, from its start to its result, to `VX11_TASK_TIMES`."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: task_times
type: aggregate
short_description: Writes how long each task took
description: One line of JSON a task, with its module and milliseconds.
"""


class CallbackModule(CallbackBase):
    """Ansible calls it in its main process, between tasks."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "task_times"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """A task begins."""
        self._begun = time.perf_counter()

    def v2_runner_on_ok(self, result: Any) -> None:
        """It has succeeded; one that fails leaves no line."""
        took = (time.perf_counter() - self._begun) * 1000
        line = {"module": str(result._task.action), "ms": took}
        with Path(os.environ["VX11_TASK_TIMES"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
