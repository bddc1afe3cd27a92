"""Which windows need which. Derived from what each says it needs, never counted, so that no crash can miscount."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from vx11.clock import Instant
from vx11.windows.books import Books
from vx11.windows.errors import OpenFailed
from vx11.windows.events import Kind
from vx11.windows.registry import Registry
from vx11.windows.slot import Slot
from vx11.windows.window import State, Window, latest


class Dependencies:
    """The `depends_on` of a cell's windows."""

    def __init__(self, registry: Registry, books: Books) -> None:
        self._registry = registry
        self._books = books

    def dependents(self, service: str) -> list[Slot]:
        """Windows that need a service and that it has to outlive; one that is stuck keeps nothing open."""
        return [
            slot
            for slot in self._registry.slots()
            if slot.window.needs(service) and slot.window.state is not State.STUCK
        ]

    def grace_before(self, window: Window) -> float:
        """Seconds that those which need a window may take to close before it."""
        waits = [slot.window.grace + self.grace_before(slot.window) for slot in self.dependents(window.service)]
        return max(waits, default=0.0)

    def is_needless(self, window: Window) -> bool:
        """Whether it is open for others alone, of which there are none."""
        return not window.requested and not self.dependents(window.service)

    def expect_no_cycle(self, window: Window) -> None:
        """Does nothing unless a new window would need itself, by way of windows that are open.

        The catalogue has no cycles, but it may have been changed since those were opened.

        Raises:
            OpenFailed: it would.
        """
        seen, ahead = set[str](), list(window.depends_on)
        while ahead:
            name = ahead.pop()
            if name == window.service:
                raise OpenFailed(f"{name} would need itself: the catalogue has changed since others were opened")
            other = None if name in seen else self._registry.of_service(name)
            seen.add(name)
            ahead += other.window.depends_on if other else ()

    def save(self, window: Window) -> None:
        """Writes a window's state, after those that it needs have been given at least as much time.

        Raises:
            EvidenceUnavailable: the disk is full or gone.
        """
        self.cover(window)
        self._books.save(window)

    def cover(self, window: Window) -> None:
        """Gives whatever a window needs at least as much time as it has itself.

        Raises:
            EvidenceUnavailable: the disk is full or gone.
        """
        until = window.due()
        for slot in self._needed(window):
            if slot.wanted and slot.window.due().seconds_until(until) > 0:
                slot.change(_while_open(lambda now: now.needed(until)), self._save_moved, self._tell_moved)

    def settle(self, window: Window) -> list[Slot]:
        """Brings the ends of what a window needs up to date; answers those that nobody needs or asked for."""
        needless = []
        for slot in self._needed(window):
            ends = [other.window.due() for other in self.dependents(slot.window.service) if other.wanted]
            if not ends and not slot.window.requested:
                needless.append(slot)
                continue
            before = slot.window.due()
            after, _ = slot.change(_while_open(partial(_ending, ends)), self._save_settled, self._tell_moved)
            if after.due() != before:
                needless += self.settle(after)
        return needless

    def _save_moved(self, window: Window) -> None:
        self.save(window)
        self._books.happened(Kind.EXTENDED, window, data={"due": window.due().iso()})

    def _save_settled(self, window: Window) -> None:
        self._books.save_quietly(window)
        self._books.happened(Kind.EXTENDED, window, data={"due": window.due().iso()})

    def _tell_moved(self, window: Window) -> None:
        self._books.tell(Kind.EXTENDED, window)

    def needless(self) -> list[Slot]:
        """Windows that are open for others alone, of which there are none."""
        return [slot for slot in self._registry.slots() if slot.wanted and self.is_needless(slot.window)]

    def is_completed(self, service: str) -> bool:
        """Whether a service ran to its end for a window that is still open: it need not run again."""
        return any(service in slot.window.completed for slot in self._registry.slots() if slot.wanted)

    def complete(self, service: str) -> bool:
        """A service ran to its end; tells all that wait for it, and answers whether any did."""
        with self._registry.births:  # nobody may begin to need it in between, and start it again
            waiting = [slot for slot in self.dependents(service) if slot.window.state is State.OPENING]
            for slot in waiting:
                has_it = _while_open(lambda now: replace(now, completed=(*now.completed, service)))
                slot.change(has_it, self._books.save_quietly)
        return bool(waiting)

    def _needed(self, window: Window) -> list[Slot]:
        found = [self._registry.of_service(name) for name in window.depends_on if window.needs(name)]
        return [slot for slot in found if slot and slot.window.state in (State.OPENING, State.OPEN)]


def _ending(ends: list[Instant], window: Window) -> Window:
    return window.needed(latest(*ends)) if ends else replace(window, needed_until=None)


def _while_open(change: Callable[[Window], Window]) -> Callable[[Window], Window]:
    """The same change, which leaves alone what closes or is closed by then."""
    return lambda now: change(now) if now.state in (State.OPENING, State.OPEN) else now
