"""Durations, sizes and how they are written.

Sizes follow Compose: k, m and g, with or without a B, are powers of 1024. Durations are a number of seconds or text
with units, such as `90s`, `5m`, `1h30m`, `250ms`.
"""

import math
import re
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator

MIB = 1024 * 1024

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d)")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt]?)(?:i?b)?)", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def seconds(value: object) -> float:
    """Reads a duration.

    Args:
        value: a number of seconds, or text such as `30`, `30s`, `1h30m`.

    Returns:
        Seconds, greater than or equal to zero.

    Raises:
        ValueError: the value is not a duration.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        found = float(value)
    else:
        found = _read_seconds(value.strip().replace(" ", "")) if isinstance(value, str) else math.nan
    if not (math.isfinite(found) and found >= 0):
        raise ValueError(f"{value!r} is not a duration; write seconds (30) or text with a unit (30s, 5m, 1h30m)")
    return found


def _read_seconds(text: str) -> float:
    """Not a number when it is no duration."""
    if _NUMBER.fullmatch(text):
        return float(text)
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return math.nan
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def size(value: object) -> int:
    """Reads an amount of memory or storage.

    Args:
        value: a number of bytes, or text such as `256MB`, `1g`, `64k`.

    Returns:
        Bytes.

    Raises:
        ValueError: the value is not a size.
    """
    match = None if isinstance(value, bool) else _SIZE.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f"{value!r} is not a size; write bytes (1048576) or text with a unit (256MB, 1g)")
    return int(Decimal(match[1]) * 1024 ** _POWERS[match[2].lower()])


def show_size(count: int) -> str:
    """Bytes as people read them, in MiB."""
    return f"{count / MIB:.1f} MiB"


def show_duration(value: float) -> str:
    """Seconds as people read them: `4.2 s`, `3 min 20 s`, `1 h 05 min`."""
    if round(value, 1) < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


Seconds = Annotated[float, BeforeValidator(seconds)]
Size = Annotated[int, BeforeValidator(size)]
