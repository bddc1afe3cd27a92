"""A disk that is full under the evidence, before a run or in the middle of a case."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vx11.evidence import verify
from vx11.evidence.keys import PublicKeys

SCRIPT = Path(__file__).with_name("full-disk.sh")
OPEN = {"vx11.power.vx11_window": {"service": "web", "ttl": "5m"}}
pytestmark = pytest.mark.root


@pytest.fixture
def ran(
    engine_name: str,
    make_bundle: Callable[..., Path],
    write_matrix: Callable[..., Path],
    web: dict[str, Any],
    tmp_path: Path,
    left_of: Callable[[Path], list[str]],
) -> Path:
    """The folder of what was printed by a run of which the first case fills the disk; nothing else is left of it."""
    evidence, out, temporary = (tmp_path / name for name in ("evidence", "out", "tmp"))
    for folder in (evidence, out, temporary):
        folder.mkdir()
    fill = {"ansible.builtin.shell": f"cat /dev/zero > {evidence}/filler; test -s {evidence}/filler"}
    bundle = write_matrix(make_bundle({"web": web}), {"fills": ([OPEN, fill], {}), "second": ([OPEN], {})})
    command = ["unshare", "--mount", "sh", SCRIPT, evidence, out, sys.executable, bundle]
    more = ["--cells", "1", "--engine", engine_name]
    subprocess.run([*command, *more], env=os.environ | {"TMPDIR": str(temporary)}, timeout=120, check=True)
    assert left_of(temporary) == []
    return out


def test_the_run_ends_with_a_verdict_for_each_case_and_says_why(ran: Path) -> None:
    assert (ran / "code").read_text() == "3\n"
    done = json.loads((ran / "run").read_text())
    assert [case["verdict"] for case in done["cases"]] == ["aborted", "aborted"]
    assert "No space left on device" in done["problem"]
    assert all("No space left on device" in case["message"] for case in done["cases"])
    assert done["left"] == []
    errors = (ran / "errors").read_text()
    assert f"vx11: {done['problem']}" in errors
    assert "Traceback" not in errors
    # The index could not be written any more; the next start finishes the books.
    (full,) = json.loads((ran / "index-full").read_text())["runs"].values()
    assert full["state"] == "running"
    (recovered,) = json.loads((ran / "recovered").read_text())
    assert (recovered["damage"], recovered["left"]) == (None, [])
    (entry,) = json.loads((ran / "index").read_text())["runs"].values()
    assert (entry["state"], entry["verdicts"]) == ("aborted", {"aborted": 2})
    found = verify.chain(ran / "evidence.jsonl", PublicKeys())
    assert (found.records, found.findings) == (entry["records"], ())
