# Copyright (c) VX11 maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each module says of itself: check mode, diff mode, idempotence, and the action group."""

from __future__ import annotations


class ModuleDocFragment:
    """Each module states its own support; READ_ONLY and ACTION_GROUP state it where it is always the same."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Runs in check mode without an effect, and says whether something would change.
  diff_mode:
    description: Shows in diff mode what changed, or in check mode what would change.
  idempotent:
    description: A second run with the same arguments changes nothing, unless somebody else acted on the host between.
"""

    ACTION_GROUP = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/vx11.power.vx11) in C(module_defaults) to set the options of the connection once.
    support: full
    membership:
      - vx11.power.vx11
"""

    READ_ONLY = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - This action does not change anything.
  diff_mode:
    support: N/A
    details:
      - This action does not change anything.
  idempotent:
    support: full
    details:
      - This action does not change anything.
"""
