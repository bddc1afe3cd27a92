# Copyright (c) VX11 maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records observations and metrics of a case, on the controller."""

from __future__ import annotations

import os
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.vx11.power.plugins.plugin_utils.observations import (
    ObservationError,
    Record,
    append,
    metric,
    observation,
)

ARGUMENT_SPEC: dict[str, t.Any] = {
    "observations": {"type": "dict"},
    "metrics": {"type": "dict"},
}


class ActionModule(ActionBase):
    """Options and results are documented in plugins/modules/vx11_observe.py."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        args = self.validate_argument_spec(ARGUMENT_SPEC, required_one_of=[tuple(ARGUMENT_SPEC)])[1]
        try:
            records = [observation(*item) for item in (args["observations"] or {}).items()]
            records += [metric(*item) for item in (args["metrics"] or {}).items()]
            recorded = self._record(records)
        except ObservationError as error:
            raise AnsibleActionFail(str(error)) from error
        result.update(changed=False, recorded=recorded, **_by_kind(records))
        return result

    def _record(self, records: list[Record]) -> bool:
        folder = os.environ.get("VX11_CASE_DIR")
        if not folder or self._task.check_mode:
            return False
        append(folder, records, "vx11_observe")
        return True


def _by_kind(records: list[Record]) -> dict[str, dict[str, t.Any]]:
    return {
        "observations": {item.name: item.value for item in records if item.kind == "observation"},
        "metrics": {item.name: {"value": item.value, "unit": item.unit} for item in records if item.kind == "metric"},
    }
