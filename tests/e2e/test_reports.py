"""The reports of a real run: the three files, in the evidence and beside it, and made anew from the evidence."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from vx11.conductor import report

OPEN = {"vx11.power.vx11_window": {"service": "web", "ttl": "1m"}}
CLOSE = {"vx11.power.vx11_window": {"service": "web", "state": "closed"}}
# Fails at the first try.
ONCE = {
    "ansible.builtin.fail": {"msg": "not <yet> & so on"},
    "when": "lookup('env', 'VX11_CASE_DIR') is match('.*/1$')",
}
SEEN = {"ansible.builtin.wait_for": {"timeout": 2}}
CASES: dict[str, Any] = {
    "good": ([OPEN, SEEN, CLOSE], {"services": ["web"], "description": "Opens <b>a window</b>"}),
    "flaky": ([ONCE], {"retries": 1}),
    "bad": ([{"ansible.builtin.fail": {"msg": "as planned"}}], {}),
}
VERDICTS = {"good": "passed", "flaky": "flaky", "bad": "failed"}


class Links(HTMLParser):
    """Those of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name == "href" and value]


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `--report` puts them."""
    return tmp_path_factory.mktemp("beside") / "reports"


@pytest.fixture(scope="module")
def ran(
    make_bundle: Callable[..., Path],
    write_matrix: Callable[..., Path],
    run_matrix: Callable[..., Any],
    web: dict[str, Any],
    beside: Path,
) -> Any:
    """A run with a case that is flaky."""
    bundle = write_matrix(make_bundle({"web": web}), CASES)
    return run_matrix(bundle, "--json", "--cells", "2", "--report", str(beside))


@pytest.mark.parametrize("inside", [True, False])
def test_all_three_files_are_there_and_their_links_lead_into_the_evidence(ran: Any, beside: Path, inside: bool) -> None:
    folder = ran.folder / "report" if inside else beside
    assert {path.name for path in folder.iterdir()} == {"junit.xml", "ctrf.json", "index.html"}
    tests = json.loads((folder / "ctrf.json").read_text(encoding="utf-8"))["results"]["tests"]
    links = Links((folder / "index.html").read_text(encoding="utf-8")).found
    named = [link for link in links if not link.startswith("#")]
    named += [item["path"] for test in tests for item in test["attachments"]]
    assert len(named) > 10
    assert [link for link in named if not (folder / unquote(link)).exists()] == []


def test_junit_and_ctrf_have_each_case_with_its_verdict(ran: Any) -> None:
    assert {item["case"]: item["verdict"] for item in ran.result["cases"]} == VERDICTS
    suite = ET.parse(ran.folder / "report" / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    assert [case.get("name") for case in suite.iter("testcase")] == list(VERDICTS)
    (flake,) = suite.iter("flakyFailure")
    assert "not <yet> & so on" in flake.attrib["message"]
    ctrf = json.loads((ran.folder / "report" / "ctrf.json").read_text(encoding="utf-8"))
    assert {test["name"]: test["rawStatus"] for test in ctrf["results"]["tests"]} == VERDICTS


def test_the_page_shows_windows_and_their_usage(ran: Any) -> None:
    text = (ran.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert text.count('class="bar open"') == 2  # one is in the key
    assert "<small>requested after " in text
    assert '<figure class="plot" aria-label="good: Memory">' in text
    assert "Opens &lt;b&gt;a window&lt;/b&gt;" in text
    assert "not &lt;yet&gt; &amp; so on" in text


def test_they_can_be_made_anew_from_the_evidence_alone(ran: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vx11", "report", str(ran.folder), "--json"]
    before = {name: (ran.folder / "report" / name).read_bytes() for name in report.FILES}
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {name: str(ran.folder / "report" / name) for name in report.FILES}
    assert {name: (ran.folder / "report" / name).read_bytes() for name in report.FILES} == before
    subprocess.run([*command, "--out", str(tmp_path / "out")], capture_output=True, check=True)
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(report.FILES)


def test_what_is_no_run_is_wrong_input(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vx11", "report", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "not the folder of a run" in done.stderr
