#!/usr/bin/python

# Copyright (c) VX11 maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vx11_solo_madre
short_description: Bring a host to SOLO_MADRE, or see whether it is there
version_added: 0.1.0
description:
  - SOLO_MADRE is the state in which of all services only the core of the host runs.
  - Closes all windows of a host and proves that nothing but the core is left, or only looks.
  - Needs a token with the scope C(system:write), for looking too, since madre takes the same inventory for it.
author:
  - VX11 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - vx11.power.connection
  - vx11.power.attributes
  - vx11.power.attributes.action_group

attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full

options:
  state:
    description:
      - V(enforced) closes what is open. It fails, naming what still runs, if the host is not in SOLO_MADRE afterwards.
      - V(checked) only looks, and never changes anything.
    type: str
    choices:
      - enforced
      - checked
    default: enforced
  strict:
    description:
      - Whether O(state=checked) fails if the host is not in SOLO_MADRE.
    type: bool
    default: false
  foreign:
    description:
      - What becomes of what runs on the host and belongs neither to the core nor to a window.
      - V(report) names it and leaves it alone, so that the host is not in SOLO_MADRE. V(stop) stops it.
      - Left out, it is as madre is configured, which reports unless told otherwise.
    type: str
    choices:
      - report
      - stop

seealso:
  - module: vx11.power.vx11_window
"""

EXAMPLES = r"""
- name: Only the core runs, now
  vx11.power.vx11_solo_madre:
    url: "{{ vx11_url }}"

- name: Only the core runs, whatever else somebody started
  vx11.power.vx11_solo_madre:
    url: "{{ vx11_url }}"
    foreign: stop

- name: See what runs, and leave it
  vx11.power.vx11_solo_madre:
    url: "{{ vx11_url }}"
    state: checked
  register: host

- name: Stop here unless only the core runs
  vx11.power.vx11_solo_madre:
    url: "{{ vx11_url }}"
    state: checked
    strict: true
"""

RETURN = r"""
solo_madre:
  description: Whether the host is in SOLO_MADRE, after the call; in check mode and with O(state=checked) as found.
  returned: when madre answered
  type: bool
  sample: true
running:
  description: What ran besides the core when madre looked, before it stopped anything.
  returned: when madre answered
  type: list
  elements: dict
  contains:
    service:
      description: Name of the service.
      type: str
    window_id:
      description: Id of its window.
      type: str
    what:
      description: What it is.
      type: str
stopped:
  description: The windows that were closed. For their keys see RV(vx11.power.vx11_window#module:window).
  returned: when madre answered
  type: list
  elements: dict
foreign:
  description: What else runs on the host and belongs neither to the core nor to a window.
  returned: when madre answered
  type: list
  elements: dict
  contains:
    what:
      description: What it is.
      type: str
foreign_stopped:
  description: What did, and was stopped.
  returned: when madre answered
  type: list
  elements: dict
  contains:
    what:
      description: What it is.
      type: str
core:
  description: Names of what the core consists of.
  returned: when madre answered
  type: list
  elements: str
checked_at:
  description: When madre looked, ISO 8601.
  returned: when madre answered
  type: str
took_ms:
  description: How long madre took for it, in milliseconds.
  returned: when madre answered
  type: float
request_ms:
  description: How long the call to madre took, in milliseconds.
  returned: when madre was called
  type: float
problem:
  description: Why madre refused, as of RV(vx11.power.vx11_window#module:problem).
  returned: failure
  type: dict
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vx11.power.plugins.module_utils.arguments import client_of, connection_spec
from ansible_collections.vx11.power.plugins.module_utils.client import Json, MadreClient, MadreError

LISTS = ("running", "stopped", "foreign", "foreign_stopped", "core")


def names(found: t.Iterable[Json]) -> list[str]:
    """What madre found, each by its service's name or by what it is; sorted, each once."""
    return sorted({str(item.get("service") or item.get("what")) for item in found})


def difference(answer: Json, stop_foreign: bool) -> Json:
    """The diff of a task: what runs besides the core. It is empty exactly if nothing changed."""
    before = {"running": names(answer["running"] + answer["foreign"] + answer["foreign_stopped"])}
    left = [] if answer["solo_madre"] or stop_foreign else names(answer["foreign"])
    after = {"running": left} if answer["changed"] else before
    return {"before": before, "after": after}


def survey(client: MadreClient, dry_run: bool, foreign: t.Optional[str] = None) -> Json:
    """Enforce SOLO_MADRE, or with `dry_run` only look: what the task returns."""
    answer = client.solo_madre(dry_run, foreign)
    result = {key: answer.get(key) or [] for key in LISTS}
    result.update({key: answer.get(key) for key in ("solo_madre", "changed", "checked_at", "took_ms")})
    result["request_ms"] = client.request_ms
    return result


def require_solo(client: MadreClient, result: Json, found: Json) -> None:
    """Raise MadreError, with the result, if the host is not in SOLO_MADRE. found: what was seen last."""
    result["solo_madre"] = found["solo_madre"]
    if found["solo_madre"]:
        return
    what = ", ".join(names(found["running"] + found["foreign"])) or "something that it did not name"
    raise MadreError(
        f"The host of the madre at {client.url} is not in SOLO_MADRE: {what} runs. Stop what is not madre's yourself; "
        "for a window see `vx11 window list`.",
        **result,
    )


def look(client: MadreClient, strict: bool) -> Json:
    """See whether the host is in SOLO_MADRE, and change nothing."""
    result = dict(survey(client, dry_run=True), changed=False)
    if strict:
        require_solo(client, result, result)
    return result


def enforce(client: MadreClient, check_mode: bool, foreign: t.Optional[str]) -> Json:
    """Bring the host to SOLO_MADRE; in check mode see what that would take."""
    result = survey(client, dry_run=check_mode, foreign=foreign)
    if not check_mode and not result["solo_madre"]:
        # The answer says what ran before. What still does is seen by looking once more.
        require_solo(client, result, survey(client, dry_run=True))
    return result


def apply(module: AnsibleModule, client: MadreClient) -> Json:
    """Do what the task asks for; the result of the task."""
    if module.params["state"] == "checked":
        result = look(client, module.params["strict"])
    else:
        result = enforce(client, module.check_mode, module.params["foreign"])
    if module._diff:
        result["diff"] = difference(result, module.params["foreign"] == "stop")
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            connection_spec(),
            state={"type": "str", "choices": ["enforced", "checked"], "default": "enforced"},
            strict={"type": "bool", "default": False},
            foreign={"type": "str", "choices": ["report", "stop"]},
        ),
        supports_check_mode=True,
    )
    try:
        result = apply(module, client_of(module))
    except MadreError as error:
        module.fail_json(**error.result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
