"""Which collection a matrix is played with: the checkout above it, one that is installed, the one in the package."""

from collections.abc import Callable
from pathlib import Path

import pytest

from vx11.conductor import collection
from vx11.conductor.collection import Collection
from vx11.errors import EnvironmentProblem

Write = Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither this machine's collections nor this checkout are seen."""
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", str(tmp_path / "none"))
    monkeypatch.setattr(collection, "__file__", str(tmp_path / "site/src/vx11/conductor/collection.py"))


@pytest.fixture
def path(write: Write) -> Path:
    return write("checkout/matrices/e2e/matrix.yml", "")


def checkout(write: Write, name: str = "power") -> Path:
    write("checkout/plugins/modules/x.py", "")
    return write("checkout/galaxy.yml", f"namespace: vx11\nname: {name}\n").parent


def installed(write: Write, root: str) -> Path:
    return write(f"{root}/ansible_collections/vx11/power/plugins/x.py", "").parents[1]


def test_the_checkout_above_the_matrix_comes_first(
    write: Write, path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed(write, "there")
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", str(tmp_path / "there"))
    folder = checkout(write)
    assert collection.find(path) == Collection(folder, "checkout")
    assert collection.find(path.parent) == Collection(folder, "checkout")


@pytest.mark.parametrize("text", ["namespace: other\nname: power\n", "- x\n", "{", "\x00"])
def test_the_checkout_of_another_collection_is_not_taken(write: Write, path: Path, text: str) -> None:
    checkout(write)
    write("checkout/galaxy.yml", text)
    with pytest.raises(EnvironmentProblem, match=r"vx11\.power was not found; install it with: ansible-galaxy"):
        collection.find(path)


def test_an_installed_one_is_found_in_the_order_of_the_path(
    write: Write, path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    second, _ = installed(write, "second"), installed(write, "third")
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", f"{tmp_path}/first::{tmp_path}/second:{tmp_path}/third")
    assert collection.find(path) == Collection(second, "installed")


def test_a_home_folder_is_meant_by_a_tilde(
    write: Write, path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ANSIBLE_COLLECTIONS_PATH")
    folder = installed(write, "home/.ansible/collections")
    assert collection.find(path) == Collection(folder, "installed")


def test_the_one_in_the_package_is_the_last(write: Write, path: Path) -> None:
    carried = write("site/src/vx11/_collection/galaxy.yml", "").parent
    assert collection.find(path) == Collection(carried, "package")


def test_an_editable_install_has_its_checkout(write: Write, path: Path, tmp_path: Path) -> None:
    write("site/galaxy.yml", "namespace: vx11\nname: power\n")
    write("site/plugins/x.py", "")
    assert collection.find(path) == Collection(tmp_path / "site", "checkout")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("vx11.power.core", "playbooks/core.yml"),
        ("vx11.power.cases.tc_001", "playbooks/cases/tc_001.yml"),
        ("other.power.core", None),
        ("cases/tc_001.yml", None),
        ("vx11.powerful.core", None),
    ],
)
def test_a_playbook_by_its_full_name(tmp_path: Path, name: str, file: str | None) -> None:
    assert Collection(tmp_path, "checkout").playbook(name) == (tmp_path / file if file else None)


def test_ansible_finds_it_under_its_full_name(write: Write, tmp_path: Path) -> None:
    found = Collection(checkout(write), "checkout")
    scratch = tmp_path / "scratch"
    assert found.search_path(scratch) == found.search_path(scratch) == scratch
    assert (scratch / "ansible_collections/vx11/power/galaxy.yml").is_file()
