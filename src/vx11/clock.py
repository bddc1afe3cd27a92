"""Time that deadlines count on.

Deadlines count on CLOCK_BOOTTIME, which no step of the wall clock moves and which goes on during suspend
(clock_gettime(2)). Wall time is for display, and for judging a record of an earlier boot. Standard library only: the
watchdog reads its time here too.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

NS = 1_000_000_000


@dataclass(frozen=True, order=True)
class Instant:
    """A moment on both clocks, in nanoseconds; `boot_id` says which boot the first one counts from."""

    boot_ns: int
    wall_ns: int
    boot_id: str

    def plus(self, seconds: float) -> "Instant":
        """The moment so many seconds later."""
        delta = round(seconds * NS)
        return Instant(self.boot_ns + delta, self.wall_ns + delta, self.boot_id)

    def seconds_until(self, other: "Instant") -> float:
        """Seconds from this moment to the other one, negative when it has passed.

        Within one boot BOOTTIME decides; across boots only wall time can.
        """
        if self.boot_id == other.boot_id:
            return (other.boot_ns - self.boot_ns) / NS
        return (other.wall_ns - self.wall_ns) / NS

    def iso(self) -> str:
        """Wall time in ISO 8601, UTC, with nanoseconds."""
        return iso(self.wall_ns)

    def to_json(self) -> dict[str, Any]:
        """The form that state files hold."""
        return {"boot_id": self.boot_id, "boottime_ns": self.boot_ns, "wall_ns": self.wall_ns}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Instant":
        """Reads what `to_json` wrote.

        Raises:
            KeyError: a field is missing.
        """
        return cls(data["boottime_ns"], data["wall_ns"], data["boot_id"])


class Clock:
    """The clocks of this machine; tests pass one of their own."""

    def __init__(self) -> None:
        self.boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()

    def now(self) -> Instant:
        """This moment."""
        return Instant(time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns(), self.boot_id)


def iso(wall_ns: int) -> str:
    """Wall-clock nanoseconds since the epoch as ISO 8601, UTC, all nine digits kept."""
    whole, rest = divmod(wall_ns, NS)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def stamp(wall_ns: int) -> str:
    """Wall-clock nanoseconds as the name of a folder: `20261121T063000Z`."""
    return f"{datetime.fromtimestamp(wall_ns // NS, UTC):%Y%m%dT%H%M%SZ}"
