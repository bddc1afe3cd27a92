"""The routes of the power API. They translate; `windows/` decides.

Calls that wait run in threads: emergencies (close, SOLO_MADRE) and quick answers have places of their own, so that they
never queue behind opens that wait for readiness.
"""

import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Annotated, Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.security import HTTPBearer
from starlette.responses import Response

from vx11.madre import models
from vx11.madre.entry import Entry
from vx11.madre.jobs import Jobs, Wanted
from vx11.madre.operator import Operator
from vx11.madre.streams import EXAMPLE, EventStream, Stream, Streams
from vx11.windows import solo_madre
from vx11.windows.errors import FaultsOff
from vx11.windows.manager import Outcome, Windows
from vx11.windows.opening import OpenRequest
from vx11.windows.window import Window

Answer = TypeVar("Answer")
CORE = ["madre"]
_PLACES = {"work": 64, "quick": 8, "close": 64, "solo_madre": 8, "tests": 4, "operator": 8}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {"application/problem+json": {}}}
    for status, text in {
        401: "The token is missing or not valid",
        403: "The token, or the allowlist, does not allow this",
        404: "There is no such service, window, matrix or test",
        409: "The window, or the test, cannot be had like this",
        413: "The body is larger than 64 KiB",
        422: "The request is not valid",
        429: "Too many requests; see Retry-After",
        502: "The service did not open, or the fault did not take effect",
        503: "Engine or evidence is not available, or too many streams are open",
    }.items()
}


class Desk:
    """Where routes find the windows, and threads to ask them in."""

    def __init__(
        self,
        windows: Windows,
        jobs: Jobs,
        operator: Operator,
        export: Callable[[], bytes],
        *,
        entry: Entry | None,
        stop_foreign: bool,
        faults: bool,
    ) -> None:
        self.windows = windows
        self.entry = entry
        self.jobs = jobs
        self.operator = operator
        self.streams = Streams(windows, self.view)
        self.export = export
        self.stop_foreign = stop_foreign
        self.faults = faults
        self._places: dict[str, CapacityLimiter] = {}

    async def ask(self, kind: str, question: Callable[[], Answer]) -> Answer:
        """Runs a question in a thread of its kind."""
        if kind not in self._places:
            self._places[kind] = CapacityLimiter(_PLACES[kind])
        return await to_thread.run_sync(question, limiter=self._places[kind])

    def view(self, window: Window) -> models.WindowView:
        """A window with its usage, as clients see it."""
        windows = self.windows
        if self.entry:
            window = replace(window, endpoints=self.entry.endpoints(window))
        return models.WindowView.of(window, windows.usage(window), windows.clock.now(), windows.needed_by(window))

    def opened(self, request: OpenRequest, actor: str) -> Outcome:
        """Opens a window; where there is a gateway, it leads to it by then."""
        outcome = self.windows.open(request, actor)
        if self.entry and outcome.window and request.wait:
            self.entry.await_led(outcome.window)
        return outcome

    def views(self, windows: Iterable[Window]) -> list[models.WindowView]:
        """Several of them."""
        return [self.view(window) for window in windows]

    def outcome(self, outcome: Outcome, service: str = "") -> models.WindowOutcome:
        """A window and whether it changed; in a dry run there may be no window yet."""
        if outcome.window is None:
            return models.WindowOutcome(
                window_id=None, service=service, cell=self.windows.cell, changed=outcome.changed
            )
        return models.WindowOutcome(**self.view(outcome.window).model_dump(), changed=outcome.changed)


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


def _actor(request: Request) -> str:
    return str(request.scope["bearer"].subject)


AtDesk = Annotated[Desk, Depends(_desk)]
Actor = Annotated[str, Depends(_actor)]
entry = APIRouter()
# The guard has checked the token before any route; this tells who reads the API's description.
api = APIRouter(responses=_PROBLEMS, dependencies=[Depends(HTTPBearer(auto_error=False))])


@api.post("/api/v1/windows/open", tags=["windows"])
async def open_window(body: models.Open, desk: AtDesk, actor: Actor) -> models.WindowOutcome:
    """Opens a service, or answers the window that is open already."""
    request = OpenRequest(
        service=body.service,
        ttl=body.ttl,
        hold=body.hold,
        limits=body.resources.limits(),
        min_remaining=body.min_remaining,
        wait=body.wait,
        dry_run=body.dry_run,
    )
    return await desk.ask("work", lambda: desk.outcome(desk.opened(request, actor), body.service))


