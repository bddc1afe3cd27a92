"""What end-to-end tests share: a matrix in a bundle, and `vx11 run` as a process."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from vx11.engines import procfs

PLAY = {"hosts": "all", "gather_facts": False, "module_defaults": {"group/vx11.power.vx11": {"url": "{{ vx11_url }}"}}}


def pytest_itemcollected(item: pytest.Item) -> None:
    """A run of a matrix keeps a machine busy."""
    item.add_marker("busy")


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


def _command(bundle: Path, evidence: Path, *more: str, python: str = sys.executable) -> list[str]:
    return [python, "-m", "vx11", "run", str(bundle), "--evidence", str(evidence), *more]


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
    """`run_matrix(bundle, *arguments, limit=120)` runs it to its end, and proves that nothing is left."""

    def run(bundle: Path, *more: str, limit: float = 120, python: str = sys.executable) -> Ran:
        evidence, temporary = tmp_path_factory.mktemp("evidence"), tmp_path_factory.mktemp("tmp")
        environment = os.environ | {"TMPDIR": str(temporary)}
        command = _command(bundle, evidence, *more, python=python)
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, env=environment, check=False)
        assert _left_of(temporary) == []
        return Ran(done.returncode, done.stdout, done.stderr, evidence)

    return run


@dataclass(frozen=True)
class Begun:
    """A `vx11 run` that is in the middle of a case.

    Attributes:
        temporary: its temporary folder.
    """

    process: "subprocess.Popen[str]"
    evidence: Path
    temporary: Path

    def ended(self) -> tuple[str, str]:
        """Waits for its end; what it printed, and what it said on standard error."""
        return self.process.communicate(timeout=60)


@pytest.fixture
def begin_run(tmp_path: Path) -> Iterator[Callable[..., Begun]]:
    """`begin_run(bundle, reached, *arguments)` starts a run and waits until somebody writes into the pipe `reached`."""
    started: list[subprocess.Popen[str]] = []

    def begin(bundle: Path, reached: Path | None, *more: str) -> Begun:
        temporary, evidence = tmp_path / "tmp", tmp_path / "evidence"
        temporary.mkdir()
        process = subprocess.Popen(
            _command(bundle, evidence, *more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"TMPDIR": str(temporary)},
            start_new_session=True,
        )
        started.append(process)
        if reached:
            reading = threading.Thread(target=reached.read_text, daemon=True)
            reading.start()
            reading.join(30)
            assert not reading.is_alive(), "the case did not get there"
        return Begun(process, evidence, temporary)

    yield begin
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


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
