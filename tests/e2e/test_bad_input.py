"""What is wrong in a bundle is told at once, with file and line, and nothing is started."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BUNDLE = Path(__file__).resolve().parents[2] / "matrices" / "e2e"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the bundle that ships, as a user has one."""
    return Path(shutil.copytree(BUNDLE, tmp_path / "bundle", ignore=shutil.ignore_patterns("__pycache__")))


def vx11(*arguments: str | Path, environment: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """The command, to its end."""
    command = [sys.executable, "-m", "vx11", *map(str, arguments)]
    env = os.environ | (environment or {})
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=env, check=False)


@pytest.mark.parametrize(
    ("file", "before", "after", "sentences"),
    [
        ("matrix.yml", "id: TC-003", "id: TC-001", ["TC-001", "twice"]),
        ("matrix.yml", "cases.tc_009", "cases.tc_999", ["tc_999", "not found"]),
        ("matrix.yml", "< 5%", "less than 5", ["less than 5"]),
        ("matrix.yml", "services: [auth-service]", "services: [oauth]", ["oauth"]),
        ("matrix.yml", "open_window", "open_door", ["open_door"]),
        ("matrix.yml", "timeout: 2m", "timeout: soon", ["soon"]),
        ("matrix.yml", "test_matrix:", "test_matrix: [", ["not valid YAML"]),
        (
            "catalogue.yml",
            "read_only: true",
            "read_onyl: true",
            ["auth-service", "read_onyl", "unknown"],
        ),
        ("catalogue.yml", "\nvolumes:", "\nx-volumes:", ["migration-data", "not declared"]),
        ("catalogue.yml", "stop_grace_period: 2s", "privileged: true", ["x-vx11.unsafe"]),
        ("allowlist.yml", "version: 1", "version: 7", ["version"]),
        ("allowlist.yml", "sha256: ", "sha256: zz", ["sha256"]),
    ],
)
def test_a_broken_bundle(
    bundle: Path, tmp_path: Path, file: str, before: str, after: str, sentences: list[str]
) -> None:
    path = bundle / file
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), encoding="utf-8")
    evidence = tmp_path / "evidence"
    for arguments in (("matrix", "validate", bundle), ("run", bundle, "--evidence", evidence)):
        done = vx11(*arguments)
        assert done.returncode == 2, done.stderr
        assert all(sentence in done.stderr for sentence in sentences), done.stderr
        assert f"{path}:" in done.stderr
        assert "Traceback" not in done.stderr
    assert not evidence.exists()


def test_all_problems_of_all_files_are_told_at_once(bundle: Path) -> None:
    for file, before, after in (
        ("matrix.yml", "open_window: auth-service", "open_door: auth-service"),
        ("catalogue.yml", "read_only: true", "read_onyl: true"),
        ("allowlist.yml", "version: 1", "version: 7"),
    ):
        path = bundle / file
        path.write_text(path.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
    done = vx11("matrix", "validate", bundle)
    assert all(f"/{file}:" in done.stderr for file in ("matrix.yml", "catalogue.yml", "allowlist.yml")), done.stderr
    told = vx11("matrix", "validate", bundle, "--json")
    problems = json.loads(told.stdout)["problems"]
    assert (told.returncode, told.stderr) == (2, done.stderr)
    assert {Path(item["path"]).name for item in problems} == {"matrix.yml", "catalogue.yml", "allowlist.yml"}
    assert all(item["line"] and item["message"] for item in problems)


def test_an_unknown_case_is_told_with_those_there_are(bundle: Path, tmp_path: Path) -> None:
    done = vx11("run", bundle, "--case", "TC-999", "--evidence", tmp_path / "evidence")
    assert done.returncode == 2
    assert "TC-999" in done.stderr
    assert "TC-001, TC-002, TC-003" in done.stderr


def test_a_matrix_that_is_not_there(tmp_path: Path) -> None:
    done = vx11("run", tmp_path / "nowhere.yml")
    assert done.returncode == 2
    assert "nowhere.yml" in done.stderr


def test_an_evidence_root_that_is_not_there_has_nothing_to_recover(tmp_path: Path) -> None:
    """Who mistypes it must not take it for well."""
    done = vx11("evidence", "recover", tmp_path / "evidenec")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{tmp_path}/evidenec: there is no such folder" in done.stderr


def test_evidence_that_cannot_be_written(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "evidence").write_text("a file, not a folder", encoding="utf-8")
    done = vx11("run", bundle, "--evidence", tmp_path / "evidence")
    assert done.returncode == 3
    assert "--evidence" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_line_is_that_of_the_mistake(bundle: Path) -> None:
    path = bundle / "matrix.yml"
    text = path.read_text(encoding="utf-8").replace("< 5%", "less than 5")
    path.write_text(text, encoding="utf-8")
    line = next(number for number, line in enumerate(text.splitlines(), start=1) if "less than 5" in line)
    assert f"{path}:{line}: " in vx11("matrix", "validate", bundle).stderr


def test_an_engine_that_is_not_there(bundle: Path, tmp_path: Path) -> None:
    temporary, evidence = tmp_path / "tmp", tmp_path / "evidence"
    temporary.mkdir()
    nowhere = {"DOCKER_HOST": f"unix://{tmp_path}/no.sock", "TMPDIR": str(temporary)}
    done = vx11("run", bundle, "--engine", "docker", "--evidence", evidence, environment=nowhere)
    assert done.returncode == 3
    assert "no Docker daemon answers" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(temporary.iterdir()) == []
    (entry,) = json.loads((evidence / "index.json").read_text())["runs"].values()
    assert entry["state"] == "aborted"
