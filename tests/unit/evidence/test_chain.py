"""The chain of evidence: what is appended verifies, what was touched shows, and what fails leaves it sound."""

from tests.chains import whole
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from vx11.evidence import verify
from vx11.evidence.appending import EvidenceError
from vx11.evidence.chain import Chain
from vx11.evidence.keys import PublicKeys
from vx11.evidence.reading import GENESIS, segments


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "evidence.jsonl"


def written(path: Path, count: int = 4) -> Path:
    """A chain of so many records, closed."""
    chain = Chain(path)
    for number in range(count):
        chain.append("anna", "opened", f"window-{number}", {"service": "web", "ttl_s": 30.5})
    chain.close()
    return path


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_record_says_who_did_what_when(path: Path) -> None:
    written(path, 2)
    first, second = records(path)
    assert (first["actor"], first["action"], first["subject"]) == ("anna", "opened", "window-0")
    assert first["data"] == {"service": "web", "ttl_s": 30.5}
    assert (first["seq"], second["seq"]) == (1, 2)
    assert (first["prev"], second["prev"]) == (GENESIS, first["hash"])
    # Nanoseconds are text: as numbers they would lose digits in other readers.
    assert all(
        re.fullmatch(r"\d{10,}", record[clock]) for record in (first, second) for clock in ("wall_ns", "mono_ns")
    )
    assert whole(path) == 2


def test_a_record_without_data_has_an_empty_object(path: Path) -> None:
    chain = Chain(path)
    chain.append("madre", "started", "default")
    chain.close()
    assert records(path)[0]["data"] == {}


def test_each_record_is_on_the_disk_when_append_returns(path: Path) -> None:
    chain = Chain(path)
    for number in (1, 2, 3):
        chain.append("anna", "opened", "w")
        assert whole(path) == number
        assert (chain.count, chain.head) == (number, records(path)[-1]["hash"])
    chain.close()


def test_a_chain_that_is_opened_again_goes_on(path: Path) -> None:
    written(path, 2)
    chain = Chain(path)
    assert (chain.count, chain.head) == (2, records(path)[-1]["hash"])
    chain.append("anna", "closed", "window-1")
    chain.close()
    assert whole(path) == 3


def test_an_empty_file_is_an_empty_chain(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    assert whole(path) == 0
    written(path, 1)
    assert whole(path) == 1


TAILS = [b'{"schema":1,"seq":5', b"\xff", b"\0\0\0\0", b"not json\n", b"{}\n", b"[]\n", b'{"seq":"x","hash":1}\n']


@pytest.mark.parametrize("tail", TAILS)
def test_behind_a_torn_tail_it_goes_on_in_a_new_file(path: Path, tail: bytes) -> None:
    with written(path).open("ab") as file:
        file.write(tail)
    before = path.read_bytes()
    chain = Chain(path)
    chain.append("anna", "opened", "later")
    chain.close()
    assert path.read_bytes() == before
    assert [file.name for file in segments(path)] == ["evidence.jsonl", "evidence-2.jsonl"]
    torn = {"file": "evidence.jsonl", "bytes": len(tail), "sha256": hashlib.sha256(tail).hexdigest()}
    first, last = records(path.with_name("evidence-2.jsonl"))
    assert (first["seq"], first["action"], first["data"]) == (5, "continued", {"torn": [torn]})
    assert (last["seq"], last["subject"], last["prev"]) == (6, "later", first["hash"])


@pytest.mark.parametrize("kept", [0, 20], ids=["nothing of it", "half of its first line"])
def test_who_ends_while_a_new_file_begins_is_no_harm_either(path: Path, kept: int) -> None:
    with written(path).open("ab") as file:
        file.write(b"{")
    Chain(path).close()
    second = path.with_name("evidence-2.jsonl")
    second.write_bytes(second.read_bytes()[:kept])
    chain = Chain(path)
    chain.append("anna", "opened", "later")
    chain.close()
    assert whole(path) == 6
    assert len(segments(path)) == (3 if kept else 2)


@pytest.mark.parametrize("data", [{"memory": 2**60}, {"ttl_s": float("inf")}, {"why": "half \ud800"}])
def test_what_cannot_be_written_down_is_an_evidence_error_and_leaves_no_trace(path: Path, data: dict[str, Any]) -> None:
    chain = Chain(path)
    chain.append("anna", "opened", "w")
    with pytest.raises(EvidenceError, match="this cannot be recorded: opened of w: "):
        chain.append("anna", "opened", "w", data)
    chain.append("anna", "closed", "w")
    chain.close()
    assert whole(path) == 2


FULL = """
import resource, signal, sys
from pathlib import Path
from vx11.evidence.appending import EvidenceError
from vx11.evidence.chain import Chain

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
chain = Chain(path)
chain.append("anna", "opened", "w1")
endless = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + int(sys.argv[2]), endless[1]))
try:
    chain.append("anna", "opened", "w2")
except EvidenceError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, endless)
chain.append("anna", "opened", "w3")
chain.close()
"""


@pytest.mark.parametrize("room", [0, 100], ids=["nothing fits", "half a record fits"])
def test_a_write_that_fails_leaves_a_chain_that_goes_on(path: Path, room: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path), str(room)], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.startswith(f"evidence cannot be written to {path}: ")
    assert [record["subject"] for record in records(path)] == ["w1", "w3"]
    assert whole(path) == 2


