"""Runs a madre: takes the cell's lock, binds the entry port, serves until it is told to stop."""

import contextlib
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from types import FrameType
from typing import Any

import uvicorn
from prometheus_client import CollectorRegistry

from vx11.clock import Clock
from vx11.engines import select
from vx11.engines.port import Engine
from vx11.errors import EnvironmentProblem
from vx11.evidence import keys
from vx11.evidence.appending import EvidenceError
from vx11.evidence.chain import SEAL_SECONDS, Chain
from vx11.evidence.keys import Signer
from vx11.evidence.layout import CHAIN, publish
from vx11.evidence.redact import Redactor
from vx11.evidence.witness import Witness
from vx11.madre import alerts, app, jobs, policy, starting
from vx11.madre.auth import Authority
from vx11.madre.entry import Entry
from vx11.madre.lookout import Lookout
from vx11.madre.matrices import Matrices
from vx11.madre.metrics import CountedEvidence
from vx11.madre.operator import Operator
from vx11.madre.services import FileServices
from vx11.madre.settings import Settings
from vx11.statefiles import JOBS, MADRE_LOCK, held_lock
from vx11.windows.books import Evidence
from vx11.windows.manager import Windows
from vx11.windows.store import StateStore

log = logging.getLogger(__name__)
SHUTDOWN_GRACE = 5
# Many windows may be due at one moment, each with a thread of its own, and none should wait 5 ms for each other's turn.
SWITCH_INTERVAL = 0.0005


