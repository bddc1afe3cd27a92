"""YAML files that remember where each key stood, so that errors can name file and line.

Parsing is PyYAML's, checking is pydantic's; this file only joins the two: mappings and lists carry the line of each
item, and a pydantic error's location is looked up in them.
"""

import re
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from vx11.errors import InputError, Problem

Model = TypeVar("Model", bound=BaseModel)


class MarkedDict(dict[Any, Any]):
    """A mapping that knows the line of each key."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[Any, int] = {}


class MarkedList(list[Any]):
    """A list that knows the line of each item."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[int] = []


class _Loader(yaml.SafeLoader):
    """SafeLoader with marked containers; a key that stands twice is an error, as in Compose."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._flat: set[yaml.MappingNode] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merges what `<<` names, once a node; keys are compared before, since a merge may bring one again."""
        if node not in self._flat:
            self._flat.add(node)
            self._refuse_duplicates(node)
            super().flatten_mapping(node)

    def marked_mapping(self, node: yaml.MappingNode) -> Iterator[MarkedDict]:
        data = MarkedDict()
        yield data
        self.flatten_mapping(node)
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            data[key] = self.construct_object(value_node, deep=True)
            data.lines[key] = key_node.start_mark.line + 1

    def marked_sequence(self, node: yaml.SequenceNode) -> Iterator[MarkedList]:
        data = MarkedList()
        yield data
        for item in node.value:
            data.append(self.construct_object(item, deep=True))
            data.lines.append(item.start_mark.line + 1)

    def _refuse_duplicates(self, node: yaml.MappingNode) -> None:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                message = "a key has to be a single value; if this is text with braces or brackets, put it in quotes"
                raise yaml.constructor.ConstructorError(None, None, message, key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice in one mapping", key_node.start_mark
                )
            seen.add(key)


# YAML 1.1 reads `on`, `yes`, dates and 12:30 as other types than text; Compose and this project follow YAML 1.2's core
# here. A leading 0 is octal all the same, as it is for Compose.
_SCALARS = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(?:0o?[0-7]+|0x[0-9a-fA-F]+|0|[1-9][0-9]*)", "-+0123456789"),
    "float": (
        r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
_OWN_TAGS = {f"tag:yaml.org,2002:{name}" for name in (*_SCALARS, "timestamp")}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag not in _OWN_TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _name, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"(?:{_pattern})$"), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.marked_mapping)
_Loader.add_constructor("tag:yaml.org,2002:seq", _Loader.marked_sequence)


def load(path: Path) -> Any:
    """Reads one YAML document.

    Returns:
        Scalars, `MarkedDict` and `MarkedList`.

    Raises:
        InputError: the file cannot be read or is not YAML; names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError.of(f"cannot be read: {error.strerror}", path) from error
    except UnicodeDecodeError as error:
        raise InputError.of(f"is not UTF-8 text: {error.reason} at byte {error.start}", path) from error
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = " ".join(part for part in (error.context, error.problem) if part)
        raise InputError.of(f"is not valid YAML: {message}", path, mark.line + 1 if mark else None) from error
    except yaml.YAMLError as error:
        raise InputError.of(f"is not valid YAML: {error}", path) from error


def line_of(data: Any, location: Sequence[Any]) -> int | None:
    """The line of the deepest part of `location` that stands in the file."""
    line = None
    for key in location:
        if isinstance(data, MarkedDict) and key in data.lines:
            line, data = data.lines[key], data[key]
        elif isinstance(data, MarkedList) and isinstance(key, int) and key < len(data):
            line, data = data.lines[key], data[key]
        # else it is a name that pydantic put in, such as the tag of a union
    return line


def problems(error: ValidationError, data: Any, path: Path, prefix: Sequence[Any] = ()) -> list[Problem]:
    """A pydantic error as problems with file, line and key; `prefix` is where the model stands in `data`."""
    found = []
    for item in error.errors():
        location = [*prefix, *item["loc"]]
        found.append(Problem(f"{dotted(location)}: {sentence(item)}", path, line_of(data, location)))
    return found


def dotted(location: Sequence[Any]) -> str:
    """A location as people write it: `services.cache.ports[0]`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "the document"


_TEXT, _LIST, _MAP = "has to be text", "has to be a list", "has to be a map of keys to values"
_BOOL, _INT, _NUMBER = "has to be true or false", "has to be a whole number", "has to be a number"
# pydantic's words are those of Python; these are for people who write YAML or JSON.
_SENTENCES = {
    "extra_forbidden": "unknown key",
    "missing": "is missing",
    "string_type": _TEXT,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "dict_type": _MAP,
    "model_type": _MAP,
    "bool_type": _BOOL,
    "bool_parsing": _BOOL,
    "int_type": _INT,
    "int_parsing": _INT,
    "int_from_float": _INT,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
}


def sentence(item: Any) -> str:
    """One pydantic error in plain words."""
    if item["type"] == "string_pattern_mismatch":
        return f"{item['input']!r} does not match {item['ctx']['pattern']}"
    said = str(item["msg"]).removeprefix("Value error, ").replace("Input should be", "has to be")
    return _SENTENCES.get(item["type"], said)


def parse(model: type[Model], data: Any, path: Path) -> Model:
    """Checks a loaded document against a model.

    Raises:
        InputError: with every problem of the document, each with its line.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise InputError(problems(error, data, path)) from error
