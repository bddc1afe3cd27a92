"""Secrets are replaced by what they look like, what they are called, and what they are; the rest stays."""

import json
from pathlib import Path
from typing import Any

import pytest

from vx11.evidence.chain import Chain
from vx11.evidence.redact import Redactor

KEY = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIGq+\n-----END PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln!", "token [redacted]!"),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer [redacted]"),
        (f"key {KEY} is it", "key [redacted] is it"),
        (json.dumps([KEY, "more"]), '["[redacted]", "more"]'),
        (json.dumps([KEY[:50], "more"]), '["[redacted]", "more"]'),
        ("token_issue_time_ms 12", "token_issue_time_ms 12"),
        ("up with plum-cake", "up with [redacted]"),
    ],
)
def test_what_looks_like_a_secret_or_is_one_is_replaced(text: str, left: str) -> None:
    assert Redactor(["plum-cake", "short"]).text(text) == left


@pytest.mark.parametrize(
    ("data", "left"),
    [
        ({"db_password": "x", "API-KEY": "y"}, {"db_password": "[redacted]", "API-KEY": "[redacted]"}),
        ({"token": ["a", "b"], "token_ms": 4}, {"token": ["[redacted]"] * 2, "token_ms": 4}),
        ({"plum-cake": [{"said": "plum-cake"}]}, {"[redacted]": [{"said": "[redacted]"}]}),
        ({"password": "", "secret": None}, {"password": "", "secret": None}),
    ],
)
def test_data_is_cleared_at_any_depth(data: Any, left: Any) -> None:
    assert Redactor(["plum-cake"]).value(data) == left


def test_no_secret_is_written_to_a_chain(tmp_path: Path) -> None:
    redactor = Redactor()
    chain = Chain(tmp_path / "evidence.jsonl", redactor=redactor)
    redactor.learn(["plum-cake"])
    chain.append("plum-cake", "opened", "web plum-cake", {"plum-cake": "plum-cake", "password": "x1"})
    content = (tmp_path / "evidence.jsonl").read_text(encoding="utf-8")
    chain.close()
    assert "cake" not in content
    assert "x1" not in content
    assert content.count("[redacted]") == 5
