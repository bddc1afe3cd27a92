"""A host of an inventory as a place for cases. Its madre is its own: it is asked, and never started, ended or purged.

What only the machine itself could tell (files, mounts, firewall rules, processes, the chain of its madre) is not known
here, and nothing is said of it.
"""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from vx11 import tokens
from vx11.catalogue.compose import Service
from vx11.client import Madre, MadreRefused
from vx11.conductor import measures
from vx11.conductor.actions import Breaks, RunsSuite
from vx11.conductor.cell import PART_OF, end_parts, folder_prefix
from vx11.conductor.conducted import Guest
from vx11.conductor.inventory import InventoryHost
from vx11.conductor.matrix import Case, Matrix
from vx11.conductor.place import Inventory
from vx11.conductor.workers import Workers
from vx11.engines.port import CAPABILITIES
from vx11.errors import EnvironmentProblem, Vx11Error

# Seconds. A host that does not answer must not hold a run up; it may take its time to close what is open.
ANSWER, CLOSES = 10.0, 45.0
# How long it is waited for when a host wants fewer requests, and between two tries, in seconds.
PATIENCE, PAUSE = 30.0, 1.0
NO_WINDOW = "no_window"


class PatientMadre(Madre):
    """Waits when the host's rate limit wants it: no answer would then look like a host that is gone."""

    def call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """One call, tried again while it is refused for the rate."""
        limit = time.monotonic() + PATIENCE
        while True:
            try:
                return super().call(method, path, **options)
            except MadreRefused as error:
                if error.code != "rate_limited" or time.monotonic() > limit:
                    raise
            time.sleep(PAUSE)


