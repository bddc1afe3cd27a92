# Copyright (c) VX11 maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules of ours on this machine: their own code, run in Ansible's process, as they would run if they were shipped.

To build a module, copy it and start an interpreter for it takes ten times as long as its call to madre.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import typing as t
from types import ModuleType

from ansible.module_utils import basic
from ansible.module_utils.common import json as ansible_json
from ansible.plugins.action import ActionBase
from ansible.vars.clean import remove_internal_keys
from ansible_collections.vx11.power.plugins.plugin_utils import steps

# Since ansible-core 2.19 what goes to a module and comes back is written by a named profile; 2.18 knows none.
PROFILES: tuple[str, ...] = ("legacy",) if hasattr(ansible_json, "get_module_encoder") else ()

Result = t.Dict[str, t.Any]


def _encoding() -> Result:
    """How json.dumps writes arguments for a module."""
    if PROFILES:
        to_module = ansible_json.Direction.CONTROLLER_TO_MODULE
        return {"cls": ansible_json.get_module_encoder(PROFILES[0], to_module)}
    return {"cls": ansible_json.AnsibleJSONEncoder, "vault_to_text": True}


# Found once, before Ansible forks a process for each task.
ENCODING = _encoding()


class InProcessAction(ActionBase):
    """An action that calls its module, here if the task runs on this machine as this user; and keeps what it did.

    In a case it is always called here: the conductor has proved that the host's madre answers from here, and its token
    is in the environment of this process alone. Whatever else the case does reaches the host by its connection.
    """

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = True

    # The module, as it was imported.
    module: ModuleType

    def run(self, tmp: str | None = None, task_vars: Result | None = None) -> Result:
        result = super().run(tmp, task_vars)
        call = self._call_here if self._is_here() else self._call_there
        result.update(steps.recorded(self._task, lambda: call(task_vars or {})))
        return result

    def _is_here(self) -> bool:
        if os.environ.get(steps.FOLDER) and not self._task.async_val:
            return True
        return self._connection.transport == "local" and not self._connection.become and not self._task.async_val

    def _call_here(self, task_vars: Result) -> Result:
        arguments = dict(self._task.args)
        self._update_module_args(self._task.action, arguments, task_vars)
        environment: dict[str, str] = {}
        self._compute_environment_string(environment)
        printed = run_main(self.module, arguments, environment)
        result: Result = self._parse_returned_data({"stdout": printed}, *PROFILES)
        remove_internal_keys(result)
        return result

    def _call_there(self, task_vars: Result) -> Result:
        wrap_async = self._task.async_val and not self._connection.has_native_async
        arguments = dict(self._task.args)
        result: Result = self._execute_module(module_args=arguments, task_vars=task_vars, wrap_async=wrap_async)
        if not wrap_async:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result


def run_main(module: ModuleType, arguments: Result, environment: t.Mapping[str, str]) -> str:
    """Run a module's main() with these arguments; what it printed, which is its result as JSON."""
    printed = io.StringIO()
    # Where a module that was shipped finds its arguments, in the form in which they are shipped.
    told: Result = {"_ANSIBLE_ARGS": json.dumps({"ANSIBLE_MODULE_ARGS": arguments}, **ENCODING).encode()}
    if PROFILES:
        told["_ANSIBLE_PROFILE"] = PROFILES[0]
    with contextlib.ExitStack() as around:
        around.enter_context(_changed(vars(basic), told))
        around.enter_context(_changed(os.environ, {name: str(value) for name, value in environment.items()}))
        around.enter_context(contextlib.redirect_stdout(printed))
        around.enter_context(contextlib.suppress(SystemExit))
        module.main()
    return printed.getvalue()


@contextlib.contextmanager
def _changed(names: t.MutableMapping[str, t.Any], changes: t.Mapping[str, t.Any]) -> t.Iterator[None]:
    """These names have other values for as long as the block lasts."""
    before = {name: names[name] for name in changes if name in names}
    names.update(changes)
    try:
        yield
    finally:
        for name in changes:
            names.pop(name, None)
        names.update(before)
