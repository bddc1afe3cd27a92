# Copyright (c) VX11 maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs vx11_solo_madre, on this machine in Ansible's own process."""

from __future__ import annotations

from ansible_collections.vx11.power.plugins.modules import vx11_solo_madre
from ansible_collections.vx11.power.plugins.plugin_utils.in_process import InProcessAction


class ActionModule(InProcessAction):
    """Options and results are documented in plugins/modules/vx11_solo_madre.py."""

    module = vx11_solo_madre
