"""A way to run an action plugin as a task does, without a playbook around it."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.task import Task
from ansible.template import Templar

RunAction = Callable[..., dict[str, Any]]


@pytest.fixture
def run_action() -> RunAction:
    """Run a plugin with these options. `check` is check mode, `variables` are the host's."""

    def run(
        plugin: ModuleType, check: bool = False, variables: dict[str, Any] | None = None, **options: Any
    ) -> dict[str, Any]:
        task = Task()
        task.action = plugin.__name__.rpartition(".")[2]
        task.args = options
        task.check_mode = check
        templar = Templar(DataLoader(), variables=variables or {})
        connection = mock.Mock(_shell=mock.Mock(tmpdir=None))
        action = plugin.ActionModule(task, connection, mock.Mock(), DataLoader(), templar, mock.Mock())
        action._load_name = task.action  # as Ansible's loader does
        result: dict[str, Any] = action.run(task_vars=variables or {})
        return result

    return run