class Host:
    """Runs cases on a host; a `Place`.

    Args:
        found: its name, its madre, its tokens.
        path: the inventory that it stands in.
        mark: of what runs here because of it.
        plan: the cases.
    """

    kind: Literal["cell", "host"] = "host"
    interval = 2.0  # half of what the default rate limit of a host allows

    def __init__(self, found: InventoryHost, path: Path, mark: str, plan: Matrix) -> None:
        self.name = found.name
        self.url = found.url
        self.token = found.token
        self.service_token = found.service_token
        self.mark = mark
        self.folder = Path(tempfile.mkdtemp(prefix=folder_prefix(mark)))
        self.workers = Workers({PART_OF: mark}, self.folder)
        self._path = path
        self._plan = plan
        self._since = ""
        self._engine: Mapping[str, Any] = {"name": "", "why": "", "capabilities": ()}
        self._version = ""
        self._no_faults = ""
        self._lost = ""

    def problems(self) -> list[str]:
        """Asks its madre whether the cases can run there; answers all that speaks against it."""
        found: list[str] = []
        try:
            with self.madre() as madre:
                self._ask(madre, found)
        except Vx11Error as error:
            found.append(str(error))
        return [f"{self.name}: {what}" for what in dict.fromkeys(found)]

    def _ask(self, madre: Madre, wrong: list[str]) -> None:
        madre.call("GET", "/health")
        status = _answer(wrong, madre.status)
        if status is None:
            return
        self._engine, self._since = status["engine"], status["checked_at"]
        self._version = str(madre.call("GET", "/openapi.json")["info"]["version"])
        proof = _answer(wrong, lambda: madre.solo_madre(dry_run=True))
        if proof is not None and not proof["solo_madre"]:
            wrong.append(_not_solo(proof))
        cases = self._plan.cases
        if status.get("gateway") is not None and not self.service_token and any(map(self._asks_services, cases)):
            wrong.append("its gateway wants a token of suites; set the host variable vx11_service_token")
        if any(_breaks(case) for case in cases):
            self._ask_for_faults(madre, wrong)
        needed = {name for case in cases if not self.lacks(case) for name in case.services}
        for name in sorted(needed & set(self._plan.allowlist.digests)):
            self._ask_for(madre, name, wrong)

    def _asks_services(self, case: Case) -> bool:
        """Whether a case has a suite, and a service that is not for everybody."""
        known = self._plan.catalogue.services
        closed = any(name in known and not known[name].entry.vx11.public for name in case.services)
        return closed and any(isinstance(step, RunsSuite) for step in case.actions.steps)

    def _ask_for_faults(self, madre: Madre, wrong: list[str]) -> None:
        """Whether a window, of which there is none, might be broken."""
        try:
            madre.fault(next(iter(self._plan.catalogue.services)), "pause", active=False)
        except MadreRefused as error:
            if error.code == "faults_off":
                self._no_faults = str(error)
            elif error.code != NO_WINDOW:
                wrong.append(str(error))

    def _ask_for(self, madre: Madre, service: str, wrong: list[str]) -> None:
        try:
            madre.post("/api/v1/windows/open", service=service, dry_run=True)
        except MadreRefused as error:
            wrong.append(str(error) if error.code == "scope_missing" else f"{service} cannot be opened: {error}")

    def about(self) -> Sequence[str]:
        """Its madre and its engine, and what it cannot do."""
        engine = self._engine
        lacking = [name for name in CAPABILITIES if name not in engine["capabilities"]]
        cannot = [f"{self.name} cannot do: {', '.join(lacking)}"] if lacking else []
        return [f"{self.name}: madre {self._version} at {self.url}, engine {engine['name']}: {engine['why']}", *cannot]

    def facts(self) -> dict[str, Any]:
        """What evidence says of it."""
        engine = {"name": self._engine["name"], "why": self._engine["why"]}
        return {"url": self.url, "version": self._version, "engine": engine}

    def guest(self) -> Guest:
        """What has to be known to close its windows when this conductor has died."""
        return Guest(self.name, tokens.subject(self.token), self._since)

    def lacks(self, case: Case) -> str:
        """What its engine or its madre cannot do of what a case needs, and what cannot be seen from here."""
        missing = [name for name in case.requires if name not in self._engine["capabilities"]]
        if missing:
            return f"the engine {self._engine['name']} of the host cannot do {', '.join(missing)}"
        if self._no_faults and _breaks(case):
            return f"it breaks windows, and {self._no_faults}"
        if more := _dependencies(case, self._plan):
            return f"{', '.join(more)} would need more than the catalogue says, and a host has its own configuration"
        if blind := [name for name in case.asserts if name in measures.OF_EVIDENCE]:
            return f"{', '.join(blind)}: judged on madre's own evidence, which stays on the host"
        return ""

    def prepare(self, services: Sequence[Service], note: Callable[[str], None], cancelled: threading.Event) -> None:
        """Nothing: its images are its own affair."""

    def begin(self) -> None:
        """Nothing: it runs, and was asked."""

    def unusable(self) -> str:
        """Why there can be no further case: it does not answer, refuses, or is not in SOLO_MADRE. Once so, always."""
        if not self._lost:
            try:
                with self.madre() as madre:
                    proof = madre.solo_madre(dry_run=True)
                self._lost = "" if proof["solo_madre"] else f"the host {self.name}: {_not_solo(proof)}"
            except Vx11Error as error:
                self._lost = f"the host {self.name}: {error}"
        return self._lost

    def ready_for(self, case: Case) -> None:
        """Nothing: it is as its owner configured it."""

    def madre(self, timeout: float = ANSWER) -> Madre:
        """A client that neither waits long for an answer nor gives up because of a rate limit."""
        return PatientMadre(self.url, self.token, timeout)

    def inventory(self, scratch: Path) -> Inventory:
        """The user's own, with all its variables, limited to this host."""
        return Inventory(self._path, self.name)

    def residue(self) -> set[str] | None:
        """What runs by madre's own list: windows, what carries its mark and belongs to none, what is foreign."""
        try:
            with self.madre() as madre:
                proof = madre.solo_madre(dry_run=True)
        except Vx11Error:
            return None
        return set(_runs(proof))

    def records(self) -> list[dict[str, Any]]:
        """None: the chain of its madre stays there."""
        return []

    def evidence_size(self) -> int | None:
        """Not known."""
        return None

    def return_to_solo_madre(self) -> str:
        """By madre's word, asked once more after it is done. What is foreign is named, never stopped."""
        try:
            with self.madre(CLOSES) as madre:
                madre.solo_madre(foreign="report")
                proof = madre.solo_madre(dry_run=True)
        except Vx11Error as error:
            return str(error)
        return "" if proof["solo_madre"] else _not_solo(proof)

    def restore(self) -> None:
        """Nothing: it is not the conductor's; `unusable` then says what it is like."""

    def remove_data(self) -> None:
        """Nothing: volumes outlive windows there."""

    def end_all(self) -> None:
        """Ends the play of a case, if one still runs here; `unusable` then tells what the host is like."""
        self.workers.end()
        end_parts([self.mark])
        self.return_to_solo_madre()

    def end(self) -> list[str]:
        """Closes what windows of the run are open; what was never asked has none."""
        self.workers.end()
        shutil.rmtree(self.folder)
        return close_windows(self, self.guest()) if self._since else []


