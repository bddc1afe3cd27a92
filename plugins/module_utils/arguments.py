# Copyright (c) VX11 maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options that every module has (documented in doc_fragments/connection.py), and what is made of options."""

from __future__ import annotations

import re
import typing as t

from ansible.module_utils.basic import AnsibleModule, env_fallback
from ansible_collections.vx11.power.plugins.module_utils.client import MadreClient


def connection_spec() -> dict[str, t.Any]:
    """The argument spec of the options by which madre is reached."""
    return {
        "url": {"type": "str", "fallback": (env_fallback, ["VX11_URL"])},
        "token": {"type": "str", "no_log": True, "fallback": (env_fallback, ["VX11_TOKEN"])},
        "timeout": {"type": "float", "default": 30.0},
        "validate_certs": {"type": "bool", "default": True},
    }


def client_of(module: AnsibleModule) -> MadreClient:
    """The client that the module's options describe. Raises MadreError if they do not suffice."""
    return MadreClient(**{name: module.params[name] for name in connection_spec()})


def number_or_text(value: str | None) -> int | float | str | None:
    """What madre is to get for an option that may be a bare number or text with a unit: 30 for "30", "5m" as it is."""
    if value is None or not re.match(r"^\d+(\.\d+)?$", value):
        return value
    return float(value) if "." in value else int(value)


def without_none(values: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The options that were set, without those left out."""
    return {key: value for key, value in values.items() if value is not None}
