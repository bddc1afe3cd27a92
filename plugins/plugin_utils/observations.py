# Copyright (c) VX11 maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Observations and metrics of a case: what the judge reads from $VX11_CASE_DIR/observations.jsonl."""

from __future__ import annotations

import math
import os
import re
import time
import typing as t

from ansible_collections.vx11.power.plugins.plugin_utils import lines

# What the conductor finds out by itself when a case is over. A playbook cannot say it in its place.
RESERVED = frozenset(["system_returns_to_solo_madre", "tentaculo_link_available", "no_resource_leaks"])

Value = t.Union[bool, int, float, str]


class ObservationError(ValueError):
    """An observation or metric that cannot be recorded, as a sentence."""


class Record(t.NamedTuple):
    """One named value. unit is None where there is none; kind is observation or metric."""

    name: str
    value: Value
    unit: str | None
    kind: str


def observation(name: object, value: object) -> Record:
    """An observation. Raises ObservationError if its name or its value is not allowed."""
    return Record(_checked_name(name), _checked_value(name, value), None, "observation")


def metric(name: object, given: object) -> Record:
    """A metric of a value, or of a mapping with value and unit. Raises ObservationError as `observation` does."""
    value, unit = given, None
    if isinstance(given, dict):
        if "value" not in given or set(given) - {"value", "unit"}:
            raise ObservationError(f"The metric {name} is a mapping: it takes the keys value and unit, and no others.")
        value, unit = given["value"], given.get("unit")
    if unit is not None and not isinstance(unit, str):
        raise ObservationError(f"The unit of the metric {name} is not text: {unit!r}.")
    return Record(_checked_name(name), _checked_value(name, value), unit, "metric")


def typed(value: object) -> object:
    """The number or the boolean that a text stands for; anything else as it is.

    Templates of ansible-core 2.18 give text, whatever the type of what they computed.
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if re.match(r"^[+-]?\d+$", text):
        return int(text)
    if re.match(r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$", text):
        return float(text)
    return value


def append(folder: str, records: t.Iterable[Record], source: str, clock: t.Callable[[], int] = time.time_ns) -> None:
    """Append the records to the observations of the case in `folder`.

    Each line is one write to a descriptor that appends, so that those who record side by side never mix their lines.
    Raises ObservationError if the file cannot be written.
    """
    path = os.path.join(folder, "observations.jsonl")
    try:
        lines.append(path, [_line(record, source, clock()) for record in records])
    except OSError as error:
        raise ObservationError(f"The observations cannot be written to {path}: {error.strerror}.") from error


def _line(record: Record, source: str, ns: int) -> dict[str, t.Any]:
    return {
        "name": record.name,
        "value": record.value,
        "unit": record.unit,
        "ns": str(ns),
        "source": source,
        "kind": record.kind,
    }


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not re.match(r"^[a-z][a-z0-9_]*\Z", name):
        raise ObservationError(
            f"{name!r} cannot name an observation: use lower-case letters, digits and underscores, a letter first."
        )
    if name in RESERVED:
        raise ObservationError(f"{name} is observed by the conductor itself, after the case: choose another name.")
    return name


def _checked_value(name: object, given: object) -> Value:
    value = typed(given)
    if isinstance(value, float) and not math.isfinite(value):
        raise ObservationError(f"The value of {name} is not a finite number: {value!r}.")
    if isinstance(value, (bool, int, float, str)):
        return value
    raise ObservationError(f"The value of {name} is neither a boolean nor a number nor text: {value!r}.")
