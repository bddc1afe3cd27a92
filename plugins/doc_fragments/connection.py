# Copyright (c) VX11 maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a module reaches madre: the options that all modules of the action group C(vx11) share."""

from __future__ import annotations


class ModuleDocFragment:
    """The common options; their argument spec stands in module_utils/arguments.py."""

    DOCUMENTATION = r"""
options:
  url:
    description:
      - Base URL of the host's entry (tentaculo_link), for example V(http://127.0.0.1:8000).
      - If it is not set, the environment variable E(VX11_URL) of the host on which the module runs is used.
      - In playbooks it is best passed once, from the host variable C(vx11_url), by C(module_defaults) of the action
        group C(group/vx11.power.vx11).
    type: str
  token:
    description:
      - The bearer token that madre is to judge the call by.
      - If it is not set, the environment variable E(VX11_TOKEN) of the host on which the module runs is used.
    type: str
  timeout:
    description:
      - Seconds that one HTTP call may take of its own, on top of what the server is asked to wait.
      - The module adds 60 seconds where it asks madre to wait for a window to be ready or closed, and 30 seconds for a
        return to SOLO_MADRE. Raise it for services that take longer than that to be ready.
    type: float
    default: 30.0
  validate_certs:
    description:
      - Whether the certificate of an C(https) URL must be valid.
    type: bool
    default: true
notes:
  - Loopback addresses are always called directly. For all others the environment's proxy settings apply.
  - Redirects are never followed, so that the token goes to O(url) and nowhere else.
"""
