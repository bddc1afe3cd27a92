#!/usr/bin/python

# Copyright (c) VX11 maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vx11_fault
short_description: Put faults into power windows, and take them away
version_added: 0.1.0
description:
  - Cuts the window of a service off from the network, pauses it or kills it, and takes such a fault away again.
  - madre proves that a fault bites before it answers, and that it is gone when it is taken away.
  - A fault ends with its window. A window closes at its deadline, whatever faults it has.
  - Needs a token with the scope C(fault:write), and a madre that allows faults (C(faults), which is off by default).
author:
  - VX11 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - vx11.power.connection
  - vx11.power.attributes
  - vx11.power.attributes.action_group

attributes:
  check_mode:
    support: full
    details:
      - The windows are read for it, which needs a token with the scope C(power:read).
  diff_mode:
    support: full
    details:
      - The windows as they were are read for it, which needs a token with the scope C(power:read).
  idempotent:
    support: partial
    details:
      - A window that was killed is not open any more, so that it cannot be killed again.

options:
  service:
    description:
      - Name of the service whose window is meant.
      - One of O(service) and O(services) is required.
    type: str
  services:
    description:
      - Names of several services, which get the fault at the same time.
      - If it fails for one of them the task fails, and the others keep what was done.
    type: list
    elements: str
  kind:
    description:
      - V(network_partition) cuts it off from everybody. V(pause) stops its processes where they are. V(kill) ends them
        at once.
    type: str
    choices:
      - network_partition
      - pause
      - kill
    required: true
  state:
    description:
      - V(present) puts the fault into the window, which has to be open.
      - V(absent) takes it away, if it is there. What was killed stays dead.
    type: str
    choices:
      - present
      - absent
    default: present

seealso:
  - module: vx11.power.vx11_window
"""

EXAMPLES = r"""
- name: Cut the logging service off
  vx11.power.vx11_fault:
    url: "{{ vx11_url }}"
    service: logging-service
    kind: network_partition

- name: Let it speak again
  vx11.power.vx11_fault:
    url: "{{ vx11_url }}"
    service: logging-service
    kind: network_partition
    state: absent

- name: Kill both at the same time
  vx11.power.vx11_fault:
    url: "{{ vx11_url }}"
    services: [service-x, service-y]
    kind: kill
"""

RETURN = r"""
window:
  description:
    - The window after the call; in check mode as it would be. It is null if there was none to take a fault from.
    - For its other keys see RV(vx11.power.vx11_window#module:window).
  returned: success without O(services)
  type: dict
  contains:
    faults:
      description: The faults that it has.
      type: list
      elements: str
    proof:
      description: What madre tried to show that the fault bites, or is gone, and what came of it; not in check mode.
      type: dict
  sample:
    service: logging-service
    state: open
    faults:
      - network_partition
windows:
  description: The windows, as RV(window), in the order of O(services); null where there is none or the call failed.
  returned: if O(services) is given and madre was called
  type: list
  elements: dict
request_ms:
  description: How long the last call to madre took, in milliseconds; with O(services) the longest of them.
  returned: when madre was called
  type: float
  sample: 31.4
problem:
  description: Why madre refused, as of RV(vx11.power.vx11_window#module:problem). Its C(code) is V(faults_off) where no
    faults are allowed.
  returned: failure
  type: dict
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vx11.power.plugins.module_utils.arguments import client_of, connection_spec
from ansible_collections.vx11.power.plugins.module_utils.client import Json, MadreClient, MadreError
from ansible_collections.vx11.power.plugins.module_utils.together import for_each

Outcome = t.Tuple[t.Optional[Json], bool]


def faults_of(window: Json | None) -> list[str]:
    """The faults that a window has, sorted."""
    return sorted((window or {}).get("faults") or [])


def difference(before: Json | None, after: Json | None, changed: bool) -> Json:
    """The diff of a task. It is empty exactly if nothing changed."""
    start = {"faults": faults_of(before)}
    return {"before": start, "after": {"faults": faults_of(after)} if changed else start}


class FaultManager:
    """Brings one fault of one window into the state that the task asks for."""

    def __init__(self, module: AnsibleModule, client: MadreClient, service: str) -> None:
        self.kind: str = module.params["kind"]
        self.active = module.params["state"] == "present"
        self.check_mode = module.check_mode
        self.wants_diff = module._diff
        self.client = client
        self.service = service

    def run(self) -> Json:
        """Do it; the result for this service."""
        before = self._current() if self.check_mode or self.wants_diff else None
        window, changed = self._predicted(before) if self.check_mode else self._set()
        result: Json = {"changed": changed, "window": window, "request_ms": self.client.request_ms}
        if self.wants_diff:
            result["diff"] = difference(before, window, changed)
        return result

    def _set(self) -> Outcome:
        try:
            window = self.client.fault(self.service, self.kind, self.active)
        except MadreError as error:
            if error.code == "no_window" and not self.active:
                return None, False
            raise
        return window, bool(window.pop("changed"))

    def _current(self) -> Json | None:
        windows = self.client.status(self.service)["windows"]
        return next((window for window in windows if window["state"] == "open"), None)

    def _predicted(self, window: Json | None) -> Outcome:
        if window is None and not self.active:
            return None, False
        if window is None:
            raise MadreError(
                f"{self.service} cannot get a fault: nothing of it is open on the madre at {self.client.url}.",
                {"status": 404, "code": "no_window", "detail": f"Nothing of {self.service} is open."},
                request_ms=self.client.request_ms,
            )
        others = [fault for fault in faults_of(window) if fault != self.kind]
        after = sorted([*others, self.kind]) if self.active else others
        return dict(window, faults=after), after != faults_of(window)


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            connection_spec(),
            service={"type": "str"},
            services={"type": "list", "elements": "str"},
            kind={"type": "str", "choices": ["network_partition", "pause", "kill"], "required": True},
            state={"type": "str", "choices": ["present", "absent"], "default": "present"},
        ),
        mutually_exclusive=[("service", "services")],
        required_one_of=[("service", "services")],
        supports_check_mode=True,
    )

    def one(service: str) -> Json:
        return FaultManager(module, client_of(module), service).run()

    services = module.params["services"]
    try:
        result = one(module.params["service"]) if services is None else for_each(services, one)
    except MadreError as error:
        module.fail_json(**error.result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
