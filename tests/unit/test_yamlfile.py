"""YAML that remembers its lines, refuses what is ambiguous, and names file and line in every error."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from vx11 import yamlfile
from vx11.errors import InputError
from vx11.yamlfile import MarkedDict, MarkedList

Write = Callable[[str, str], Path]

DOCUMENT = """\
# a comment
base: &base
  image: first
  ports: [1, 2]
services:
  web:
    <<: *base
    image: own
  other: *base
listed:
  - one
  - key: value
"""


class Inner(BaseModel):
    """A model with what tests of locations need."""

    model_config = ConfigDict(extra="forbid")
    port: int
    name: str = ""


class Outer(BaseModel):
    """Inner models in a list and in a mapping."""

    items: list[Inner] = []
    by_name: dict[str, Inner] = {}


@pytest.fixture
def document(write: Write) -> Any:
    return yamlfile.load(write("doc.yml", DOCUMENT))


@pytest.mark.parametrize(
    ("location", "line"),
    [
        ([], None),
        (["base"], 2),
        (["base", "ports"], 4),
        (["base", "ports", 1], 4),
        (["services", "web"], 6),
        (["services", "web", "image"], 8),
        # What a merge brought stands where it was written.
        (["services", "web", "ports"], 4),
        (["listed", 1], 12),
        (["listed", 1, "key"], 12),
        # Names that are not in the file leave the line of what is.
        (["services", "web", "tagged-union", "image"], 8),
        (["services", "missing"], 5),
        (["listed", 7], 10),
        (["nothing"], None),
    ],
)
def test_the_line_of_a_location(document: Any, location: list[Any], line: int | None) -> None:
    assert yamlfile.line_of(document, location) == line


def test_anchors_and_merges_are_resolved_and_own_keys_win(document: Any) -> None:
    assert document["services"]["web"] == {"image": "own", "ports": [1, 2]}
    assert document["services"]["other"] == {"image": "first", "ports": [1, 2]}
    assert isinstance(document["services"], MarkedDict)
    assert isinstance(document["listed"], MarkedList)


def test_merges_of_merges_and_of_lists(write: Write) -> None:
    text = """\
a: &a {one: 1, two: 2}
b: &b
  <<: *a
  two: 22
c:
  <<: [*b, {one: 11, three: 3}]
d:
  e: &e
    <<: *a
    one: 111
  <<: *e
"""
    data = yamlfile.load(write("doc.yml", text))
    assert data["b"] == {"one": 1, "two": 22}
    assert data["c"] == {"one": 1, "two": 22, "three": 3}
    assert data["d"] == {"e": {"one": 111, "two": 2}, "one": 111, "two": 2}


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("No", "No"),
        ("y", "y"),
        ("2026-11-21", "2026-11-21"),
        ("12:30:45", "12:30:45"),
        ("22:22", "22:22"),
        ("1:30.5", "1:30.5"),
        ("12", 12),
        ("-3", -3),
        ("0x1F", 31),
        ("1.5", 1.5),
        ("~", None),
        ("null", None),
        ("", None),
        ("'on'", "on"),
        ("text", "text"),
    ],
)
def test_scalars_are_read_as_yaml_1_2_reads_them(write: Write, scalar: str, value: object) -> None:
    found = yamlfile.load(write("doc.yml", f"key: {scalar}\n"))["key"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "the key 'a' stands twice in one mapping"),
        ("x:\n  - {a: 1, a: 2}\n", 2, "the key 'a' stands twice in one mapping"),
        ("a: [1\nb: 2\n", 2, "is not valid YAML: while parsing a flow sequence"),
        ("a: b: c\n", 1, "mapping values are not allowed here"),
        ("\ta: 1\n", 1, "cannot start any token"),
        ("a: *nowhere\n", 1, "found undefined alias"),
        ("a: !!python/object:os.system {}\n", 1, "could not determine a constructor"),
        ("a: 1\n---\nb: 2\n", 2, "expected a single document"),
        ("a: &a [*a]\n", 1, "found unconstructable recursive node"),
        # As when somebody forgot the quotes around a template.
        ("a: 1\nb: {{ name }}\n", 2, "a key has to be a single value"),
        ("? [1, 2]\n: 3\n", 1, "a key has to be a single value"),
        ("x:\n  <<: 5\n", 2, "expected a mapping"),
    ],
)
def test_what_is_not_yaml_names_file_and_line(write: Write, text: str, line: int, message: str) -> None:
    path = write("doc.yml", text)
    with pytest.raises(InputError) as refused:
        yamlfile.load(path)
    (problem,) = refused.value.problems
    assert message in problem.message
    assert (problem.path, problem.line) == (path, line)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.yml: cannot be read: No such file"):
        yamlfile.load(tmp_path / "missing.yml")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        yamlfile.load(tmp_path)


def test_what_is_not_utf_8_is_named_with_its_byte(tmp_path: Path) -> None:
    path = tmp_path / "latin.yml"
    path.write_bytes("name: caf\u00e9\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.yml: is not UTF-8 text: .* at byte 9"):
        yamlfile.load(path)


def test_control_characters_are_not_yaml(tmp_path: Path) -> None:
    path = tmp_path / "doc.yml"
    path.write_bytes(b"name: \x00\n")
    with pytest.raises(InputError, match=r"doc\.yml: is not valid YAML"):
        yamlfile.load(path)


@pytest.mark.parametrize(
    ("location", "text"),
    [
        ([], "the document"),
        (["services", "cache", "ports", 0], "services.cache.ports[0]"),
        ([0, "name"], "[0].name"),
    ],
)
def test_a_location_as_people_write_it(location: list[Any], text: str) -> None:
    assert yamlfile.dotted(location) == text


def test_every_problem_of_a_document_is_told_with_its_line(write: Write) -> None:
    path = write("doc.yml", "items:\n  - {port: 1}\n  - port: x\n    extra: 1\nby_name:\n  a:\n    name: b\n")
    with pytest.raises(InputError) as refused:
        yamlfile.parse(Outer, yamlfile.load(path), path)
    assert {(problem.line, problem.message) for problem in refused.value.problems} == {
        (3, "items[1].port: has to be a whole number"),
        (4, "items[1].extra: unknown key"),
        (6, "by_name.a.port: is missing"),
    }


def test_an_empty_document_is_told_as_such(write: Write) -> None:
    path = write("doc.yml", "# nothing\n")
    with pytest.raises(InputError, match="the document: has to be"):
        yamlfile.parse(Outer, yamlfile.load(path), path)
