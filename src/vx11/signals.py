"""Names of signals, as Compose files and images write them. The standard library alone."""

import re
import signal

# Signals of real time have no names of their own: `SIGRTMIN+3` is how systemd as a first process wants to be ended.
_REAL_TIME = re.compile(r"RT(?P<end>MIN|MAX)(?P<offset>[+-]\d{1,2})?")


def number(name: str) -> int:
    """The number of a signal by its name, with or without SIG, or by its number.

    Raises:
        ValueError: there is no such signal.
    """
    found = int(name) if name.isdecimal() else _named(name.removeprefix("SIG"))
    if found not in signal.valid_signals():
        raise ValueError(f"there is no signal {name}")
    return found


def _named(short: str) -> int | None:
    if match := _REAL_TIME.fullmatch(short):
        found = signal.Signals[f"SIGRT{match['end']}"] + int(match["offset"] or 0)
        return found if signal.SIGRTMIN <= found <= signal.SIGRTMAX else None
    return signal.Signals.__members__.get(f"SIG{short}")
