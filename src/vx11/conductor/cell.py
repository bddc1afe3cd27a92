"""A cell as a place for cases: a madre and a watchdog of their own, on a free port, in a folder that goes with them."""

import contextlib
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from vx11 import tokens
from vx11.catalogue import profiles
from vx11.catalogue.compose import Service
from vx11.client import LONG, Madre
from vx11.conductor import images
from vx11.conductor.matrix import ALLOWLIST, CATALOGUE, Case
from vx11.conductor.place import Inventory
from vx11.conductor.workers import Workers
from vx11.engines import procfs, select
from vx11.engines.port import CAPABILITIES, Engine, EngineError
from vx11.engines.select import EngineName
from vx11.errors import EnvironmentProblem, Vx11Error
from vx11.evidence import drafts, keys, layout
from vx11.evidence.reading import records, segments
from vx11.evidence.redact import Redactor
from vx11.statefiles import write_json

START_TIMEOUT = 30.0
STOP_TIMEOUT = 10.0
TOKEN_TTL = 6 * 3600.0
# In the environment of a cell's core and of its plays: its name. What it opens has marks of its own.
PART_OF = "VX11_PART_OF"
KILL_TIMEOUT = 10.0
LOGS = ("madre.log", "watchdog.log")
KEY = "key"
SCOPES = ("power:read", "power:write", "system:write", "metrics:read", "fault:write")


