"""Tests over the API: accepted, run as a job of its own that outlives madre, with its evidence where it may lie."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.chains import whole
from tests.service.conftest import SAYS_UP, STUBBORN, Stays
from vx11 import tokens
from vx11.catalogue import allowlist, compose
from vx11.conductor.cell import SCOPES
from vx11.engines import procfs, select
from vx11.statefiles import write_json

EXECUTE, STATUS, SOLO_MADRE = "/api/v1/tests/execute", "/api/v1/windows/status", "/api/v1/system/solo_madre"
RESULTS, TEST = "/api/v1/tests/results/{}", "/api/v1/tests/{}"
MAY_RUN = ("tests:run", "power:write")
ALL = (*SCOPES, "tests:run", "tests:read")
LIMIT = 120.0
PLAY = {"hosts": "all", "gather_facts": False, "module_defaults": {"group/vx11.power.vx11": {"url": "{{ vx11_url }}"}}}
OPEN = {"vx11.power.vx11_window": {"service": "web", "ttl": "5m"}}
Problem = Callable[..., str]


class Host(Stays):
    """A cell whose host has matrices installed. Its jobs keep what is temporary in a folder of its own."""

    def __init__(self, bundle: Path, root: Path) -> None:
        self.matrices, self.tests, self.temporary = root / "matrices", root / "tests", root / "tmp"
        self.temporary.mkdir(parents=True)
        super().__init__(f"t-{secrets.token_hex(4)}", bundle, "process", root / "evidence")

    def _config(self) -> Path:
        path = super()._config()
        more = {"matrices": str(self.matrices), "tests_evidence": str(self.tests)}
        write_json(path, json.loads(path.read_text(encoding="utf-8")) | more)
        return path

    def start_madre(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TMPDIR", str(self.temporary))
            super().start_madre()

    def of_jobs(self) -> list[int]:
        """Processes of jobs, which know its temporary folder."""
        core = {process.pid for process in self.core.values()}
        return [pid for pid in procfs.marked("TMPDIR", str(self.temporary)) if pid not in core]

    def left(self) -> list[str]:
        """What jobs have left: processes, and files."""
        return [f"process {pid}" for pid in self.of_jobs()] + [str(path) for path in self.temporary.iterdir()]

    def clear_after(self, test_id: str) -> None:
        """Removes what a job left that was killed, all of whose cases were in one cell."""
        assert procfs.end_all(self.of_jobs, 10)
        for folder in self.temporary.glob(f"vx11-{test_id}-*"):
            engine = select.make("process", test_id, folder / "state" / test_id, folder / "data" / test_id)
            engine.purge(test_id)
            assert engine.residue(test_id) == []
            shutil.rmtree(folder)


@dataclass(frozen=True)
class Caller:
    """Somebody who may do everything on a host.

    Attributes:
        until: the helper `eventually`.
    """

    host: Host
    until: Callable[..., Any]

    def token(self, *scopes: str) -> str:
        """A token with these scopes."""
        key = tokens.read_key(self.host.folder / "key")
        return tokens.issue(key, subject="tester", scopes=scopes or ALL, ttl=300, cell=self.host.name)

    def call(self, method: str, path: str, *scopes: str, **options: Any) -> httpx.Response:
        """A request, whatever it answers."""
        headers = {"Authorization": f"Bearer {self.token(*scopes)}"}
        return httpx.request(method, self.host.url + path, headers=headers, timeout=30, **options)

    def execute(self, matrix: str, **more: Any) -> Any:
        """A test that is accepted."""
        answer = self.call("POST", EXECUTE, json={"matrix_id": matrix, **more})
        assert answer.status_code == 202, answer.text
        return answer.json()

    def result(self, test_id: str) -> Any:
        """What it has come to."""
        answer = self.call("GET", RESULTS.format(test_id))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ended(self, test_id: str) -> Any:
        """The same, when it has ended."""
        return self.until(lambda: self._in(test_id, "finished", "aborted"), LIMIT)

    def running(self, test_id: str) -> Any:
        """The same, when it has evidence."""
        return self.until(lambda: self._in(test_id, "running"), LIMIT)

    def _in(self, test_id: str, *states: str) -> Any:
        found = self.result(test_id)
        return found if found["state"] in states else None

    def job(self, test_id: str) -> Any:
        """What its state file says."""
        path = self.host.folder / "state" / self.host.name / "jobs" / f"{test_id}.json"
        return json.loads(path.read_text(encoding="utf-8"))


class Gate:
    """Where the case of the matrix `waits` stops until it is let on."""

    def __init__(self, folder: Path) -> None:
        self.reached, self._open = folder / "reached", folder / "open"

    @property
    def task(self) -> Any:
        """What the case does there."""
        return {"ansible.builtin.shell": f"touch {self.reached}; until [ -e {self._open} ]; do sleep 0.05; done"}

    def close(self) -> None:
        """The next case that comes stops."""
        self.reached.unlink(missing_ok=True)
        self._open.unlink(missing_ok=True)

    def open(self) -> None:
        """Whoever waits goes on."""
        self._open.touch()


def _install(folder: Path, web: dict[str, Any], cases: list[dict[str, Any]], **playbooks: list[Any]) -> None:
    folder.mkdir(parents=True)
    catalogue = folder / "catalogue.yml"
    catalogue.write_text(yaml.safe_dump({"services": {"web": web}}), encoding="utf-8")
    allowlist.update(folder / "allowlist.yml", compose.load(catalogue), ())
    for name, tasks in playbooks.items():
        (folder / f"{name}.yml").write_text(yaml.safe_dump([PLAY | {"tasks": tasks}]), encoding="utf-8")
    matrix = {"test_matrix": {"cases": cases}}
    (folder / "matrix.yml").write_text(yaml.safe_dump(matrix, sort_keys=False), encoding="utf-8")


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    """The gate of the matrix `waits`."""
    return Gate(tmp_path_factory.mktemp("gate"))


@pytest.fixture(scope="module")
def host(
    gate: Gate,
    make_bundle: Callable[..., Path],
    make_entry: Callable[..., dict[str, Any]],
    web: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Host]:
    """A host with five matrices: one passes, one fails, one waits, two are wrong."""
    stubborn = make_entry(STUBBORN, vx11=SAYS_UP, stop_grace_period="2s")
    found = Host(make_bundle({"web": web, "stubborn": stubborn}), tmp_path_factory.mktemp("host"))
    one = {"id": "one", "services": ["web"]}
    _install(found.matrices / "quick", web, [one | {"actions": [{"open_window": "web"}]}])
    _install(found.matrices / "fails", web, [one | {"playbook": "p.yml"}], p=[OPEN, {"ansible.builtin.fail": {}}])
    first = {"id": "first", "actions": [{"open_window": "web"}], "priority": 1, "exclusive": True}
    _install(
        found.matrices / "waits",
        web,
        [first, {"id": "second", "playbook": "p.yml", "exclusive": True}],
        p=[OPEN, gate.task],
    )
    _install(found.matrices / "wrong", web, [{"id": "one", "actions": [{"open_windo": "web"}, {"wait": "soon"}]}])
    _install(found.matrices / "profiles", web, [one | {"actions": [{"open_window": "web"}]}])
    (found.matrices / "profiles/profiles.yml").write_text("profiles: {low_power: {pace: -1}}\n", encoding="utf-8")
    try:
        found.start()
        yield found
    finally:
        found.stop()
        assert found.purge() == []


@pytest.fixture
def caller(host: Host, gate: Gate, eventually: Callable[..., Any]) -> Iterator[Caller]:
    """Somebody who may do everything; at the end no job runs, and none has left anything."""
    gate.close()
    found = Caller(host, eventually)
    yield found
    gate.open()
    eventually(lambda: not host.of_jobs(), LIMIT)
    assert host.left() == []
    assert found.call("POST", SOLO_MADRE).json()["solo_madre"]


def test_a_test_is_accepted_runs_and_finishes_with_its_verdicts(caller: Caller, gate: Gate) -> None:
    accepted = caller.execute("waits", evidence_path="nightly/one")
    test_id = accepted["test_id"]
    assert accepted["state"] == "accepted"
    assert accepted["results"] == RESULTS.format(test_id)
    assert accepted["evidence"] == str(caller.host.tests / "nightly/one")

    caller.until(gate.reached.exists, LIMIT)
    running = caller.result(test_id)
    assert (running["state"], running["passed"]) == ("running", None)
    assert running["planned"] == ["first", "second"]
    assert [(case["case"], case["verdict"]) for case in running["cases"]] == [("first", "passed")]
    assert os.getpriority(os.PRIO_PROCESS, caller.job(test_id)["pid"]) == 5

    gate.open()
    ended = caller.ended(test_id)
    assert (ended["state"], ended["passed"], ended["verdicts"]) == ("finished", True, {"passed": 2})
    assert ended["cases"][0]["asserts"][0]["holds"] is True
    assert ended["cases"][0]["duration_s"] > 0
    assert ended["accepted_at"] < ended["started_at"] < ended["ended_at"]
    assert (ended["accepted_by"], ended["reason"], ended["left"]) == ("tester", None, [])
    folder = Path(ended["evidence"])
    assert folder.parent == caller.host.tests / "nightly/one"
    assert whole(folder / "evidence.jsonl")


def test_windows_of_a_test_are_none_of_the_host(caller: Caller, gate: Gate) -> None:
    test_id = caller.execute("waits")["test_id"]
    caller.until(gate.reached.exists, LIMIT)
    status = caller.call("GET", STATUS).json()
    assert (status["windows"], status["solo_madre"]) == ([], True)
    assert caller.call("POST", SOLO_MADRE).json()["solo_madre"]
    gate.open()
    assert caller.ended(test_id)["passed"]


def test_one_test_runs_at_a_time(caller: Caller, gate: Gate) -> None:
    test_id = caller.execute("waits")["test_id"]
    refused = caller.call("POST", EXECUTE, json={"matrix_id": "quick"})
    assert (refused.status_code, refused.json()["code"]) == (409, "test_running")
    assert refused.json()["test_id"] == test_id
    assert int(refused.headers["Retry-After"]) > 0
    gate.open()
    caller.ended(test_id)
    assert caller.ended(caller.execute("quick")["test_id"])["passed"]


def test_of_two_that_come_at_once_one_runs(caller: Caller, gate: Gate) -> None:
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(caller.call, "POST", EXECUTE, json={"matrix_id": "waits"}) for _ in range(2)]
        answers = sorted((future.result() for future in asked), key=lambda answer: answer.status_code)
    assert [answer.status_code for answer in answers] == [202, 409]
    assert answers[1].json()["test_id"] == answers[0].json()["test_id"]
    gate.open()
    assert caller.ended(answers[0].json()["test_id"])["passed"]


def test_no_test_begins_while_everything_is_closed(caller: Caller) -> None:
    def code() -> str:
        return str(caller.call("POST", EXECUTE, json={"matrix_id": "nothing"}).json()["code"])

    caller.host.post("open", service="stubborn")
    with ThreadPoolExecutor() as pool:
        returning = pool.submit(caller.call, "POST", SOLO_MADRE)
        caller.until(lambda: code() == "returning_to_solo_madre")
        assert returning.result().json()["solo_madre"]
    assert code() == "matrix_unknown"


def test_a_test_goes_on_when_madre_dies_and_the_next_one_knows_it(caller: Caller, gate: Gate) -> None:
    test_id = caller.execute("waits")["test_id"]
    caller.until(gate.reached.exists, LIMIT)
    caller.host.end_madre(signal.SIGKILL)
    caller.host.start_madre()
    assert caller.result(test_id)["state"] == "running"
    assert caller.call("POST", EXECUTE, json={"matrix_id": "quick"}).json()["test_id"] == test_id
    gate.open()
    ended = caller.ended(test_id)
    assert (ended["state"], ended["passed"], ended["accepted_by"]) == ("finished", True, "tester")


def test_a_test_goes_on_when_madre_stops(caller: Caller, gate: Gate) -> None:
    test_id = caller.execute("waits")["test_id"]
    caller.until(gate.reached.exists, LIMIT)
    caller.host.end_madre(signal.SIGTERM)
    gate.open()
    caller.host.start_madre()
    assert caller.ended(test_id)["passed"]


def test_a_test_whose_process_dies_is_aborted_with_its_last_words(caller: Caller, gate: Gate) -> None:
    test_id = caller.execute("waits")["test_id"]
    caller.until(gate.reached.exists, LIMIT)
    job = caller.job(test_id)
    assert procfs.send(job["pid"], job["started"], signal.SIGKILL)
    ended = caller.ended(test_id)
    assert (ended["state"], ended["passed"], ended["ended_at"]) == ("aborted", False, None)
    assert "its process ended" in ended["reason"]
    assert "second" in ended["reason"]
    assert [case["case"] for case in ended["cases"]] == ["first"]
    caller.host.clear_after(test_id)
    assert caller.ended(caller.execute("quick")["test_id"])["passed"]


def test_a_test_can_be_cancelled_and_cleans_up(caller: Caller, gate: Gate) -> None:
    test_id = caller.execute("waits")["test_id"]
    caller.until(gate.reached.exists, LIMIT)
    answer = caller.call("DELETE", TEST.format(test_id), "tests:run")
    assert (answer.status_code, answer.json()["cancelled_by"]) == (202, "tester")
    ended = caller.ended(test_id)
    assert (ended["state"], ended["passed"], ended["reason"]) == ("aborted", False, "cancelled by tester")
    assert ended["verdicts"] == {"passed": 1, "aborted": 1}
    again = caller.call("DELETE", TEST.format(test_id))
    assert (again.status_code, again.json()["code"]) == (409, "test_ended")


def test_a_matrix_that_fails_is_finished_and_has_not_passed(caller: Caller) -> None:
    test_id = caller.execute("fails", evidence_path="deep/er")["test_id"]
    ended = caller.ended(test_id)
    assert (ended["state"], ended["passed"], ended["verdicts"]) == ("finished", False, {"failed": 1})
    assert ended["cases"][0]["message"]
    (intent,) = (caller.host.tests.parent / "patch_intents").iterdir()
    assert test_id in intent.name


def test_a_wrong_matrix_is_refused_with_all_that_is_wrong(caller: Caller, problem: Problem) -> None:
    answer = caller.call("POST", EXECUTE, json={"matrix_id": "wrong"})
    problem(answer, 422, "matrix_invalid", "matrix_id")
    found = [(item["file"], item["line"]) for item in answer.json()["errors"]]
    assert found == [("matrix.yml", 5), ("matrix.yml", 6)]
    assert (
        not (caller.host.tests / "index.json").exists() or "wrong" not in (caller.host.tests / "index.json").read_text()
    )


def test_wrong_profiles_are_told_with_file_and_line(caller: Caller, problem: Problem) -> None:
    answer = caller.call("POST", EXECUTE, json={"matrix_id": "profiles"})
    problem(answer, 422, "matrix_invalid", "throttle_profile")
    assert [(item["file"], item["line"]) for item in answer.json()["errors"]] == [("profiles.yml", 1)]
    missing = caller.call("POST", EXECUTE, json={"matrix_id": "quick", "throttle_profile": "stress"})
    assert "there is no profile stress" in problem(missing, 422, "matrix_invalid", "throttle_profile")


@pytest.mark.parametrize(
    "path", ["/tmp", "..", "a/../../b", "leads-out", "leads-out/deeper", "a-file", "a-file/b", "", "a\0b", "x" * 300]
)
def test_evidence_stays_below_its_root(caller: Caller, problem: Problem, tmp_path: Path, path: str) -> None:
    root = caller.host.tests
    root.mkdir(exist_ok=True)
    if not (root / "leads-out").is_symlink():
        (root / "leads-out").symlink_to(tmp_path)
        (root / "a-file").touch()
    answer = caller.call("POST", EXECUTE, json={"matrix_id": "quick", "evidence_path": path})
    problem(answer, 422, "invalid_request", "evidence_path")
    assert list(tmp_path.iterdir()) == []


def test_no_test_writes_into_the_evidence_of_another(caller: Caller, problem: Problem) -> None:
    ended = caller.ended(caller.execute("quick")["test_id"])
    inside = f"{Path(ended['evidence']).name}/cases"
    answer = caller.call("POST", EXECUTE, json={"matrix_id": "quick", "evidence_path": inside})
    problem(answer, 422, "invalid_request", "evidence_path")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "matrix_id"),
        ({"matrix_id": "../quick"}, "matrix_id"),
        ({"matrix_id": "quick", "throttle_profile": "turbo"}, "throttle_profile"),
        ({"matrix_id": "quick", "engine": "podman"}, "engine"),
        ({"matrix_id": "quick", "cells": 3}, "cells"),
    ],
)
def test_the_field_that_is_wrong_is_named(caller: Caller, problem: Problem, body: Any, field: str) -> None:
    problem(caller.call("POST", EXECUTE, json=body), 422, "invalid_request", field)


def test_what_is_not_there_is_not_found(caller: Caller, problem: Problem) -> None:
    answer = caller.call("POST", EXECUTE, json={"matrix_id": "nothing"})
    assert "quick" in problem(answer, 404, "matrix_unknown", "matrix_id")
    for test_id in ("e2e-00000000", "..", "%2e%2e", "A B", "x" * 300):
        for method, path in (("GET", RESULTS), ("DELETE", TEST)):
            assert caller.call(method, path.format(test_id)).status_code == 404
    problem(caller.call("GET", RESULTS.format("e2e-00000000")), 404, "test_unknown")


@pytest.mark.parametrize(
    ("method", "path", "scopes"),
    [
        ("POST", EXECUTE, ("tests:run", "tests:read")),
        ("POST", EXECUTE, ("power:write",)),
        ("GET", RESULTS.format("e2e-1"), MAY_RUN),
        ("DELETE", TEST.format("e2e-1"), ("tests:read", "power:write")),
    ],
)
def test_each_call_needs_its_scopes(
    caller: Caller, problem: Problem, method: str, path: str, scopes: tuple[str, ...]
) -> None:
    problem(caller.call(method, path, *scopes, json={"matrix_id": "quick"}), 403, "scope_missing")


def test_a_run_of_the_command_line_below_the_root_is_known(caller: Caller) -> None:
    place, matrix = caller.host.tests / "by-hand", caller.host.matrices / "quick"
    command = [sys.executable, "-m", "vx11", "run", str(matrix), "--evidence", str(place), "--json"]
    environment = os.environ | {"TMPDIR": str(caller.host.temporary)}
    done = subprocess.run(command, capture_output=True, check=True, timeout=LIMIT, env=environment)
    found = caller.result(json.loads(done.stdout)["test_id"])
    assert (found["state"], found["passed"], found["verdicts"]) == ("finished", True, {"passed": 1})
    assert (found["matrix_id"], found["accepted_at"]) == (None, None)


def test_the_command_line(caller: Caller, gate: Gate) -> None:
    def vx11(*words: str) -> "subprocess.CompletedProcess[str]":
        environment = os.environ | {"VX11_URL": caller.host.url, "VX11_TOKEN": caller.token()}
        command = [sys.executable, "-m", "vx11", "test", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=environment, check=False)

    done = vx11("run", "quick", "--wait", "--json", "--evidence-path", "cli")
    result = json.loads(done.stdout)
    assert (done.returncode, result["passed"]) == (0, True), done.stderr
    shown = vx11("result", result["test_id"])
    assert (shown.returncode, shown.stdout.splitlines()[0]) == (0, "one passed")
    assert "finished; 1 of 1 cases: 1 passed" in shown.stdout

    assert vx11("run", "fails", "--wait").returncode == 1
    wrong = vx11("run", "wrong")
    assert wrong.returncode == 2
    assert "matrix.yml:5" in wrong.stderr
    assert vx11("result", "e2e-00000000").returncode == 2

    test_id = json.loads(vx11("run", "waits", "--json").stdout)["test_id"]
    caller.until(gate.reached.exists, LIMIT)
    assert vx11("result", test_id).returncode == 1
    assert "told to end" in vx11("cancel", test_id).stdout
    caller.ended(test_id)
    cancelled = vx11("result", test_id)
    assert cancelled.returncode == 130
    assert "aborted: cancelled by tester" in cancelled.stdout
