"""Which tests of a suite run, and in which order: named steps, and what is for after a fault."""

from collections.abc import Iterable, Sequence

import pytest


def choose(items: Sequence[pytest.Item], steps: Sequence[str], after: str | None) -> list[pytest.Item]:
    """The tests that are to run, in their order.

    Args:
        items: all tests of the suite.
        steps: the steps that are wanted, in order; none for the whole suite.
        after: the fault after which this is; None for the suite's own run, which leaves out what is for after a fault.

    Raises:
        pytest.UsageError: a step is asked for twice, or there is no test for it.
    """
    if after:
        return [item for item in items if after in _arguments(item, "after")]
    own = [item for item in items if item.get_closest_marker("after") is None]
    if not steps:
        return own
    _check(steps, {name for item in own for name in _arguments(item, "step")})
    return [item for name in steps for item in own if step_of(item) == name]


def step_of(item: pytest.Item) -> str | None:
    """The step that a test is, None for one that is no named step."""
    return next(iter(_arguments(item, "step")), None)


def _arguments(item: pytest.Item, mark: str) -> list[str]:
    found = item.get_closest_marker(mark)
    return [str(name) for name in found.args] if found else []


def _check(steps: Sequence[str], known: Iterable[str]) -> None:
    if twice := sorted({name for name in steps if steps.count(name) > 1}):
        raise pytest.UsageError(f"the steps {', '.join(twice)} are asked for twice; each runs once")
    if unknown := [name for name in steps if name not in known]:
        there = ", ".join(sorted(known)) or "none"
        raise pytest.UsageError(f"the suite has no step {', '.join(unknown)}; it has: {there}")
