"""`vx11 run --inventory`: cases on hosts whose madre is not the conductor's; real madres stand for the hosts."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chains import whole
from tests.gateway.conftest import Host
from vx11 import tokens
from vx11.client import Madre
from vx11.conductor.cell import Cell
from vx11.evidence.layout import CONDUCTOR

OPEN = {"vx11.power.vx11_window": {"service": "web", "ttl": "5m"}}
LONG = {"ansible.builtin.pause": {"seconds": 3}}
# Nobody can log in there, and our modules need not.
NO_LOGIN = {"ansible_connection": "ssh", "ansible_host": "192.0.2.1"}
HERE = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
PROBE = """
def test_it_is_there(window, observe):
    web = window("web")
    observe("is_behind_a_gateway", web.url.endswith("/svc/web/"))
    observe("is_reached", web.http.get("/health").status_code == 200)
    observe("is_closed_to_others", web.http.get("/health", headers={"X-VX11-Token": ""}).status_code == 401)
"""
Write = Callable[[dict[str, Any]], Path]


@pytest.fixture(scope="module")
def bundle(make_bundle: Callable[..., Path], web: dict[str, Any]) -> Path:
    """What the hosts may open: `web`."""
    return make_bundle({"web": web})


@pytest.fixture
def hosts(start_cell: Callable[..., Cell], bundle: Path) -> list[Cell]:
    """Two madres that nobody started for a run."""
    return [start_cell(bundle, "process") for _ in range(2)]


@pytest.fixture
def write_inventory(tmp_path: Path) -> Write:
    """`write_inventory({name: variables})` writes a file that Ansible reads."""

    def write(found: dict[str, Any]) -> Path:
        path = tmp_path / "hosts.yml"
        path.write_text(yaml.safe_dump({"all": {"hosts": found}}), encoding="utf-8")
        return path

    return write


def known(cell: Cell, **more: Any) -> dict[str, Any]:
    """The variables of a host."""
    return {"vx11_url": cell.url, "vx11_token": cell.token, **more}


def token(cell: Cell, *scopes: str) -> str:
    """A token of a host with these scopes."""
    return tokens.issue(tokens.read_key(cell.folder / "key"), subject="t", scopes=scopes, ttl=600, cell=cell.name)


def windows(cell: Cell) -> list[str]:
    with cell.madre() as madre:
        return [window["service"] for window in madre.status()["windows"]]


def records(folder: Path, action: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "evidence.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["action"] == action]


def recovered(evidence: Path) -> tuple[int, list[dict[str, Any]]]:
    """Code and answer of `vx11 evidence recover`."""
    command = [sys.executable, "-m", "vx11", "evidence", "recover", str(evidence), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, json.loads(done.stdout)


def test_cases_are_spread_over_the_hosts_one_a_host_at_a_time(
    hosts: list[Cell],
    write_matrix: Callable[..., Path],
    write_inventory: Write,
    run_matrix: Callable[..., Any],
    bundle: Path,
) -> None:
    held = {"services": ["web"], "asserts": [{"service_running_after_ttl": True}, {"no_port_conflicts": True}]}
    hold = {"vx11.power.vx11_window": {"service": "web", "ttl": "1s", "hold": True}}
    show = {"ansible.builtin.debug": {"var": "hostvars"}}
    cases = {
        "held": ([hold, {"ansible.builtin.pause": {"seconds": 5}}], held),
        "left-open": ([OPEN, LONG, show], {"services": ["web"]}),
        "again": ([OPEN, LONG], {"services": ["web"]}),
        "alone": ([OPEN], {"services": ["web"], "exclusive": True}),
        "of-the-chain": ([OPEN], {"services": ["web"], "asserts": [{"audit_trail_complete": True}]}),
        "configured": ([OPEN], {"services": ["web"], "dependencies": {"web": ["web"]}}),
    }
    inventory = write_inventory({"a": known(hosts[0], **NO_LOGIN), "b": known(hosts[1], **NO_LOGIN)})
    ran = run_matrix(write_matrix(bundle, cases), "--json", "--inventory", str(inventory))

    verdicts = {item["case"]: item["verdict"] for item in ran.result["cases"]}
    passed = dict.fromkeys(["held", "left-open", "again", "alone"], "passed")
    assert verdicts == {**passed, "of-the-chain": "skipped", "configured": "skipped"}, ran.result
    assert "stays on the host" in ran.case("of-the-chain")["message"]
    assert (ran.code, ran.result["left"], [windows(cell) for cell in hosts]) == (0, [], [[], []])
    assert {ran.case(name)["host"] for name in passed} == {"a", "b"}

    began = {record["subject"]: record for record in records(ran.folder, "case_started")}
    ended = {record["subject"]: record for record in records(ran.folder, "verdict") if record["subject"] in began}
    spans = {name: (int(began[name]["mono_ns"]), int(ended[name]["mono_ns"])) for name in began}
    for host in "ab":
        on_it = sorted(span for name, span in spans.items() if began[name]["data"]["host"] == host)
        assert all(first[1] <= second[0] for first, second in pairwise(on_it)), "one at a time"
    assert spans["left-open"][0] < spans["held"][1], "side by side"
    assert all(spans["alone"][0] >= span[1] for name, span in spans.items() if name != "alone"), "alone"
    assert [record["data"]["proof"]["solo_madre"] for record in records(ran.folder, "solo_madre_before")] == [True] * 4
    assert whole(ran.folder / "evidence.jsonl")

    kept = [path for path in ran.evidence.rglob("*") if path.is_file()]
    printed = [path for path in kept if "vx11_token" in path.read_text(encoding="utf-8", errors="replace")]
    assert printed, "a playbook printed its variables"
    assert not [path for path in kept if any(cell.token.encode() in path.read_bytes() for cell in hosts)]
    page = (ran.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "Ran on the host a" in page
    assert "on the host b" in (ran.folder / "report" / "junit.xml").read_text(encoding="utf-8")


@pytest.fixture
def gated(
    tmp_path_factory: pytest.TempPathFactory,
    make_bundle: Callable[..., Path],
    web: dict[str, Any],
    eventually: Callable[..., Any],
) -> Iterator[Host]:
    """A host with a gateway; its folder has a short name, since there are sockets in it."""
    found = Host(tmp_path_factory.mktemp("host"), make_bundle({"web": web}), eventually)
    try:
        found.start()
        yield found
    finally:
        found.stop()


@pytest.mark.haproxy
def test_suites_reach_windows_behind_a_gateway(
    gated: Host, write_inventory: Write, run_matrix: Callable[..., Any]
) -> None:
    asserts = [{name: True} for name in ("is_behind_a_gateway", "is_reached", "is_closed_to_others")]
    case = {"id": "probe", "services": ["web"], "actions": [{"open_window": "web"}, {"e2e_test": "probe"}]}
    matrix = {"test_matrix": {"cases": [case | {"asserts": asserts}]}}
    (gated.bundle / "matrix.yml").write_text(yaml.safe_dump(matrix), encoding="utf-8")
    (gated.bundle / "suites").mkdir()
    (gated.bundle / "suites" / "probe.py").write_text(PROBE, encoding="utf-8")
    variables = {"vx11_url": gated.url, "vx11_token": gated.token(), **HERE}
    ran = run_matrix(gated.bundle, "--json", "--inventory", str(write_inventory({"a": variables})))
    assert (ran.code, ran.case("probe")["verdict"]) == (3, "aborted")
    wanted = "a: its gateway wants a token of suites; set the host variable vx11_service_token"
    assert ran.result["problem"] == wanted
    services = gated.token("svc:web")
    inventory = write_inventory({"a": variables | {"vx11_service_token": services}})
    ran = run_matrix(gated.bundle, "--json", "--inventory", str(inventory))
    assert (ran.code, ran.case("probe")["verdict"]) == (0, "passed"), ran.result
    kept = [path for path in ran.evidence.rglob("*") if path.is_file()]
    assert not [path for path in kept if services.encode() in path.read_bytes()]


def test_all_that_is_wrong_with_all_hosts_is_told_before_anything_starts(
    hosts: list[Cell],
    start_cell: Callable[..., Cell],
    make_bundle: Callable[..., Path],
    write_matrix: Callable[..., Path],
    write_inventory: Write,
    run_matrix: Callable[..., Any],
    bundle: Path,
    web: dict[str, Any],
) -> None:
    good, busy = hosts
    empty = start_cell(make_bundle({"other": web}), "process")
    with busy.madre() as madre:
        madre.post("/api/v1/windows/open", service="web", ttl="5m")
    inventory = write_inventory(
        {
            "good": known(good),
            "busy": known(busy),
            "empty": known(empty),
            "gone": {"vx11_url": "http://127.0.0.1:9", "vx11_token": "x"},
            "locked": {"vx11_url": good.url.replace("127.0.0.1", "localhost"), "vx11_token": "wrong"},
            "weak": {"vx11_url": good.url.replace("127.0.0.1", "LOCALHOST"), "vx11_token": token(good, "power:read")},
        }
    )
    cases = {"first": ([OPEN], {"services": ["web"]})}
    ran = run_matrix(write_matrix(bundle, cases), "--json", "--inventory", str(inventory))
    assert ran.code == 3
    for part in (
        "busy: it is not in SOLO_MADRE; there runs: window",
        "empty: web cannot be opened: the catalogue has no service web",
        "gone: no madre answers at http://127.0.0.1:9",
        "locked: invalid or expired token",
        "weak: this needs a token with the scope system:write",
        "weak: this needs a token with the scope power:write",
    ):
        assert part in ran.result["problem"], ran.result["problem"]
    assert "good:" not in ran.result["problem"]
    assert ran.case("first")["verdict"] == "aborted"
    assert windows(busy) == ["web"], "what was there before is none of ours"
    only = run_matrix(bundle, "--json", "--inventory", str(inventory), "--limit", "good,!weak")
    assert (only.code, only.case("first")["host"]) == (0, "good")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"a": {}, "b": {"vx11_url": "http://127.0.0.1:1"}, "c": {}}, "these hosts lack vx11_url"),
        ({"a": {"vx11_url": "http://127.0.0.1:1"}}, "these hosts have no token"),
        ({name: {"vx11_url": "http://127.0.0.1:1", "vx11_token": "x"} for name in "ab"}, "the same madre"),
    ],
)
def test_an_inventory_that_cannot_be_used_is_an_error_of_input(
    variables: dict[str, Any],
    message: str,
    write_matrix: Callable[..., Path],
    write_inventory: Write,
    run_matrix: Callable[..., Any],
    bundle: Path,
) -> None:
    matrix = write_matrix(bundle, {"first": ([OPEN], {})})
    ran = run_matrix(matrix, "--inventory", str(write_inventory(variables)))
    assert (ran.code, message in ran.errors, list(ran.evidence.iterdir())) == (2, True, []), ran.errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--limit", "a"], "--inventory"),
        (["--inventory", "hosts", "--engine", "docker"], "each host"),
        (["--inventory", "hosts", "--cells", "2"], "one a host at a time"),
        (["--inventory", "hosts"], "there is no such inventory"),
    ],
)
def test_what_makes_no_sense_together_is_an_error_of_use(
    arguments: list[str],
    message: str,
    write_matrix: Callable[..., Path],
    run_matrix: Callable[..., Any],
    bundle: Path,
) -> None:
    ran = run_matrix(write_matrix(bundle, {"first": ([OPEN], {})}), *arguments)
    assert (ran.code, message in " ".join(ran.errors.split()), list(ran.evidence.iterdir())) == (2, True, [])


def test_a_host_that_dies_in_a_case_takes_that_case_alone(
    hosts: list[Cell],
    write_matrix: Callable[..., Path],
    write_inventory: Write,
    begin_run: Callable[..., Any],
    bundle: Path,
    tmp_path: Path,
) -> None:
    reached, go, where = (tmp_path / name for name in ("reached", "go", "where"))
    os.mkfifo(reached)
    os.mkfifo(go)
    wait = {"ansible.builtin.shell": f"echo {{{{ inventory_hostname }}}} > {where}; echo > {reached}; cat {go}"}
    cases = {"one": ([OPEN, wait, OPEN], {"priority": 1, "retries": 2}), "two": ([OPEN], {}), "three": ([OPEN], {})}
    inventory = write_inventory({"a": known(hosts[0], **HERE), "b": known(hosts[1], **HERE)})
    begun = begin_run(write_matrix(bundle, cases), reached, "--json", "--inventory", str(inventory))
    dies, lives = ("a", "b") if where.read_text() == "a\n" else ("b", "a")
    dead = hosts["ab".index(dies)]
    for process in dead.core.values():
        process.kill()
        process.wait()
    go.write_text("")
    output, errors = begun.ended()
    result = json.loads(output)
    found = {item["case"]: item for item in result["cases"]}
    assert {name: (item["verdict"], item["host"]) for name, item in found.items()} == {
        "one": ("failed", dies),
        "two": ("passed", lives),
        "three": ("passed", lives),
    }, errors
    assert found["one"]["message"].startswith(f"the host {dies}: no madre answers at {dead.url}")
    unknown = {item["name"] for item in found["one"]["asserts"] if item["observed"] is None}
    assert unknown == {"no_resource_leaks"}, "what nobody can tell is not claimed"
    assert begun.process.returncode == 1
    assert [what.startswith(f"windows on the host {dies} may be open") for what in result["left"]] == [True]


def test_the_next_start_closes_the_windows_of_a_run_whose_conductor_died(
    write_matrix: Callable[..., Path],
    write_inventory: Write,
    begin_run: Callable[..., Any],
    left_of: Callable[[Path], list[str]],
    make_bundle: Callable[..., Path],
    start_cell: Callable[..., Cell],
    web: dict[str, Any],
    tmp_path: Path,
) -> None:
    """And no others; what cannot be reached is tried again."""
    bundle = make_bundle({"web": web, "other": web})
    host = start_cell(bundle, "process")
    reached = tmp_path / "reached"
    os.mkfifo(reached)
    stay = {"ansible.builtin.shell": f"echo > {reached}; sleep 300"}
    inventory = write_inventory({"a": known(host, **HERE)})
    matrix = write_matrix(bundle, {"first": ([OPEN, stay], {})})
    begun = begin_run(matrix, reached, "--inventory", str(inventory))
    begun.process.kill()
    begun.process.wait()
    with Madre(host.url, token(host, "power:read", "power:write")) as other:
        other.post("/api/v1/windows/open", service="other", ttl="5m")
    assert sorted(windows(host)) == ["other", "web"]
    (note,) = begun.evidence.glob(f"*/{CONDUCTOR}")
    assert host.token not in note.read_text(encoding="utf-8")

    write_inventory({"a": known(host, vx11_token="wrong")})
    code, (found,) = recovered(begun.evidence)
    assert (code, "windows on the host a may be open" in found["left"][0]) == (3, True)
    assert left_of(begun.temporary) == []
    write_inventory({"a": known(host)})
    assert recovered(begun.evidence) == (
        0,
        [{"test_id": found["test_id"], "aborted": ["first"], "damage": None, "left_out": None, "left": []}],
    )
    assert windows(host) == ["other"]
    assert host.is_alive()
