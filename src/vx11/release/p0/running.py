"""Runs the P0 tests: pytest over `test_p0.py`, and curl. No token stands in the words of a process."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from junitparser import JUnitXml

from vx11.errors import EnvironmentProblem
from vx11.evidence.redact import Redactor
from vx11.release import programs
from vx11.release.verdicts import Check

TESTS = Path(__file__).with_name("test_p0.py")
TIMEOUT, LAST_WORDS = 300.0, 500
# Method, path, whether with a token, what is sent, and what has to be answered.
CALLS = (
    ("GET", "/health", False, None, 200),
    ("GET", "/api/v1/windows/status", False, None, 401),
    ("GET", "/api/v1/windows/status", True, None, 200),
    ("POST", "/operator/api/chat", True, {"message": "What is open?"}, 200),
)


def run(url: str, token: str) -> list[Check]:
    """All of them, at an entry; what cannot be run has failed."""
    redactor = Redactor([token])
    found = [*_by_pytest(url, token), *_by_curl(url, token)]
    return [Check(check.what, check.holds, redactor.text(check.detail)) for check in found]


def _by_pytest(url: str, token: str) -> Iterator[Check]:
    """Nothing of the folder that it is started in, or of other plugins, has a part in it."""
    with tempfile.TemporaryDirectory(prefix="vx11-p0-") as folder:
        report = Path(folder) / "junit.xml"
        options = ["-c", os.devnull, "--rootdir", folder, "-p", "no:cacheprovider", "--import-mode=importlib"]
        words = [sys.executable, "-m", "pytest", "-q", *options, f"--junitxml={report}", str(TESTS)]
        environment = os.environ | {"VX11_URL": url, "VX11_TOKEN": token, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        try:
            done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=TIMEOUT, check=False)
        except subprocess.TimeoutExpired:
            yield Check("pytest ends", holds=False, detail=f"not within {TIMEOUT:g} s")
            return
        if not report.is_file():
            yield Check("pytest runs", holds=False, detail=(done.stdout + done.stderr).strip()[-LAST_WORDS:])
            return
        for suite in JUnitXml.fromfile(str(report)):
            for case in suite:
                said = "; ".join(str(result.message) for result in case.result)
                yield Check(f"pytest {TESTS.name}::{case.name}", not case.result, said)


def _by_curl(url: str, token: str) -> Iterator[Check]:
    for method, path, with_token, body, expected in CALLS:
        settings = _settings(f"{url.rstrip('/')}{path}", method, token if with_token else "", body)
        try:
            status = programs.run("curl", "-q", "--config", "-", given="\n".join(settings)).stdout
        except EnvironmentProblem as error:
            yield Check("curl runs", holds=False, detail=str(error))
            return
        header = ' -H "Authorization: Bearer $VX11_TOKEN"' if with_token else ""
        sent = f" --json '{json.dumps(body)}'" if body else ""
        yield Check(
            f"curl -X {method}{header}{sent} $VX11_URL{path} answers {expected}", status == str(expected), status
        )


def _settings(url: str, method: str, token: str, body: object) -> Iterator[str]:
    yield from (f"url = {json.dumps(url)}", f"request = {method}", "silent", f"output = {os.devnull}", "max-time = 30")
    yield from ('write-out = "%{http_code}"', 'noproxy = "*"')
    if token:
        yield f"header = {json.dumps(f'Authorization: Bearer {token}')}"
    if body:
        yield f"data = {json.dumps(json.dumps(body))}"
        yield 'header = "Content-Type: application/json"'