class Cell:
    """Starts and ends the core of a cell, and removes whatever carries its mark; a `Place`.

    Args:
        name: its name, which is its mark.
        bundle: folder with catalogue and allowlist.
        engine: what runs services.
        evidence: the folder below which its madre writes evidence, in a folder of its name.
        profile: throttle profile of its windows.
        redactor: clears its logs; learns its secrets.
    """

    kind: Literal["cell", "host"] = "cell"
    interval = 0.5

    def __init__(
        self,
        name: str,
        bundle: Path,
        engine: EngineName,
        evidence: Path,
        profile: str = profiles.DEFAULT,
        redactor: Redactor | None = None,
    ) -> None:
        self.name = self.mark = name
        self.folder = Path(tempfile.mkdtemp(prefix=folder_prefix(name)))
        self.workers = Workers({PART_OF: name}, self.folder)
        self.url = ""
        self._bundle = bundle
        self.evidence = evidence / name
        self._profile = profile
        self._dependencies: Mapping[str, Sequence[str]] = {}
        self.core: dict[str, subprocess.Popen[bytes]] = {}
        self._key = self.folder / KEY
        # The conductor's own eyes on the engine: it prepares images, and proves what madre says.
        try:
            tokens.new_key(self._key)
            self.engine: Engine = select.make(engine, name, self.folder / "state" / name, self.folder / "data" / name)
        except BaseException:
            shutil.rmtree(self.folder)
            raise
        self.token = tokens.issue(
            tokens.read_key(self._key), subject="conductor", scopes=SCOPES, ttl=TOKEN_TTL, cell=name
        )
        self.service_token = ""
        self._redactor = redactor or Redactor()
        self._redactor.learn([self.token, *key_in(self.folder)])

    def about(self) -> Sequence[str]:
        """Its engine, why it is this one, and what it cannot do here."""
        lacking = [name for name in CAPABILITIES if name not in self.engine.capabilities]
        cannot = [f"it cannot do here: {', '.join(lacking)}"] if lacking else []
        return [f"engine {self.engine.name}: {self.engine.why}", *cannot]

    def lacks(self, case: Case) -> str:
        """What its engine cannot do of what a case needs."""
        missing = [name for name in case.requires if name not in self.engine.capabilities]
        return f"the engine {self.engine.name} cannot do {', '.join(missing)} here" if missing else ""

    def prepare(self, services: Sequence[Service], note: Callable[[str], None], cancelled: threading.Event) -> None:
        """Makes the images that are needed, for all cells.

        Raises:
            Cancelled, EngineError.
        """
        images.prepare(self.engine, services, note, cancelled)

    def begin(self) -> None:
        """Starts it, and has it prove that nothing runs there.

        Raises:
            EnvironmentProblem: madre did not start, or something runs.
        """
        self.start()
        with self.madre() as madre:
            proof = madre.solo_madre(dry_run=True)
        if not proof["solo_madre"]:
            runs = [item["what"] for item in (*proof["running"], *proof["foreign"])]
            raise EnvironmentProblem(
                f"the cell is not in SOLO_MADRE, so nothing was started; there runs: {', '.join(runs)}"
            )

    def start(self) -> None:
        """Starts madre, waits until it answers, then starts the watchdog.

        Raises:
            EnvironmentProblem: madre did not start; has its last words.
        """
        self.start_madre()
        self.start_watchdog()

    def unusable(self) -> str:
        """Nothing: what does not work is the conductor's own, and ends the run."""
        return ""

    def ready_for(self, case: Case) -> None:
        """Starts it anew if it does not live, or if other dependencies are needed."""
        if not self.is_alive():
            self.stop()
            self.start()
        self.needs(case.dependencies)

    def needs(self, dependencies: Mapping[str, Sequence[str]]) -> None:
        """Has its services depend on others beyond what the catalogue says; starts it anew if that changes anything."""
        if dict(dependencies) != dict(self._dependencies):
            self._dependencies = dependencies
            self.stop()
            self.start()

    def start_madre(self) -> None:
        """Starts madre and waits until it answers; one that follows another takes over its windows.

        Raises:
            EnvironmentProblem: madre did not start; has its last words.
        """
        log = (self.folder / "madre.log").open("ab")
        with log:
            madre = subprocess.Popen(
                [sys.executable, "-m", "vx11", "serve", "--json", *self._flags()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env=_environment(self.name),
            )
        self.core["madre"] = madre
        self.url = str(self._first_line(madre)["url"])

    def start_watchdog(self) -> None:
        """Starts the watchdog; madre has made the state folder before."""
        state = self.folder / "state" / self.name
        with (self.folder / "watchdog.log").open("ab") as log:
            self.core["watchdog"] = subprocess.Popen(
                [sys.executable, "-I", "-m", "vx11.watchdog", "--state", str(state), "--evidence", str(self.evidence)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=_environment(self.name),
            )

    def _flags(self) -> Sequence[str]:
        flags = {
            "engine": self.engine.name,
            "listen": "127.0.0.1:0",
            "catalogue": self._bundle / CATALOGUE,
            "allowlist": self._bundle / ALLOWLIST,
            "key": self._key,
            "state": self.folder / "state",
            "data": self.folder / "data",
            "evidence": self.evidence.parent,
            "evidence-key": keys.default_path(),
            "cell": self.name,
            "rate-limit": "off",
            "profiles": self._bundle / profiles.FILE,
            "profile": self._profile,
            "config": self._config(),
        }
        return ["--faults", *(word for name, value in flags.items() for word in (f"--{name}", str(value)))]

    def _config(self) -> Path:
        """What has no flag."""
        path = self.folder / "madre.yml"
        write_json(path, {"dependencies": {name: list(needed) for name, needed in self._dependencies.items()}})
        return path

    def _first_line(self, madre: subprocess.Popen[bytes]) -> dict[str, Any]:
        """What madre prints when it listens."""
        assert madre.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(madre.stdout, selectors.EVENT_READ)
            line = madre.stdout.readline() if selector.select(START_TIMEOUT) else b""
        if not line:
            said = (self.folder / "madre.log").read_text(encoding="utf-8", errors="replace").strip()
            raise EnvironmentProblem(f"madre of the cell {self.name} did not start: {said or 'it said nothing'}")
        found: dict[str, Any] = json.loads(line)
        return found

    def madre(self, timeout: float = LONG) -> Madre:
        """A client of its power API, whose answers may take so many seconds."""
        return Madre(self.url, self.token, timeout)

    def inventory(self, scratch: Path) -> Inventory:
        """One host, which is this machine."""
        host = {
            "ansible_connection": "local",
            "ansible_remote_tmp": "{{ lookup('ansible.builtin.env', 'TMPDIR') }}",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "vx11_url": self.url,
        }
        path = scratch / "inventory.json"
        path.write_text(json.dumps({"all": {"hosts": {"cell": host}}}), encoding="utf-8")
        return Inventory(path)

    def is_alive(self) -> bool:
        """Whether its entry answers."""
        if any(process.poll() is not None for process in self.core.values()):
            return False
        with self.madre() as madre:
            return madre.is_alive()

    def stop(self) -> None:
        """Ends madre and watchdog; windows are left to `purge`."""
        for process in self.core.values():
            process.terminate()
        limit = time.monotonic() + STOP_TIMEOUT
        for process in self.core.values():
            try:
                process.wait(max(0.1, limit - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout:
                process.stdout.close()
        self.core = {}

    def records(self) -> list[dict[str, Any]]:
        """Madre's evidence; half a line at its end is one that is just written."""
        path = self.evidence / layout.CHAIN
        return list(records(path)) if path.exists() else []

    def evidence_size(self) -> int | None:
        """Bytes of madre's evidence as it lies on the disk."""
        return sum(path.stat().st_size for path in segments(self.evidence / layout.CHAIN) if path.exists())

    def return_to_solo_madre(self) -> str:
        """By madre's word, and by the engine's own inventory.

        Raises:
            EngineError: the engine did not answer.
        """
        try:
            with self.madre() as madre:
                said = madre.solo_madre()
        except Vx11Error as error:
            return str(error)
        alive = [f"the window {found.window_id}" for found in self.engine.inventory(self.name) if found.alive]
        runs = alive or [str(item["what"]) for item in (*said["left"], *said["foreign"])]
        return "" if said["solo_madre"] and not alive else f"there still runs: {', '.join(runs)}"

    def restore(self) -> None:
        """Removes what madre could not end.

        Raises:
            EngineError: the engine did not answer.
        """
        self.engine.purge(self.name)
        self.engine.setup()

    def remove_data(self) -> None:
        """The next case finds no volume of this one."""
        self.engine.remove_volumes(self.name)

    def end_all(self) -> None:
        """Ends whatever belongs to it, and may start anew: for a cell of which nobody knows what state it is in.

        Raises:
            EngineError: something does not end.
        """
        self.stop()
        self.workers.end()
        if not end_parts([self.name]):
            raise EngineError(f"processes of the cell {self.name} are still there {KILL_TIMEOUT:g} s after SIGKILL")
        self.engine.purge(self.name)

    def residue(self) -> set[str]:
        """Whatever carries its mark now."""
        return set(self.engine.residue(self.name))

    def end(self) -> list[str]:
        """Ends its core, and removes it.

        Raises:
            EngineError: the engine did not answer.
        """
        self.stop()
        self.workers.end()
        return self.purge()

    def purge(self) -> list[str]:
        """Ends for good: removes all that carries the mark, and the folder; answers what could not be removed.

        Raises:
            EngineError: the engine did not answer.
        """
        try:
            self.engine.purge(self.name)
            return [*self.engine.residue(self.name), *(f"process {pid}" for pid in procfs.marked(PART_OF, self.name))]
        finally:
            keep_logs(self.folder, self.evidence, self._redactor)
            shutil.rmtree(self.folder)


def folder_prefix(name: str) -> str:
    """How the names of a cell's temporary folders begin."""
    return f"vx11-{name}-"


def key_in(folder: Path) -> list[str]:
    """The key that a cell's temporary folder has; none where it has none."""
    try:
        return [(folder / KEY).read_text(encoding="ascii").strip()]
    except (FileNotFoundError, ValueError):
        return []


def end_parts(names: Collection[str]) -> bool:
    """Ends what is left of the cores and the plays of these cells, by their mark; True when nothing is left."""
    return procfs.end_all(lambda: [pid for name in names for pid in procfs.marked(PART_OF, name)], KILL_TIMEOUT)


def keep_logs(folder: Path, evidence: Path, redactor: Redactor) -> None:
    """Takes the logs of a core into its evidence. They are for people: a full disk leaves no more behind."""
    for log in LOGS:
        if (folder / log).is_file() and evidence.is_dir():
            with contextlib.suppress(OSError):
                drafts.take_in_file(folder / log, evidence / log, redactor)


def _environment(cell: str) -> dict[str, str]:
    """Ours without what would configure or mark it as something else."""
    found = {
        name: value for name, value in os.environ.items() if not name.startswith("VX11_") or name == "VX11_BASE_IMAGE"
    }
    return found | {PART_OF: cell}
