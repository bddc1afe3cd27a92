#!/usr/bin/python

# Copyright (c) VX11 maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vx11_window_info
short_description: Read the power windows of a host
version_added: 0.1.0
description:
  - Reads which windows a host has, whether it is in SOLO_MADRE, and what its madre works with.
  - Needs a token with the scope C(power:read).
author:
  - VX11 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - vx11.power.connection
  - vx11.power.attributes
  - vx11.power.attributes.read_only
  - vx11.power.attributes.action_group

options:
  service:
    description: Only the windows of this service.
    type: str
  closed:
    description: Whether the windows that closed recently are returned too.
    type: bool
    default: false

seealso:
  - module: vx11.power.vx11_window
"""

EXAMPLES = r"""
- name: See what is open
  vx11.power.vx11_window_info:
    url: "{{ vx11_url }}"
  register: host

- name: Show how long each window has left
  ansible.builtin.debug:
    msg: "{{ item.service }}: {{ item.remaining_s }} s"
  loop: "{{ host.windows }}"
  loop_control:
    label: "{{ item.service }}"

- name: See why the last window of a service closed
  vx11.power.vx11_window_info:
    url: "{{ vx11_url }}"
    service: auth-service
    closed: true
  register: auth
  failed_when: auth.closed[0].reason != 'expired'
"""

RETURN = r"""
windows:
  description:
    - The windows that are opening, open, closing or stuck.
    - For their keys see RV(vx11.power.vx11_window#module:window).
  returned: success
  type: list
  elements: dict
closed:
  description: The windows that closed recently, newest first.
  returned: if O(closed=true)
  type: list
  elements: dict
solo_madre:
  description: Whether the host is in SOLO_MADRE. Always about the whole cell, whatever O(service) is.
  returned: success
  type: bool
  sample: true
watchdog:
  description: Whether the watchdog is alive.
  returned: success
  type: bool
  sample: true
gateway:
  description: Whether the gateway answers madre; null where there is none.
  returned: success
  type: bool
  sample: true
engine:
  description: What runs the services.
  returned: success
  type: dict
  contains:
    name:
      description: Name of the engine.
      type: str
    why:
      description: Why this engine was taken.
      type: str
    capabilities:
      description: What it can do.
      type: list
      elements: str
cell:
  description: The SOLO_MADRE domain that this madre manages.
  returned: success
  type: str
  sample: default
checked_at:
  description: When madre looked, ISO 8601.
  returned: success
  type: str
request_ms:
  description: How long the call to madre took, in milliseconds.
  returned: when madre was called
  type: float
  sample: 3.1
problem:
  description: Why madre refused, as of RV(vx11.power.vx11_window#module:problem).
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vx11.power.plugins.module_utils.arguments import client_of, connection_spec
from ansible_collections.vx11.power.plugins.module_utils.client import Json, MadreClient, MadreError

SHOWN = ("windows", "solo_madre", "watchdog", "gateway", "engine", "cell", "checked_at")


def read(client: MadreClient, service: str | None, closed: bool) -> Json:
    """What the task returns."""
    answer = client.status(service, closed)
    result = {key: answer.get(key) for key in SHOWN}
    if closed:
        result["closed"] = answer.get("closed") or []
    return dict(result, changed=False, request_ms=client.request_ms)


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            connection_spec(),
            service={"type": "str"},
            closed={"type": "bool", "default": False},
        ),
        supports_check_mode=True,
    )
    try:
        result = read(client_of(module), module.params["service"], module.params["closed"])
    except MadreError as error:
        module.fail_json(**error.result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
