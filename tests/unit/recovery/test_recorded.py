"""The seeded faults again, without a run: what the rules say of what was known of each (see tests/e2e/recording.py)."""

import json
import re
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from tests.e2e import calibration, seeded
from tests.e2e.seeded import Seed
from vx11.recovery import hypotheses, intent, signs
from vx11.recovery.failure import Failure
from vx11.recovery.rules import RULES

LINES = Path(__file__).with_name("recorded.jsonl").read_text(encoding="utf-8").splitlines()
FAILURES = {found.case: found for found in map(TypeAdapter(Failure).validate_json, LINES)}
NOW = 1_764_000_001_000_000_000


@pytest.mark.parametrize("seed", seeded.SEEDS, ids=[seed.name for seed in seeded.SEEDS])
def test_the_cause_is_the_primary_suspect(seed: Seed) -> None:
    causes = hypotheses.analyse(FAILURES[seed.name]).causes
    told = [(cause.rule.name, cause.suspect, f"{cause.confidence:.0f} %") for cause in causes]
    assert told[0][:2] == seeded.truth(seed), told


def test_confidences_are_as_often_right_as_they_say() -> None:
    found = [
        guess
        for seed in seeded.SEEDS
        for guess in calibration.guesses(intent.build(FAILURES[seed.name], NOW).root_cause, seeded.truth(seed))
    ]
    bins = calibration.binned(found)
    assert all(one.is_honest for one in bins), calibration.table(bins)


@pytest.mark.parametrize(("printed", "count", "right"), [(95, 50, 40), (60, 50, 48), (2, 100, 9)])
def test_a_bin_that_promises_too_much_or_too_little_is_told(printed: int, count: int, right: int) -> None:
    (one,) = calibration.binned([(printed, number < right) for number in range(count)])
    assert not one.is_honest
    assert calibration.binned([(printed, number < round(printed * count / 100)) for number in range(count)])[
        0
    ].is_honest


def test_every_sign_says_where_it_stands() -> None:
    for failure in FAILURES.values():
        for sign in signs.of(failure):
            assert sign.where, sign
            assert sign.text, sign


def test_a_place_that_is_named_is_there() -> None:
    for failure in FAILURES.values():
        for sign in signs.of(failure):
            place, _, line = sign.where.partition(":")
            if sign.where.startswith("madre's record "):
                numbers = {str(record["seq"]) for record in failure.records}
                assert sign.where.removeprefix("madre's record ") in numbers, sign
            elif place.startswith("logs/"):
                service = place.removeprefix("logs/").removesuffix(".log")
                assert failure.logs[service][int(line) - 1].strip()[:50] in sign.text or "stack trace" in sign.text


def test_most_rules_have_a_seeded_fault() -> None:
    shown = {seed.truth[0] for seed in seeded.SEEDS}
    known = {rule.name for rule in RULES}
    assert shown <= known
    without = known - shown
    assert without == {"engine_lacks", "core_refused", "not_solo_madre", "uses_too_much", "expectation"}


def test_the_data_holds_no_path_of_the_machine_that_recorded_it() -> None:
    for line in LINES:
        assert not re.search(r"/(?:root|home|tmp)/", line)
        assert json.loads(line)["matrix"] == "/bundle/matrix.yml"
