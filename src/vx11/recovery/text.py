"""Text of others inside our own: cleaned, and escaped so that Markdown shows it as it is."""

import re
from textwrap import indent

# A signed token; whoever reads an intent must not be able to use one.
_TOKEN = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff]")
_COLOUR = re.compile("\x1b\\[[0-9;]*[A-Za-z]")
_MARKS = re.compile(r"[\\`*\[\]<>&|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
# What begins a block at the start of a line.
_BLOCK = re.compile(r"^([-+#=]|\d+(?=[.)](?:\s|$)))")
_TICKS = re.compile("`+")


class Markdown(str):
    """Text that is Markdown already, and is not escaped again."""

    __slots__ = ()


def safe(text: str) -> str:
    """Without colours and signed tokens; control characters become U+FFFD."""
    lines = _COLOUR.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _TOKEN.sub("[token]", _CONTROL.sub("\N{REPLACEMENT CHARACTER}", lines))


def inline(text: str) -> Markdown:
    """One line that shows the text, in a paragraph, a list or a table."""
    line = _MARKS.sub(r"\\\g<0>", " ".join(safe(text).split()))
    return Markdown(_BLOCK.sub(_escaped_block, line))


def _escaped_block(match: re.Match[str]) -> str:
    found = match[1]
    return f"{found}\\" if found.isdecimal() else f"\\{found}"


def fence(text: str, language: str = "text", margin: int = 0) -> Markdown:
    """A block of code that nothing inside ends.

    Args:
        margin: spaces before each line, as in a list.
    """
    shown = safe(text).strip("\n").expandtabs(4)
    longest = max((len(ticks) for ticks in _TICKS.findall(shown)), default=0)
    mark = "`" * max(3, longest + 1)
    return Markdown(indent(f"{mark}{language}\n{shown}\n{mark}", " " * margin))
