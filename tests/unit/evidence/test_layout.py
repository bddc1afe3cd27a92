"""Where evidence lies: a folder a run, an index over all, a chain of heads."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from vx11.evidence import verify
from vx11.evidence.appending import EvidenceError
from vx11.evidence.keys import PublicKeys, Signer
from vx11.evidence.layout import RunFolder

STARTED = 1_795_242_600 * 10**9


def index(root: Path) -> Any:
    return json.loads((root / "index.json").read_text(encoding="utf-8"))


def finished(root: Path, test_id: str) -> RunFolder:
    """A run of one record, done."""
    run = RunFolder(root, test_id, STARTED, Signer.of())
    run.chain.append("conductor", "run_started", test_id)
    run.finish()
    return run


def test_a_run_has_a_folder_named_by_time_and_id(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "evidence", "e2e-1", STARTED, Signer.of())
    assert run.path == tmp_path / "evidence" / "20261121T063000Z-e2e-1"
    assert run.folder_of("TC-001", 1) == run.path / "cases" / "TC-001" / "1"
    assert (run.path / "report").is_dir()
    run.chain.close()


def test_a_run_never_writes_into_the_folder_of_another(tmp_path: Path) -> None:
    run = finished(tmp_path, "e2e-1")
    before = run.chain.path.read_bytes()
    with pytest.raises(EvidenceError, match="File exists"):
        RunFolder(tmp_path, "e2e-1", STARTED, Signer.of())
    assert run.chain.path.read_bytes() == before


def test_a_root_that_cannot_be_written_names_the_flag(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EvidenceError, match=r"evidence cannot be written to .*; name another with --evidence"):
        RunFolder(tmp_path / "file", "e2e-1", STARTED, Signer.of())


def test_the_index_merges_what_is_known_over_runs(tmp_path: Path) -> None:
    first, second = RunFolder(tmp_path, "e2e-1", STARTED, Signer.of()), RunFolder(tmp_path, "e2e-2", STARTED, Signer.of())
    first.index(state="running", matrix="m.yml")
    second.index(state="running")
    first.index(state="finished", records=7)
    runs = index(tmp_path)["runs"]
    assert runs["e2e-1"] == {"folder": first.path.name, "state": "finished", "matrix": "m.yml", "records": 7}
    assert runs["e2e-2"] == {"folder": second.path.name, "state": "running"}
    first.chain.close()
    second.chain.close()


def test_runs_side_by_side_lose_nothing_of_the_index_and_the_heads(tmp_path: Path) -> None:
    def work(number: int) -> None:
        finished(tmp_path, f"e2e-{number}").index(state="finished")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(16)))
    assert set(index(tmp_path)["runs"]) == {f"e2e-{number}" for number in range(16)}
    heads = verify.chain(tmp_path / "heads.jsonl", PublicKeys([Signer.of().public]))
    assert (heads.state, heads.records) == (verify.State.SOUND, 32)


def test_the_chain_of_heads_has_the_head_of_each_run(tmp_path: Path) -> None:
    runs = [finished(tmp_path, test_id) for test_id in ("e2e-1", "e2e-2")]
    lines = (tmp_path / "heads.jsonl").read_text(encoding="utf-8").splitlines()
    heads = [head for line in lines if (head := json.loads(line))["action"] == "run_finished"]
    assert [head["subject"] for head in heads] == ["e2e-1", "e2e-2"]
    digests = [hashlib.sha256((run.path / "manifest.json").read_bytes()).hexdigest() for run in runs]
    assert [head["data"] for head in heads] == [
        {"folder": run.path.name, "records": 2, "head": run.chain.head, "manifest": digest}
        for run, digest in zip(runs, digests, strict=True)
    ]


def test_the_manifest_has_the_digest_of_every_file(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, "e2e-1", STARTED, Signer.of())
    with run.attempt("TC-001", 1, tmp_path / "private") as folder:
        (folder / "verdict.json").write_bytes(b"{}")
    (run.path / "report" / "junit.xml").write_bytes(b"<x/>")
    run.finish()
    manifest = json.loads((run.path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["test_id"] == "e2e-1"
    assert set(manifest["files"]) == {
        "evidence.jsonl",
        "evidence.pub",
        "cases/TC-001/1/verdict.json",
        "report/junit.xml",
    }
    for name, digest in manifest["files"].items():
        assert digest == hashlib.sha256((run.path / name).read_bytes()).hexdigest()