@api.post("/api/v1/windows/close", tags=["windows"])
async def close_window(body: models.Close, desk: AtDesk, actor: Actor) -> models.WindowOutcome:
    """Closes a window: stop signal, grace, kill; at once with `force`."""

    def close() -> models.WindowOutcome:
        return desk.outcome(desk.windows.close(body.name, force=body.force, wait=body.wait, actor=actor))

    return await desk.ask("close", close)


@api.post("/api/v1/windows/hold", tags=["windows"])
async def hold_window(body: models.Hold, desk: AtDesk, actor: Actor) -> models.WindowOutcome:
    """Holds a window beyond its deadline, or releases it; released after its deadline it closes at once."""

    def hold() -> models.WindowOutcome:
        return desk.outcome(desk.windows.hold(body.name, on=body.hold, wait=body.wait, actor=actor))

    return await desk.ask("work", hold)


@api.post("/api/v1/windows/extend", tags=["windows"])
async def extend_window(body: models.Extend, desk: AtDesk, actor: Actor) -> models.WindowOutcome:
    """Gives a window at least `ttl` seconds from now; never shortens it."""
    return await desk.ask("work", lambda: desk.outcome(desk.windows.extend(body.name, body.ttl, actor)))


@api.post("/api/v1/windows/fault", tags=["windows"])
async def fault_window(body: models.InjectFault, desk: AtDesk, actor: Actor) -> models.FaultOutcome:
    """Cuts a window off, pauses or kills it, for a test; or takes that back. Off unless madre is told otherwise."""

    def answer() -> models.FaultOutcome:
        if not desk.faults:
            raise FaultsOff("faults are off on this host; vx11 serve --faults allows them")
        done = desk.windows.fault(body.name, body.kind, active=body.active, actor=actor)
        return models.FaultOutcome(**desk.view(done.window).model_dump(), changed=done.changed, proof=done.proof)

    return await desk.ask("work", answer)


@api.get("/api/v1/windows/status", tags=["windows"], response_model_exclude_none=False)
async def status(
    desk: AtDesk, service: Annotated[str | None, Query()] = None, closed: Annotated[bool, Query()] = False
) -> models.Status:
    """What is open, and whether only the core runs; with `closed`, also what closed lately, newest first."""

    def answer() -> models.Status:
        windows, engine = desk.windows, desk.windows.engine
        proof = solo_madre.check(windows)
        return models.Status(
            cell=windows.cell,
            windows=desk.views(window for window in proof.windows if service in (None, window.service)),
            solo_madre=proof.solo,
            watchdog=windows.store.watchdog_is_alive(),
            gateway=desk.entry.is_alive if desk.entry else None,
            engine=models.EngineView(name=engine.name, why=engine.why, capabilities=sorted(engine.capabilities)),
            usage_interval_s=windows.sampler.interval,
            checked_at=proof.checked.iso(),
            closed=desk.views(w for w in windows.closed() if service in (None, w.service)) if closed else None,
        )

    return await desk.ask("quick", answer)


