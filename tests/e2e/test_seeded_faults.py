"""The seeded faults, each a real case in a real run: the cause is found, and confidences are what they say.

They are in one run, after three short ones that give one of them a history: all of them in `nox -s faults`, else every
third.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import calibration, seeded
from tests.e2e.seeded import WITH_HISTORY, Seed
from vx11.recovery import intent

pytestmark = [pytest.mark.root, pytest.mark.alone]
FULL = os.environ.get("VX11_FAULTS") == "full"
SEEDS = [seed for number, seed in enumerate(seeded.SEEDS) if FULL or number % 3 == 0 or seed.name == WITH_HISTORY]
LIMIT_S = 900
CELLS = 4
RIGHT, AMONG = 0.9, 3


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, run_matrix: Callable[..., Any]) -> Any:
    """The run of all of them."""
    folder = tmp_path_factory.mktemp("seeded")
    last: list[Any] = []

    def run(bundle: Path, evidence: Path, cases: list[str]) -> None:
        chosen = [word for case in cases or [seed.name for seed in SEEDS] for word in ("--case", case)]
        where = ("--evidence", str(evidence))
        last.append(run_matrix(bundle, "--json", "--cells", str(CELLS), *where, *chosen, limit=LIMIT_S))

    seeded.run_to_its_failures(folder, run)
    assert [one.code for one in last] == [0] * seeded.EARLIER + [1]
    return last[-1]


def data_of(ran: Any, name: str) -> dict[str, Any]:
    folder = Path(ran.case(name)["intent"])
    found: dict[str, Any] = json.loads((folder / intent.DATA).read_text(encoding="utf-8"))
    return found


def hypotheses_of(ran: Any, seed: Seed) -> list[tuple[str, str]]:
    cause = data_of(ran, seed.name)["root_cause"]
    return [(one["cause"], one["suspect"]) for one in (cause["primary"], *cause["alternatives"])]


def test_each_of_them_fails_and_is_explained(ran: Any) -> None:
    assert len(SEEDS) >= 15
    verdicts = {seed.name: ran.case(seed.name)["verdict"] for seed in SEEDS}
    assert {name: verdict for name, verdict in verdicts.items() if verdict != "failed"} in ({}, {"leaves": "leaked"})
    assert {seed.name: intent.missing(Path(ran.case(seed.name)["intent"])) for seed in SEEDS} == {
        seed.name: [] for seed in SEEDS
    }


@pytest.mark.parametrize("held_out", [False, True])
def test_the_primary_suspect_is_right(ran: Any, *, held_out: bool) -> None:
    seeds = [seed for seed in SEEDS if seed.held_out is held_out]
    wrong = {seed.name: told[0] for seed in seeds if (told := hypotheses_of(ran, seed))[0] != seeded.truth(seed)}
    assert len(wrong) <= (1 - RIGHT) * len(seeds), wrong


@pytest.mark.parametrize("seed", SEEDS, ids=[seed.name for seed in SEEDS])
def test_the_cause_is_among_the_first(ran: Any, seed: Seed) -> None:
    assert seeded.truth(seed) in hypotheses_of(ran, seed)[:AMONG], data_of(ran, seed.name)["root_cause"]["primary"]


def test_confidences_are_as_often_right_as_they_say(ran: Any) -> None:
    found = [
        guess
        for seed in SEEDS
        for guess in calibration.guesses(data_of(ran, seed.name)["root_cause"], seeded.truth(seed))
    ]
    bins = calibration.binned(found)
    right = sum(hypotheses_of(ran, seed)[0] == seeded.truth(seed) for seed in SEEDS)
    print(f"{right} of {len(SEEDS)} primary suspects are right\n{calibration.table(bins)}")  # noqa: T201 - the table
    assert all(one.is_honest for one in bins), calibration.table(bins)


def test_what_is_told_of_an_earlier_run_is_its_past(ran: Any) -> None:
    cause = data_of(ran, WITH_HISTORY)["root_cause"]
    assert "beyond_past" in [ground["sign"] for ground in cause["primary"]["supports"]]
    assert cause["earlier_runs"][0].startswith(f"not seen before: {seeded.EARLIER} earlier runs of this case")


def test_the_place_of_each_ground_is_there(ran: Any) -> None:
    """Records by their number, lines by their file, below the folder of the try."""
    for seed in SEEDS:
        found = data_of(ran, seed.name)
        folder = Path(found["metadata"]["evidence"])
        for one in (found["root_cause"]["primary"], *found["root_cause"]["alternatives"]):
            for ground in (*one["supports"], *one["contradicts"]):
                assert is_there(folder, ground["where"]), ground


def is_there(folder: Path, where: str) -> bool:
    if where.startswith("madre's record "):
        number = int(where.removeprefix("madre's record "))
        logs = (folder.parents[2] / "cells").glob("*/evidence.jsonl")
        return any(json.loads(line)["seq"] == number for path in logs for line in path.read_text().splitlines())
    path, _, line = where.partition(":")
    if (folder / path).is_file():
        return not line or int(line) <= len((folder / path).read_text(encoding="utf-8").splitlines())
    return (folder / path).is_dir() or where.startswith(("judgement: ", "earlier runs", "window ", "the "))
