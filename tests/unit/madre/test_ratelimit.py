"""The rate limit: a bucket a caller, and a bound on how many are remembered."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vx11.madre import ratelimit
from vx11.madre.ratelimit import Limiter, Taken, headers
from vx11.madre.settings import Rate

ONE_A_SECOND = Rate(requests=60, period=60.0, burst=3)


def wait(limiter: Limiter, caller: str, now: float) -> int | None:
    """What a caller has to wait; None when he may go on."""
    taken = limiter.take(caller, now)
    return taken.wait if taken else None


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
    limiter = Limiter(ONE_A_SECOND)
    assert [wait(limiter, "anna", now) for now in times] == waits


def test_the_wait_is_what_has_to_be_waited() -> None:
    limiter = Limiter(Rate(requests=1, period=60.0, burst=1))
    assert wait(limiter, "anna", 0) is None
    assert wait(limiter, "anna", 0.5) == 60
    assert wait(limiter, "anna", 59.9) == 1
    assert wait(limiter, "anna", 60) is None


def test_callers_have_buckets_of_their_own() -> None:
    limiter = Limiter(Rate(requests=1, period=60.0, burst=1))
    assert wait(limiter, "anna", 0) is None
    assert wait(limiter, "bert", 0) is None
    assert wait(limiter, "anna", 1) == 59


def test_no_limit_is_none() -> None:
    limiter = Limiter(None)
    assert all(limiter.take("anna", 0) is None for _ in range(1000))


@given(st.lists(st.floats(min_value=0, max_value=5), max_size=60), st.integers(1, 10), st.integers(1, 120))
def test_never_more_than_burst_and_rate_allow(pauses: list[float], burst: int, requests: int) -> None:
    limiter = Limiter(Rate(requests, 60.0, burst))
    now, allowed = 0.0, 0
    for pause in pauses:
        now += pause
        needed = wait(limiter, "anna", now)
        allowed += needed is None
        assert needed is None or needed >= 1
        assert allowed <= burst + now * requests / 60.0 + (len(pauses) + 1) * ratelimit.TOLERANCE


def test_those_not_seen_for_longest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratelimit, "REMEMBERED", 3)
    limiter = Limiter(Rate(requests=1, period=60.0, burst=1))
    for now, caller in enumerate(["a", "b", "c", "a", "d"]):
        limiter.take(caller, float(now))
    assert len(limiter._buckets) == 3
    assert wait(limiter, "a", 5) is not None  # seen again, so remembered
    assert wait(limiter, "b", 5) is None  # forgotten, so it begins anew


def test_a_million_callers_take_no_more_room_than_those_remembered() -> None:
    limiter = Limiter(ONE_A_SECOND)
    for number in range(1_000_000):
        limiter.take(f"caller-{number}", number / 1000)
    sizes = [
        (sys.getsizeof(key), sys.getsizeof(value), *map(sys.getsizeof, value))
        for key, value in limiter._buckets.items()
    ]
    assert len(limiter._buckets) == ratelimit.REMEMBERED
    assert sys.getsizeof(limiter._buckets) + sum(map(sum, sizes)) < 5_000_000
    assert wait(limiter, "caller-999999", 1000.0) is None


@pytest.mark.parametrize(
    ("rate", "taken", "told"),
    [
        (Rate(60, 60.0, 10), Taken(None, 9, 1), {"q": 10, "w": 10, "r": 9, "t": 1}),
        (Rate(60, 60.0, 10), Taken(1, 0, 10), {"q": 10, "w": 10, "r": 0, "t": 10, "wait": 1}),
        (Rate(1000, 3600.0, 1000), Taken(None, 999, 4), {"q": 1000, "w": 3600, "r": 999, "t": 4}),
        (Rate(5, 1.0, 1), Taken(1, 0, 1), {"q": 1, "w": 1, "r": 0, "t": 1, "wait": 1}),
    ],
)
def test_clients_are_told_of_their_budget(rate: Rate, taken: Taken, told: dict[str, int]) -> None:
    wanted = {
        "RateLimit-Policy": f'"work";q={told["q"]};w={told["w"]}',
        "RateLimit": f'"work";r={told["r"]};t={told["t"]}',
    }
    assert headers("work", rate, taken) == wanted | ({"Retry-After": str(told["wait"])} if "wait" in told else {})


@given(st.integers(1, 30), st.integers(1, 600), st.lists(st.floats(0, 30), max_size=20))
def test_who_goes_by_what_he_is_told_is_never_refused(burst: int, requests: int, pauses: list[float]) -> None:
    limiter, now = Limiter(Rate(requests, 60.0, burst)), 0.0
    for pause in pauses:
        now += pause
        taken = limiter.take("anna", now)
        assert taken
        if taken.wait is not None:
            now += taken.wait
            continue
        assert all(wait(limiter, "anna", now) is None for _ in range(taken.left))
        assert wait(limiter, "anna", now) is not None
        again = limiter.take("anna", now)
        assert again
        now += again.full_in
        assert all(wait(limiter, "anna", now) is None for _ in range(burst))
