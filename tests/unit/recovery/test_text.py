"""Text of others stays text: whatever it holds, Markdown shows it as it is, and nothing around it changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from vx11.recovery.text import fence, inline, safe

HOSTILE = st.text(st.sampled_from("ab1.-+#=|\\`*_[]()<>!&;:~$ \t\n\r\x00\x1b{}%é\ud800\u2028"), max_size=40) | st.text()
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def shown(source: str) -> list[str]:
    """The text of each paragraph and cell; an element within it is marked."""
    inlines = [token for token in MARKDOWN.parse(source) if token.type == "inline"]
    kinds = {"text", "softbreak", "text_special"}
    return [
        "".join(child.content if child.type in kinds else f"<{child.type}>" for child in token.children or ())
        for token in inlines
    ]


def as_line(text: str) -> str:
    return " ".join(safe(text).split())


@given(HOSTILE)
def test_a_list_shows_it(text: str) -> None:
    assert shown(f"- {inline(text)}\n- end") == [line for line in (as_line(text), "end") if line]


@given(HOSTILE, HOSTILE)
def test_a_table_shows_it_in_its_cell(one: str, two: str) -> None:
    source = f"| a | b |\n| --- | --- |\n| {inline(one)} | {inline(two)} |\n"
    assert shown(source) == ["a", "b", as_line(one), as_line(two)]


@given(HOSTILE, st.sampled_from([0, 3]))
def test_no_block_of_code_is_ended_from_inside(text: str, margin: int) -> None:
    lead = "1. step\n\n" if margin else ""
    tokens = MARKDOWN.parse(f"{lead}{fence(text, margin=margin)}\n\nafter")
    (block,) = [token for token in tokens if token.type == "fence"]
    lines = safe(text).strip("\n").expandtabs(4).split("\n")
    assert [line.rstrip() for line in block.content.rstrip("\n").split("\n")] == [line.rstrip() for line in lines]
    assert tokens[-2].content == "after"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("a\x00b\ud800", "a\ufffdb\ufffd"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("Bearer eyJhbGciOi.eyJzdWIi.c2ln-x_y!", "Bearer [token]!"),
    ],
)
def test_what_is_not_for_readers_is_taken_out(text: str, kept: str) -> None:
    assert safe(text) == kept
