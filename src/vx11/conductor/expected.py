"""What an assert expects, as matrices write it: `true`, `3`, `< 5%`, `>= 3`, `270MB`."""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

_COMPARISON = re.compile(r"(<=|>=|==|!=|<|>)?\s*(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*(%|[a-zA-Z]+)?")
# Units of one kind and how much of the smallest one each is.
_FACTORS = {
    "size": {"B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3},
    "time": {"s": 10**9, "ms": 10**6, "us": 1000, "ns": 1},
    "share": {"%": 1},
}
_KINDS = {unit: kind for kind, units in _FACTORS.items() for unit in units}
_NAMED_UNITS = {"_mb": "MB", "_ms": "ms", "_percent": "%", "_s": "s"}
Value = bool | int | float | str


@dataclass(frozen=True)
class Expected:
    """An expectation: a comparison with a number, or equality with a truth value.

    Attributes:
        operator: `==`, `!=`, `<`, `<=`, `>`, `>=`.
        unit: of the number, None where it was written without.
        text: as the matrix has it.
    """

    operator: str
    value: bool | float
    unit: str | None
    text: str

    def holds(self, observed: Value, unit: str | None) -> bool:
        """Whether an observation meets it.

        Raises:
            ValueError: the observation is of another kind, so that they cannot be compared.
        """
        if isinstance(self.value, bool) or isinstance(observed, bool):
            if not (isinstance(self.value, bool) and isinstance(observed, bool)):
                raise ValueError(f"{observed!r} was observed, which cannot be compared with {self.text}")
            return observed is self.value
        if isinstance(observed, str):
            raise ValueError(f"the text {observed!r} was observed, which cannot be compared with {self.text}")
        # As they are written: binary floats would make 9 ms and 0.009 s differ.
        left = Fraction(str(observed)) * _factor(unit, self.unit)
        return _compare(self.operator, left, Fraction(str(self.value)))


def read(name: str, raw: Any) -> Expected:
    """Reads what an assert expects.

    Args:
        name: of the assert; a bare number for one that ends in `_not_exceeded` is an upper bound.
        raw: as the matrix has it.

    Raises:
        ValueError: it is not an expectation.
    """
    if isinstance(raw, bool):
        return Expected("==", raw, None, str(raw).lower())
    match = _COMPARISON.fullmatch(str(raw).strip())
    if match is None or (match[3] and match[3] not in _KINDS):
        units = ", ".join(_KINDS)
        raise ValueError(
            f"{raw!r} is not true, false, a number, or a comparison such as '< 5%' or '>= 3'; units are {units}"
        )
    bound = "<=" if name.endswith("_not_exceeded") else "=="
    return Expected(match[1] or bound, float(match[2]), match[3] or unit_of(name), str(raw).strip())


def unit_of(name: str) -> str | None:
    """The unit that a name carries: `memory_delta_mb` is in MB."""
    return next((unit for suffix, unit in _NAMED_UNITS.items() if name.endswith(suffix)), None)


def _factor(observed: str | None, wanted: str | None) -> Fraction:
    if observed is None or wanted is None or observed == wanted:
        return Fraction(1)
    kind = _KINDS.get(observed)
    if kind is None or kind != _KINDS.get(wanted):
        raise ValueError(f"it was observed in {observed}, which cannot be compared with {wanted}")
    return Fraction(_FACTORS[kind][observed], _FACTORS[kind][wanted])


def _compare(operator: str, left: Fraction, right: Fraction) -> bool:
    return {
        "==": left == right,
        "!=": left != right,
        "<": left < right,
        "<=": left <= right,
        ">": left > right,
        ">=": left >= right,
    }[operator]
