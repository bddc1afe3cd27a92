"""Somebody who is not root runs the shipped matrix: what needs more is skipped with the reason, all else passes."""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.controls import SHIPPED
from vx11.evidence import keys

pytestmark = pytest.mark.root
NOBODY = 65534
# Python and the checkout may lie where only root reads; that, and nothing else, this user may do in addition.
ONLY = "-all,+dac_read_search"
AS_NOBODY = [
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *(f"--inh-caps={ONLY}", f"--ambient-caps={ONLY}", f"--bounding-set={ONLY}"),
]
CASES = ("TC-004", "TC-006", "TC-007")


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of that user; those of pytest are for root alone."""
    with tempfile.TemporaryDirectory(prefix="vx11-ordinary-") as folder:
        os.chown(folder, NOBODY, NOBODY)
        yield Path(folder)


def test_only_what_needs_root_is_skipped(
    home: Path, run_command: Callable[..., list[str]], left_of: Callable[[Path], list[str]]
) -> None:
    temporary = home / "tmp"
    temporary.mkdir()
    os.chown(temporary, NOBODY, NOBODY)
    chosen = [word for case in CASES for word in ("--case", case)]
    done = subprocess.run(
        [*AS_NOBODY, *run_command(SHIPPED, home / "evidence", "--json", "--time-scale", "0.5", *chosen)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"TMPDIR": str(temporary), "HOME": str(home), keys.VARIABLE: str(home / "evidence.key")},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = {case["case"]: (case["verdict"], case["message"]) for case in json.loads(done.stdout)["cases"]}
    assert found == {
        "TC-004": ("skipped", "the engine process cannot do limits.cpu, limits.iops, limits.memory here"),
        "TC-006": ("passed", ""),
        "TC-007": ("skipped", "the engine process cannot do partition here"),
    }
    assert left_of(temporary) == []
