"""What gates come to: by their checks, when there is nothing to look at, and when they cannot look."""

import http.server
import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vx11.client import Madre
from vx11.engines import netns
from vx11.errors import EnvironmentProblem
from vx11.evidence.chain import Chain
from vx11.evidence.keys import Signer
from vx11.evidence.layout import CHAIN, publish
from vx11.release import core, gates
from vx11.release.config import Closing, Release
from vx11.release.gates import GATES, Gate
from vx11.release.verdicts import Check, NotApplicable, Outcome, judged

MakeRelease = Callable[..., Release]
MakeDatabase = Callable[..., Path]
GOOD, BAD, WORSE = Check("it is so", True), Check("it is well", False, "ill"), Check("it runs", False)


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        ([GOOD, GOOD], (Outcome.PASSED, "")),
        ([GOOD, BAD], (Outcome.FAILED, "it is well: ill")),
        ([WORSE, BAD], (Outcome.FAILED, "it runs, and 1 more")),
        ([], (Outcome.FAILED, "nothing was looked at")),
    ],
)
def test_what_checks_come_to(checks: list[Check], expected: tuple[Outcome, str]) -> None:
    assert judged(checks) == expected


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (NotApplicable("there is none"), Outcome.NOT_APPLICABLE, "there is none"),
        (EnvironmentProblem("git is gone"), Outcome.FAILED, "it could not be measured: git is gone"),
        (ZeroDivisionError("by 0"), Outcome.FAILED, "it could not be measured: ZeroDivisionError: by 0"),
    ],
)
def test_a_gate_that_cannot_look(release: MakeRelease, error: Exception, outcome: Outcome, reason: str) -> None:
    def look(_: Release) -> list[Check]:
        raise error

    result = gates.run(Gate(1, "a", "b", look), release())
    assert (result.outcome, result.reason, result.checks) == (outcome, reason, ())


def test_there_are_eight() -> None:
    assert [gate.number for gate in GATES] == list(range(1, 9))


# 1


def test_integrity(release: MakeRelease, database: MakeDatabase) -> None:
    path = database()
    result = gates.run(GATES[0], release(databases=(str(path),)))
    assert result.outcome is Outcome.PASSED
    assert len(result.checks) == 3
    path.write_bytes(path.read_bytes()[:4096] + b"\xa5" * 8192)
    assert gates.run(GATES[0], release(databases=(str(path),))).outcome is Outcome.FAILED


def test_integrity_of_nothing(tmp_path: Path, release: MakeRelease) -> None:
    result = gates.run(GATES[0], release())
    assert (result.outcome, result.reason) == (Outcome.NOT_APPLICABLE, "no place with databases is known or named")
    result = gates.run(GATES[0], release(databases=(str(tmp_path),)))
    assert (result.outcome, result.reason) == (Outcome.NOT_APPLICABLE, f"no SQLite file lies in {tmp_path}")
    result = gates.run(GATES[0], release(databases=(f"{tmp_path}/gone.db",)))
    assert (result.outcome, result.reason) == (Outcome.FAILED, f"{tmp_path}/gone.db is there")


# 2, 4, 8: nobody answers


@pytest.mark.parametrize("number", [2, 4, 8])
def test_where_nobody_answers_what_asks_has_failed(release: MakeRelease, number: int) -> None:
    result = gates.run(GATES[number - 1], release())
    assert result.outcome is Outcome.FAILED
    assert not any(check.holds for check in result.checks)


# 5


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def evidence(root: Path) -> Path:
    """A chain that goes on, as madre's does."""
    signer = Signer.of()
    publish(root, signer.public)
    chain = Chain(root / CHAIN, signer)
    for number in range(3):
        chain.append("tester", "did", f"{number}")
    chain.close()
    return root


def test_maintenance(tmp_path: Path, release: MakeRelease, database: MakeDatabase) -> None:
    names = (str(database()),)
    result = gates.run(GATES[4], release((evidence(tmp_path),), maintenance=python("pass"), databases=names))
    assert (result.outcome, len(result.checks)) == (Outcome.PASSED, 1 + 3 + 1)


def test_maintenance_that_fails(release: MakeRelease) -> None:
    result = gates.run(GATES[4], release(maintenance=python("import sys; sys.exit('no space')")))
    assert result.outcome is Outcome.FAILED
    assert result.reason.endswith("ends with 0: 1: no space")


def test_maintenance_that_is_not_there(release: MakeRelease) -> None:
    result = gates.run(GATES[4], release(maintenance=("/nowhere/at/all",)))
    assert (result.outcome, "could not be measured" in result.reason) == (Outcome.FAILED, True)


