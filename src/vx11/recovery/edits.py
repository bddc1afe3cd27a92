"""Places in the files of a bundle, and how a line would read, for changes that a human may make. Writes nothing."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Any

from vx11 import yamlfile
from vx11.errors import InputError

Location = Sequence[Any]


@dataclass(frozen=True)
class Edit:
    """A line that would be another one, or before which there would be more.

    Attributes:
        line: its number; the first is 1.
        before: the line, empty where lines are added before it.
        after: the lines in its stead.
    """

    file: Path
    line: int
    before: str
    after: Sequence[str]

    @property
    def from_(self) -> str:
        """The line as it is, without its indent."""
        return self.before.strip() or "nothing"

    @property
    def to(self) -> str:
        """The line as it would be, without its indent."""
        return " / ".join(line.strip() for line in self.after)


def read(path: Path) -> Any:
    """A YAML file with its lines; None when it cannot be read."""
    try:
        return yamlfile.load(path)
    except InputError:
        return None


def at(data: Any, location: Location) -> Any:
    """What stands at a location, None when nothing does."""
    for key in location:
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def found(data: Any, fits: Callable[[Any], bool], location: Location = ()) -> Iterator[Location]:
    """The locations of whatever fits, in the order of the file."""
    if fits(data):
        yield location
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in pairs:
        yield from found(value, fits, (*location, key))


def set_value(path: Path, location: Location, value: str, within: Location = ()) -> Edit | None:
    """Another value for a key that stands in a file.

    Args:
        within: where it has to stand; what an anchor shares with others stands elsewhere.

    Returns:
        None when it does not stand there, or not on one line.
    """
    data = read(path)
    if at(data, location) is None:
        return None
    line, begin = yamlfile.line_of(data, location), yamlfile.line_of(data, within) or 0
    lines = _lines(path)
    if line is None or not begin <= line <= len(lines) or _leaves(lines, begin, line):
        return None
    key = re.escape(str(location[-1]))
    pattern = rf"""((?<![\w-]){key}["']?\s*:\s*)("[^"]*"|'[^']*'|[^\s,}}#][^,}}#]*?)(?=\s*(?:[,}}]|\s#|$))"""
    after, count = re.subn(pattern, lambda match: match[1] + value, lines[line - 1], count=1)
    return Edit(path, line, lines[line - 1], (after,)) if count else None


def _leaves(lines: Sequence[str], begin: int, line: int) -> bool:
    """Whether a line is outside of the block that begins at another one."""
    if not begin or line == begin:
        return False
    indent = _indent(lines[begin - 1])
    return any(text.strip() and _indent(text) <= indent for text in lines[begin:line])


def add_key(path: Path, location: Location, text: str) -> Edit | None:
    """A line right below a key whose value is a block, indented like its first line.

    Returns:
        None when the key does not stand there, or its value is no block.
    """
    data, lines = read(path), _lines(path)
    line = yamlfile.line_of(data, location) if at(data, location) is not None else None
    if line is None or line >= len(lines):
        return None
    below = lines[line]
    if _indent(below) <= _indent(lines[line - 1]):
        return None
    return Edit(path, line + 1, "", (" " * _indent(below) + text,))


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []


def diff(bundle: Path, edits: Sequence[Edit]) -> str:
    """The edits of files of the bundle as a unified diff, for `patch -p1` in its folder; empty for none."""
    text: list[str] = []
    for file in dict.fromkeys(edit.file for edit in edits if edit.file.is_relative_to(bundle)):
        before = _lines(file)
        after = list(before)
        for edit in sorted((one for one in edits if one.file == file), key=lambda one: -one.line):
            after[edit.line - 1 : edit.line - 1 + bool(edit.before)] = edit.after
        name = file.relative_to(bundle).as_posix()
        text += unified_diff(before, after, f"a/{name}", f"b/{name}", lineterm="")
    return "".join(f"{line}\n" for line in text)
