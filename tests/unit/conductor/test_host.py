"""A host as a place for cases, against a madre that answers by script."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.plugins.conftest import ScriptedMadre
from vx11.catalogue import allowlist, compose
from vx11.conductor import collection, host, matrix
from vx11.conductor.conducted import Guest
from vx11.conductor.host import Host, close_windows
from vx11.conductor.inventory import InventoryHost
from vx11.conductor.matrix import Matrix

STATUS, SOLO = "/api/v1/windows/status", "/api/v1/system/solo_madre"
OPEN, CLOSE, FAULT = (f"/api/v1/windows/{name}" for name in ("open", "close", "fault"))
NOON = "2026-11-21T12:00:0{}.000000000Z"
CATALOGUE = """
services:
  web: {image: one, x-vx11: {process: {command: [sleep, '9']}}}
  db: {image: two, x-vx11: {process: {command: [sleep, '9']}}}
"""
CASES = """
test_matrix:
  cases:
    - {id: plain, services: [web], actions: [open_window: web]}
    - {id: cut, services: [web], actions: [open_window: web, force_failure: network_partition]}
    - {id: killed, services: [web], actions: [open_window: web, force_failure: kill]}
    - {id: more, services: [web, db], dependencies: {web: [db]}, actions: [open_window: web]}
    - {id: chain, services: [web], actions: [open_window: web], asserts: [evidence_timestamped: true]}