@api.get(
    "/api/v1/windows/events",
    tags=["windows"],
    response_class=EventStream,
    responses={200: {"content": {"text/event-stream": {"example": EXAMPLE}}}},
)
async def events(
    request: Request,
    desk: AtDesk,
    service: Annotated[str | None, Query()] = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Stream:
    """What happens to windows, as it happens, as server-sent events; begins with the present windows (`state`).

    With the header `Last-Event-ID` it goes on from there, if madre still can.
    """
    return desk.streams.stream(request.scope["bearer"], request.scope["holds"], service, last_event_id)


@api.get("/api/v1/windows/logs", tags=["windows"])
async def logs(
    desk: AtDesk, window: Annotated[str, Query()], tail: Annotated[int, Query(ge=1, le=2000)] = 200
) -> models.Logs:
    """The last lines of a window's service, by id or service; also of one that closed lately."""

    def answer() -> models.Logs:
        found = desk.windows.find(window)
        return models.Logs(window_id=found.window_id, service=found.service, lines=desk.windows.logs(found, tail))

    return await desk.ask("work", answer)


def _items(proof: solo_madre.Proof) -> list[models.Item]:
    """What of the cell ran when it was looked at."""
    windows = [
        models.Item(what=f"window {item.window_id}", window_id=item.window_id, service=item.service)
        for item in proof.windows
    ]
    return windows + [
        models.Item(what=item.what, window_id=item.window_id, service=item.service) for item in proof.unaccounted
    ]


@api.post("/api/v1/system/solo_madre", tags=["system"])
async def enforce_solo_madre(desk: AtDesk, actor: Actor, body: models.SoloMadre | None = None) -> models.SoloMadreView:
    """Closes every window of the cell and proves that only the core runs."""
    dry_run = body.dry_run if body else False
    stop_foreign = body.foreign == "stop" if body and body.foreign else desk.stop_foreign

    def answer() -> models.SoloMadreView:
        done = solo_madre.enforce(desk.windows, actor, dry_run=dry_run, stop_foreign=stop_foreign)
        to_stop = len(done.before.windows) + len(done.before.unaccounted)
        to_stop += len(done.before.foreign) if stop_foreign else 0
        return models.SoloMadreView(
            solo_madre=done.after.solo,
            changed=bool(to_stop),
            dry_run=dry_run,
            checked_at=done.after.checked.iso(),
            core=CORE + (["watchdog"] if desk.windows.store.watchdog_is_alive() else []),
            running=_items(done.before),
            left=_items(done.after),
            stopped=desk.views(done.stopped),
            foreign=[models.Item(what=item.what) for item in done.after.foreign],
            foreign_stopped=[models.Item(what=item.what) for item in done.foreign_stopped],
            took_ms=done.took_ms,
        )

    return await desk.ask("solo_madre", answer)


@api.post("/api/v1/tests/execute", tags=["tests"], status_code=202)
async def execute_test(body: models.Execute, desk: AtDesk, actor: Actor) -> models.Accepted:
    """Runs an installed matrix in test cells of its own, as a process of its own; one at a time."""
    wanted = Wanted(body.matrix_id, body.evidence_path, body.throttle_profile, body.engine)

    def execute() -> models.Accepted:
        desk.windows.expect_not_returning(f"the test of {body.matrix_id} was not started")
        return models.Accepted.of(desk.jobs.execute(wanted, actor))

    return await desk.ask("tests", execute)


@api.get("/api/v1/tests/results/{test_id}", tags=["tests"])
async def show_test(test_id: str, desk: AtDesk) -> models.TestView:
    """What a test has come to so far; also one that `vx11 run` did below the evidence root of tests."""
    return await desk.ask("quick", lambda: models.TestView.of(desk.jobs.result(test_id)))


@api.delete("/api/v1/tests/{test_id}", tags=["tests"], status_code=202)
async def cancel_test(test_id: str, desk: AtDesk, actor: Actor) -> models.TestView:
    """Tells a test to end; it ends its case, cleans up, and is then `aborted`."""
    return await desk.ask("close", lambda: models.TestView.of(desk.jobs.cancel(test_id, actor)))


@api.post("/operator/api/chat", tags=["operator"])
async def chat(body: models.Ask, desk: AtDesk) -> models.Told:
    """Answers a question about windows, tests and SOLO_MADRE from what is so just now."""
    session_id = body.session_id or str(uuid.uuid4())

    def answer() -> models.Told:
        reply = desk.operator.answer(body.message, session_id)
        return models.Told.of(reply, session_id, desk.windows.clock.now())

    return await desk.ask("operator", answer)


@api.post("/madre/power/window/open", tags=["older clients"], deprecated=True)
async def legacy_open(body: models.LegacyOpen, desk: AtDesk, actor: Actor) -> models.LegacyWindow:
    """The open call of the older deployment."""
    request = OpenRequest(service=body.service, ttl=body.ttl_sec, hold=body.hold)

    def answer() -> models.LegacyWindow:
        window = desk.opened(request, actor).window
        assert window is not None  # only a dry run has none
        return models.legacy(window, desk.windows.clock.now())

    return await desk.ask("work", answer)


@api.post("/madre/power/window/close", tags=["older clients"], deprecated=True)
async def legacy_close(body: models.LegacyClose, desk: AtDesk, actor: Actor) -> models.LegacyWindow:
    """The close call of the older deployment."""
    name = body.name

    def answer() -> models.LegacyWindow:
        window = desk.windows.close(name, force=body.force, wait=True, actor=actor).window
        assert window is not None  # a close always answers one
        return models.legacy(window, desk.windows.clock.now())

    return await desk.ask("close", answer)


@entry.get("/health", tags=["system"])
async def health() -> models.Health:
    """Liveness of the entry; needs no token."""
    return models.Health()


@api.get("/metrics", tags=["system"], response_class=Response)
async def metrics(desk: AtDesk) -> Response:
    """Prometheus text format."""
    return Response(await desk.ask("quick", desk.export), media_type="text/plain; version=0.0.4; charset=utf-8")
