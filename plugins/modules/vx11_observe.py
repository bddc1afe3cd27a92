#!/usr/bin/python

# Copyright (c) VX11 maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vx11_observe
short_description: Record observations and metrics of a case
version_added: 0.1.0
description:
  - Records named values on the controller. The asserts of a case are judged on its observations; metrics are reported.
  - The last value of a name wins.
  - Text that is a number, V(true) or V(false) is recorded as that number or boolean, for some templates give only text.
author:
  - VX11 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - vx11.power.attributes

attributes:
  check_mode:
    support: full
    details:
      - The values are checked and returned, but not recorded.
  diff_mode:
    support: N/A
    details:
      - This action does not change a host.
  idempotent:
    support: N/A
    details:
      - Each run records its values again. RV(ignore:changed) is always V(false).

options:
  observations:
    description:
      - Names and values of observations. A value is a boolean, a number or text.
      - Names are of lower-case letters, digits and underscores, with a letter first. What the conductor observes itself
        (C(system_returns_to_solo_madre), C(tentaculo_link_available), C(no_resource_leaks)) is refused.
      - One of O(observations) and O(metrics) is required.
    type: dict
  metrics:
    description:
      - Names and values of metrics. For a value with a unit give a dictionary of C(value) and C(unit).
    type: dict

seealso:
  - module: vx11.power.vx11_suite
"""

EXAMPLES = r"""
- name: Record what the case saw
  vx11.power.vx11_observe:
    observations:
      window_auto_closed: "{{ auth.closed[0].reason == 'expired' }}"
      concurrent_windows: "{{ host.windows | length }}"
    metrics:
      startup_time_ms:
        value: "{{ opened.window.startup_ms }}"
        unit: ms
"""

RETURN = r"""
recorded:
  description: Whether the values were recorded. They are not in check mode, nor outside a run of the conductor.
  returned: success
  type: bool
  sample: true
observations:
  description: The observations, each with the type that it was recorded with.
  returned: success
  type: dict
  sample:
    window_auto_closed: true
metrics:
  description: The metrics, each with its value and its unit (null where there is none).
  returned: success
  type: dict
  sample:
    startup_time_ms:
      value: 212.4
      unit: ms
"""