class _Server(uvicorn.Server):
    """Says when it listens, and when it stops."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None], leaving: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening
        self._leaving = leaving

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._leaving()
        for connection in self.server_state.connections:
            # Whoever does not take what he has been sent would hold madre up.
            if connection.transport.get_write_buffer_size():
                connection.transport.abort()
        await super().shutdown(sockets)


def run(settings: Settings, ready: Callable[[str, Engine, bool], None]) -> None:
    """Serves until SIGTERM or SIGINT. Windows stay open when it ends; the next madre takes them over.

    Args:
        settings: how it is set up.
        ready: called when it listens, with its URL, its engine, and whether a watchdog is alive.

    Raises:
        InputError: a file or a setting is wrong.
        EnvironmentProblem, EngineError: this machine cannot run it, or another madre already runs this cell.
    """
    redactor, signer = Redactor(), Signer.of(settings.evidence_key)
    authority = Authority(
        settings.key, cell=settings.cell, require_aud_jti=settings.require_aud_jti, learn=redactor.learn
    )
    endpoints = policy.load(settings.policy)
    services = FileServices(settings.catalogue, settings.allowlist, settings.dependencies)
    profile = settings.throttle()
    store = StateStore(settings.cell_state)
    with _cell_lock(store), contextlib.closing(settings.bind()) as bound, contextlib.ExitStack() as stack:
        engine = select.make(settings.engine, settings.cell, settings.cell_state, settings.data / settings.cell)
        registry = CollectorRegistry()
        chain, clock = _evidence(settings, signer, redactor), Clock()
        evidence = CountedEvidence(chain, registry)
        stack.enter_context(_sealed(chain))
        windows = Windows(
            cell=settings.cell,
            services=services,
            engine=engine,
            store=store,
            evidence=evidence,
            clock=clock,
            profile=profile.limits(),
            usage_interval=settings.usage_interval or profile.usage_interval,
        )
        gateway = settings.gateway
        entry = Entry(windows, gateway.url, settings.link(gateway), authority.revoked) if gateway else None
        tests = _jobs(settings, engine, evidence, clock)
        application = app.build(
            windows,
            tests,
            Operator(windows, tests, services.allowed, services.language),
            check=authority.check,
            policy=endpoints,
            rate=settings.rate_limit,
            registry=registry,
            entry=entry,
            stop_foreign=settings.foreign == "stop",
            faults=settings.faults,
        )
        host, port = bound.getsockname()[:2]
        config = uvicorn.Config(
            application,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=SHUTDOWN_GRACE,
            server_header=False,
            # Who a request comes from is who is connected, whatever its headers say; but the gateway is believed.
            proxy_headers=gateway is not None,
            forwarded_allow_ips=host,
        )
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        files = Lookout(alerts.files(lambda: authority.problems() | services.problems()), windows.record, registry)
        signal.signal(signal.SIGHUP, files.ask)
        # uvicorn raises a signal again once it has stopped for it; what follows must still be done.
        signal.signal(signal.SIGTERM, _leave)
        # What a shell starts in the background ignores this one, and so would the services that are started from here.
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)
        sys.setswitchinterval(SWITCH_INTERVAL)
        windows.start()
        if entry:  # now that it is known what is open
            stack.enter_context(entry.kept_in_step())
        watched = [alerts.solo(windows), *([alerts.entry(settings.entry_here(gateway))] if gateway else [])]
        for lookout in (files, *(Lookout(each, windows.record, registry) for each in watched)):
            stack.enter_context(lookout.running())
        try:
            _Server(
                config,
                listening=lambda: ready(url, engine, store.watchdog_is_alive()),
                leaving=application.state.desk.streams.end,
            ).run(sockets=[bound])
        finally:
            windows.stop()


def _jobs(settings: Settings, engine: Engine, evidence: Evidence, clock: Clock) -> jobs.Jobs:
    seen = jobs.environment()
    own = seen | {keys.VARIABLE: str(settings.evidence_key)}
    return jobs.Jobs(
        folder=settings.cell_state / JOBS,
        matrices=Matrices(settings.matrices, seen),
        root=settings.tests_root,
        # What runs elsewhere has rights of its own, and an engine that goes with them.
        engine="auto" if settings.tests_socket else engine.name,
        evidence=evidence,
        clock=clock,
        starter=starting.unit(settings.tests_socket) if settings.tests_socket else starting.child(own),
    )


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


class _NoEvidence:
    """Evidence that cannot be written: nothing opens, and closing goes on."""

    def __init__(self, why: EvidenceError) -> None:
        self._why = why

    def append(
        self, actor: str, action: str, subject: str, data: dict[str, Any] | None = None, *, sync: bool = True
    ) -> None:
        raise EvidenceError(str(self._why))

    def sync(self) -> None:
        raise EvidenceError(str(self._why))

    def last_of(self, actions: Collection[str]) -> dict[str, dict[str, Any]]:
        return {}


def _evidence(settings: Settings, signer: Signer, redactor: Redactor) -> Chain | _NoEvidence:
    """The chain of the cell; the public key lies beside it."""
    try:
        chain = Chain(settings.cell_evidence / CHAIN, signer, redactor)
    except EvidenceError as error:
        log.error("%s; nothing will be opened, what is open will be closed", error)
        return _NoEvidence(error)
    with contextlib.suppress(OSError):  # it is for whoever has no better one
        publish(settings.cell_evidence, signer.public)
    return chain


@contextlib.contextmanager
def _sealed(chain: "Chain | _NoEvidence") -> Iterator[None]:
    """Seals a chain at intervals for as long as the block runs, and for good at its end."""
    if isinstance(chain, _NoEvidence):
        yield
        return
    ended = threading.Event()

    watchdog = Witness(chain)

    def seal() -> None:
        while not ended.wait(SEAL_SECONDS):
            try:
                watchdog.look()
                chain.seal()
            except (EvidenceError, OSError) as error:
                log.error("%s", error)

    sealing = threading.Thread(target=seal, name="seals", daemon=True)
    sealing.start()
    try:
        yield
    finally:
        ended.set()
        sealing.join()
        with contextlib.suppress(EvidenceError, OSError):
            watchdog.look()
        chain.close()


@contextlib.contextmanager
def _cell_lock(store: StateStore) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(held_lock(store.folder / MADRE_LOCK))
        except BlockingIOError as error:
            raise EnvironmentProblem(
                f"another madre runs the cell in {store.folder}; stop it first, or name another cell with --cell"
            ) from error
        yield
