"""The rollback plan of an intent, step by step in a shell: after it the bundle is as it was when the case failed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from vx11.conductor import intents
from vx11.conductor.cell import Cell
from vx11.engines.select import EngineName
from vx11.recovery import proposal, rollback
from vx11.recovery.failure import Failure
from vx11.recovery.hypotheses import analyse

PATCHED = "# somebody tried a patch\n"
MADE_A_COPY = "cp -a"


def tree(folder: Path) -> Mapping[str, bytes]:
    """The files of a bundle; what runs and what git keeps is left out."""
    files = [path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if "__pycache__" not in path.parts}


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    subprocess.run(["git", *who, "-C", str(folder), *words], check=True, capture_output=True, timeout=10)


@pytest.fixture
def bundle(make_bundle: Callable[..., Path], web: dict[str, Any]) -> Path:
    """A bundle with a case that fails."""
    folder = make_bundle({"web": web})
    case = {
        "id": "fails",
        "services": ["web"],
        "actions": [{"wait": "10ms"}],
        "asserts": [{"window_auto_closed": True}],
    }
    (folder / "matrix.yml").write_text(yaml.safe_dump({"test_matrix": {"cases": [case]}}), encoding="utf-8")
    return folder


@pytest.mark.parametrize("in_git", [True, False])
def test_each_step_does_what_it_says(
    bundle: Path, start_cell: Callable[[Path, EngineName], Cell], tmp_path: Path, *, in_git: bool
) -> None:
    if in_git:
        git(bundle, "init", "-q")
        git(bundle, "add", ".")
        git(bundle, "commit", "-q", "-m", "as it was")
    failure = Failure("e2e-1", "fails", "", 1, "0.1.0", 1, "", tmp_path, bundle / "matrix.yml")
    steps = rollback.steps(Failure(**{**vars(failure), "revision": intents.revision(bundle)}))
    before = tree(bundle)
    if not in_git:
        (told,) = [step.purpose for step in steps if MADE_A_COPY in step.purpose]
        subprocess.run(["/bin/sh", "-c", told[told.index(MADE_A_COPY) :]], check=True, timeout=10)
    for name in ("catalogue.yml", "matrix.yml"):
        with (bundle / name).open("a", encoding="utf-8") as file:
            file.write(PATCHED)
    cell = start_cell(bundle, "process")
    with cell.madre() as madre:
        madre.call("POST", "/api/v1/windows/open", json={"service": "web"})
    beside = Path(sys.executable).parent
    environment = os.environ | {
        "VX11_URL": cell.url,
        "VX11_TOKEN": cell.token,
        "PATH": f"{beside}:{os.environ['PATH']}",
    }
    assert shutil.which("vx11", path=environment["PATH"])
    for step in steps:
        done = subprocess.run(
            ["/bin/sh", "-e", "-c", step.command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, (step, done.stdout, done.stderr)
    assert tree(bundle) == before
    with cell.madre() as madre:
        assert madre.status()["solo_madre"]


def test_what_is_not_known_of_a_case_is_not_made_up(tmp_path: Path) -> None:
    failure = Failure("e2e-1", "none", "", 1, "0.1.0", 1, "", tmp_path, tmp_path / "matrix.yml")
    primary = analyse(failure).causes[0]
    proposed = proposal.propose(failure, primary)
    assert [(change.file, change.to) for change in proposed.changes] == [("unknown", "unknown")]
    assert proposal.diff(failure, proposed) == ""