@pytest.mark.parametrize("harm", ["write_bytes(b'x' * 9999)", "unlink()", "write_bytes(path.read_bytes()[:5000])"])
def test_maintenance_that_harms_a_database(release: MakeRelease, database: MakeDatabase, harm: str) -> None:
    path = database()
    code = f"import pathlib; path = pathlib.Path({str(path)!r}); path.{harm}"
    for name in (path, path.parent):
        path = database() if not path.exists() else path
        result = gates.run(GATES[4], release(maintenance=python(code), databases=(str(name),)))
        assert result.checks[0].holds
        assert result.outcome is Outcome.FAILED
        path.unlink(missing_ok=True)
        database()


def test_maintenance_that_harms_evidence(tmp_path: Path, release: MakeRelease) -> None:
    root = evidence(tmp_path)
    chain = f"pathlib.Path({str(root / CHAIN)!r})"
    code = f"import pathlib; {chain}.write_text({chain}.read_text().replace('did', 'had'))"
    result = gates.run(GATES[4], release((root,), maintenance=python(code)))
    assert [check.holds for check in result.checks] == [True, False]


def test_maintenance_of_nothing(release: MakeRelease) -> None:
    assert gates.run(GATES[4], release()).outcome is Outcome.NOT_APPLICABLE


def test_maintenance_by_default_prunes_evidence(tmp_path: Path, release: MakeRelease) -> None:
    from vx11.release.closing import freeze

    freeze(tmp_path / "audit", release(), "")
    result = gates.run(GATES[4], release((tmp_path / "audit",)))
    assert result.outcome is Outcome.PASSED
    assert "vx11 evidence prune" in result.checks[0].what


# 6


def test_outside_cannot_be_seen_from_a_machine_that_is_not_the_host(
    release: MakeRelease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "is_here", lambda _: False)
    result = gates.run(GATES[5], release())
    assert result.outcome is Outcome.NOT_APPLICABLE
    assert "the entry is on another machine" in result.reason


def test_nor_without_root(release: MakeRelease, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netns, "available", lambda: False)
    result = gates.run(GATES[5], release())
    assert (result.outcome, "may not make a network namespace" in result.reason) == (Outcome.NOT_APPLICABLE, True)


# 7


def test_flags_of_processes_that_cannot_be_found(release: MakeRelease, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VX11_SMOKE_TESTS", raising=False)
    assert gates.run(GATES[6], release()).outcome is Outcome.NOT_APPLICABLE


@pytest.mark.parametrize(("value", "failed"), [("1", True), ("yes", True), ("0", False), ("False", False), ("", False)])
def test_a_flag_in_this_environment(
    release: MakeRelease, monkeypatch: pytest.MonkeyPatch, value: str, failed: bool
) -> None:
    monkeypatch.setenv("VX11_SMOKE_TESTS", value)
    result = gates.run(GATES[6], release())
    assert (result.outcome is Outcome.FAILED) is failed


# 4 and 8: somebody answers, and not as he should


class Wrong(http.server.BaseHTTPRequestHandler):
    """An entry whose operator endpoint answers what the test wants."""

    status, answer = 200, dict[str, object]()

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_POST(self) -> None:
        """SOLO_MADRE is so; whoever asks gets the answer."""
        self.rfile.read(int(self.headers["Content-Length"]))
        asked = self.path == gates.CHAT
        solo = {"solo_madre": True, "left": [], "foreign": []}
        body = json.dumps(self.answer if asked else solo).encode()
        self.send_response(self.status if asked else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def wrong() -> Iterator[Callable[..., Release]]:
    """`wrong(status, answer)` answers a release on a host with such an entry."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Wrong)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    with server, Madre(url, "token") as madre:

        def make(status: int, answer: dict[str, object]) -> Release:
            Wrong.status, Wrong.answer = status, answer
            return Release(url, madre, Closing(pace=0))

        yield make
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "answer", "passes"),
    [
        (200, {"degraded": True, "fallback_source": "local_llm_degraded"}, True),
        (200, {"degraded": False, "fallback_source": "local_llm_degraded"}, False),
        (200, {"degraded": True, "fallback_source": None}, False),
        (200, {}, False),
        (500, {"degraded": True, "fallback_source": "local_llm_degraded"}, False),
        (503, {"detail": "later"}, False),
    ],
)
def test_an_operator_endpoint_that_is_not_degraded(
    wrong: Callable[..., Release], status: int, answer: dict[str, object], passes: bool
) -> None:
    result = gates.run(GATES[7], wrong(status, answer))
    assert (result.outcome is Outcome.PASSED) is passes
    assert [check.holds for check in result.checks] == [True, *[passes] * 3]


@pytest.mark.parametrize(("status", "passes"), [(200, True), (429, False), (500, False), (404, False)])
def test_an_operator_endpoint_that_answers(wrong: Callable[..., Release], status: int, passes: bool) -> None:
    result = gates.run(GATES[3], wrong(status, {"detail": "it is so"}))
    assert [check.holds for check in result.checks] == [passes] * 10
    assert passes or result.reason.startswith(f"request 1 of 10 is answered with 200: {status}: it is so")
