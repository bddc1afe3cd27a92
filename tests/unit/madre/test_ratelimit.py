"""The rate limit: a bucket a caller, and a bound on how many are remembered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vx11.madre import ratelimit
from vx11.madre.ratelimit import Limiter
from vx11.madre.settings import Rate

TEN_A_MINUTE = Rate(requests=60, period=60.0, burst=3)


@pytest.mark.parametrize(
    ("times", "waits"),
    [
        ([0, 0, 0], [None, None, None]),
        ([0, 0, 0, 0], [None, None, None, 1]),
        ([0, 0, 0, 0.4], [None, None, None, 1]),
        ([0, 0, 0, 1.0], [None, None, None, None]),
        ([0, 0, 0, 1.0, 1.5, 2.0], [None, None, None, None, 1, None]),
        # A long pause fills no more than the burst.
        ([0, 0, 0, 1000, 1000, 1000, 1000], [None, None, None, None, None, None, 1]),
        # Who is refused pays nothing for it.
        ([0, 0, 0, 0.1, 0.2, 0.3, 1.0], [None, None, None, 1, 1, 1, None]),
    ],
)
def test_a_bucket_holds_a_burst_and_fills_at_the_rate(times: list[float], waits: list[float | None]) -> None:
    limiter = Limiter(TEN_A_MINUTE)
    assert [limiter.take("anna", now) for now in times] == waits


def test_the_wait_is_what_has_to_be_waited() -> None:
    limiter = Limiter(Rate(requests=1, period=60.0, burst=1))
    assert limiter.take("anna", 0) is None
    assert limiter.take("anna", 0.5) == 60
    assert limiter.take("anna", 59.9) == 1
    assert limiter.take("anna", 60) is None


def test_callers_have_buckets_of_their_own() -> None:
    limiter = Limiter(Rate(requests=1, period=60.0, burst=1))
    assert limiter.take("anna", 0) is None
    assert limiter.take("bert", 0) is None
    assert limiter.take("anna", 1) == 59


def test_no_limit_is_none() -> None:
    limiter = Limiter(None)
    assert all(limiter.take("anna", 0) is None for _ in range(1000))


@given(st.lists(st.floats(min_value=0, max_value=5), max_size=60), st.integers(1, 10), st.integers(1, 120))
def test_never_more_than_burst_and_rate_allow(pauses: list[float], burst: int, requests: int) -> None:
    limiter = Limiter(Rate(requests, 60.0, burst))
    now, allowed = 0.0, 0
    for pause in pauses:
        now += pause
        wait = limiter.take("anna", now)
        allowed += wait is None
        assert wait is None or wait >= 1
        assert allowed <= burst + now * requests / 60.0 + 1e-6


def test_those_not_seen_for_longest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratelimit, "REMEMBERED", 3)
    limiter = Limiter(Rate(requests=1, period=60.0, burst=1))
    for now, caller in enumerate(["a", "b", "c", "a", "d"]):
        limiter.take(caller, float(now))
    assert len(limiter._buckets) == 3
    assert limiter.take("a", 5) is not None  # seen again, so remembered
    assert limiter.take("b", 5) is None  # forgotten, so it begins anew
