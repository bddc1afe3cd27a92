#!/usr/bin/python

# Copyright (c) VX11 maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vx11_window
short_description: Open, close, hold and release power windows
version_added: 0.1.0
description:
  - Opens a service of a host for a stated time and within stated limits, holds that window beyond its deadline,
    releases it, or closes it.
  - Opens several services at the same time, if they are given as O(services).
  - A window closes by itself at its deadline. Nobody has to close it for that.
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
      - With O(state=open), madre makes all its checks without a side effect, so that a refusal shows in check mode too.
  diff_mode:
    support: full
    details:
      - The window as it was is read for it, which needs a token with the scope C(power:read).
  idempotent:
    support: full

options:
  state:
    description:
      - V(open) opens a window of the service, unless one is open already. An open window keeps its deadline (see
        O(min_remaining)) and its limits; asking for other limits than it has fails. If O(hold) is given and differs, it
        is held or released.
      - V(closed) closes the window, if there is one.
      - V(held) keeps an open window open beyond its deadline. It fails if there is no open window.
      - V(released) takes the hold away, if there is one. A window whose deadline has passed closes at once.
    type: str
    choices:
      - open
      - closed
      - held
      - released
    default: open
  service:
    description:
      - Name of the service, as in the catalogue. A host has at most one window of each service.
      - One of O(service), O(services) and O(window_id) is required; with O(state=open) not the last.
    type: str
  services:
    description:
      - Names of several services, which are opened at the same time, each with all the other options. For O(state=open)
        alone.
      - If one of them cannot be opened the task fails, and the others stay open.
    type: list
    elements: str
  window_id:
    description:
      - Id of the window, instead of O(service). It never means a later window of the same service.
    type: str
  ttl:
    description:
      - How long the window is to stay open, as a number of seconds or with a unit, for example V(30), V(30s), V(5m) or
        V(1h).
      - If it is not given, the service's own C(x-vx11.ttl) applies, else 300 seconds.
      - Only used if O(state=open).
    type: str
  hold:
    description:
      - Whether the window is to stay open beyond its deadline.
      - If it is not given, a new window is not held, and the hold of an open one stays as it is.
      - Only used if O(state=open).
    type: bool
  resources:
    description:
      - Limits of the window. A limit that does not take effect makes madre refuse the window.
      - Only used if O(state=open).
    type: dict
    suboptions:
      cpu:
        description: CPU time, in cores.
        type: float
      memory:
        description: Memory, as a number of bytes or with a unit, for example V(256MB).
        type: str
      iops:
        description: I/O operations a second, for reads and for writes each.
        type: int
      read_iops:
        description: Read operations a second.
        type: int
      write_iops:
        description: Write operations a second.
        type: int
      pids:
        description: Number of processes and threads.
        type: int
  min_remaining:
    description:
      - If the window is open already and has less time left than this, it is extended so that O(ttl) remains. Written
        like O(ttl).
      - Only used if O(state=open).
    type: str
  force:
    description:
      - Close at once, without the grace in which the service may end by itself.
      - Only used if O(state=closed).
    type: bool
    default: false
  refusal:
    description:
      - What becomes of the task if madre refuses (answers 4xx with a problem document).
      - With V(failed) it fails. With V(recorded) it does not, and RV(problem) says why, for attempts where being
        refused is an outcome. Whatever else goes wrong fails the task all the same.
    type: str
    choices:
      - failed
      - recorded
    default: failed
  wait:
    description:
      - Whether madre is to answer only when the window is ready, or closed. Otherwise it answers when it has begun.
    type: bool
    default: true

seealso:
  - module: vx11.power.vx11_window_info
  - module: vx11.power.vx11_solo_madre
  - module: vx11.power.vx11_fault
"""

EXAMPLES = r"""
- name: Open the authentication service for five minutes
  vx11.power.vx11_window:
    url: "{{ vx11_url }}"
    service: auth-service
    ttl: 5m
    resources:
      cpu: 0.5
      memory: 256MB
  register: auth

- name: Use its address
  ansible.builtin.uri:
    url: "{{ auth.window.endpoints[0] }}/health"

- name: Make sure that ten more minutes are left, and never shorten it
  vx11.power.vx11_window:
    url: "{{ vx11_url }}"
    service: auth-service
    ttl: 10m
    min_remaining: 10m

- name: Keep it open beyond its deadline
  vx11.power.vx11_window:
    url: "{{ vx11_url }}"
    service: auth-service
    state: held

