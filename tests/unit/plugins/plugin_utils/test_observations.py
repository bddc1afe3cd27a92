"""What may be recorded, with which type, and how it lies in the file."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from ansible_collections.vx11.power.plugins.plugin_utils.observations import (
    ObservationError,
    Record,
    append,
    metric,
    observation,
)


@pytest.mark.parametrize(
    ("given", "recorded"),
    [
        (True, True),
        (3, 3),
        (0.5, 0.5),
        ("true", True),
        ("False", False),
        ("3", 3),
        (" -12 ", -12),
        ("0.50", 0.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("five", "five"),
        ("", ""),
        ("1_000", "1_000"),
        ("nan", "nan"),
        ("yes", "yes"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_a_value_has_the_type_that_it_stands_for(given: object, recorded: object) -> None:
    value = observation("seen", given).value
    assert value == recorded
    assert type(value) is type(recorded)


@pytest.mark.parametrize("value", [None, [], {}, [1], b"bytes", float("nan"), float("inf"), "1e999"])
def test_other_values_are_refused_by_name(value: object) -> None:
    with pytest.raises(ObservationError, match=r"^The value of seen is "):
        observation("seen", value)


@pytest.mark.parametrize("name", ["", "Seen", "1st", "a-b", "a b", "a\n", "_a", "größe", 5, None])
def test_names_are_plain(name: object) -> None:
    with pytest.raises(ObservationError, match="cannot name an observation"):
        observation(name, 1)


@pytest.mark.parametrize("name", ["system_returns_to_solo_madre", "tentaculo_link_available", "no_resource_leaks"])
def test_what_the_conductor_observes_itself_is_refused(name: str) -> None:
    for make in (observation, metric):
        with pytest.raises(ObservationError, match=f"^{name} is observed by the conductor itself"):
            make(name, True)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (5, Record("took", 5, None, "metric")),
        ({"value": "5.5", "unit": "ms"}, Record("took", 5.5, "ms", "metric")),
        ({"value": 5}, Record("took", 5, None, "metric")),
    ],
)
def test_a_metric_may_have_a_unit(given: object, expected: Record) -> None:
    assert metric("took", given) == expected


@pytest.mark.parametrize("given", [{}, {"unit": "ms"}, {"value": 1, "units": "ms"}, {"value": 1, "unit": 5}])
def test_a_malformed_metric_is_refused(given: object) -> None:
    with pytest.raises(ObservationError, match=r"metric took"):
        metric("took", given)


def test_lines_hold_what_the_judge_reads(tmp_path: Path) -> None:
    append(str(tmp_path), [observation("seen", True), metric("took", {"value": 5, "unit": "µs"})], "here", lambda: 17)
    lines = [json.loads(line) for line in (tmp_path / "observations.jsonl").read_text().splitlines()]
    assert lines == [
        {"name": "seen", "value": True, "unit": None, "ns": "17", "source": "here", "kind": "observation"},
        {"name": "took", "value": 5, "unit": "µs", "ns": "17", "source": "here", "kind": "metric"},
    ]


def test_a_text_never_ends_its_line(tmp_path: Path) -> None:
    text = "one\ntwo\u2028three\x85four\udcff"
    append(str(tmp_path), [observation("seen", text)], "here")
    [line] = (tmp_path / "observations.jsonl").read_text().splitlines()
    assert json.loads(line)["value"] == text


def test_those_who_record_side_by_side_do_not_mix_lines(tmp_path: Path) -> None:
    def record(who: str) -> None:
        for number in range(50):
            append(str(tmp_path), [observation("seen", who * 2000 + str(number))], who)

    threads = [threading.Thread(target=record, args=(who,)) for who in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [json.loads(line) for line in (tmp_path / "observations.jsonl").read_text().splitlines()]
    assert len(lines) == 200
    for who in "abcd":
        mine = [line["value"] for line in lines if line["source"] == who]
        assert mine == [who * 2000 + str(number) for number in range(50)]


def test_each_line_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    write = os.write

    def count(descriptor: int, data: bytes) -> int:
        written.append(data)
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", count)
    append(str(tmp_path), [observation("a", 1), observation("b", 2)], "here")
    assert [line.endswith(b"\n") for line in written] == [True, True]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ObservationError, match=r"cannot be written to .*gone.*: No such file or directory"):
        append(str(tmp_path / "gone"), [observation("seen", 1)], "here")
