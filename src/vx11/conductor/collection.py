"""Finds the collection vx11.power for a matrix: the checkout's, else an installed one, else the one in the package."""

import os
from dataclasses import dataclass
from pathlib import Path

import yaml

from vx11.errors import EnvironmentProblem

NAMESPACE, NAME = "vx11", "power"
_PREFIX = f"{NAMESPACE}.{NAME}."
_INSTALLED = ("~/.ansible/collections", "/usr/share/ansible/collections")


@dataclass(frozen=True)
class Collection:
    """Where the collection lies, and how it was found."""

    folder: Path
    found: str

    def playbook(self, name: str) -> Path | None:
        """The file of a playbook named by FQCN, such as `vx11.power.cases.tc_001`; None for any other name."""
        if not name.startswith(_PREFIX):
            return None
        return self.folder.joinpath("playbooks", *name.removeprefix(_PREFIX).split(".")).with_suffix(".yml")

    def search_path(self, scratch: Path) -> Path:
        """A folder for ANSIBLE_COLLECTIONS_PATH in which Ansible finds it under its full name."""
        parent = scratch / "ansible_collections" / NAMESPACE
        parent.mkdir(parents=True, exist_ok=True)
        link = parent / NAME
        if not link.is_symlink():
            link.symlink_to(self.folder, target_is_directory=True)
        return scratch


def searched() -> list[str]:
    """Where Ansible looks for collections of the user's."""
    return [root for root in os.environ.get("ANSIBLE_COLLECTIONS_PATH", ":".join(_INSTALLED)).split(":") if root]


def find(matrix: Path) -> Collection:
    """The collection for a matrix.

    Raises:
        EnvironmentProblem: there is none, which means that the package is broken.
    """
    for folder in matrix.resolve().parents:
        if _is_ours(folder):
            return Collection(folder, "checkout")
    for root in searched():
        folder = Path(root).expanduser() / "ansible_collections" / NAMESPACE / NAME
        if (folder / "plugins").is_dir():
            return Collection(folder, "installed")
    carried = Path(__file__).resolve().parents[1] / "_collection"
    if carried.is_dir():
        return Collection(carried, "package")
    checkout = Path(__file__).resolve().parents[3]
    if _is_ours(checkout):  # an editable install
        return Collection(checkout, "checkout")
    raise EnvironmentProblem(
        "the collection vx11.power was not found; install it with: ansible-galaxy collection install"
    )


def _is_ours(folder: Path) -> bool:
    """Whether a folder is a checkout of this collection, not of somebody else's."""
    try:
        about = yaml.safe_load((folder / "galaxy.yml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return isinstance(about, dict) and (about.get("namespace"), about.get("name")) == (NAMESPACE, NAME)
