"""What end-to-end tests share: a matrix in a bundle, and `vx11 run` as a process."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from vx11.engines import procfs

PLAY = {"hosts": "all", "gather_facts": False, "module_defaults": {"group/vx11.power.vx11": {"url": "{{ vx11_url }}"}}}


@dataclass(frozen=True)
class Ran:
    """One `vx11 run` that has ended."""

    code: int
    output: str
    errors: str
    evidence: Path

    @property
    def result(self) -> dict[str, Any]:
        """What it printed with --json."""
        assert self.output, self.errors
        found: dict[str, Any] = json.loads(self.output)
        return found

    def case(self, name: str) -> dict[str, Any]:
        """The result of one case."""
        return next(item for item in self.result["cases"] if item["case"] == name)

    @property
    def folder(self) -> Path:
        """Its folder of evidence."""
        (folder,) = (path for path in self.evidence.iterdir() if path.is_dir())
        return folder


def _command(bundle: Path, evidence: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "vx11", "run", str(bundle), "--evidence", str(evidence), *more]


def _left_of(temporary: Path) -> list[str]:
    """What a run left: processes whose temporary folder is its own or below it, and files there.

    A process that is just ending may still be seen, so each is looked at by its identity.
    """
    started = {pid: procfs.start_time(pid) for pid in procfs.pids() if _is_below(pid, temporary)}
    processes = [f"process {pid}" for pid, at in started.items() if at is not None and procfs.is_alive(pid, at)]
    return processes + [str(path) for path in temporary.iterdir()]


def _is_below(pid: int, temporary: Path) -> bool:
    return Path(procfs.environment(pid).get("TMPDIR", "/")).is_relative_to(temporary)


@pytest.fixture(scope="session")
def run_command() -> Callable[..., list[str]]:
    """The command line of a run."""
    return _command


@pytest.fixture(scope="session")
def left_of() -> Callable[[Path], list[str]]:
    """What a run left behind that had this temporary folder."""
    return _left_of


@pytest.fixture(scope="session")
def run_matrix(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Ran]:
    """`run_matrix(bundle, *arguments)` runs it to its end, and proves that nothing is left."""

    def run(bundle: Path, *more: str) -> Ran:
        evidence, temporary = tmp_path_factory.mktemp("evidence"), tmp_path_factory.mktemp("tmp")
        environment = os.environ | {"TMPDIR": str(temporary)}
        done = subprocess.run(
            _command(bundle, evidence, *more), capture_output=True, text=True, timeout=120, env=environment, check=False
        )
        assert _left_of(temporary) == []
        return Ran(done.returncode, done.stdout, done.stderr, evidence)

    return run


@pytest.fixture(scope="session")
def write_matrix() -> Callable[..., Path]:
    """`write_matrix(bundle, {id: (tasks, more)})` writes a matrix whose cases have these tasks, and these keys."""

    def write(bundle: Path, cases: dict[str, tuple[list[Any] | str, dict[str, Any]]]) -> Path:
        entries = []
        for name, (tasks, more) in cases.items():
            text = tasks if isinstance(tasks, str) else yaml.safe_dump([PLAY | {"tasks": tasks}])
            (bundle / f"{name}.yml").write_text(text, encoding="utf-8")
            entries.append({"id": name, "playbook": f"{name}.yml", **more})
        matrix = {"test_matrix": {"cases": entries}}
        (bundle / "matrix.yml").write_text(yaml.safe_dump(matrix, sort_keys=False), encoding="utf-8")
        return bundle

    return write
