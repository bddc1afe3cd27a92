"""Tries to end things until they have ended, without haste and without noise."""

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass

from vx11.clock import Clock, Instant

RETRY_FIRST, RETRY_MAX, DOUBLINGS = 1.0, 30.0, 5
REPEAT_AFTER = 60.0


@dataclass
class _Attempt:
    """What is known of one thing.

    Attributes:
        failures: how many tries failed.
        next_try: not before; None while one is under way.
        told, told_at: the last complaint.
    """

    next_try: Instant | None
    failures: int = 0
    told: str = ""
    told_at: Instant | None = None


class Attempts:
    """Each try has a thread of its own, so that none waits for another.

    After a failure the pause doubles from `RETRY_FIRST` to `RETRY_MAX` seconds; nothing is given up. A complaint is
    said when it is new, has changed, or was said `REPEAT_AFTER` seconds ago.

    Args:
        succeeded: called after each try that did.
    """

    def __init__(self, clock: Clock, say: Callable[[str], None], succeeded: Callable[[], None]) -> None:
        self._clock = clock
        self._say = say
        self._succeeded = succeeded
        self._lock = threading.Lock()
        self._known: dict[str, _Attempt] = {}

    def attempt(self, key: str, what: str, work: Callable[[], None]) -> None:
        """Begins `work`, unless it is under way or its pause is not over.

        Args:
            key: whose attempts these are.
            what: how complaints name it.
        """
        now = self._clock.now()
        with self._lock:
            known = self._known.setdefault(key, _Attempt(next_try=now))
            if known.next_try is None or now.seconds_until(known.next_try) > 0:
                return
            known.next_try = None
        try:
            threading.Thread(target=self._try, args=(key, what, work), daemon=True).start()
        except RuntimeError as error:  # the machine has no thread left
            self._failed(key, what, error)

    def _try(self, key: str, what: str, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whatever it is, it has to end: told, and tried again
            self._failed(key, what, error)
        else:
            with self._lock:
                del self._known[key]
            self._succeeded()

    def _failed(self, key: str, what: str, error: Exception) -> None:
        now, text = self._clock.now(), f"could not close {what}: {error}; trying again"
        with self._lock:
            known = self._known[key]
            known.next_try = now.plus(min(RETRY_MAX, RETRY_FIRST * 2.0 ** min(known.failures, DOUBLINGS)))
            known.failures += 1
            if known.told == text and known.told_at and known.told_at.seconds_until(now) < REPEAT_AFTER:
                return
            known.told, known.told_at = text, now
        self._say(text)

    def keep(self, keys: Collection[str]) -> None:
        """Forgets what failed and is not among these: it is there no more."""
        with self._lock:
            self._known = {key: known for key, known in self._known.items() if key in keys or known.next_try is None}
