"""Records what is known of each seeded fault when its intent is written: `python -m tests.e2e.recording`.

The fast tests of the rules are over these records; they are made anew when what a run knows of a failure changes.
"""

import json
import re
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import mock

from tests.e2e import seeded
from vx11.conductor import intents, progress, run
from vx11.recovery.failure import Failure

RECORDED = Path(__file__).resolve().parents[1] / "unit" / "recovery" / "recorded.jsonl"
BUNDLE = "/bundle"
LINES, SAMPLES, HALF = 30, 20, 600


def main() -> None:
    """Runs all of them, and writes a line for each."""
    known: dict[str, Failure] = {}
    gather = intents.failure

    def remember(*args: Any) -> Failure:
        failure = gather(*args)
        known[failure.case] = failure
        return failure

    with tempfile.TemporaryDirectory() as folder, mock.patch.object(intents, "failure", remember):
        seeded.run_to_its_failures(Path(folder), in_process)
        lines = [as_line(known[seed.name], Path(folder)) for seed in seeded.SEEDS]
    RECORDED.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def in_process(bundle: Path, evidence: Path, cases: list[str]) -> None:
    """A run whose failures this process sees."""
    options = run.Options(bundle, cases=tuple(cases), evidence=evidence, cells=4, engine="process")
    with progress.choose(progress.Console(stderr=True)) as shown:
        run.run(options, shown)


def as_line(failure: Failure, folder: Path) -> str:
    """What a reader of the repository may see of it: no path of this machine."""
    data = asdict(failure)
    data["logs"] = {service: lines[-LINES:] for service, lines in data["logs"].items()}
    data |= {"samples": data["samples"][-SAMPLES:], "explained": [], "others": [], "requests": data["requests"][-1:]}
    for test in data["tests"]:
        test["traceback"] = test["traceback"][:HALF] + test["traceback"][-HALF:]
    for call in data["calls"]:
        call["result"] = {name: value for name, value in call["result"].items() if name == "problem"}
    for record in data["records"]:
        del record["hash"], record["prev"]
    text = json.dumps(data, default=str, sort_keys=True)
    text = text.replace(str(folder / "bundle"), BUNDLE).replace(str(folder), "/run")
    return re.sub(r'/[^" ,]*?/(python3\.\d+|site-packages)/', r"/usr/lib/\1/", text)


if __name__ == "__main__":
    main()
