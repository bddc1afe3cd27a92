"""What the OpenAPI document says is so: thousands of requests that it allows, and that it does not (schemathesis).

Run by `nox -s openapi`, which has schemathesis.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from vx11 import tokens

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
CASES, EXAMPLES = 5000, 320
# Its answer has no end.
ENDLESS = "/api/v1/windows/events"


def test_every_answer_is_as_it_is_described(make_bundle: Any, start_cell: Any, web: Any, tmp_path: Path) -> None:
    assert SCHEMATHESIS.exists(), "run nox -s openapi, which has schemathesis"
    # Whatever time is asked for may be had, so that no request is wrong for what the catalogue says.
    service = web | {"x-vx11": web["x-vx11"] | {"max_ttl": "50000d"}}
    cell = start_cell(make_bundle({"auth-service": service}), "process")
    key = tokens.read_key(cell.folder / "key")
    token = tokens.issue(key, subject="tester", scopes=tokens.SCOPES, ttl=3600, cell=cell.name)
    command = [
        *(str(SCHEMATHESIS), "run", f"{cell.url}/openapi.json"),
        *("--header", f"Authorization: Bearer {token}", "--exclude-path", ENDLESS, "--checks", "all"),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES), "--workers", "2"),
        *("--continue-on-failure", "--no-color"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=500)
    assert done.returncode == 0, done.stdout
    generated = re.search(r"(\d[\d,]*) generated", done.stdout)
    assert generated, done.stdout
    assert int(generated[1].replace(",", "")) >= CASES
