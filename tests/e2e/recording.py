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

CHECKOUT = Path(__file__).resolve().parents[2]
RECORDED = CHECKOUT / "tests" / "unit" / "recovery" / "recorded.jsonl"
BUNDLE = "/bundle"
LINES, HALF = 30, 600
_LIBRARY = re.compile(r"/[^ \",\\\\]*?/(python3\.\d+|site-packages)/")


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
    """What a reader of the repository needs of it, and may see: no path of this machine."""
    text = json.dumps(asdict(failure), default=str)
    for path, told in ((folder / "bundle", BUNDLE), (folder, "/run"), (CHECKOUT, "/checkout")):
        text = text.replace(str(path), told)
    return json.dumps(trimmed(json.loads(_LIBRARY.sub(r"/usr/lib/\1/", text))), sort_keys=True)


def trimmed(data: dict[str, Any]) -> dict[str, Any]:
    """Without what no rule looks at."""
    data["logs"] = {service: lines[-LINES:] for service, lines in data["logs"].items()}
    is_limited = any("write_iops" in window["resources"] for window in data["windows"])
    data["samples"] = [_sample(look) for look in data["samples"]] if is_limited else []
    data |= {"explained": [], "others": [], "requests": data["requests"][-1:]}
    for test in data["tests"]:
        test["traceback"] = test["traceback"][:HALF] + test["traceback"][-HALF:]
    for call in data["calls"]:
        call["result"] = {name: value for name, value in call["result"].items() if name == "problem"}
    keys = ("seq", "wall_ns", "action", "subject", "data")
    data["records"] = [{key: record[key] for key in keys} for record in data["records"]]
    return data


def _sample(look: dict[str, Any]) -> dict[str, Any]:
    kept = ("sampled_at", "io_read_ops", "io_write_ops")
    windows = [
        {
            "window_id": window["window_id"],
            "usage": window["usage"] and {name: window["usage"][name] for name in kept},
        }
        for window in look["windows"]
    ]
    return {"windows": windows}


if __name__ == "__main__":
    main()
