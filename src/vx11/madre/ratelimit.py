"""Rate limit by token: a bucket that fills at the rate and holds a burst."""

import math
import threading
from collections import OrderedDict

from vx11.madre.settings import Rate

REMEMBERED = 10_000


class Limiter:
    """Buckets for callers; the ones not seen for longest are forgotten beyond `REMEMBERED`."""

    def __init__(self, rate: Rate | None) -> None:
        self._rate = rate
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, caller: str, now: float) -> float | None:
        """Takes one request out of a caller's bucket.

        Args:
            caller: who asks.
            now: seconds on a clock that only goes forward.

        Returns:
            None when it may go on, else the seconds to wait, rounded up.
        """
        if self._rate is None:
            return None
        fill = self._rate.requests / self._rate.period
        with self._lock:
            level, seen = self._buckets.pop(caller, (float(self._rate.burst), now))
            level = min(self._rate.burst, level + (now - seen) * fill)
            allowed = level >= 1
            self._buckets[caller] = (level - 1 if allowed else level, now)
            if len(self._buckets) > REMEMBERED:
                self._buckets.popitem(last=False)
        return None if allowed else math.ceil((1 - level) / fill)
