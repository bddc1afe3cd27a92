"""Bundles that are the shipped one but for a change: what negative controls are made of."""

import copy
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vx11.catalogue import allowlist, compose

SHIPPED = Path(__file__).resolve().parents[2] / "matrices" / "e2e"
WRONG = Path(__file__).with_name("wrong.py")
BLOCKED = "blocked-service"
Case = dict[str, Any]


class Bundle:
    """A copy of the shipped bundle; what is changed takes effect with `write`.

    Attributes:
        services: the catalogue's entries, by name.
        shipped: the shipped cases, by id.
        cases: those that it will have, by id.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(SHIPPED, folder, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copyfile(WRONG, folder / WRONG.name)
        self._catalogue = yaml.safe_load((folder / "catalogue.yml").read_text(encoding="utf-8"))
        # The anchors of the file made entries share what they have in common.
        self._catalogue["services"] = {n: copy.deepcopy(e) for n, e in self._catalogue["services"].items()}
        self.services: dict[str, Any] = self._catalogue["services"]
        matrix = yaml.safe_load((folder / "matrix.yml").read_text(encoding="utf-8"))["test_matrix"]
        self.shipped: Mapping[str, Case] = {case["id"]: case for case in matrix["cases"]}
        self.cases: dict[str, Case] = {}

    def case(self, shipped: str, name: str) -> Case:
        """A copy of a shipped case under another id; without one a case that does nothing yet."""
        self.cases[name] = case = copy.deepcopy(self.shipped.get(shipped, {})) | {"id": name}
        return case

    def set_bug(self, service: str, kind: str) -> None:
        """A service has a bug from now on."""
        self.services[service]["environment"]["BUG"] = kind

    def spoil(self, service: str, *kinds: str) -> None:
        """Something is wrong with how a service runs; see wrong.py."""
        process = self.services[service]["x-vx11"]["process"]
        process["command"] = ["{python}", WRONG.name, *kinds, "--", *process["command"]]

    def copy_service(self, service: str, name: str) -> None:
        """The same program under another name."""
        self.services[name] = copy.deepcopy(self.services[service])

    def suite(self, name: str, code: str) -> None:
        """A suite goes on with this code; one that is not there begins with it."""
        path = self.folder / "suites" / f"{name}.py"
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        path.write_text(f"{before}\n\n{code}", encoding="utf-8")

    def write(self) -> Path:
        """Writes matrix, catalogue and allowlist; answers the folder."""
        matrix = {"test_matrix": {"cases": list(self.cases.values())}}
        (self.folder / "matrix.yml").write_text(_dump(matrix), encoding="utf-8")
        catalogue = self.folder / "catalogue.yml"
        catalogue.write_text(_dump(self._catalogue), encoding="utf-8")
        allowed = [name for name in self.services if name != BLOCKED]
        allowlist.update(self.folder / "allowlist.yml", compose.load(catalogue), allowed)
        return self.folder


def _dump(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False)


@dataclass(frozen=True)
class Control:
    """A way to make an assert false.

    Attributes:
        name: the assert; the case that is changed has it as its id.
        round: the run that it takes part in. In one run a service or a suite is changed for one case alone.
        case: the shipped case; empty for one that has the base asserts alone.
        change: makes the change.
        also: other asserts that cannot hold either then.
        fails: what the message says of the playbook, which fails too; empty when it does not.
    """

    name: str
    round: int
    case: str
    change: Callable[[Bundle, Case], None]
    also: frozenset[str] = frozenset()
    fails: str = ""
