"""Durations and sizes, as requests, Compose files and matrices write them."""

import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from vx11 import units

AMOUNTS = st.floats(min_value=0, max_value=1e9, allow_nan=False)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (30, 30.0),
        (0, 0.0),
        (0.25, 0.25),
        ("30", 30.0),
        ("30s", 30.0),
        (" 30 s ", 30.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1h 30m", 5400.0),
        ("1.5h", 5400.0),
        ("2d", 172800.0),
        ("250ms", 0.25),
        ("1s500ms", 1.5),
        ("750us", 0.00075),
        (1e-05, 0.00001),
        (1e16, 1e16),
    ],
)
def test_a_duration_is_read(written: object, seconds: float) -> None:
    assert units.seconds(written) == pytest.approx(seconds, abs=1e-12)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "s",
        "5 minutes",
        "-1",
        "-1s",
        "5x",
        "1h30",
        "30sm",
        "5M",
        "1:30",
        None,
        True,
        [30],
        -1,
        math.nan,
        math.inf,
        "9" * 400,
    ],
)
def test_what_is_no_duration_is_refused_with_examples(written: object) -> None:
    with pytest.raises(ValueError, match="is not a duration; write seconds") as refused:
        units.seconds(written)
    assert repr(written) in str(refused.value)


@given(AMOUNTS)
def test_a_number_of_seconds_is_taken_as_it_is(number: float) -> None:
    assert units.seconds(number) == number


@given(
    st.lists(st.sampled_from(["d", "h", "m", "s", "ms", "us"]), min_size=1, max_size=6, unique=True),
    st.integers(min_value=0, max_value=10**6),
)
def test_the_parts_of_a_duration_add_up(parts: list[str], number: int) -> None:
    text = "".join(f"{number}{unit}" for unit in parts)
    assert units.seconds(text) == pytest.approx(sum(units.seconds(f"{number}{unit}") for unit in parts))


@pytest.mark.parametrize(
    ("written", "count"),
    [
        (1048576, 1048576),
        ("1048576", 1048576),
        ("64k", 65536),
        ("64K", 65536),
        ("64kb", 65536),
        ("64KiB", 65536),
        ("256MB", 268435456),
        ("256 mb", 268435456),
        ("1g", 1073741824),
        ("1.5g", 1610612736),
        ("1t", 1099511627776),
        ("10b", 10),
        ("0", 0),
    ],
)
def test_a_size_is_read_in_powers_of_1024(written: object, count: int) -> None:
    assert units.size(written) == count


@pytest.mark.parametrize("written", ["", "MB", "-1", "-1m", "5x", "1,5g", "256 MBit", None, False, [1], math.nan, -5])
def test_what_is_no_size_is_refused_with_examples(written: object) -> None:
    with pytest.raises(ValueError, match="is not a size; write bytes") as refused:
        units.size(written)
    assert repr(written) in str(refused.value)


@example(2**53 + 1)
@given(st.integers(min_value=0, max_value=2**63))
def test_a_number_of_bytes_is_taken_exactly(count: int) -> None:
    assert units.size(count) == count
    assert units.size(str(count)) == count


@given(st.integers(min_value=0, max_value=2**20), st.sampled_from([("k", 10), ("m", 20), ("g", 30), ("t", 40)]))
def test_a_unit_multiplies_exactly(number: int, unit: tuple[str, int]) -> None:
    assert units.size(f"{number}{unit[0]}") == number << unit[1]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (4.24, "4.2 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (60, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 00 min"),
        (3900, "1 h 05 min"),
        (90000, "25 h 00 min"),
    ],
)
def test_a_duration_is_shown_as_people_read_it(seconds: float, text: str) -> None:
    assert units.show_duration(seconds) == text


@given(st.floats(min_value=0, max_value=1e7, allow_nan=False))
def test_a_shown_duration_reads_back_to_what_it_was(seconds: float) -> None:
    shown = units.show_duration(seconds).replace("min", "m")
    tolerance = 0.051 if "m" not in shown else 0.51 if "h" not in shown else 60.0
    assert units.seconds(shown) == pytest.approx(seconds, abs=tolerance)


@given(st.integers(min_value=0, max_value=2**50))
def test_a_shown_size_reads_back_to_what_it_was(count: int) -> None:
    assert units.size(units.show_size(count)) == pytest.approx(count, abs=0.051 * units.MIB)


@pytest.mark.parametrize(("kind", "value"), [(units.Seconds, "soon"), (units.Size, "big")])
def test_a_model_says_what_was_wrong(kind: Any, value: str) -> None:
    with pytest.raises(ValidationError, match=r"'(soon|big)' is not a (duration|size)"):
        TypeAdapter(kind).validate_python(value)
