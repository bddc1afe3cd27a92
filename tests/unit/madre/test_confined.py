"""A folder that a request names lies below the root, whatever the request tries."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vx11.madre.confined import CHAIN, below

# Names that have led out of somewhere, and whatever else there is.
PARTS = st.sampled_from(
    [
        "..",
        ".",
        "",
        "a",
        "run",
        "out",
        "up",
        "circle",
        "file",
        "dangling",
        "~",
        "\\..",
        "..\\",
        "%2e%2e",
        "\0",
        "\n",
        "é",
    ]
)
PATHS = st.one_of(st.lists(PARTS, max_size=6).map("/".join), st.text(max_size=40))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with links of all kinds, a file, and the evidence of a run."""
    outside = tmp_path_factory.mktemp("outside")
    root = outside / "root"
    for folder in ("a/b", "run/cases"):
        (root / folder).mkdir(parents=True)
    (root / "file").touch()
    (root / "run" / CHAIN).touch()
    for name, target in {
        "out": outside,
        "up": "..",
        "in": "a/b",
        "circle": "circle",
        "dangling": outside / "nothing",
        "a/absolute": "/",
    }.items():
        (root / name).symlink_to(target)
    return root


@given(PATHS)
def test_whatever_is_accepted_lies_below_the_root(root: Path, given: str) -> None:
    try:
        found = below(root, given)
    except ValueError:
        return
    found.mkdir(parents=True, exist_ok=True)  # which is what becomes of it
    assert found.resolve().is_relative_to(root.resolve())
    assert not found.is_relative_to(root / "run")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (".", "."),
        ("a", "a"),
        ("a/new/deep", "a/new/deep"),
        ("./a//b/", "a/b"),
        ("in/c", "a/b/c"),
        ("...", "..."),
        ("é", "é"),
    ],
)
def test_what_lies_below_is_taken(root: Path, given: str, found: str) -> None:
    assert below(root, given) == root / found


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("", "has to be the path"),
        ("a\0b", "has to be the path"),
        ("a\nb", "has to be the path"),
        ("/", "has to be relative"),
        ("/etc", "has to be relative"),
        ("..", "may not go up"),
        ("a/../b", "may not go up"),
        ("out", "leads out"),
        ("out/deeper", "leads out"),
        ("up", "leads out"),
        ("a/absolute/etc", "leads out"),
        ("dangling", "leads out"),
        ("circle", "is not a folder"),
        ("file", "is not a folder"),
        ("file/deeper", "cannot be a folder: Not a directory"),
        ("x" * 300, "cannot be a folder: File name too long"),
        ("run", "lies in evidence"),
        ("run/cases", "lies in evidence"),
        ("run/new", "lies in evidence"),
    ],
)
def test_what_does_not_is_refused_with_the_reason(root: Path, given: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        below(root, given)


def test_a_root_that_is_reached_by_a_link_is_a_root(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert below(tmp_path / "link", "a/c") == root / "a/c"
