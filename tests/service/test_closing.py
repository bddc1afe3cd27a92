"""Closing a release on a host that runs: each gate that asks one, passed and failed, by the command."""

import contextlib
import json
import os
import secrets
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from vx11 import tokens
from vx11.conductor.cell import SCOPES, Cell
from vx11.engines import netns

ALL = (*SCOPES, "operator:chat")
LETTERS = ["A-audit-report", "B-diagrams-contract", "C-p0-tests", "D-closing-plan", "E-task-pack", "F-scorecard"]
FLAG = "TESTS_OF_A_CLOSING"
# In a network of its own, where nobody else has it.
ENTRY = 8000
OTHER = 9000


@dataclass
class Operator:
    """Somebody who closes a release on a cell.

    Attributes:
        closing: what stands in `closing.yml`.
        scopes: what his token allows.
    """

    cell: Cell
    folder: Path
    closing: dict[str, Any] = field(default_factory=dict)
    scopes: tuple[str, ...] = ALL
    url: str = ""

    def __call__(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """A command, which sees no settings of ours but the key of evidence."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("VX11_")}
        environment |= {name: os.environ[name] for name in ("VX11_EVIDENCE_KEY",)}
        environment |= {"VX11_URL": self.url or self.cell.url, "VX11_TOKEN": self.token}
        command = [sys.executable, "-m", "vx11", *words]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=120, env=environment, cwd=self.folder, check=False
        )

    @property
    def token(self) -> str:
        """Signed with the key of the cell."""
        key = tokens.read_key(self.cell.folder / "key")
        return tokens.issue(key, subject="closer", scopes=self.scopes, ttl=300, cell=self.cell.name)

    def gates(self, *numbers: int) -> tuple[int, Any]:
        """Looks at gates, all of them without a number; answers how it ended, and what it told."""
        chosen = [word for number in numbers for word in ("--gate", str(number))]
        config, madre = self.folder / "closing.yml", self.folder / "madre.yml"
        config.write_text(yaml.safe_dump({"pace": "0s"} | self.closing), encoding="utf-8")
        about = {name: str(self.cell.folder / name) for name in ("state", "data", "key")}
        about |= {"cell": self.cell.name, "evidence": str(self.cell.evidence.parent)}
        madre.write_text(yaml.safe_dump(about), encoding="utf-8")
        done = self("gates", "--json", "--config", str(config), "--madre", str(madre), *chosen)
        assert done.returncode in (0, 1), done.stderr
        return done.returncode, json.loads(done.stdout)

    def gate(self, number: int) -> Any:
        """What one gate came to; the command ends as it should."""
        code, told = self.gates(number)
        (found,) = told["gates"]
        assert code == (found["outcome"] == "failed")
        return found


def broken(gate: Any) -> list[str]:
    return [check["what"] for check in gate["checks"] if not check["holds"]]


@pytest.fixture
def shared(process_api: Any, tmp_path: Path) -> Operator:
    """Somebody on the cell that tests share, which is in SOLO_MADRE."""
    return Operator(process_api.cell, tmp_path)


def test_on_a_host_that_is_as_it_should_be(shared: Operator) -> None:
    code, told = shared.gates(2, 4, 8)
    assert [gate["outcome"] for gate in told["gates"]] == ["passed"] * 3, told
    assert code == 0
    assert len(told["gates"][1]["checks"]) == 10
    assert shared("evidence", "verify", told["audit"]).returncode == 0


def test_an_operator_who_is_refused(shared: Operator) -> None:
    shared.scopes = SCOPES
    gate = shared.gate(4)
    assert gate["outcome"] == "failed"
    assert len(broken(gate)) == 10
    assert "403" in gate["reason"]


def test_a_window_that_is_open(shared: Operator, process_api: Any) -> None:
    process_api.open("web")
    gate = shared.gate(8)
    assert (gate["outcome"], broken(gate)) == ("failed", ["the host is in SOLO_MADRE"])
    assert "web" in gate["reason"]
    assert shared.gate(2)["outcome"] == "passed"


def test_what_it_tells_people(shared: Operator, process_api: Any) -> None:
    process_api.open("web")
    done = shared("gates", "--gate", "2", "--gate", "8")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0] == "✓ gate 2, health of the core"
    assert lines[1].startswith("✗ gate 8, degraded fallback in SOLO_MADRE: the host is in SOLO_MADRE: ")
    assert Path(shared.folder, lines[2]).is_dir()


def test_a_baseline_of_a_host(shared: Operator, process_api: Any) -> None:
    process_api.open("web")
    found = json.loads(shared("baseline", "--json").stdout)
    told = found["running"]["told"]
    assert (told["cell"], told["solo_madre"], told["watchdog"]) == (shared.cell.name, False, True)
    assert told["windows"] == [{"service": "web", "state": "open"}]
    assert shared("evidence", "verify", found["audit"]).returncode == 0
    assert "SOLO_MADRE: no" in shared("baseline").stdout.splitlines()


def test_wrong_input(shared: Operator) -> None:
    (shared.folder / "closing.yml").write_text("nonsense: 1\npace: soon\n", encoding="utf-8")
    done = shared("gates", "--config", "closing.yml")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 2)
    (shared.folder / "closing.yml").write_text("tree: .\n", encoding="utf-8")
    assert shared("baseline", "--config", "closing.yml").returncode == 2


# with a core of its own


@pytest.fixture
def own(make_bundle: Any, web: Any, start_cell: Any, tmp_path: Path, eventually: Any) -> Callable[[], Operator]:
    """`own()` starts a cell of its own."""

    def start() -> Operator:
        cell = start_cell(make_bundle({"web": web}), "process")
        with cell.madre() as madre:
            eventually(lambda: madre.status()["watchdog"])
        return Operator(cell, tmp_path)

    return start


def test_a_core_that_dies_part_by_part(own: Callable[[], Operator], eventually: Any) -> None:
    operator = own()
    assert operator.gate(2)["outcome"] == "passed"
    watchdog = operator.cell.core["watchdog"]
    watchdog.kill()
    watchdog.wait(20)
    gate = operator.gate(2)
    assert (gate["outcome"], broken(gate)) == ("failed", ["a watchdog is alive"])
    operator.cell.stop()
    gate = operator.gate(2)
    assert broken(gate) == [f"the entry {operator.cell.url} answers GET /health", "madre tells its status"]


def test_flags_of_the_core(own: Callable[[], Operator], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FLAG, "1")
    operator = own()
    monkeypatch.delenv(FLAG)
    operator.closing = {"flags": ["VX11_BROWSER_TESTS", FLAG]}
    gate = operator.gate(7)
    core = {name: process.pid for name, process in operator.cell.core.items()}
    expected = [
        f"{FLAG} is off in {name} (process {pid})" for name, pid in sorted(core.items(), key=lambda one: one[1])
    ]
    assert (gate["outcome"], broken(gate)) == ("failed", expected)
    operator.closing = {"flags": ["VX11_BROWSER_TESTS"]}
    gate = operator.gate(7)
    assert (gate["outcome"], len(gate["checks"])) == ("passed", 3)


# on a host of its own, which is reached from outside


class At(Cell):
    """A cell whose entry listens at another address."""

    address = "0.0.0.0"

    def _flags(self) -> Any:
        return [*super()._flags(), "--listen", f"{self.address}:{ENTRY}"]


@pytest.fixture
def on_a_host(make_bundle: Any, web: Any, tmp_path: Path, eventually: Any) -> Callable[..., None]:
    """`on_a_host(work, address="0.0.0.0")` has somebody work on a host in a network of its own, and nothing else there.

    The address is where its entry listens.
    """

    @contextlib.contextmanager
    def started(address: str) -> Iterator[Operator]:
        cell = At(f"t-{secrets.token_hex(4)}", make_bundle({"web": web}), "process", tmp_path / "evidence")
        cell.address = address
        try:
            cell.start()
            with cell.madre() as madre:
                eventually(lambda: madre.status()["watchdog"])
            yield Operator(cell, tmp_path, url=f"http://127.0.0.1:{ENTRY}")
        finally:
            cell.stop()
            assert cell.purge() == []

    def run(work: Callable[[Operator], None], address: str = "0.0.0.0") -> None:
        def inside() -> None:
            with started(address) as operator:
                work(operator)

        netns.in_new(inside)

    return run


@contextlib.contextmanager
def listening(address: str) -> Iterator[None]:
    with socket.create_server((address, OTHER), family=socket.AF_INET6 if ":" in address else socket.AF_INET):
        yield


def checkout(path: Path) -> Path:
    """A git checkout with one commit."""
    path.mkdir()
    (path / "README").write_text("hello\n", encoding="utf-8")
    identity = ["-c", "user.name=tester", "-c", "user.email=tester@localhost", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run(["git", "-C", str(path), *identity, *words], check=True, capture_output=True)
    return path


def database(path: Path) -> Path:
    """A SQLite file with one row."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE one (id INTEGER PRIMARY KEY); INSERT INTO one VALUES (1);")
    return path


