"""The chain of evidence: what is appended verifies, what was touched shows, and what fails leaves it sound."""

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
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from vx11.evidence.chain import GENESIS, Chain, EvidenceError, Finding, hash_of, verify

Lines = list[bytes]


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
    assert verify(path) == (2, [])


def test_a_record_without_data_has_an_empty_object(path: Path) -> None:
    chain = Chain(path)
    chain.append("madre", "started", "default")
    chain.close()
    assert records(path)[0]["data"] == {}


def test_each_record_is_on_the_disk_when_append_returns(path: Path) -> None:
    chain = Chain(path)
    for number in (1, 2, 3):
        chain.append("anna", "opened", "w")
        assert verify(path) == (number, [])
        assert (chain.count, chain.head) == (number, records(path)[-1]["hash"])
    chain.close()


def test_a_chain_that_is_opened_again_goes_on(path: Path) -> None:
    written(path, 2)
    chain = Chain(path)
    assert (chain.count, chain.head) == (2, records(path)[-1]["hash"])
    chain.append("anna", "closed", "window-1")
    chain.close()
    assert verify(path) == (3, [])


def test_an_empty_file_is_an_empty_chain(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    assert verify(path) == (0, [])
    written(path, 1)
    assert verify(path) == (1, [])


def swapped(lines: Lines) -> Lines:
    return [lines[0], lines[2], lines[1], lines[3]]


@pytest.mark.parametrize(
    ("change", "record", "message"),
    [
        (lambda lines: [lines[0], lines[1].replace(b"anna", b"anne"), *lines[2:]], 2, "does not match its own hash"),
        (lambda lines: [lines[0], *lines[2:]], 2, "does not follow the record before it"),
        (lambda lines: lines[1:], 1, "does not follow the record before it"),
        (swapped, 2, "has the sequence number 3"),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], 3, "has the sequence number 2"),
        (lambda lines: [*lines[:3], lines[3][:40]], 4, "is cut off: who wrote it ended before it was whole"),
        (lambda lines: [*lines[:3], lines[3][:-1]], 4, "is cut off: who wrote it ended before it was whole"),
        (lambda lines: [*lines[:2], b"\n", *lines[2:]], 3, "is not a record"),
        (lambda lines: [*lines[:3], lines[3].replace(b",", b", ", 1)], 4, "is not in canonical form"),
        (lambda lines: [*lines, b"[]\n"], 5, "is not a record"),
        (lambda lines: [*lines, b"{}\n"], 5, "is not a record"),
        (lambda lines: [*lines, b"\xff\xfe\n"], 5, "is not a record"),
    ],
)
def test_what_was_touched_is_found_at_its_record(
    path: Path, change: Callable[[Lines], Lines], record: int, message: str
) -> None:
    lines = written(path).read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(change(lines)))
    assert Finding(record, message) in verify(path)[1]
    assert verify(path)[1][0].record == record


def test_a_record_written_anew_with_its_own_hash_breaks_the_next(path: Path) -> None:
    lines = written(path).read_bytes().splitlines(keepends=True)
    forged = json.loads(lines[1]) | {"subject": "other"}
    forged["hash"] = hash_of(forged)
    path.write_bytes(b"".join([lines[0], rfc8785.dumps(forged) + b"\n", *lines[2:]]))
    assert verify(path)[1] == [Finding(3, "does not follow the record before it")]


@given(st.data())
def test_every_flipped_bit_of_a_value_shows(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = written(tmp_path_factory.mktemp("chain") / "evidence.jsonl", 2)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 6))
    path.write_bytes(content)
    assert verify(path)[1]


@pytest.mark.parametrize(
    "tail",
    [
        b'{"schema":1,"seq":5',
        b"not json\n",
        b"\xff\n",
        b"{}\n",
        b"[]\n",
        b"5\n",
        b'{"seq":"x","hash":1}\n',
    ],
)
def test_a_damaged_tail_is_told_and_left_alone(path: Path, tail: bytes) -> None:
    with written(path).open("ab") as file:
        file.write(tail)
    before = path.read_bytes()
    with pytest.raises(EvidenceError, match=r"evidence\.jsonl is damaged: .*; move it away and keep it"):
        Chain(path)
    assert path.read_bytes() == before


def test_a_last_record_without_its_line_end_is_damage(path: Path) -> None:
    whole = written(path).read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(EvidenceError, match="is damaged"):
        Chain(path)


@pytest.mark.parametrize("data", [{"memory": 2**60}, {"ttl_s": float("inf")}, {"why": "half \ud800"}])
def test_what_cannot_be_written_down_is_an_evidence_error_and_leaves_no_trace(path: Path, data: dict[str, Any]) -> None:
    chain = Chain(path)
    chain.append("anna", "opened", "w")
    with pytest.raises(EvidenceError, match="this cannot be recorded: opened of w: "):
        chain.append("anna", "opened", "w", data)
    chain.append("anna", "closed", "w")
    chain.close()
    assert verify(path) == (2, [])


FULL = """
import resource, signal, sys
from pathlib import Path
from vx11.evidence.chain import Chain, EvidenceError

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
    assert verify(path) == (2, [])


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
    assert verify(path) == (160, [])
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
    assert verify(path) == (2, [])


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
    assert verify(path) == (2, [])
