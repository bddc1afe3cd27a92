"""Limits: which are set, and which of two statements counts."""

from hypothesis import given
from hypothesis import strategies as st

from vx11.catalogue.limits import Limits

COUNTS = st.none() | st.integers(min_value=1, max_value=10**9)
LIMITS = st.builds(Limits, st.none() | st.floats(min_value=0.01, max_value=64), COUNTS, COUNTS, COUNTS, COUNTS)


def test_only_what_is_set_is_named() -> None:
    assert Limits(cpu=0.5, pids=10).to_json() == {"cpu": 0.5, "pids": 10}
    assert not Limits()
    assert Limits(pids=1)


@given(LIMITS, LIMITS)
def test_the_first_counts_and_the_second_fills_the_gaps(first: Limits, second: Limits) -> None:
    assert first.over(second).to_json() == second.to_json() | first.to_json()
    assert Limits(**first.to_json()) == first
