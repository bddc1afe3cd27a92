#!/usr/bin/python

# Copyright (c) VX11 maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vx11_suite
short_description: Run a pytest suite against the windows of a case
version_added: 0.1.0
description:
  - Runs one pytest file on the controller, with the fixtures of VX11, and fails if it does.
  - Records the observation C(suite_<name>_passed), after a fault C(suite_<name>_after_<fault>_passed). Hyphens become
    underscores, capitals small letters.
  - Neither a C(pytest.ini) nor a C(conftest.py) of the folders above the suite has an influence; those beside it have.
  - Nothing is written beside the suite. Its working directory is the folder of its output.
author:
  - VX11 maintainers (!UNKNOWN)
requirements:
  - the Python package vx11, in the environment of ansible-core on the controller
extends_documentation_fragment:
  - vx11.power.attributes

attributes:
  check_mode:
    support: none
    details:
      - The task is skipped, for what a suite does cannot be foretold.
  diff_mode:
    support: N/A
    details:
      - What a suite does to the services that it probes is not known to this action.
  idempotent:
    support: N/A
    details:
      - A suite runs each time. RV(ignore:changed) is always V(false).

options:
  name:
    description:
      - Name of the suite, for the file C($VX11_MATRIX_DIR/suites/<name>.py). The conductor sets E(VX11_MATRIX_DIR).
      - With O(path), the name under which the suite is recorded; if it is not given, that of the file.
      - One of O(name) and O(path) is required.
    type: str
  path:
    description: Path of the suite's file on the controller, for one that lies elsewhere.
    type: path
  url:
    description:
      - Base URL of the host's entry (tentaculo_link), which the suite gets as E(VX11_URL).
      - If it is not set, the host variable C(vx11_url) is used, or else the environment variable E(VX11_URL).
    type: str
  token:
    description:
      - The bearer token that the suite gets as E(VX11_TOKEN). It stands in no command line.
      - If it is not set, the environment variable E(VX11_TOKEN) of the controller is passed on.
    type: str
  timeout:
    description: Seconds after which the suite, with all that it started, is ended, and the task fails.
    type: float
    default: 300.0

  steps:
    description:
      - Names of steps of the suite (tests marked C(step)). Exactly these run, in this order.
      - A name for which the suite has no test fails the task, which then says what steps there are.
    type: list
    elements: str
  after:
    description:
      - Name of a fault. Only the tests run that are marked C(after) with it, which are left out otherwise.
      - If there are none the suite passes.
      - Mutually exclusive with O(steps) and O(interrupt).
    type: str
  interrupt:
    description:
      - Closes a window gracefully while the suite works, as soon as it says (C(mid_operation)) that it is in the middle
        of it.
      - A suite whose tests then fail does not fail the task. The task fails if nothing was interrupted.
      - Mutually exclusive with O(after) and O(expect_failure).
    type: dict
    suboptions:
      service:
        description: The service whose window is closed.
        type: str
        required: true
  expect_failure:
    description:
      - Whether the suite is meant to fail. If tests of it fail, that is what was wanted; if it passes, the task fails.
      - A suite that cannot be run, or is ended at its timeout, fails the task all the same.
    type: bool
    default: false

seealso:
  - module: vx11.power.vx11_observe
"""

EXAMPLES = r"""
- name: Probe the endpoints of the authentication service
  vx11.power.vx11_suite:
    name: auth_endpoints
    timeout: 60

- name: Run two steps of the token flow
  vx11.power.vx11_suite:
    name: token_flow
    steps: [get_token, refresh_flow]

- name: Close the window in the middle of an upload
  vx11.power.vx11_suite:
    name: large_upload
    interrupt:
      service: upload-service

- name: See a failure where one is expected
  vx11.power.vx11_suite:
    name: failure_scenario
    expect_failure: true

- name: See what is left after the fault
  vx11.power.vx11_suite:
    name: log_ingestion
    after: force_failure

- name: Run a suite of one's own by hand
  vx11.power.vx11_suite:
    path: "{{ playbook_dir }}/../checks/smoke.py"
    url: http://127.0.0.1:8000
    token: "{{ lookup('ansible.builtin.env', 'VX11_TOKEN') }}"
"""

RETURN = r"""
suite:
  description: The name under which the suite is recorded.
  returned: when the suite was started
  type: str
  sample: auth_endpoints
passed:
  description: Whether the suite passed, whatever was wanted of it.
  returned: when the suite was started
  type: bool
  sample: true
expected_failure:
  description: Whether tests of it failed as O(expect_failure) wants it.
  returned: when the suite was started
  type: bool
  sample: false
interrupted:
  description: Whether a window was closed in the middle of it.
  returned: when the suite was started
  type: bool
  sample: false
interruption:
  description: How the window was closed; null if it was not.
  returned: if O(interrupt) is given and the suite was started
  type: dict
  contains:
    window:
      description: The window, as RV(vx11.power.vx11_window#module:window).
      type: dict
    begun_ns:
      description: When the call began, in nanoseconds of CLOCK_BOOTTIME, as text.
      type: str
    ended_ns:
      description: When it was answered.
      type: str
tests:
  description: The tests that ran.
  returned: when the suite was started
  type: list
  elements: dict
  contains:
    name:
      description: Its name, with that of its class.
      type: str
    outcome:
      description:
        - V(passed), V(failed), V(error) for one that failed outside of the test itself, for example in a fixture,
          V(skipped), also for one that failed as it was expected to, or V(unfinished) for one that was ended.
        - A suite in which all were skipped fails.
      type: str
    seconds:
      description: How long it took.
      type: float
    message:
      description: Why it failed or was skipped, in one line; empty for one that passed.
      type: str
    ended_ns:
      description:
        - When it was over, in nanoseconds of CLOCK_BOOTTIME, as text; V(none) of what is no test that ended, such as a
          file that could not be read.
      type: str
  sample:
    - name: test_login
      outcome: passed
      seconds: 0.012
      message: ""
      ended_ns: "1873459012345678"
steps:
  description: The named steps and parts that ended, in that order.
  returned: when the suite was started
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
    seconds:
      description: How long it took.
      type: float
    outcome:
      description: V(passed), V(failed) or V(skipped).
      type: str
duration_s:
  description: How long the suite ran, in seconds.
  returned: when the suite was started
  type: float
  sample: 2.315
log:
  description: Path of what pytest printed. It is null outside a run of the conductor, where nothing is kept.
  returned: when the suite was started
  type: str
output:
  description: The last lines of what pytest printed.
  returned: when the suite was started and its log is not kept
  type: list
  elements: str
"""
