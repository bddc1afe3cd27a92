"""Resource limits of a window."""

from dataclasses import dataclass, fields, replace
from typing import Any


@dataclass(frozen=True)
class Limits:
    """Upper bounds; None is unlimited.

    Attributes:
        cpu: processors, 0.5 is half of one core.
        memory: bytes, swap included.
        read_iops, write_iops: operations a second on the device that holds the data.
        pids: processes and threads.
    """

    cpu: float | None = None
    memory: int | None = None
    read_iops: int | None = None
    write_iops: int | None = None
    pids: int | None = None

    def over(self, other: "Limits") -> "Limits":
        """These limits, and those of `other` where these have none."""
        return replace(other, **self.to_json())

    def to_json(self) -> dict[str, Any]:
        """The limits that are set."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}

    def __bool__(self) -> bool:
        return bool(self.to_json())