@pytest.mark.root
def test_a_closed_host_passes_all_eight(on_a_host: Callable[..., None], tmp_path: Path) -> None:
    def work(operator: Operator) -> None:
        runs = tmp_path / "runs"
        assert operator("baseline", "--audit", str(runs)).returncode == 0
        operator.closing = {
            "tree": str(checkout(tmp_path / "tree")),
            "databases": [str(database(tmp_path / "data.db"))],
            "evidence": [str(runs)],
        }
        code, told = operator.gates()
        assert [gate for gate in told["gates"] if gate["outcome"] != "passed"] == []
        assert (code, told["closes"]) == (0, True), told
        assert {line["name"]: line["value"] for line in told["scorecard"]} == dict.fromkeys(
            ("database integrity", "uptime", "HTTP success", "secrets", "flags", "invariants"), 100.0
        )
        assert all(check["holds"] for check in told["p0"])
        assert {check["what"].split()[0] for check in told["p0"]} == {"pytest", "curl"}
        folder = tmp_path / told["audit"]
        assert sorted(path.stem for path in (folder / "report").iterdir()) == LETTERS
        assert operator("evidence", "verify", str(folder.parent)).returncode == 0
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        signature = operator.token.split(".")[0].encode()
        assert not [path for path in files if signature in path.read_bytes()]

    on_a_host(work)