- name: Close it now
  vx11.power.vx11_window:
    url: "{{ vx11_url }}"
    service: auth-service
    state: closed

- name: Open two services at the same time
  vx11.power.vx11_window:
    url: "{{ vx11_url }}"
    services: [service-x, service-y]
    ttl: 60s

- name: Being refused is what is expected here
  vx11.power.vx11_window:
    url: "{{ vx11_url }}"
    service: blocked-service
    refusal: recorded
  register: attempt
  failed_when: attempt.problem.code | default('') != 'service_not_allowed'
"""

RETURN = r"""
window:
  description:
    - The window after the call; in check mode as it would be.
    - It is null if nothing was open and nothing was to be opened, or if madre refused.
  returned: success without O(services), and on failure where the window did not reach the state asked for
  type: dict
  contains:
    window_id:
      description: Id (UUID) of the window; null in check mode where a new one would be opened.
      type: str
    service:
      description: Name of the service.
      type: str
    generation:
      description: How often a window of this service was opened in the cell.
      type: int
    cell:
      description: The SOLO_MADRE domain that the window belongs to.
      type: str
    state:
      description: One of V(opening), V(open), V(closing), V(closed) and V(stuck).
      type: str
    opened_at:
      description: When it was opened, ISO 8601.
      type: str
    ready_at:
      description: When its service was ready, ISO 8601; null before.
      type: str
    startup_ms:
      description: Milliseconds from opening to ready; null before.
      type: float
    expires_at:
      description: Its deadline, ISO 8601.
      type: str
    remaining_s:
      description: Seconds until it closes by itself, at its deadline or, while it is held, when the hold ends.
      type: float
    hold:
      description: Whether it stays open beyond its deadline.
      type: bool
    hold_until:
      description: When a hold ends, ISO 8601; null without one.
      type: str
    opened_by:
      description: Who opened it, the C(sub) of the token.
      type: str
    requested:
      description: Whether somebody asked for it; otherwise it is open only for windows that need it.
      type: bool
    depends_on:
      description: Services that it needs, whose windows are open for as long as its own.
      type: list
      elements: str
    needed_by:
      description: Services that need it now.
      type: list
      elements: str
    resources:
      description: Its limits, those that are set; memory in bytes.
      type: dict
    not_enforced:
      description: Limits of a profile that did not take effect.
      type: list
      elements: str
    endpoints:
      description: URLs at which the service answers.
      type: list
      elements: str
    usage:
      description:
        - CPU, memory, I/O and network bytes used since it was started, as last sampled. C(cpu_percent) is the mean
          since it was ready, C(cpu_peak_percent) the most between two samples.
      type: dict
    closed_at:
      description: When it closed, ISO 8601; null before.
      type: str
    reason:
      description:
        - Why it closed, one of V(expired), V(requested), V(forced), V(solo_madre), V(open_failed), V(crashed),
          V(completed), V(lost) and V(watchdog); null before.
      type: str
    detail:
      description: What more is known of why it closed; null where nothing is.
      type: str
    open_s:
      description: Seconds that it has been open, or was.
      type: float
    close_ms:
      description: Milliseconds that closing took; null before it closed.
      type: float
    killed:
      description: Whether it did not end by itself within its grace; null before it closed.
      type: bool
  sample:
    window_id: 7f1d8a52-6d9c-4a7e-9a51-0d0a7c1f3b66
    service: auth-service
    state: open
    hold: false
    remaining_s: 299.6
    resources:
      cpu: 0.5
      memory: 268435456
    endpoints:
      - http://127.0.0.1:43117
windows:
  description: The windows, as RV(window), in the order of O(services); null for one that could not be opened.
  returned: if O(services) is given and madre was called
  type: list
  elements: dict
request_ms:
  description: How long the last call to madre took, in milliseconds; with O(services) the longest of them.
  returned: when madre was called
  type: float
  sample: 412.7
