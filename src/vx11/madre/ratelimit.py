"""Rate limit by caller: a bucket that fills at the rate and holds a burst."""

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass

from vx11.madre.settings import Rate

REMEMBERED = 10_000
# Of a request; sums of times are not exact, and who has waited for as long as he was told has waited long enough.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Taken:
    """What became of one request.

    Attributes:
        wait: seconds after which it may be tried again, rounded up; None when it may go on.
        left: how many more may follow at once.
        full_in: seconds until the burst may be had again, rounded up.
    """

    wait: int | None
    left: int
    full_in: int


class Limiter:
    """Buckets for callers; the ones not seen for longest are forgotten beyond `REMEMBERED`."""

    def __init__(self, rate: Rate | None) -> None:
        self.rate = rate
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, caller: str, now: float) -> Taken | None:
        """Takes one request out of a caller's bucket.

        Args:
            caller: who asks.
            now: seconds on a clock that only goes forward.

        Returns:
            What became of it; None where there is no limit.
        """
        if self.rate is None:
            return None
        fill = self.rate.requests / self.rate.period
        with self._lock:
            level, seen = self._buckets.pop(caller, (float(self.rate.burst), now))
            level = min(self.rate.burst, level + (now - seen) * fill)
            allowed = level >= 1 - TOLERANCE
            level = max(0.0, level - allowed)
            self._buckets[caller] = (level, now)
            if len(self._buckets) > REMEMBERED:
                self._buckets.popitem(last=False)
        wait = None if allowed else math.ceil((1 - level) / fill)
        return Taken(wait, int(level + TOLERANCE), math.ceil((self.rate.burst - level) / fill))


def headers(name: str, rate: Rate, taken: Taken) -> dict[str, str]:
    """What a client is told of its budget (draft-ietf-httpapi-ratelimit-headers-10).

    The quota is the burst, and its window the time in which that comes back: whoever goes by it is never refused.
    """
    window = math.ceil(rate.burst * rate.period / rate.requests)
    told = {
        "RateLimit-Policy": f'"{name}";q={rate.burst};w={window}',
        "RateLimit": f'"{name}";r={taken.left};t={taken.full_in}',
    }
    return told if taken.wait is None else told | {"Retry-After": str(taken.wait)}
