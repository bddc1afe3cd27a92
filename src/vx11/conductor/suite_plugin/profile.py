"""How hard a suite pushes, and by how much waiting is shortened: what the conductor says by the environment."""

import math
import os
from typing import TypedDict


class Profile(TypedDict):
    """How hard to push.

    Attributes:
        name: low_power, baseline, stress, or one of the bundle's own.
        pace: 1.0 is the pace of low_power; 2.0 is twice the load.
    """

    name: str
    pace: float


def current() -> Profile:
    """The profile of the run, from `VX11_PROFILE` and `VX11_PACE`.

    Raises:
        ValueError: the pace is not a positive number.
    """
    return {"name": os.environ.get("VX11_PROFILE") or "low_power", "pace": _positive("VX11_PACE")}


def time_scale() -> float:
    """What whoever waits multiplies by, from `VX11_TIME_SCALE`.

    Raises:
        ValueError: it is not a positive number.
    """
    return _positive("VX11_TIME_SCALE")


def _positive(variable: str) -> float:
    text = os.environ.get(variable) or "1.0"
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError(f"{variable} is {text}, and not a number above 0")
    return value