problem:
  description:
    - Why madre refused; with O(services), the first of them that it refused.
    - All but C(errors) is null if it is not madre that refused, for example if it cannot be reached.
  returned: failure, and with O(refusal=recorded) where madre refused
  type: dict
  contains:
    status:
      description: The HTTP status.
      type: int
    code:
      description: The kind of problem, for example V(service_not_allowed), V(limits_differ) or V(open_failed).
      type: str
    detail:
      description: What was wrong, as a sentence.
      type: str
    errors:
      description: The fields that were wrong, each with C(field) and C(message).
      type: list
      elements: dict
  sample:
    status: 403
    code: service_not_allowed
    detail: blocked-service is not on the allowlist.
    errors: []
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vx11.power.plugins.module_utils.arguments import (
    client_of,
    connection_spec,
    number_or_text,
    without_none,
)
from ansible_collections.vx11.power.plugins.module_utils.client import Json, MadreClient, MadreError
from ansible_collections.vx11.power.plugins.module_utils.together import for_each

Outcome = t.Tuple[t.Optional[Json], bool]


def view(window: Json | None) -> Json:
    """What a diff shows of a window: what was asked for, and nothing that moves by itself."""
    if window is None or window["state"] == "closed":
        return {"state": "closed"}
    return without_none({key: window.get(key) for key in ("state", "hold", "expires_at", "resources")})


def name_of(window: Json) -> str:
    """How messages name a window."""
    return f"window {window['window_id']} of {window['service']}"


def difference(before: Json | None, after: Json | None, changed: bool) -> Json:
    """The diff of a task. It is empty exactly if nothing changed."""
    start = view(before)
    return {"before": start, "after": view(after) if changed else start}


class WindowManager:
    """Brings one window into the state that the task asks for.

    madre itself compares what is asked with what is, in one step, and says whether that changed anything; so a task is
    one call. What was there before is read only for check mode and diff mode.
    """

    def __init__(self, module: AnsibleModule, client: MadreClient, service: t.Optional[str] = None) -> None:
        """service: the one of several that this is about."""
        self.params = dict(module.params, service=service) if service else module.params
        self.check_mode = module.check_mode
        self.wants_diff = module._diff
        self.client = client
        self.target = without_none({key: self.params[key] for key in ("service", "window_id")})
        self.label = self.params["service"] or self.params["window_id"]
        self.before: Json | None = None

    def run(self) -> Json:
        """Do it; the result of the task."""
        state = self.params["state"]
        if self.wants_diff or (self.check_mode and state != "open"):
            self.before = self._current()
        actions = {"open": self.open, "closed": self.close, "held": self.hold, "released": self.release}
        window, changed = actions[state]()
        self._confirm(window)
        result: Json = {"changed": changed, "window": window, "request_ms": self.client.request_ms}
        if self.wants_diff:
            result["diff"] = difference(self.before, window, changed)
        return result

    def open(self) -> Outcome:
        """Open the service, or find it open; then see to the hold of a window that was open before."""
        request = self._opening()
        window, changed = self._call("open", request)
        if self.check_mode and changed:
            window["state"] = "open" if self.params["wait"] else "opening"
            window["resources"] = window.get("resources") or request.get("resources", {})
        hold = self.params["hold"]
        if hold is None or window["hold"] == hold:
            return window, changed
        if not hold:
            self._refuse_if_overdue(window)
        if self.check_mode:
            return dict(window, hold=hold), True
        body = {"window_id": window["window_id"], "hold": hold, "wait": self.params["wait"]}
        window, held = self._call("hold", body)
        return window, changed or held

    def close(self) -> Outcome:
        """Close the window, if there is one."""
        if self.check_mode:
            return self._predicted_close()
        return self._call_if_open("close", dict(self.target, force=self.params["force"], wait=self.params["wait"]))

    def hold(self) -> Outcome:
        """Hold the window, which has to be open."""
        if self.check_mode:
            window, changed = self._predicted_hold(True)
        else:
            window, changed = self._call_if_open("hold", dict(self.target, hold=True, wait=self.params["wait"]))
        if window is None:
            raise MadreError(
                f"{self.label} cannot be held: nothing of it is open on the madre at {self.client.url}. Open it first, "
                "with state=open and hold=true.",
                {"status": 404, "code": "no_window", "detail": f"Nothing of {self.label} is open."},
                request_ms=self.client.request_ms,
            )
        return window, changed

    def release(self) -> Outcome:
        """Take the hold away, if there is one."""
        if self.check_mode:
            return self._predicted_hold(False)
        return self._call_if_open("hold", dict(self.target, hold=False, wait=self.params["wait"]))

    def _opening(self) -> Json:
        resources = without_none(self.params["resources"] or {})
        if "memory" in resources:
            resources["memory"] = number_or_text(resources["memory"])
        body = {
            "service": self.params["service"],
            "ttl": number_or_text(self.params["ttl"]),
            "min_remaining": number_or_text(self.params["min_remaining"]),
            "hold": self.params["hold"],
            "resources": resources or None,
            "wait": self.params["wait"],
            "dry_run": True if self.check_mode else None,
        }
        return without_none(body)

    def _call(self, verb: str, body: Json) -> tuple[Json, bool]:
        window = self.client.window(verb, body)
        return window, bool(window.pop("changed"))

    def _call_if_open(self, verb: str, body: Json) -> Outcome:
        try:
            return self._call(verb, body)
        except MadreError as error:
            if error.code == "no_window":
                return None, False
            raise

    def _current(self) -> Json | None:
        """The window that the task is about, as it is now."""
        for window in self.client.status(self.params["service"])["windows"]:
            if all(window[key] == value for key, value in self.target.items()):
                return window
        return None

    def _predicted_close(self) -> Outcome:
        if self.before is None:
            return None, False
        state = "closed" if self.params["wait"] else "closing"
        return dict(self.before, state=state), self.before["state"] != "closing"

    def _predicted_hold(self, hold: bool) -> Outcome:
        window = self.before
        if window is None or window["state"] not in ("opening", "open"):
            return None, False
        changed = window["hold"] != hold
        if changed and not hold and self._is_overdue(window):
            return dict(window, hold=False, state="closed"), True
        return dict(window, hold=hold), changed

    def _is_overdue(self, window: Json) -> bool:
        """Whether the deadline has passed, so that only its hold keeps the window open."""
        # By madre's clock, not by this host's. Times in ISO 8601 and UTC sort as text.
        return window["expires_at"] <= self.client.status(window["service"])["checked_at"]

    def _refuse_if_overdue(self, window: Json) -> None:
        if self._is_overdue(window):
            raise MadreError(
                f"The {name_of(window)} is past its deadline and open only because it is held: with hold=false "
                "it would close. Extend it first (`vx11 window extend`), or use state=released.",
                window=window,
                request_ms=self.client.request_ms,
            )

    def _confirm(self, window: Json | None) -> None:
        """Fail if the window is in another state than asked for, although madre was to wait for it."""
        wanted = self.params["state"]
        states = {"open": ["open"], "closed": ["closed"], "held": ["opening", "open"]}.get(wanted)
        if window is None or states is None or self.check_mode or not self.params["wait"]:
            return
        if window["state"] not in states:
            raise MadreError(
                f"The {name_of(window)} was to be {wanted}, but is {window['state']}. "
                f"`vx11 window logs {window['window_id']}` shows what its service said.",
                window=window,
                request_ms=self.client.request_ms,
            )