def test_a_folder_that_cannot_be_made_is_an_evidence_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EvidenceError, match=r"evidence cannot be written to .*: File exists"):
        Chain(tmp_path / "file" / "evidence.jsonl")


def test_threads_append_to_one_chain(path: Path) -> None:
    chain = Chain(path)

    def work(worker: int) -> None:
        for number in range(20):
            chain.append(f"worker-{worker}", "opened", f"{worker}.{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    chain.close()
    assert whole(path) == 160
    assert {record["subject"] for record in records(path)} == {f"{w}.{n}" for w in range(8) for n in range(20)}


def test_a_chain_has_one_writer(tmp_path: Path) -> None:
    first = Chain(tmp_path / "evidence.jsonl")
    with pytest.raises(EvidenceError, match="another process writes the evidence"):
        Chain(tmp_path / "evidence.jsonl")
    first.close()
    Chain(tmp_path / "evidence.jsonl").close()


def test_the_last_of_some_records_is_found_for_each_subject(path: Path) -> None:
    chain = Chain(path)
    for action, subject in (("opening", "a"), ("opening", "b"), ("opened", "a"), ("closed", "a"), ("held", "b")):
        chain.append("madre", action, subject, {"service": f"of-{subject}"})
    found = chain.last_of(("opening", "closed"))
    assert {subject: (record["action"], record["data"]) for subject, record in found.items()} == {
        "a": ("closed", {"service": "of-a"}),
        "b": ("opening", {"service": "of-b"}),
    }
    chain.close()


def test_a_record_that_another_one_s_failed_sync_took_along_is_not_acknowledged(
    path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Any]
) -> None:
    chain = Chain(path)
    chain.append("anna", "opened", "first")
    in_sync, fails = threading.Event(), threading.Event()
    real = os.fdatasync

    def fail_once(handle: int) -> None:
        if not fails.is_set():
            in_sync.set()
            fails.wait(5)
            raise OSError(5, "Input/output error")
        real(handle)

    monkeypatch.setattr(os, "fdatasync", fail_once)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(chain.append, "anna", "opened", "syncs")
        assert in_sync.wait(5)
        waiting = [pool.submit(chain.append, "anna", "opened", f"waits-{number}") for number in range(2)]
        eventually(lambda: chain._written.count == 4)
        fails.set()
        for future in (first, *waiting):
            with pytest.raises(EvidenceError):
                future.result(5)
    chain.append("anna", "opened", "later")
    chain.close()
    assert [record["subject"] for record in records(path)] == ["first", "later"]
    assert whole(path) == 2


def test_what_could_not_be_cut_is_cut_before_the_next_record(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain(path)
    chain.append("anna", "opened", "first")

    def fail(*_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", fail)
        broken.setattr(os, "ftruncate", fail)
        for _ in range(2):
            with pytest.raises(EvidenceError):
                chain.append("anna", "opened", "lost")
    chain.append("anna", "opened", "later")
    chain.close()
    assert [record["subject"] for record in records(path)] == ["first", "later"]
    assert whole(path) == 2
