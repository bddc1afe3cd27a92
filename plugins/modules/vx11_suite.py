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
  - Records the observation C(suite_<name>_passed). Hyphens of the name become underscores, capitals small letters.
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

seealso:
  - module: vx11.power.vx11_observe
"""

EXAMPLES = r"""
- name: Probe the endpoints of the authentication service
  vx11.power.vx11_suite:
    name: auth_endpoints
    timeout: 60

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
tests:
  description: Number of tests by outcome.
  returned: when the suite was started
  type: dict
  contains:
    passed:
      description: Those that passed.
      type: int
    failed:
      description: Those that failed.
      type: int
    errors:
      description: Those that failed outside of the test itself, for example in a fixture.
      type: int
    skipped:
      description: Those that were skipped, or failed as they were expected to. A suite in which all were skipped fails.
      type: int
  sample:
    passed: 6
    failed: 0
    errors: 0
    skipped: 1
failures:
  description: The tests that failed and why, one line each, ten at most.
  returned: when the suite was started
  type: list
  elements: str
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