def attempt(module: AnsibleModule, service: t.Optional[str] = None) -> Json:
    """What becomes of one window: the result of the task; a refusal that is to be recorded is one too."""
    try:
        return WindowManager(module, client_of(module), service).run()
    except MadreError as error:
        if module.params["refusal"] == "recorded" and error.is_refusal:
            return dict(error.result(), changed=False, window=None)
        raise


def argument_spec() -> Json:
    """The options of the module."""
    resources = {
        "cpu": {"type": "float"},
        "memory": {"type": "str"},
        "iops": {"type": "int"},
        "read_iops": {"type": "int"},
        "write_iops": {"type": "int"},
        "pids": {"type": "int"},
    }
    return dict(
        connection_spec(),
        state={"type": "str", "choices": ["open", "closed", "held", "released"], "default": "open"},
        service={"type": "str"},
        services={"type": "list", "elements": "str"},
        window_id={"type": "str"},
        ttl={"type": "str"},
        hold={"type": "bool"},
        resources={"type": "dict", "options": resources},
        min_remaining={"type": "str"},
        force={"type": "bool", "default": False},
        refusal={"type": "str", "choices": ["failed", "recorded"], "default": "failed"},
        wait={"type": "bool", "default": True},
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec=argument_spec(),
        mutually_exclusive=[("service", "services", "window_id")],
        required_one_of=[("service", "services", "window_id")],
        required_if=[("state", "open", ["service", "services"], True)],
        supports_check_mode=True,
    )
    services = module.params["services"]
    if services is not None and module.params["state"] != "open":
        module.fail_json(msg="The option services is for state=open; for other states give one service or window_id.")
    try:
        result = attempt(module) if services is None else for_each(services, lambda name: attempt(module, name))
    except MadreError as error:
        module.fail_json(**error.result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
