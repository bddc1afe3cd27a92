"""Writing an intent, and keeping it, changes its two folders and nothing else, as the interpreter itself sees it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e import seeded

RECORDED = Path(__file__).with_name("recorded.jsonl")
# Every call that can change a file or start a program passes an audit event (PEP 578); what it is about is noted.
WATCHED = """
import json, os, sys
from pathlib import Path
from pydantic import TypeAdapter
from vx11.recovery import intent
from vx11.recovery.failure import Failure

root, evidence, lines = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]).read_text().splitlines()
failures = [TypeAdapter(Failure).validate_json(line) for line in lines]
CHANGING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
EVENTS = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod",
          "os.chown", "os.utime", "shutil.rmtree"}
STARTS = ("subprocess", "os.exec", "os.posix_spawn", "os.fork", "os.system", "os.kill", "socket")
seen = []

def note(event, args):
    if event == "open" and not isinstance(args[0], int) and args[2] & CHANGING:  # a number was opened before
        seen.append(str(args[0]))
    elif event in EVENTS:
        seen.extend(str(arg) for arg in args if isinstance(arg, (str, os.PathLike)))
    elif event.startswith(STARTS):
        seen.append(f"{event} {args}")

sys.addaudithook(note)
for failure in failures:
    intent.keep(intent.write(root, failure, 1_764_000_001_000_000_000), evidence / failure.case)
print(json.dumps(seen))
"""


def tree(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Each file with its mode and content."""
    return {path: (path.stat().st_mode, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The one that the recorded failures are of."""
    return seeded.write(tmp_path / "bundle")


@pytest.fixture
def touched(tmp_path: Path, bundle: Path) -> list[str]:
    """What was opened for writing, made, renamed or started while intents of recorded failures were made and kept."""
    failures = tmp_path / "failures.jsonl"
    failures.write_text(RECORDED.read_text(encoding="utf-8").replace('"/bundle/', f'"{bundle}/'), encoding="utf-8")
    before = tree(bundle)
    command = [
        sys.executable,
        "-B",
        "-c",
        WATCHED,
        str(tmp_path / "intents"),
        str(tmp_path / "evidence"),
        str(failures),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert tree(bundle) == before
    found: list[str] = json.loads(done.stdout)
    return found


def is_of_intents(path: Path, tmp_path: Path) -> bool:
    """Below the folder of intents, or that of the intent in the evidence of a try; such a folder's parents are made."""
    evidence = tmp_path / "evidence"
    is_kept = path.is_relative_to(evidence) and path.relative_to(evidence).parts[1:2] in ((), ("intent",))
    return path.is_relative_to(tmp_path / "intents") or is_kept


def test_nothing_outside_of_its_folders_is_written(touched: list[str], tmp_path: Path) -> None:
    root = tmp_path / "intents"
    folders = [path for path in root.iterdir() if path.is_dir()]
    assert len(folders) == len(RECORDED.read_text(encoding="utf-8").splitlines())
    assert len(touched) > 3 * len(folders)
    assert [name for name in touched if not is_of_intents(Path(name), tmp_path)] == []
    kept = [path for path in (tmp_path / "evidence").rglob("*") if path.is_file()]
    assert {path.parent.name for path in kept} == {"intent"}
    assert len(kept) == sum(1 for folder in folders for _ in folder.iterdir())
    assert {path.name for folder in folders for path in folder.iterdir()} == {
        "PATCH_INTENT.md",
        "intent.json",
        "proposed.diff",
    }
