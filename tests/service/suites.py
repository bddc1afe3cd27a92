"""Runs suites of the shipped bundle as a case does: pytest with the plugin, over windows of a real cell.

The bundle is copied, so that a service may be given a bug: a control that the suite sees it.
"""

import contextlib
import json
import os
import secrets
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import yaml

from vx11.catalogue import allowlist, compose
from vx11.conductor.cell import Cell
from vx11.conductor.suite_plugin.timing import MIDDLE
from vx11.engines.select import EngineName

BUNDLE = Path(__file__).resolve().parents[2] / "matrices" / "e2e"
LIMIT_S = 60.0


@dataclass(frozen=True)
class Ran:
    """What a suite did.

    Attributes:
        passed: every test that ran passed, and one did.
        observations: name → value.
        metrics: name → value.
        output: what pytest printed.
        folder: what the suite left: requests.jsonl, progress.jsonl, evidence/.
        seconds: how long it took, the start of pytest included.
    """

    passed: bool
    observations: dict[str, Any]
    metrics: dict[str, float]
    output: str
    folder: Path
    seconds: float


class Stage:
    """A cell whose services are those of the shipped matrix, sound or with a bug.

    Args:
        engine: what runs them. On docker they are in an image of their own, made of the present programs.
        folder: where the bundle, the evidence and what suites leave are put.
    """

    def __init__(self, engine: EngineName, folder: Path) -> None:
        self._folder = folder
        self._image = f"vx11/e2e-services:t-{secrets.token_hex(4)}"
        self._runs = 0
        self.bundle = folder / "bundle"
        shutil.copytree(BUNDLE, self.bundle)
        self._sound = yaml.safe_load((BUNDLE / "catalogue.yml").read_text(encoding="utf-8"))
        for entry in self._sound["services"].values():
            entry["image"] = self._image
        self.set_bugs({})
        self.cell = Cell(f"t-{secrets.token_hex(4)}", self.bundle, engine, folder / "evidence")
        self.cell.start()
        self.madre = self.cell.madre()

    def set_bugs(self, bugs: Mapping[str, str]) -> None:
        """From the next open on these services have these bugs, and all others none; service → kind."""
        services = {name: dict(entry) for name, entry in self._sound["services"].items()}
        for name, kind in bugs.items():
            services[name]["environment"] = {**services[name]["environment"], "BUG": kind}
        catalogue, fresh = self.bundle / "catalogue.yml", self.bundle / "catalogue.new"
        fresh.write_text(yaml.safe_dump({**self._sound, "services": services}), encoding="utf-8")
        fresh.replace(catalogue)
        allowlist.update(self.bundle / "allowlist.yml", compose.load(catalogue))

    def open(self, *services: str, **more: Any) -> list[dict[str, Any]]:
        """Opens windows, one after the other; answers them as madre describes them."""
        return [self.madre.post("/api/v1/windows/open", service=name, **{"ttl": 60, **more}) for name in services]

    def close(self, service: str, **more: Any) -> dict[str, Any]:
        """Closes a window; answers what madre says of it."""
        return self.madre.post("/api/v1/windows/close", service=service, **more)

    def run(
        self,
        suite: str,
        *arguments: str,
        interrupt: str = "",
        env: Mapping[str, str] | None = None,
        after: Ran | None = None,
    ) -> Ran:
        """Runs a suite.

        Args:
            suite: its name.
            arguments: for pytest, such as --vx11-step=NAME or --vx11-after=FAULT.
            interrupt: the service whose window is closed when the suite says that it is in the middle.
            env: more of the environment, such as VX11_TIME_SCALE.
            after: an earlier run of the same case.
        """
        self._runs += 1
        case = after.folder.parents[1] if after else self._folder / f"case-{self._runs}"
        left = case / "suites" / suite
        left.mkdir(parents=True, exist_ok=after is not None)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("VX11_")}
        environment |= {"VX11_URL": self.cell.url, "VX11_TOKEN": self.cell.token, "VX11_SUITE": suite}
        environment |= {"VX11_CASE_DIR": str(case), "VX11_SUITE_DIR": str(left), **(env or {})}
        begun = time.monotonic()
        code = self._pytest(self._command(suite, arguments), left / "log", environment, interrupt)
        seconds = time.monotonic() - begun
        lines = _lines(case / "observations.jsonl")
        output = (left / "log").read_text(encoding="utf-8")
        return Ran(code == 0, _values(lines, "observation"), _values(lines, "metric"), output, left, seconds)

    def _command(self, suite: str, arguments: Sequence[str]) -> list[str]:
        suites = self.bundle / "suites"
        return [
            *(sys.executable, "-m", "pytest", "-q", "-p", "vx11.conductor.suite_plugin", "-p", "no:cacheprovider"),
            *("-c", os.devnull, "--rootdir", str(suites), "--confcutdir", str(suites)),
            *(*arguments, str(suites / f"{suite}.py")),
        ]

    def _pytest(self, command: Sequence[str], log: Path, env: Mapping[str, str], interrupt: str) -> int:
        """Runs pytest in a session of its own, and ends it when it hangs; its exit status."""
        middle, says = os.pipe()
        with log.open("wb") as output, os.fdopen(middle, "rb", buffering=0) as middle_of_it:
            process = subprocess.Popen(
                command, env={**env, MIDDLE: str(says)}, pass_fds=[says], stdout=output, stderr=output
            )
            os.close(says)
            try:
                if interrupt:
                    assert select.select([middle_of_it], [], [], LIMIT_S)[0], "the suite never came to its middle"
                    assert middle_of_it.read(1), f"the suite had no middle: {log.read_text()}"
                    self.close(interrupt)
                return process.wait(LIMIT_S)
            finally:
                process.kill()
                process.wait()

    def clear(self) -> None:
        """Closes all windows, and takes the bugs back."""
        self.set_bugs({})
        assert self.madre.solo_madre()["solo_madre"]

    def stop(self) -> None:
        """Removes the cell, of which nothing may be left, and its image."""
        self.madre.http.close()
        self.cell.stop()
        left = self.cell.purge()
        if self.cell.engine.name == "docker":
            self._remove_image()
        assert left == []

    def _remove_image(self) -> None:
        with contextlib.closing(docker.from_env()) as client, contextlib.suppress(docker.errors.ImageNotFound):
            client.images.remove(self._image)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _values(lines: Sequence[Mapping[str, Any]], kind: str) -> dict[str, Any]:
    return {line["name"]: line["value"] for line in lines if line["kind"] == kind}