def expect_able(hosts: Sequence[Host]) -> None:
    """Asks all of them, side by side.

    Raises:
        EnvironmentProblem: all that is wrong with all of them.
    """
    with ThreadPoolExecutor(len(hosts)) as pool:
        problems = [what for found in pool.map(Host.problems, hosts) for what in found]
    if problems:
        raise EnvironmentProblem("; ".join(problems))


def close_windows(host: "Host | InventoryHost", guest: Guest) -> list[str]:
    """Closes the windows that a run has opened on a host, and no others; answers why one may still be open.

    They are those that the subject of its token opened since the host was found in SOLO_MADRE, by the host's clock.
    """
    try:
        with PatientMadre(host.url, host.token, CLOSES) as madre:
            for window in _windows_of(madre, guest):
                _close(madre, str(window["window_id"]))
            left = [str(window["service"]) for window in _windows_of(madre, guest)]
    except Vx11Error as error:
        return [f"windows on the host {host.name} may be open until their time is over: {error}"]
    return [f"the window of {service} on the host {host.name}" for service in left]


def _windows_of(madre: Madre, guest: Guest) -> list[dict[str, Any]]:
    """The newest first, so that what needs another one is closed before it."""
    since = datetime.fromisoformat(guest.since)
    own = [
        window
        for window in madre.status()["windows"]
        if window["opened_by"] == guest.subject and datetime.fromisoformat(window["opened_at"]) >= since
    ]
    return sorted(own, key=lambda window: str(window["opened_at"]), reverse=True)


def _close(madre: Madre, window: str) -> None:
    try:
        madre.post("/api/v1/windows/close", window_id=window)
    except MadreRefused as error:
        if error.code != NO_WINDOW:  # it may just have closed
            raise


def _answer(wrong: list[str], question: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """What madre answers; None, and a complaint more, when it refuses."""
    try:
        return question()
    except MadreRefused as error:
        wrong.append(str(error))
        return None


def _runs(proof: Mapping[str, Any]) -> list[str]:
    """What runs beside the core: windows, what belongs to none, what is foreign."""
    return [" ".join(filter(None, [item["what"], item["service"]])) for item in (*proof["left"], *proof["foreign"])]


def _not_solo(proof: Mapping[str, Any]) -> str:
    return f"it is not in SOLO_MADRE; there runs: {', '.join(_runs(proof))}"


def _breaks(case: Case) -> bool:
    return any(isinstance(step, Breaks) for step in case.actions.steps)


def _dependencies(case: Case, plan: Matrix) -> list[str]:
    """The services that need more by the case than by the catalogue."""
    services = plan.catalogue.services
    return [
        name
        for name, needed in case.dependencies.items()
        if name not in services or set(needed) - set(services[name].entry.depends_on)
    ]
