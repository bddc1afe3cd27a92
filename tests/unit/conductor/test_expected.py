"""What asserts expect: how it is written, and when it holds."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vx11.conductor import expected
from vx11.conductor.expected import Expected, Value

NUMBERS = st.integers(min_value=-(10**9), max_value=10**9) | st.floats(-1e9, 1e9).map(lambda number: round(number, 3))


@pytest.mark.parametrize(
    ("name", "raw", "wanted"),
    [
        ("window_auto_closed", True, ("==", True, None, "true")),
        ("circular", False, ("==", False, None, "false")),
        ("windows", 3, ("==", 3.0, None, "3")),
        ("windows", "3", ("==", 3.0, None, "3")),
        ("delta", -1.5, ("==", -1.5, None, "-1.5")),
        ("share", "< 5%", ("<", 5.0, "%", "< 5%")),
        ("share", " <=5 % ", ("<=", 5.0, "%", "<=5 %")),
        ("count", ">= 3", (">=", 3.0, None, ">= 3")),
        ("count", "!= 0", ("!=", 0.0, None, "!= 0")),
        ("size", "> 270MB", (">", 270.0, "MB", "> 270MB")),
        # A bare number is an upper bound for these names alone, and an operator goes over it.
        ("cpu_not_exceeded", "55%", ("<=", 55.0, "%", "55%")),
        ("memory_not_exceeded", "270MB", ("<=", 270.0, "MB", "270MB")),
        ("cpu_not_exceeded", "< 55%", ("<", 55.0, "%", "< 55%")),
        # A name may carry the unit; one that is written goes over it.
        ("memory_delta_mb", "< 50", ("<", 50.0, "MB", "< 50")),
        ("memory_delta_mb", "< 50KB", ("<", 50.0, "KB", "< 50KB")),
        ("latency_ms", 100, ("==", 100.0, "ms", "100")),
        ("max_cpu_percent", "< 5", ("<", 5.0, "%", "< 5")),
        ("uptime_s", ">= 3", (">=", 3.0, "s", ">= 3")),
        # YAML reads these as floats, which Python writes with an exponent.
        ("tiny", 0.00001, ("==", 0.00001, None, "1e-05")),
        ("huge", 1e16, ("==", 1e16, None, "1e+16")),
    ],
)
def test_an_expectation_is_read(name: str, raw: Any, wanted: tuple[str, bool | float, str | None, str]) -> None:
    assert expected.read(name, raw) == Expected(*wanted)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "yes",
        "true",
        "five",
        "< five",
        "=> 3",
        "= 3",
        "< 5 apples",
        "5mb",
        "3..4",
        "1,5",
        "< ",
        None,
        [1],
        {"a": 1},
        float("nan"),
    ],
)
def test_what_is_no_expectation(raw: Any) -> None:
    with pytest.raises(ValueError, match="is not true, false, a number, or a comparison such as"):
        expected.read("name", raw)


@pytest.mark.parametrize(
    ("raw", "observed", "unit", "holds"),
    [
        (True, True, None, True),
        (True, False, None, False),
        (False, False, None, True),
        ("< 5%", 4.9, "%", True),
        ("< 5%", 5, "%", False),
        ("<= 5%", 5, None, True),  # without a unit it is taken to be in the one that is expected
        ("3", 3, None, True),
        ("!= 3", 3, None, False),
        (">= 3", 2.999, None, False),
        ("< 270MB", 269 * 1024**2, "B", True),
        ("< 270MB", 0.3, "GB", False),
        ("== 1MB", 1024, "KB", True),
        ("<= 100ms", 0.1, "s", True),
        ("> 100ms", 100_001, "us", True),
        ("== 9 ms", 0.009, "s", True),
        ("== 0.009 s", 9, "ms", True),
        (">= 1001 ms", 1.001, "s", True),
        ("5 s", 5_000_000_000, "ns", True),
    ],
)
def test_whether_it_holds(raw: Any, observed: Value, unit: str | None, holds: bool) -> None:
    assert expected.read("name", raw).holds(observed, unit) is holds


@pytest.mark.parametrize(
    ("raw", "observed", "unit", "message"),
    [
        (True, 1, None, "1 was observed, which cannot be compared with true"),
        (True, "true", None, "'true' was observed, which cannot be compared with true"),
        ("1", True, None, "True was observed, which cannot be compared with 1"),
        ("3", "3", None, "the text '3' was observed, which cannot be compared with 3"),
        ("< 5%", 4, "ms", "it was observed in ms, which cannot be compared with %"),
        ("< 5 s", 4, "MB", "it was observed in MB, which cannot be compared with s"),
        ("< 5MB", 4, "apples", "it was observed in apples, which cannot be compared with MB"),
    ],
)
def test_what_cannot_be_compared(raw: Any, observed: Value, unit: str | None, message: str) -> None:
    with pytest.raises(ValueError, match="cannot be compared") as refused:
        expected.read("name", raw).holds(observed, unit)
    assert str(refused.value) == message


@given(NUMBERS, NUMBERS)
def test_the_operators_agree_with_arithmetic(observed: float, bound: float) -> None:
    def holds(operator: str) -> bool:
        return Expected(operator, bound, None, "").holds(observed, None)

    assert holds("==") is (observed == bound)
    assert holds("<") is (observed < bound)
    assert holds("==") is not holds("!=")
    assert holds("<=") is (holds("<") or holds("=="))
    assert holds(">") is not holds("<=")
    assert holds(">=") is not holds("<")


UNITS = st.sampled_from([("s", "ms"), ("ms", "us"), ("us", "ns"), ("GB", "MB"), ("MB", "KB"), ("KB", "B")])


@given(st.integers(min_value=0, max_value=10**7), UNITS)
def test_the_same_amount_in_another_unit_is_equal(number: int, units: tuple[str, str]) -> None:
    large, small = units
    factor = 1000 if large in {"s", "ms", "us"} else 1024
    assert expected.read("name", f"{number}{large}").holds(number * factor, small)
    assert expected.read("name", f"{number * factor}{small}").holds(number, large)


@given(st.integers(min_value=0, max_value=10**7))
def test_milliseconds_and_seconds_agree_as_they_are_written(number: int) -> None:
    assert expected.read("name", f"{number}ms").holds(number / 1000, "s")


@given(st.sampled_from(["", "<", "<=", "==", "!=", ">", ">="]), NUMBERS, st.sampled_from(["", "%", "MB", " ms"]))
def test_what_is_written_is_read_back(operator: str, number: float, unit: str) -> None:
    found = expected.read("name", f"{operator} {number}{unit}")
    assert (found.operator, found.value, found.unit) == (operator or "==", number, unit.strip() or None)
