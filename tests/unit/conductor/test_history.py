"""What earlier runs of an evidence root say of a case: figures of tries that passed, starts of all."""

import json
from pathlib import Path
from typing import Any

import pytest

from vx11.conductor import history
from vx11.recovery.failure import Past


def verdict(result: str, **observed: str) -> dict[str, Any]:
    return {"verdict": result, "asserts": [{"name": name, "observed": value} for name, value in observed.items()]}


def step(service: str, milliseconds: Any) -> dict[str, Any]:
    about = {"module": "vx11_window", "args": {}, "begun_ns": "1", "ended_ns": "2", "failed": False}
    return {**about, "result": {"window": {"service": service, "startup_ms": milliseconds}}}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three runs with a case, one of them without a chain, and the one that goes on."""
    runs = {}
    tries = [
        verdict("passed", hop_ms="8 ms", works="true"),
        verdict("failed", hop_ms="90 ms"),
        verdict("passed", hop_ms="9 ms"),
    ]
    for number, found in enumerate([*tries, verdict("passed", hop_ms="10 ms")]):
        name = f"2026112{number}T000000Z-run-{number}"
        runs[f"run-{number}"] = {"folder": name}
        folder = tmp_path / name / "cases" / "TC-1" / "1"
        folder.mkdir(parents=True)
        (folder / "verdict.json").write_text(json.dumps(found), encoding="utf-8")
        lines = [step("web", 100 + number), step("web", None), "half a li"]
        (folder / "steps.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
        if number != 2:
            (tmp_path / name / "evidence.jsonl").write_text("", encoding="utf-8")
    (tmp_path / "index.json").write_text(json.dumps({"runs": runs}), encoding="utf-8")
    return tmp_path


def test_figures_are_of_what_passed_and_starts_of_all(root: Path) -> None:
    assert history.past(root, "run-3", "TC-1") == Past(2, {"hop_ms": [8.0]}, {"web": [100.0, 101.0]})
    assert history.past(root, "run-3", "TC-2") == Past(0, {}, {"web": [100.0, 101.0]})


def test_a_past_that_cannot_be_read_is_none(root: Path, tmp_path: Path) -> None:
    for text in ("", "{", '{"runs": []}', '{"runs": {"run-0": {}}}'):
        (root / "index.json").write_text(text, encoding="utf-8")
        assert history.past(root, "run-3", "TC-1") == Past()
    assert history.past(tmp_path / "none", "run-3", "TC-1") == Past()


def test_a_try_whose_verdict_is_broken_says_nothing(root: Path) -> None:
    for path in root.glob("*/cases/*/*/verdict.json"):
        path.write_text("{", encoding="utf-8")
    assert history.past(root, "run-3", "TC-1").figures == {}
