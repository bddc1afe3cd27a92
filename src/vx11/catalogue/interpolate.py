"""`${VARIABLES}` in a Compose file.

The forms of the Compose Specification ("Interpolation"): `$V`, `${V}`, `${V:-default}`, `${V-default}`,
`${V:?message}`, `${V?message}`, `${V:+other}`, `${V+other}`, and `$$` for a dollar. Unlike Compose, a variable that is
not set and has no default is an error: a blank where a value was meant does not pass unseen.
"""

import re
from collections.abc import Mapping
from typing import Any

from vx11.yamlfile import MarkedDict, MarkedList

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_VARIABLE = re.compile(
    rf"\$(?:(?P<escaped>\$)|(?P<plain>{_NAME})|\{{(?P<name>{_NAME})(?:(?P<op>:?[-?+])(?P<arg>[^}}]*))?\}}|(?P<bad>))"
)


def text(value: str, variables: Mapping[str, str]) -> str:
    """Replaces the variables of one text.

    Raises:
        ValueError: a variable is not set, or a dollar starts nothing that is known.
    """
    return _VARIABLE.sub(lambda match: _replacement(match, variables), value)


def _replacement(match: re.Match[str], variables: Mapping[str, str]) -> str:
    if match["escaped"]:
        return "$"
    name = match["plain"] or match["name"]
    if not name:
        raise ValueError("a single $ must be written $$, or start a variable such as ${NAME}")
    operator, argument = match["op"] or "", match["arg"] or ""
    value = variables.get(name)
    is_set = value is not None and (value != "" or not operator.startswith(":"))
    if operator.endswith("+"):
        return argument if is_set else ""
    if is_set:
        return str(value)
    if operator.endswith("-"):
        return argument
    raise ValueError(
        f"the variable {name} is not set" + (f": {argument}" if argument else "; set it, or give a default")
    )


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


class Report:
    """Collects what is wrong at which location of a document."""

    def __init__(self) -> None:
        self.found: list[tuple[tuple[Any, ...], str]] = []

    def __call__(self, location: tuple[Any, ...], message: str) -> None:
        self.found.append((location, message))