"""


@pytest.fixture
def plan(write: Callable[[str, str], Path]) -> Matrix:
    """One case for each thing that a host may not be able to do."""
    catalogue = write("bundle/catalogue.yml", CATALOGUE)
    allowlist.update(catalogue.with_name("allowlist.yml"), compose.load(catalogue), ["web", "db"])
    path = write("bundle/matrix.yml", CASES)
    return matrix.load(path, collection.find(path))


@pytest.fixture
def madre() -> Iterator[ScriptedMadre]:
    """In SOLO_MADRE; may break windows, and partition them."""
    server = ScriptedMadre()
    engine = {"name": "docker", "why": "a daemon answers", "capabilities": ["partition"]}
    server.answer("/health", {"status": "ok"})
    server.answer("/openapi.json", {"info": {"version": "0.1.0"}})
    server.answer(STATUS, {"engine": engine, "checked_at": NOON.format(0), "windows": [], "gateway": None})
    server.answer(SOLO, {"solo_madre": True, "left": [], "foreign": []})
    server.answer(OPEN, {"changed": True})
    server.refuse(FAULT, 404, "no_window", "there is no window")
    yield server
    server.stop()


@pytest.fixture
def host_of(madre: ScriptedMadre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Host]]:
    """`host_of(plan, service_token="")` makes a host."""
    monkeypatch.setattr(host, "PAUSE", 0.0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made: list[Host] = []

    def make(plan: Matrix, service_token: str = "") -> Host:
        made.append(Host(InventoryHost("berlin", madre.url, "t", service_token), tmp_path / "hosts", "e2e-1", plan))
        return made[-1]

    yield make
    for found in made:
        if found.folder.exists():
            found.end()


@pytest.fixture
def berlin(host_of: Callable[..., Host], plan: Matrix) -> Host:
    """The host."""
    return host_of(plan)


def lacking(found: Host, plan: Matrix) -> dict[str, str]:
    return {case.id: why for case in plan.cases if (why := found.lacks(case))}


def test_what_cannot_run_there_has_its_reason(berlin: Host, plan: Matrix) -> None:
    assert berlin.problems() == []
    found = lacking(berlin, plan)
    assert set(found) == {"more", "chain"}
    assert "would need more than the catalogue says" in found["more"]
    assert "stays on the host" in found["chain"]


@pytest.mark.parametrize(
    ("status", "code", "skipped", "problems"),
    [
        (403, "faults_off", {"cut", "killed", "more", "chain"}, []),
        (403, "scope_missing", {"more", "chain"}, ["berlin: sorry"]),
    ],
)
def test_faults_that_are_off_skip_cases_and_a_missing_scope_is_a_problem(
    madre: ScriptedMadre, berlin: Host, plan: Matrix, status: int, code: str, skipped: set[str], problems: list[str]
) -> None:
    madre.answers.pop(FAULT)
    madre.refuse(FAULT, status, code, "sorry")
    assert berlin.problems() == problems
    assert set(lacking(berlin, plan)) == skipped


@pytest.mark.parametrize(
    ("gateway", "token", "action", "public", "is_wrong"),
    [
        (True, "", "e2e_test: probe", False, True),
        (False, "", "e2e_test: probe", False, True),
        (True, "svc", "e2e_test: probe", False, False),
        (True, "", "wait: 1s", False, False),
        (True, "", "e2e_test: probe", True, False),
        (None, "", "e2e_test: probe", False, False),
    ],
)
def test_suites_need_a_token_where_there_is_a_gateway(
    madre: ScriptedMadre,
    host_of: Callable[..., Host],
    write: Callable[[str, str], Path],
    gateway: bool | None,
    token: str,
    action: str,
    public: bool,
    is_wrong: bool,
) -> None:
    madre.answers.pop(STATUS)
    engine = {"name": "process", "why": "so", "capabilities": []}
    madre.answer(STATUS, {"engine": engine, "checked_at": NOON.format(0), "windows": [], "gateway": gateway})
    text = CATALOGUE.replace("x-vx11: {", f"x-vx11: {{public: {str(public).lower()}, ")
    catalogue = write("behind/catalogue.yml", text)
    allowlist.update(catalogue.with_name("allowlist.yml"), compose.load(catalogue), ["web"])
    write("behind/suites/probe.py", "")
    cases = f"test_matrix: {{cases: [{{id: one, services: [web], actions: [open_window: web, {action}]}}]}}"
    path = write("behind/matrix.yml", cases)
    wanted = ["berlin: its gateway wants a token of suites; set the host variable vx11_service_token"]
    assert host_of(matrix.load(path, collection.find(path)), token).problems() == wanted * is_wrong


def test_a_service_is_asked_for_when_a_case_that_can_run_needs_it(madre: ScriptedMadre, berlin: Host) -> None:
    madre.answers.pop(OPEN)
    madre.refuse(OPEN, 404, "service_unknown", "the catalogue has no service web")
    assert berlin.problems() == ["berlin: web cannot be opened: the catalogue has no service web"]
    asked = [request["body"] for request in madre.requests if request["path"] == OPEN]
    assert asked == [{"service": "web", "dry_run": True}], "db is needed by a case alone that cannot run there"


def test_it_waits_when_it_is_refused_for_the_rate(madre: ScriptedMadre, berlin: Host) -> None:
    madre.answers[OPEN].clear()
    for _ in range(3):
        madre.refuse(OPEN, 429, "rate_limited", "too many requests; try again in 1 s")
    madre.answer(OPEN, {"changed": True})
    assert berlin.problems() == []
    assert [path for _, path in madre.asked()].count(OPEN) == 4


def test_once_unusable_it_is_not_asked_again(madre: ScriptedMadre, berlin: Host) -> None:
    runs = [{"what": "window 7", "service": "web"}]
    madre.answers[SOLO].clear()
    madre.answer(SOLO, {"solo_madre": False, "left": runs, "foreign": []})
    madre.answer(SOLO, {"solo_madre": True, "left": [], "foreign": []})
    why = "the host berlin: it is not in SOLO_MADRE; there runs: window 7 web"
    assert [berlin.unusable(), berlin.unusable()] == [why, why]


def test_a_host_that_does_not_answer_has_left_nobody_knows_what(madre: ScriptedMadre, berlin: Host) -> None:
    assert berlin.problems() == []
    assert berlin.residue() == set()
    madre.answers.clear()
    assert berlin.residue() is None
    assert "is not a madre" in berlin.return_to_solo_madre()
    (left,) = berlin.end()
    assert left.startswith("windows on the host berlin may be open until their time is over")


def test_it_returns_to_solo_madre_without_stopping_what_is_foreign(madre: ScriptedMadre, berlin: Host) -> None:
    assert berlin.return_to_solo_madre() == ""
    assert [request["body"] for request in madre.requests] == [
        {"dry_run": False, "foreign": "report"},
        {"dry_run": True},
    ]


def test_only_windows_of_the_run_are_closed_the_newest_first(madre: ScriptedMadre) -> None:
    mine = [
        {"window_id": str(number), "service": f"s{number}", "opened_by": "us", "opened_at": NOON.format(number)}
        for number in (1, 3, 5)
    ]
    others = [mine[2] | {"window_id": "9", "opened_by": "them"}]
    madre.answers[STATUS].clear()
    madre.answer(STATUS, {"windows": mine + others})
    madre.answer(STATUS, {"windows": [mine[1], *others]})
    madre.answer(CLOSE, {"state": "closed"})
    madre.answers[CLOSE].append((404, b'{"status": 404, "code": "no_window", "detail": "gone"}', "application/json"))
    guest = Guest("berlin", "us", NOON.format(2))
    found = InventoryHost("berlin", madre.url, "t")
    assert close_windows(found, guest) == ["the window of s3 on the host berlin"]
    assert [request["body"]["window_id"] for request in madre.requests if request["path"] == CLOSE] == ["5", "3"]
    assert close_windows(found, replace(guest, since=NOON.format(9))) == []
