"""`${VARIABLES}`: every form of the Compose Specification, and errors at their place."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vx11 import yamlfile
from vx11.catalogue import interpolate

VARIABLES = {"SET": "value", "EMPTY": "", "OTHER": "another", "_u1": "under", "DOLLAR": "$SET ${SET}", "BRACE": "a}b"}


@pytest.mark.parametrize(
    ("written", "result"),
    [
        ("plain", "plain"),
        ("", ""),
        ("$SET", "value"),
        ("${SET}", "value"),
        ("$_u1", "under"),
        ("a-$SET-b", "a-value-b"),
        ("a${SET}b${OTHER}c", "avaluebanotherc"),
        ("$SET$OTHER", "valueanother"),
        ("$EMPTY", ""),
        ("${EMPTY}", ""),
        # Defaults: with a colon also for what is set but empty.
        ("${SET:-default}", "value"),
        ("${EMPTY:-default}", "default"),
        ("${UNSET:-default}", "default"),
        ("${SET-default}", "value"),
        ("${EMPTY-default}", ""),
        ("${UNSET-default}", "default"),
        ("${UNSET:-}", ""),
        ("${UNSET-}", ""),
        ("${UNSET:-a b/c:d-e?f+g}", "a b/c:d-e?f+g"),
        # Required.
        ("${SET:?must be set}", "value"),
        ("${SET?must be set}", "value"),
        ("${EMPTY?must be set}", ""),
        # Alternatives.
        ("${SET:+other}", "other"),
        ("${EMPTY:+other}", ""),
        ("${UNSET:+other}", ""),
        ("${SET+other}", "other"),
        ("${EMPTY+other}", "other"),
        ("${UNSET+other}", ""),
        # Nested.
        ("${UNSET:-${SET}}", "value"),
        ("${UNSET:-$SET}", "value"),
        ("${SET:-${UNSET}}", "value"),
        ("${UNSET:-${EMPTY:-${OTHER}}}", "another"),
        ("${UNSET:-a${SET}b${OTHER}c}d", "avaluebanothercd"),
        ("${SET:+<${OTHER}>}", "<another>"),
        ("${UNSET:+${ALSO_UNSET}}", ""),
        # A dollar.
        ("$$", "$"),
        ("$$SET", "$SET"),
        ("$${SET}", "${SET}"),
        ("$$$SET", "$value"),
        ("${UNSET:-$$5}", "$5"),
        # Values are not looked into again.
        ("$DOLLAR", "$SET ${SET}"),
        ("${BRACE}", "a}b"),
        ("a}b", "a}b"),
        ("{{ jinja }}", "{{ jinja }}"),
    ],
)
def test_a_variable_is_replaced(written: str, result: str) -> None:
    assert interpolate.text(written, VARIABLES) == result


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("$UNSET", "the variable UNSET is not set; set it, or give a default"),
        ("${UNSET}", "the variable UNSET is not set; set it, or give a default"),
        ("${UNSET?say which}", "the variable UNSET is not set: say which"),
        ("${UNSET:?say which}", "the variable UNSET is not set: say which"),
        ("${EMPTY:?say which}", "the variable EMPTY is not set: say which"),
        ("${UNSET:?}", "the variable UNSET is not set; set it, or give a default"),
        ("${UNSET:?not even $SET}", "the variable UNSET is not set: not even value"),
        ("${UNSET:-${ALSO_UNSET}}", "the variable ALSO_UNSET is not set; set it, or give a default"),
        ("costs 5$", "a single $ must be written $$"),
        ("$", "a single $ must be written $$"),
        ("$1", "a single $ must be written $$"),
        ("$ SET", "a single $ must be written $$"),
        ("${}", "a single $ must be written $$"),
        ("${1A}", "a single $ must be written $$"),
        ("${SET", "a single $ must be written $$"),
        ("${SET:-a", "a single $ must be written $$"),
        ("${UNSET:-${SET}", "a single $ must be written $$"),
        ("${SET!x}", "a single $ must be written $$"),
        ("${SET:x}", "a single $ must be written $$"),
        ("$(date)", "a single $ must be written $$"),
    ],
)
def test_what_cannot_be_replaced_is_an_error(written: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"the variable|single") as refused:
        interpolate.text(written, VARIABLES)
    assert str(refused.value).startswith(message)


@given(st.text())
def test_an_escaped_text_comes_out_as_it_was(text: str) -> None:
    assert interpolate.text(text.replace("$", "$$"), {}) == text


@given(st.text(alphabet="ab${}:-?+ "))
def test_any_text_is_replaced_or_refused(text: str) -> None:
    try:
        result = interpolate.text(text, {"a": "1", "b": ""})
    except ValueError:
        assert "$" in text
    else:
        assert "$" in text or result == text


@given(st.text(alphabet=st.characters(exclude_characters="${}"), min_size=1), st.text(min_size=1))
def test_a_default_stands_in_for_what_is_not_set(default: str, value: str) -> None:
    assert interpolate.text(f"<${{NAME:-{default}}}>", {}) == f"<{default}>"
    assert interpolate.text(f"<${{NAME:-{default}}}>", {"NAME": value}) == f"<{value}>"


def test_a_tree_is_replaced_throughout_and_keeps_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "doc.yml"
    path.write_text(
        "a: ${SET}\nlist:\n  - $OTHER\n  - n: ${SET}\n$SET: 5\nnumber: 3\nnone:\nyes: true\n", encoding="utf-8"
    )
    report = interpolate.Report()
    tree = interpolate.tree(yamlfile.load(path), VARIABLES, report)
    assert tree == {
        "a": "value",
        "list": ["another", {"n": "value"}],
        "$SET": 5,  # keys are names, as in Compose
        "number": 3,
        "none": None,
        "yes": True,
    }
    assert yamlfile.line_of(tree, ["list", 1, "n"]) == 4
    assert report.found == []


def test_errors_carry_their_place_and_none_hides_another(write: Callable[[str, str], Path]) -> None:
    data = yamlfile.load(write("doc.yml", "a: $UNSET\nb:\n  - fine\n  - c: cost $\n    d: $SET\n"))
    report = interpolate.Report()
    tree: Any = interpolate.tree(data, VARIABLES, report)
    assert report.found == [
        (("a",), "the variable UNSET is not set; set it, or give a default"),
        (("b", 1, "c"), "a single $ must be written $$, or start a variable such as ${NAME}"),
    ]
    assert tree["b"][1]["d"] == "value"
