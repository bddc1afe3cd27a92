"""The canonical form is that of the library, whatever the value."""

import math
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from vx11.evidence.canonical import canonical

numbers = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.text(st.characters(codec="utf-8")) | numbers
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)


@given(values)
def test_it_is_that_of_the_library(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("value", [0.0, -0.0, 30.0, 1e-4, 9.9e-5, 1e-7, 123456789.125, 2.0**53, 1e16, 1e21, 1e300, 5e-324])
@pytest.mark.parametrize("sign", [1, -1])
def test_numbers_are_written_as_the_library_does(value: float, sign: int) -> None:
    assert canonical({"x": sign * value}) == rfc8785.dumps({"x": sign * value})


@pytest.mark.parametrize("text", ['"\\/\b\f\n\r\t\x00\x1f\x7f', "\u2028\ue000\U0001f600é"])
def test_text_is_written_as_the_library_does(text: str) -> None:
    assert canonical({text: text}) == rfc8785.dumps({text: text})


@pytest.mark.parametrize("value", [2**53, -(2**60), math.inf, math.nan, "\ud800", {1: 2}, {"x": {1, 2}}, b"bytes"])
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical({"x": value})