@pytest.mark.root
def test_a_second_port_that_answers_from_outside(on_a_host: Callable[..., None]) -> None:
    def work(operator: Operator) -> None:
        with listening("127.0.0.1"):
            gate = operator.gate(6)
            assert (gate["outcome"], broken(gate)) == ("passed", [])
            assert f"127.0.0.1:{OTHER} does not answer from outside" in [check["what"] for check in gate["checks"]]
        for address, name in (("0.0.0.0", f"0.0.0.0:{OTHER}"), ("::", f"[::]:{OTHER}")):
            with listening(address):
                gate = operator.gate(6)
                assert (gate["outcome"], broken(gate)) == ("failed", [f"{name} does not answer from outside"])
                operator.closing = {"management_ports": [OTHER]}
                assert operator.gate(6)["outcome"] == "passed"
                operator.closing = {}

    on_a_host(work)


@pytest.mark.root
def test_an_entry_that_does_not_answer_from_outside(on_a_host: Callable[..., None]) -> None:
    def work(operator: Operator) -> None:
        gate = operator.gate(6)
        expected = [f"the entry answers from outside at port {ENTRY}"]
        assert (gate["outcome"], broken(gate)) == ("failed", expected)

    on_a_host(work, "127.0.0.1")


@pytest.mark.root
def test_addresses_that_are_named_are_tried(on_a_host: Callable[..., None]) -> None:
    def work(operator: Operator) -> None:
        operator.closing = {"outside": [{"address": "127.0.0.1", "ports": [OTHER]}]}
        assert operator.gate(6)["outcome"] == "passed"
        with listening("127.0.0.1"):
            gate = operator.gate(6)
        assert (gate["outcome"], broken(gate)) == ("failed", [f"127.0.0.1:{OTHER} does not answer"])

    on_a_host(work)
