"""A cell under faults: its core dies and comes back, callers note what they are promised, an eye watches the engine."""

import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest

from vx11.conductor.cell import Cell
from vx11.engines import procfs
from vx11.evidence import verify
from vx11.evidence.keys import PublicKeys
from vx11.statefiles import CLOSED_BY_WATCHDOG, WATCHDOG_LOCK, held_lock

from .audit import Ledger, Life, Seen, audit, latest, now
from .eyes import Eye

Part = Literal["madre", "watchdog"]
Enforcer = Literal["both", "watchdog", "madre"]
WINDOWS = "/api/v1/windows"
# Whether the suite may take its time; its short form is one of many in `nox -s tests`.
FULL = os.environ.get("VX11_FAULTS") == "full"
# Beyond what the auditor allows for the beginning of a close: what the engine takes to stop many at once.
SETTLING = 30.0


class Unanswered(Exception):
    """madre died before it answered."""


class Scene:
    """A cell with its ledger.

    Attributes:
        lives: when madre and the watchdog lived.
        graces: how long services withstand their stop signal, in seconds.

    Args:
        cell: whose core is up.
        enforcer: who is to see to deadlines.
        eye: on its engine.
        nonce: a word in the command line of everything that its services run.
        until: the helper `eventually`.
    """

    def __init__(
        self, cell: Cell, enforcer: Enforcer, eye: Eye, nonce: str, graces: dict[str, float], until: Callable[..., Any]
    ) -> None:
        self.cell = cell
        self.enforcer = enforcer
        self.ledger = Ledger()
        self.graces = graces
        self._eye = eye
        self._nonce = nonce
        self._until = until
        self._back = threading.Condition()
        self._http = httpx.Client(headers={"Authorization": f"Bearer {cell.token}"}, timeout=60)
        until(self._is_watched)
        born = now()
        self.lives: dict[str, list[Life]] = {"madre": [Life(born, born)], "watchdog": [Life(born, born)]}
        if enforcer == "madre":
            self.kill("watchdog")

    # The core.

    def kill(self, *parts: Part) -> None:
        """SIGKILLs parts of the core at the same moment, and waits until they are gone."""
        for part in parts:
            self.cell.core[part].kill()
            self.lives[part][-1] = replace(self.lives[part][-1], died=now())
        for part in parts:
            process = self.cell.core.pop(part)
            process.wait(10)
            if process.stdout:
                process.stdout.close()

    def start(self, *parts: Part) -> None:
        """Starts parts of the core, one after the other, and waits until each works."""
        for part in parts:
            born = now()
            if part == "madre":
                self.cell.start_madre()
            else:
                self.cell.start_watchdog()
                self._until(self._is_watched)
            with self._back:
                self.lives[part].append(Life(born, now()))
                self._back.notify_all()

    def _is_watched(self) -> bool:
        try:
            with held_lock(self.state / WATCHDOG_LOCK):
                return False
        except BlockingIOError:
            return True

    def lives_now(self, part: Part) -> bool:
        """Whether it was started and not killed."""
        return self.lives[part][-1].died == math.inf

    def leave_to_enforcer(self) -> None:
        """What opens windows dies when it is the watchdog's turn."""
        if self.enforcer == "watchdog":
            self.kill("madre")

    # Callers.

    def call(self, what: str, **body: Any) -> httpx.Response:
        """A POST, whatever it answers; callers may be many threads.

        Raises:
            Unanswered: madre died meanwhile.
        """
        try:
            return self._http.post(f"{self.cell.url}{WINDOWS}/{what}", json=body)
        except httpx.TransportError as error:
            raise Unanswered(str(error)) from error

    def await_madre(self, limit: float = 60.0) -> None:
        """Waits until a madre is up, for callers whose madre died."""
        with self._back:
            assert self._back.wait_for(lambda: self.lives_now("madre"), limit), "nobody started madre again"

    def try_open(self, service: str, ttl: float, **more: Any) -> httpx.Response:
        """An open that may be refused or lost; what was accepted is noted.

        Raises:
            Unanswered: madre died meanwhile.
        """
        asked = now()
        answer = self.call("open", service=service, ttl=ttl, **more)
        if answer.status_code == 200:
            self.ledger.opened(answer.json(), asked, ttl, grace=self.graces.get(service, 0.0))
        return answer

    def open(self, service: str, ttl: float, **more: Any) -> str:
        """Opens a window; answers its id."""
        answer = self.try_open(service, ttl, **more)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["window_id"])

    def try_close(self, service: str, *, force: bool = False) -> httpx.Response:
        """A close that may find nothing, or be lost.

        Raises:
            Unanswered: madre died meanwhile.
        """
        self.ledger.asks_close(service, force=force)
        return self.call("close", service=service, force=force)

    def extend(self, window_id: str, ttl: float) -> None:
        """Extends a window's time."""
        asked = now()
        answer = self.call("extend", window_id=window_id, ttl=ttl)
        assert answer.status_code == 200, answer.text
        if answer.json()["changed"]:
            self.ledger.extended(window_id, asked, ttl)

    def hold(self, window_id: str) -> None:
        """Holds a window."""
        answer = self.call("hold", window_id=window_id, hold=True)
        assert answer.status_code == 200, answer.text
        self.ledger.held(window_id)

    def release(self, window_id: str) -> None:
        """Releases it."""
        asked = now()
        answer = self.call("hold", window_id=window_id, hold=False)
        assert answer.status_code == 200, answer.text
        self.ledger.released(window_id, asked)

    # What is seen.

    @property
    def state(self) -> Path:
        """The cell's state folder."""
        return self.cell.folder / "state" / self.cell.name

    @property
    def seen(self) -> dict[str, Seen]:
        """What the eye saw until now."""
        return dict(self._eye.seen)

    def status(self) -> Any:
        """What madre says of all windows."""
        with self.cell.madre() as madre:
            return madre.status(closed=True)

    def runs(self, window_id: str) -> bool:
        """Whether something of a window runs, as the engine says."""
        return any(found.window_id == window_id for found in self.cell.engine.inventory(self.cell.name))

    @staticmethod
    def moment_after(seconds: float) -> float:
        """The moment so many seconds from now."""
        return now() + seconds

    @staticmethod
    def seconds_to(moment: float) -> float:
        """Seconds from now until then."""
        return moment - now()

    def await_moment(self, at: float) -> None:
        """Waits for a moment of CLOCK_BOOTTIME, such as a deadline."""
        self._until(lambda: now() >= at, max(0.0, at - now()) + 5)

    def await_deadline(self, window_id: str) -> None:
        """Waits for the deadline of a window."""
        self.await_moment(self.ledger.promises[window_id].deadline.last)

    def await_closed(self, window_id: str) -> None:
        """Waits until madre says that a window is closed."""
        self._until(lambda: window_id in {window["window_id"] for window in self.status()["closed"]}, SETTLING)

    def await_nothing_runs(self) -> None:
        """Waits until the engine says that nothing of the cell runs, whoever ended it."""
        inventory = self.cell.engine.inventory
        self._until(lambda: not any(found.alive for found in inventory(self.cell.name)), SETTLING)

    def await_solo(self) -> None:
        """Waits until madre says that only the core runs, with no window left."""
        self._until(self._is_solo, self._time_left())

    def await_ends(self, windows: Iterable[str]) -> None:
        """Waits until nothing of these windows runs, however late; the auditor judges how late it was."""
        wanted = set(windows)
        due = max(self.ledger.promises[window_id].due.last for window_id in wanted)
        self._until(lambda: all(self._ended(one) for one in wanted), due - now() + SETTLING)

    def await_enforcer(self, windows: Iterable[str]) -> None:
        """Waits until these windows have ended by their enforcer: the watchdog alone has also written that down."""
        windows = set(windows)
        self.await_ends(windows)
        if self.enforcer == "watchdog":
            marks = [self.state / "windows" / f"{window_id}{CLOSED_BY_WATCHDOG}" for window_id in windows]
            self._until(lambda: all(mark.exists() for mark in marks), SETTLING)

    def _ended(self, window_id: str) -> bool:
        return self.seen.get(window_id, Seen()).ended < math.inf

    # The end.

    def kept(self, note: str = "") -> None:
        """Brings back what is dead, waits until all windows have had their time, and asserts what the auditor finds.

        Args:
            note: said when something was not kept.
        """
        for part in ("madre", "watchdog"):
            if not (self.lives_now(part) or (part, self.enforcer) == ("watchdog", "madre")):
                self.start(part)
        self.await_solo()
        self._end_core()
        records = self.evidence()
        found = audit(self.ledger, self.lives, records, self.seen)
        found += [f"evidence: {item}" for item in verify.chain(self.evidence_path, PublicKeys()).findings]
        found += [f"{what} is left" for what in self.residue()]
        found += [f"the process {pid} is left: {command}" for pid, command in self.strays()]
        assert not found, "\n".join([note, *found])

    def _is_solo(self) -> bool:
        status = self.status()
        return bool(status["solo_madre"]) and not status["windows"]

    def _time_left(self) -> float:
        """Seconds until all windows must have closed, held ones left out: they have no such moment."""
        dues = [promise.due.last for promise in self.ledger.promises.values() if not promise.hold]
        graces = max(self.graces.values(), default=0.0)
        return max((latest(due, self.lives) for due in dues), default=now()) - now() + graces + SETTLING

    def _end_core(self) -> None:
        """By SIGTERM, as an operator would."""
        codes = {}
        for part, process in list(self.cell.core.items()):
            process.send_signal(signal.SIGTERM)
            codes[part] = process.wait(20)
            self.lives[part][-1] = replace(self.lives[part][-1], died=now())
            if process.stdout:
                process.stdout.close()
            del self.cell.core[part]
        assert set(codes.values()) <= {0}, codes

    @property
    def evidence_path(self) -> Path:
        """The chain of the cell."""
        return self.cell.evidence / "evidence.jsonl"

    def evidence(self) -> list[Any]:
        """Its records."""
        return [json.loads(line) for line in self.evidence_path.read_text(encoding="utf-8").splitlines()]

    def residue(self) -> list[str]:
        """What carries the cell's mark; its network and volumes outlive windows."""
        return [what for what in self.cell.residue() if what.partition(" ")[0] not in ("network", "volume")]

    def strays(self) -> list[tuple[int, str]]:
        """Processes of the cell's services and core, found by their command lines alone."""
        marks = (self._nonce, str(self.cell.folder))
        commands = {pid: " ".join(procfs.command(pid)) for pid in procfs.pids() if pid != os.getpid()}
        return [(pid, command) for pid, command in commands.items() if any(mark in command for mark in marks)]

    def close(self) -> None:
        """Lets go of what callers hold."""
        self._http.close()


def pause(seconds: float) -> None:
    """Lets a time go by that a test chose at random, to hit whatever happens then."""
    time.sleep(seconds)


def on_engines(everywhere: Iterable[Any], short_on_docker: Iterable[Any] | None = None) -> list[Any]:
    """Parameters `(engine_name, it)`, for `parametrize(("engine_name", …), …, indirect=["engine_name"])`.

    Args:
        everywhere: for both engines.
        short_on_docker: those that the short form runs on docker, where all is slower.
    """
    everywhere = list(everywhere)
    on_docker = everywhere if FULL or short_on_docker is None else list(short_on_docker)
    found = [pytest.param("process", it, id=f"process-{it}") for it in everywhere]
    return found + [pytest.param("docker", it, id=f"docker-{it}", marks=pytest.mark.docker) for it in on_docker]
