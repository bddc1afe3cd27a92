"""Folders of runs as the conductor leaves them, made through its own code: chains, verdicts, samples."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from vx11.clock import iso
from vx11.conductor import report
from vx11.conductor.judge import CaseResult, Verdict
from vx11.evidence.chain import Chain
from vx11.evidence.keys import Signer
from vx11.evidence.layout import RunFolder

SECOND = 1_000_000_000
START = 1_795_270_554 * SECOND
WINDOW = "4f8e0000-0000-4000-8000-00000000000{}"


class Clock:
    """Both clocks of a chain; goes on when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.boot_ns = 50 * SECOND
        for module in ("appending", "chain"):
            monkeypatch.setattr(f"vx11.evidence.{module}.time", self)
        self.CLOCK_BOOTTIME = 7

    def time_ns(self) -> int:
        """Wall time."""
        return START + self.boot_ns

    def clock_gettime_ns(self, clock: int) -> int:
        """CLOCK_BOOTTIME."""
        assert clock == self.CLOCK_BOOTTIME
        return self.boot_ns

    def passes(self, seconds: float) -> None:
        """So much time goes by."""
        self.boot_ns += round(seconds * SECOND)


@dataclass
class Window:
    """A window of a try: what happened to it, each so many seconds after the try began."""

    service: str
    happened: Sequence[tuple[float, str, Mapping[str, Any]]]
    usage: Callable[[float], Mapping[str, Any]] | None = None
    id: str = field(default=WINDOW.format(1))


@dataclass
class RunMaker:
    """Makes the folder of one run.

    Attributes:
        folder: made, with its chain open.
    """

    folder: RunFolder
    clock: Clock
    cells: dict[str, Chain] = field(default_factory=dict)

    def start(self, cases: Mapping[str, str], **more: Any) -> None:
        """It is planned."""
        about = {"matrix": "/bundles/e2e/matrix.yml", "cases": list(cases), "version": "0.1.0", "profile": "low_power"}
        about |= {"time_scale": "1.0", "descriptions": dict(cases)} | more
        self.folder.chain.append("conductor", "run_started", self.folder.test_id, about)

    def attempt(
        self,
        result: CaseResult,
        cell: str = "c-1",
        windows: Sequence[Window] = (),
        calls: Sequence[Mapping[str, Any]] = (),
        every: float = 0.5,
    ) -> Path:
        """A try that ends after its duration, and what happened in it; answers its folder.

        Of one on a host nothing that happened there is in the evidence of the run.
        """
        where = {"host": result.host} if result.host else {"cell": cell}
        if cell not in self.cells:
            self.cells[cell] = Chain(self.folder.path / "cells" / cell / "evidence.jsonl")
            self.cells[cell].append("madre", "started", cell, {"engine": "process", "why": "asked for"})
        began = self.clock.boot_ns
        self.folder.chain.append("conductor", "case_started", result.case, {"attempt": result.attempt, **where})
        folder = self.folder.folder_of(result.case, result.attempt)
        folder.mkdir(parents=True)
        happened = [(at, window, action, data) for window in windows for at, action, data in window.happened]
        for at, window, action, data in sorted(happened, key=lambda item: item[0]):
            self.clock.boot_ns = began + round(at * SECOND)
            self.cells[cell].append("madre", action, window.id, {"service": window.service, **data}, sync=False)
        self.cells[cell].sync()
        lines = list(self._samples(began, windows, result.duration, every))
        (folder / "usage.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        steps = [self._step(began, call) for call in calls]
        (folder / "steps.jsonl").write_text("".join(f"{json.dumps(step)}\n" for step in steps))
        (folder / "playbook.yml").write_text("- hosts: all\n")
        (folder / "verdict.json").write_text(json.dumps({"schema": 1, **report.as_json(result)}))
        self.clock.boot_ns = began + round(result.duration * SECOND)
        return folder

    def verdict(self, case: str, verdict: Verdict, message: str = "") -> None:
        """A case has its verdict."""
        self.folder.chain.append("conductor", "verdict", case, {"verdict": verdict.value, "message": message})

    def finish(self, left: Sequence[str] = (), state: str = "finished") -> Path:
        """The books are closed; answers the folder."""
        self.folder.chain.append("conductor", "cell_ended", "c-1", {"left": list(left)})
        self.folder.chain.append("conductor", "run_finished", self.folder.test_id, {"state": state, "verdicts": {}})
        return self.folder.path

    def close(self) -> None:
        """The files of the chains."""
        for chain in (self.folder.chain, *self.cells.values()):
            chain.close()

    def _samples(
        self, began: int, windows: Sequence[Window], duration: float, every: float
    ) -> Iterator[dict[str, Any]]:
        for number in range(1, int(duration / every)):
            at = number * every
            now = began + round(at * SECOND)
            sampled = iso(START + now)
            shown = [
                {"window_id": w.id, "service": w.service, "usage": {"sampled_at": sampled, **w.usage(at)}}
                for w in windows
                if w.usage
            ]
            yield {"ns": str(now), "windows": shown}

    @staticmethod
    def _step(began: int, call: Mapping[str, Any]) -> dict[str, Any]:
        begin, end = (str(began + round(at * SECOND)) for at in call["at"])
        line = {"schema": 1, "begun_ns": begin, "ended_ns": end, "failed": False, "msg": None, "result": {}}
        return line | {"module": call["module"], "args": call["args"]} | dict(call.get("more", {}))


@pytest.fixture
def make_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., RunMaker]]:
    """`make_run({id: description}, **more)` starts a run whose clock the test moves."""
    made: list[RunMaker] = []

    def make(cases: Mapping[str, str], **more: Any) -> RunMaker:
        clock = Clock(monkeypatch)
        maker = RunMaker(RunFolder(tmp_path / "evidence", f"e2e-{len(made)}", START, Signer.of()), clock)
        maker.start(cases, **more)
        made.append(maker)
        return maker

    yield make
    for maker in made:
        maker.close()
