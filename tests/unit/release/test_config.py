"""`closing.yml`: all its mistakes at once, and where its paths start."""

from collections.abc import Callable
from pathlib import Path

import pytest

from vx11.errors import InputError
from vx11.release.config import FLAGS, Closing, load

Write = Callable[[str, str], Path]


def test_all_mistakes_are_told_with_their_lines(write: Write) -> None:
    path = write(
        "closing.yml",
        "tree: .\nnonsense: 1\nmaintenance: []\nmanagement_ports: [22, 70000]\n"
        "outside:\n  - address: 10.0.0.5\npace: soon\n",
    )
    with pytest.raises(InputError) as caught:
        load(path)
    assert {(problem.line, problem.message.split(":")[0]) for problem in caught.value.problems} == {
        (2, "nonsense"),
        (3, "maintenance"),
        (4, "management_ports[1]"),
        (6, "outside[0].ports"),
        (7, "pace"),
    }


def test_paths_start_from_its_folder(write: Write, tmp_path: Path) -> None:
    path = write("below/closing.yml", "tree: ..\ndatabases: [data, /var/*.db]\nevidence: [log]\nsecrets: known.json\n")
    found = load(path)
    folder = tmp_path / "below"
    assert (found.tree, found.secrets) == (folder / "..", folder / "known.json")
    assert found.databases == (f"{folder}/data", "/var/*.db")
    assert found.evidence == (folder / "log",)


def test_an_empty_one_is_what_there_is_without(write: Write) -> None:
    assert load(write("closing.yml", "")) == Closing()
    assert Closing().flags == FLAGS
    assert Closing().management_ports == (22,)
