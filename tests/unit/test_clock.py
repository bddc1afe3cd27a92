"""Deadlines count on a clock that no step of the wall clock moves."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vx11.clock import NS, Clock, Instant, iso, stamp

NANOSECONDS = st.integers(min_value=0, max_value=4 * 10**18)
INSTANTS = st.builds(Instant, NANOSECONDS, NANOSECONDS, st.sampled_from(["boot-a", "boot-b"]))


@pytest.mark.parametrize(
    ("other", "seconds"),
    [
        (Instant(15 * NS, 100 * NS, "a"), 5.0),
        (Instant(5 * NS, 100 * NS, "a"), -5.0),
        # The wall clock was set back an hour meanwhile: it does not count within a boot.
        (Instant(15 * NS, 100 * NS - 3600 * NS, "a"), 5.0),
        # After a boot the other clock began anew: only wall time can tell.
        (Instant(1 * NS, 107 * NS, "b"), 7.0),
        (Instant(900 * NS, 93 * NS, "b"), -7.0),
    ],
)
def test_seconds_until(other: Instant, seconds: float) -> None:
    assert Instant(10 * NS, 100 * NS, "a").seconds_until(other) == seconds


@given(INSTANTS, st.floats(min_value=-1e6, max_value=1e6, allow_nan=False))
def test_plus_moves_both_clocks(instant: Instant, seconds: float) -> None:
    later = instant.plus(seconds)
    assert instant.seconds_until(later) == pytest.approx(seconds, abs=1e-6)
    assert later.boot_ns - instant.boot_ns == later.wall_ns - instant.wall_ns
    assert later.boot_id == instant.boot_id


@given(INSTANTS)
def test_json_keeps_every_nanosecond(instant: Instant) -> None:
    assert Instant.from_json(json.loads(json.dumps(instant.to_json()))) == instant


@pytest.mark.parametrize("missing", ["boot_id", "boottime_ns", "wall_ns"])
def test_a_missing_field_is_an_error(missing: str) -> None:
    data = Instant(1, 2, "a").to_json()
    del data[missing]
    with pytest.raises(KeyError, match=missing):
        Instant.from_json(data)


@given(NANOSECONDS)
def test_iso_keeps_all_nine_digits(wall_ns: int) -> None:
    whole, _, digits = iso(wall_ns).removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    assert seconds * NS + int(digits) == wall_ns
    assert len(digits) == 9


def test_written_forms_are_utc() -> None:
    wall_ns = 1_795_242_600 * NS + 7
    assert iso(wall_ns) == "2026-11-21T06:30:00.000000007Z"
    assert Instant(0, wall_ns, "a").iso() == iso(wall_ns)
    assert stamp(wall_ns) == "20261121T063000Z"


def test_the_clock_goes_forward_within_one_boot() -> None:
    clock = Clock()
    first, second = clock.now(), clock.now()
    assert first.seconds_until(second) >= 0
    assert first.boot_id == second.boot_id != ""
    assert Clock().boot_id == clock.boot_id
