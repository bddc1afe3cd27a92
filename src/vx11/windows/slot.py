"""The place of one window in a running madre: its present value, and the means to change and await it."""

import threading
from collections.abc import Callable
from dataclasses import replace

from vx11.clock import Instant
from vx11.engines.port import Usage
from vx11.windows.usage import Sample
from vx11.windows.window import Reason, State, Window

ENDED = frozenset({State.CLOSED, State.STUCK})
SETTLED = ENDED | {State.OPEN}
BEGUN = SETTLED | {State.OPENING}
Save = Callable[[Window], None]
Then = Callable[[Window], None]
Still = Callable[[Window], bool]


def always(window: Window) -> bool:
    """Whatever happened meanwhile."""
    return True


class Slot:
    """Holds one window.

    Attributes:
        window: its present value; replaced as a whole, so it can be read without a lock.
        next_try: when closing a stuck window is tried again.
        give_up: why an open in progress should be taken back, None while it may go on.
        warned: of which end it has been warned.
        expiring: which end it is being closed for.
        sample: what it was last seen to use.
        faulting: held while a fault is injected or taken back; closing never waits for it.
    """

    def __init__(self, window: Window) -> None:
        self.window = window
        self.next_try: Instant | None = None
        self.give_up: Reason | None = None
        self.warned: Instant | None = None
        self.expiring: Instant | None = None
        self.sample: Sample | None = None
        self.faulting = threading.Lock()
        self._changed = threading.Condition(threading.RLock())

    def abandon(self, reason: Reason, still: Still = always) -> bool:
        """Asks an open in progress to stop, False when there is none; the first reason stands."""
        with self._changed:
            if self.window.state is not State.OPENING or not still(self.window):
                return False
            self.give_up = self.give_up or reason
            return True

    def set(self, window: Window, save: Save, then: Then | None = None) -> Window:
        """Changes the window: it is saved before anyone sees it, `then` runs before anyone is woken."""
        with self._changed:
            save(window)
            self.window = window
            if then:
                then(window)
            self._changed.notify_all()
            return window

    def change(self, decide: Callable[[Window], Window], save: Save, then: Then | None = None) -> tuple[Window, bool]:
        """Changes the window by a rule that sees its present value; answers it and whether it changed."""
        with self._changed:
            after = decide(self.window)
            if after == self.window:
                return after, False
            return self.set(after, save, then), True

    def claim_closing(
        self, save: Save, now: Instant, close_by: Instant, reason: Reason, then: Then | None, still: Still = always
    ) -> bool:
        """Moves the window to `closing`; False when somebody else closes it, or it is closed, or need not close now.

        Args:
            close_by: until when it is within its grace, unless an earlier try has said so.
            still: whether it still has to close, asked when nobody can change it any more.
        """
        with self._changed:
            before = self.window
            if before.state in (State.CLOSING, State.CLOSED) or not still(before):
                return False
            reason, close_by = before.reason or reason, before.close_by or close_by
            self.set(replace(before, state=State.CLOSING, closing=now, close_by=close_by, reason=reason), save, then)
            return True

    def sampled(self, at: Instant, usage: Usage) -> Sample:
        """Keeps what the window was seen to use."""
        with self._changed:
            self.sample = self.sample.then(at, usage) if self.sample else Sample(at, usage)
            return self.sample

    @property
    def wanted(self) -> bool:
        """Whether it is open, or about to be."""
        return self.window.state is State.OPEN or (self.window.state is State.OPENING and self.give_up is None)

    def wait(self, states: frozenset[State], timeout: float | None = None) -> Window:
        """Waits until the window is in one of these states, or the time is over; answers its present value."""
        self.wait_for(lambda window: window.state in states, timeout)
        return self.window

    def wait_for(self, is_so: Callable[[Window], bool], timeout: float | None) -> bool:
        """Waits until something is so, or the time or the window's life is over; answers whether it is so."""
        with self._changed:
            self._changed.wait_for(lambda: is_so(self.window) or self.window.state is State.CLOSED, timeout)
            return is_so(self.window)
