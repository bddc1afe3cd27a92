"""Patches that somebody may make: file, line, from and to, as a diff that fits the bundle; and what cannot be known."""

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from vx11.catalogue import allowlist, compose
from vx11.recovery import edits, intent, proposal
from vx11.recovery.failure import Assert, Call, FailedTest, Failure, Past, Service
from vx11.recovery.model import Change
from vx11.units import MIB

MakeFailure = Callable[..., Failure]
MakeWindow = Callable[..., dict[str, Any]]
NOW = 1_764_000_001_000_000_000
SECOND = 10**9
CATALOGUE = """\
x-ready: &ready
  http: {port: 8080, path: /health}
x-limits: &limits
  deploy: {resources: {limits: {cpus: "0.5"}}}

services:
  web:
    image: web:1
    ports: ["8080"]
    deploy:
      resources:
        limits: {memory: 48M, pids: 12}  # both are tight
    x-vx11:
      ready: {http: {port: 8080, path: /healthz}}
      peers: [cache]
  cache:
    <<: *limits
    image: cache:1
    ports: ["8080"]
    x-vx11:
      ready: *ready
      ready_timeout: 2s
  store:
    image: store:1
    ports: ["8080"]
    x-vx11: {ready: *ready}
"""
MATRIX = """\
test_matrix:
  cases:
    - id: TC-001
      actions:
        - open_window: web
          params: {ttl: 1h}
    - id: TC-011
      services: [web, cache]
      actions:
        - set_throttle: {cpu: 0.2, iops: 30}
        - open_window: [web, cache]
          params: {ttl: 2s}
        - force_failure: pause
      asserts:
        - hop_ms: < 100
"""
PLAYBOOK = """\
- hosts: all
  tasks:
    - vx11.power.vx11_window:
        service: web
        ttl: 2s
        resources: {memory: 40M}
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle of three services and two cases."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "catalogue.yml").write_text(CATALOGUE, encoding="utf-8")
    (folder / "matrix.yml").write_text(MATRIX, encoding="utf-8")
    (folder / "tc.yml").write_text(PLAYBOOK, encoding="utf-8")
    allowlist.update(folder / "allowlist.yml", compose.load(folder / "catalogue.yml"))
    return folder


@pytest.fixture
def propose(bundle: Path, make_failure: MakeFailure, tmp_path: Path) -> Callable[..., tuple[list[Change], str]]:
    """`propose(**about)` answers the changes of the intent for a failure, and its diff, which is applied."""

    def make(**about: Any) -> tuple[list[Change], str]:
        failure = make_failure(**{"matrix": bundle / "matrix.yml", **about})
        folder = intent.write(tmp_path / "intents", failure, NOW)
        made = intent.build(failure, NOW).proposed_patch
        diff = folder / proposal.DIFF
        if not diff.exists():
            assert made.diff.startswith("none: ")
            return made.changes, ""
        subprocess.run(["patch", "-s", "-p1", "-d", str(bundle), "-i", str(diff)], check=True, timeout=10)
        compose.load(bundle / "catalogue.yml")
        return made.changes, diff.read_text(encoding="utf-8")

    return make


def changed(diff: str) -> list[str]:
    """The lines that a diff takes away and brings."""
    return [line for line in diff.splitlines() if line[:1] in "-+" and line[:3] not in ("---", "+++")]


def killed(window: dict[str, Any], limit: int) -> dict[str, Any]:
    usage = {"memory_peak_bytes": limit}
    return window | {
        "reason": "crashed",
        "detail": "it ended by itself with exit code 137",
        "resources": {"memory": limit},
        "usage": usage,
    }


def test_a_limit_of_the_catalogue_is_doubled_where_it_stands(propose: Any, make_window: MakeWindow) -> None:
    (first, second), diff = propose(windows=[killed(make_window(), 48 * MIB)])
    assert (first.file, first.line, first.from_) == (
        "catalogue.yml",
        12,
        "limits: {memory: 48M, pids: 12}  # both are tight",
    )
    assert first.to == "limits: {memory: 96MB, pids: 12}  # both are tight"
    assert changed(diff) == [
        "-        limits: {memory: 48M, pids: 12}  # both are tight",
        "+        limits: {memory: 96MB, pids: 12}  # both are tight",
    ]
    assert (second.file, second.from_.startswith("sha256: ")) == ("allowlist.yml", True)
    assert second.to.endswith("--service web")
    assert isinstance(second.line, int)


def test_a_limit_that_the_case_asks_for_is_changed_there(propose: Any, bundle: Path, make_window: MakeWindow) -> None:
    (change,), _ = propose(windows=[killed(make_window(), 40 * MIB)], playbook=bundle / "tc.yml")
    assert (change.file, change.line, change.to) == ("tc.yml", 6, "resources: {memory: 80MB}")


def test_a_playbook_outside_of_the_bundle_is_told_and_not_in_the_diff(
    propose: Any, bundle: Path, tmp_path: Path, make_window: MakeWindow
) -> None:
    playbook = shutil.move(bundle / "tc.yml", tmp_path / "tc.yml")
    (change,), diff = propose(windows=[killed(make_window(), 40 * MIB)], playbook=playbook)
    assert (change.file, change.line, diff) == (str(playbook), 6, "")


def test_a_throttle_is_changed_before_the_catalogue(propose: Any, make_window: MakeWindow) -> None:
    window = make_window("cache", resources={"cpu": 0.2}, usage={"cpu_percent": 19.9})
    test = FailedTest("flow", "test_it", "httpx.ReadTimeout: timed out", ended_ns=NOW)
    (change,), _ = propose(windows=[window], tests=[test])
    assert (change.file, change.line, change.to) == ("matrix.yml", 10, "- set_throttle: {cpu: 0.4, iops: 30}")


def test_what_an_anchor_shares_with_others_is_not_changed(propose: Any, bundle: Path, make_window: MakeWindow) -> None:
    text = (
        (bundle / "matrix.yml")
        .read_text(encoding="utf-8")
        .replace("        - set_throttle: {cpu: 0.2, iops: 30}\n", "")
    )
    (bundle / "matrix.yml").write_text(text, encoding="utf-8")
    window = make_window("cache", resources={"cpu": 0.5}, usage={"cpu_percent": 50})
    test = FailedTest("flow", "test_it", "httpx.ReadTimeout: timed out", ended_ns=NOW)
    (change,), diff = propose(windows=[window], tests=[test])
    assert (change.line, change.from_, change.to) == ("unknown", "cpu: 0.5 processors", "cpu: 1 processors")
    assert diff == ""


def late(make_window: MakeWindow, service: str, check: str, used: float) -> dict[str, Any]:
    detail = f"{service} was not ready within 2.0 s: {check}"
    return make_window(service, reason="open_failed", detail=detail, open_s=2.0, usage={"cpu_s": used})


def test_more_time_to_get_ready(propose: Any, make_window: MakeWindow) -> None:
    window = late(make_window, "cache", "nobody answered GET /health at its port 8080", 1.9)
    (change, _), _ = propose(windows=[window], services=[Service("cache", ready_timeout=2.0)])
    assert (change.line, change.from_, change.to) == (22, "ready_timeout: 2s", "ready_timeout: 4s")


def test_more_time_where_none_is_said_is_as_long_as_earlier_starts(propose: Any, make_window: MakeWindow) -> None:
    window = late(make_window, "web", "nobody answered GET /health at its port 8080", 1.9)
    past = Past(2, {}, {"web": [9000.0, 11500.0]})
    (change, _), diff = propose(windows=[window], past=past)
    assert (change.line, change.from_, change.to) == (14, "nothing", "ready_timeout: 23s")
    assert changed(diff) == ["+      ready_timeout: 23s"]


def test_the_usual_path_of_a_readiness_check(propose: Any, make_window: MakeWindow) -> None:
    (change, _), _ = propose(windows=[late(make_window, "web", "GET /healthz was answered with 404", 0.1)])
    assert (change.line, change.to) == (14, "ready: {http: {port: 8080, path: /health}}")
    assert "2 other services" in change.why


def test_a_dependency_that_is_not_said(propose: Any, make_window: MakeWindow) -> None:
    window = make_window(reason="open_failed", detail="web ended with exit code 1 before it was ready", ready_at=None)
    (change, _), diff = propose(
        windows=[window],
        logs={"web": ["urllib.error.URLError: <urlopen error [Errno 111] Connection refused>"]},
        services=[Service("web", neighbours=["cache"])],
    )
    assert change.to == "depends_on: {cache: {condition: service_healthy}}"
    assert changed(diff) == ["+    depends_on: {cache: {condition: service_healthy}}"]


def test_time_to_live_is_that_of_the_case(propose: Any, make_window: MakeWindow) -> None:
    records = [
        {"action": "opening", "subject": "id-of-web", "data": {"ttl_s": 2}, "wall_ns": str(NOW - 5 * SECOND), "seq": 3},
        {"action": "closed", "subject": "id-of-web", "data": {}, "wall_ns": str(NOW - 3 * SECOND), "seq": 5},
    ]
    test = FailedTest("flow", "test_it", "httpx.ConnectError: refused", ended_ns=NOW - SECOND)
    window = make_window(reason="expired")
    (change,), _ = propose(windows=[window], records=records, tests=[test], judged_ns=NOW)
    assert (change.file, change.line, change.from_, change.to) == (
        "matrix.yml",
        12,
        "params: {ttl: 2s}",
        "params: {ttl: 8s}",
    )


def test_too_much_time_becomes_as_much_as_is_allowed(propose: Any) -> None:
    call = Call("vx11_window", {"service": "web"}, 1, 2, True, "no", {"problem": {"code": "ttl_too_long"}})
    (change,), _ = propose(calls=[call], services=[Service("web", max_ttl=600.0)])
    assert change.to == "params: {ttl: 600s}"


def test_a_bound_needs_a_past(propose: Any) -> None:
    wrong = [Assert("hop_ms", "< 100", "104 ms", holds=False)]
    (change,), diff = propose(asserts=wrong)
    assert (change.line, change.from_, change.to, diff) == (15, "hop_ms: < 100", "unknown", "")
    (change,), diff = propose(asserts=wrong, past=Past(3, {"hop_ms": [90.0, 99.0, 105.0]}), attempt=2)
    assert (change.from_, change.to) == ("- hop_ms: < 100", "- hop_ms: < 126")


def test_a_fault_of_the_case_is_shown_where_it_stands(propose: Any, make_window: MakeWindow) -> None:
    data = {"service": "web", "fault": "pause", "proof": {"process 1": "is frozen"}}
    record = {"action": "fault_effective", "subject": "id-of-web", "data": data, "wall_ns": str(NOW), "seq": 7}
    (change,), _ = propose(windows=[make_window()], records=[record])
    assert (change.line, change.from_, change.to) == (13, "force_failure: pause", "unknown")


def test_what_nobody_may_decide_but_a_human_is_a_command(propose: Any) -> None:
    call = Call("vx11_window", {"service": "store"}, 1, 2, True, "no", {"problem": {"code": "service_not_allowed"}})
    (change,), diff = propose(calls=[call])
    assert change.file == "allowlist.yml"
    assert change.to.endswith("--service store")
    assert diff == ""


def test_code_is_named_by_its_line_and_never_written(propose: Any, make_window: MakeWindow) -> None:
    trace = ["Traceback (most recent call last):", '  File "/srv/web.py", line 12, in page', "IndexError: no"]
    (change,), diff = propose(windows=[make_window()], logs={"web": trace})
    assert (change.file, change.line, change.to, diff) == ("/srv/web.py", 12, "unknown", "")
    assert change.why.startswith("IndexError: no, raised in page")


@pytest.mark.parametrize(
    ("line", "key", "value", "after"),
    [
        ("a: 1", "a", "2", "a: 2"),
        ('a: "1 2"  # why', "a", "2", "a: 2  # why"),
        ("{b: 1, a: 1s, c: 3}", "a", "2s", "{b: 1, a: 2s, c: 3}"),
        ("a: < 5%", "a", "< 6%", "a: < 6%"),
    ],
)
def test_a_value_is_changed_and_nothing_else(tmp_path: Path, line: str, key: str, value: str, after: str) -> None:
    path = tmp_path / "file.yml"
    path.write_text(f"{line}\n", encoding="utf-8")
    edit = edits.set_value(path, (key,), value)
    assert edit
    assert list(edit.after) == [after]


def test_what_is_not_there_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "file.yml"
    path.write_text("a:\n  b: |\n    two\n    lines\n", encoding="utf-8")
    assert edits.set_value(path, ("c",), "1") is None
    assert edits.set_value(tmp_path / "none.yml", ("c",), "1") is None
    assert edits.add_key(path, ("a", "b", "c"), "x: 1") is None
    assert edits.diff(tmp_path, []) == ""


def _tree(folder: Path) -> Mapping[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_bundle_is_as_it_was(
    bundle: Path, make_failure: MakeFailure, make_window: MakeWindow, tmp_path: Path
) -> None:
    before = _tree(bundle)
    window = killed(make_window(), 48 * MIB)
    intent.write(tmp_path / "intents", make_failure(matrix=bundle / "matrix.yml", windows=[window]), NOW)
    assert _tree(bundle) == before


@pytest.mark.skipif(shutil.which("patch") is None, reason="there is no patch here")
def test_the_diff_says_itself_how_to_try_it(
    bundle: Path, make_failure: MakeFailure, make_window: MakeWindow, tmp_path: Path
) -> None:
    failure = make_failure(matrix=bundle / "matrix.yml", windows=[killed(make_window(), 48 * MIB)])
    folder = intent.write(tmp_path / "intents", failure, NOW)
    told = intent.build(failure, NOW).proposed_patch.diff
    subprocess.run(["/bin/sh", "-c", told.rpartition("folder: ")[2]], cwd=folder, check=True, timeout=10)
    assert yaml.safe_load((bundle / "catalogue.yml").read_text(encoding="utf-8")) == yaml.safe_load(CATALOGUE)
