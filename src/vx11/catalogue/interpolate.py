"""`${VARIABLES}` in a Compose file.

The forms of the Compose Specification ("Interpolation"): `$V`, `${V}`, `${V:-default}`, `${V-default}`,
`${V:?message}`, `${V?message}`, `${V:+other}`, `${V+other}`, variables inside those, and `$$` for a dollar. Unlike
Compose, a variable that is not set and has no default is an error: a blank where a value was meant is not passed over.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vx11.yamlfile import MarkedDict, MarkedList

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_DOLLAR = re.compile(rf"\$(?:(?P<escaped>\$)|(?P<plain>{_NAME})|\{{(?P<name>{_NAME})(?P<op>:?[-?+])?)?")
_BRACES = re.compile(r"\$\$|\$\{|\}")
_STRAY = "a single $ must be written $$, or start a variable such as ${NAME}"


def text(value: str, variables: Mapping[str, str]) -> str:
    """Replaces the variables of one text.

    Raises:
        ValueError: a variable is not set, or a dollar starts nothing that is known.
    """
    parts, at = [], 0
    while match := _DOLLAR.search(value, at):
        parts.append(value[at : match.start()])
        at = match.end()
        if match["escaped"]:
            parts.append("$")
        elif match["plain"]:
            parts.append(_value(match["plain"], "", "", variables))
        elif match["name"]:
            end = _closing(value, at)
            parts.append(_value(match["name"], match["op"] or "", value[at:end], variables))
            at = end + 1
        else:
            raise ValueError(_STRAY)
    return "".join(parts) + value[at:]


def _closing(value: str, start: int) -> int:
    """Where the brace stands that closes the variable whose argument begins at `start`; others may stand inside."""
    depth = 1
    for match in _BRACES.finditer(value, start):
        depth += {"${": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.start()
    raise ValueError(_STRAY)


def _value(name: str, operator: str, argument: str, variables: Mapping[str, str]) -> str:
    if argument and not operator:
        raise ValueError(_STRAY)
    value = variables.get(name)
    is_set = value is not None and (value != "" or not operator.startswith(":"))
    if operator.endswith("+"):
        return text(argument, variables) if is_set else ""
    if is_set:
        return str(value)
    given = text(argument, variables)
    if operator.endswith("-"):
        return given
    raise ValueError(f"the variable {name} is not set" + (f": {given}" if given else "; set it, or give a default"))


def tree(data: Any, variables: Mapping[str, str], report: "Report", location: tuple[Any, ...] = ()) -> Any:
    """A loaded document with the variables of all its texts replaced; lines are kept.

    Args:
        data: scalars, `MarkedDict`, `MarkedList`.
        variables: their values.
        report: called with location and message for each text that cannot be replaced.
        location: where `data` stands in its document.
    """
    if isinstance(data, MarkedDict):
        mapping = MarkedDict()
        mapping.lines = data.lines
        mapping.update({key: tree(item, variables, report, (*location, key)) for key, item in data.items()})
        return mapping
    if isinstance(data, MarkedList):
        items = MarkedList()
        items.lines = data.lines
        items.extend(tree(item, variables, report, (*location, index)) for index, item in enumerate(data))
        return items
    if not isinstance(data, str):
        return data
    try:
        return text(data, variables)
    except ValueError as error:
        report(location, str(error))
        return data


def differing(before: Any, after: Any, location: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The locations of texts that are others in `after`, which `tree` made of `before`."""
    if isinstance(before, dict):
        for key, item in before.items():
            yield from differing(item, after[key], (*location, key))
    elif isinstance(before, list):
        for number, item in enumerate(before):
            yield from differing(item, after[number], (*location, number))
    elif before != after:
        yield location


class Report:
    """Collects what is wrong at which location of a document."""

    def __init__(self) -> None:
        self.found: list[tuple[tuple[Any, ...], str]] = []

    def __call__(self, location: tuple[Any, ...], message: str) -> None:
        self.found.append((location, message))
