"""What a window uses, as a value."""

from dataclasses import dataclass, replace

from vx11.clock import Instant
from vx11.engines.port import Usage

# Between two moments that are nearer to each other, a peak would say more of the clock than of the service.
SHORTEST = 0.1


@dataclass(frozen=True)
class Sample:
    """What a window had used at a moment.

    Attributes:
        usage: cumulative figures; its memory peak is the highest that was ever seen.
        cpu_peak: the highest processor use between two samples so far, in percent of one core; None before the second.
    """

    at: Instant
    usage: Usage
    cpu_peak: float | None = None

    def then(self, at: Instant, usage: Usage) -> "Sample":
        """The sample that follows this one."""
        elapsed, peak = self.at.seconds_until(at), self.cpu_peak
        if elapsed >= SHORTEST:
            peak = max(peak or 0.0, (usage.cpu_ns - self.usage.cpu_ns) / 1e7 / elapsed)
        return Sample(at, replace(usage, memory_peak=max(usage.memory_peak, self.usage.memory_peak)), peak)
