"""What requests and answers look like; the source of the OpenAPI description."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    WithJsonSchema,
    model_validator,
)

from vx11.catalogue.limits import Limits
from vx11.clock import Instant, iso
from vx11.engines.select import EngineName
from vx11.evidence.runs import CaseVerdict
from vx11.madre.jobs import Job, Result, State
from vx11.madre.operator import Reply
from vx11.units import Seconds, Size
from vx11.windows.events import Kind
from vx11.windows.usage import Sample
from vx11.windows.window import Fault, Window, latest

# Larger numbers are not exact in JSON, so they cannot be recorded (RFC 8785).
MOST = 2**53 - 1
# Seconds, more than a century: what clocks count in nanoseconds of 64 bits.
LONGEST = 4_000_000_000
# What the description says of durations and sizes: a number, or text with units.
_DURATION = r"[1-9]\d{0,3}(\.\d{1,3})?(us|ms|s|m|h|d)"
_SIZE = r"^[1-9]\d{0,8}(\.\d{1,3})?([kKmMgGtT]?[iI]?[bB])?$"
_SECONDS_TEXT = {"type": "string", "pattern": rf"^({_DURATION}){{1,4}}$|^[1-9]\d{{0,6}}$"}


# A folder below another one, in letters that any file system and any terminal has.
_FOLDER = r"^(\.|[A-Za-z0-9_][A-Za-z0-9_. -]*(/[A-Za-z0-9_][A-Za-z0-9_. -]*)*/?)$"


def _is_number(value: Any) -> Any:
    """Pydantic would take text and truth for numbers."""
    if isinstance(value, str | bytes | bool):
        raise ValueError("has to be a number")
    return value


PositiveSeconds = Annotated[
    Seconds,
    Field(gt=0, le=LONGEST),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST}, _SECONDS_TEXT]}),
]
SomeSeconds = Annotated[
    Seconds,
    Field(ge=0, le=LONGEST),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0, "maximum": LONGEST}, _SECONDS_TEXT]}),
]
SomeMemory = Annotated[
    Size,
    Field(gt=0, le=MOST),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1, "maximum": MOST}, {"type": "string", "pattern": _SIZE}]}
    ),
]
Processors = Annotated[float, Field(gt=0, le=MOST), BeforeValidator(_is_number)]
Count = Annotated[int, Field(gt=0, le=MOST), BeforeValidator(_is_number)]


_ONE_OF: list[JsonValue] = [
    {"required": [name], "properties": {name: {"type": "string"}, other: {"type": "null"}}}
    for name, other in (("window_id", "service"), ("service", "window_id"))
]


def _example(body: dict[str, Any]) -> ConfigDict:
    """Strict about keys, and shows a body in the OpenAPI description."""
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [body]})


def _example_of_one(body: dict[str, Any]) -> ConfigDict:
    """The same for a body that names one window."""
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [body], "oneOf": _ONE_OF})


class Request(BaseModel):
    """A request; a key that is not known is an error."""

    model_config = ConfigDict(extra="forbid")


class Resources(Request):
    """Limits of a window. They are strict: what cannot be enforced refuses the window."""

    cpu: Processors | None = Field(default=None, description="processors; 0.5 is half of one core")
    memory: SomeMemory | None = Field(default=None, description="bytes, or text such as 256MB")
    iops: Count | None = Field(default=None, description="operations a second, for reading and for writing")
    read_iops: Count | None = None
    write_iops: Count | None = None
    pids: Count | None = Field(default=None, description="processes and threads")

    def limits(self) -> Limits:
        """As the windows know them."""
        return Limits(self.cpu, self.memory, self.read_iops or self.iops, self.write_iops or self.iops, self.pids)


class Open(Request):
    """Opens a service."""

    model_config = _example({"service": "auth-service", "ttl": "5m", "resources": {"cpu": 0.5, "memory": "256MB"}})

    service: str = Field(min_length=1)
    ttl: PositiveSeconds | None = Field(
        default=None, description="seconds, or text such as 5m; default: the service's, else 300"
    )
    hold: StrictBool = Field(default=False, description="stay open beyond the ttl until released")
    resources: Resources = Resources()
    min_remaining: SomeSeconds | None = Field(
        default=None, description="a window that is open with less left than this is extended to ttl"
    )
    wait: StrictBool = Field(default=True, description="answer when it is ready, not when it has begun")
    dry_run: StrictBool = Field(default=False, description="check everything, change nothing")


class OneWindow(Request):
    """Names a window by its id or by its service."""

    window_id: str | None = None
    service: str | None = None

    @model_validator(mode="after")
    def _one(self) -> "OneWindow":
        if (self.window_id is None) == (self.service is None):
            raise ValueError("name the window by exactly one of window_id and service")
        return self

    @property
    def name(self) -> str:
        """The one that was given."""
        return self.window_id or self.service or ""


class Close(OneWindow):
    """Closes a window."""

    model_config = _example_of_one({"service": "auth-service", "force": False})

    force: StrictBool = Field(default=False, description="at once, without grace")
    wait: StrictBool = Field(default=True, description="answer when it is closed")


class Hold(OneWindow):
    """Sets or releases the hold."""

    model_config = _example_of_one({"service": "auth-service", "hold": True})

    hold: StrictBool
    wait: StrictBool = Field(default=True, description="when the release closes it, answer when it is closed")


class Extend(OneWindow):
    """Gives a window more time."""

    model_config = _example_of_one({"service": "auth-service", "ttl": "10m"})

    ttl: PositiveSeconds = Field(description="seconds from now that it has at least")


class InjectFault(OneWindow):
    """Injects a fault into an open window, or takes it back."""

    model_config = _example_of_one({"service": "auth-service", "kind": "network_partition", "active": True})

    kind: Fault
    active: StrictBool = Field(description="whether the window is to have it")


class SoloMadre(Request):
    """Returns the cell to SOLO_MADRE."""

    model_config = _example({"dry_run": True})

    dry_run: StrictBool = Field(default=False, description="say what would be stopped, stop nothing")
    foreign: Literal["report", "stop"] | None = Field(
        default=None, description="what becomes of what is not ours; default: as madre is configured, else report"
    )


class Execute(Request):
    """Runs a matrix that is installed on the host."""

    model_config = _example({"matrix_id": "e2e", "evidence_path": "nightly", "throttle_profile": "low_power"})

    matrix_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="name of the matrix's folder")
    evidence_path: str = Field(default=".", pattern=_FOLDER, description="folder below the evidence root of tests")
    throttle_profile: Literal["low_power", "baseline", "stress"] = Field(
        default="low_power", description="one of the matrix's profiles"
    )
    engine: EngineName | None = Field(default=None, description="default: the engine of this madre")


class LegacyOpen(BaseModel):
    """The request of the older deployment; keys it does not know were ignored there and are here."""

    service: str = Field(min_length=1)
    ttl_sec: PositiveSeconds | None = None
    hold: StrictBool = False


class LegacyClose(OneWindow):
    """The request of the older deployment."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"oneOf": _ONE_OF})

    force: StrictBool = False


class UsageView(BaseModel):
    """What a window had used when it was last sampled; sizes are bytes.

    Percent is of one core: the mean since it was ready, and the most between two samples.
    """

    sampled_at: str
    cpu_s: float
    cpu_percent: float | None
    cpu_peak_percent: float | None
    memory_bytes: int
    memory_peak_bytes: int
    io_read_bytes: int | None
    io_write_bytes: int | None
    io_read_ops: int | None
    io_write_ops: int | None
    net_rx_bytes: int | None
    net_tx_bytes: int | None
    source: str

    @classmethod
    def of(cls, sample: Sample, percent: float | None) -> "UsageView":
        """From what the engine measured."""
        usage = sample.usage
        return cls(
            sampled_at=sample.at.iso(),
            cpu_s=round(usage.cpu_ns / 1e9, 6),
            cpu_percent=_rounded(percent),
            cpu_peak_percent=_rounded(sample.cpu_peak),
            memory_bytes=usage.memory,
            memory_peak_bytes=usage.memory_peak,
            io_read_bytes=usage.io_read_bytes,
            io_write_bytes=usage.io_write_bytes,
            io_read_ops=usage.io_read_ops,
            io_write_ops=usage.io_write_ops,
            net_rx_bytes=usage.net_rx_bytes,
            net_tx_bytes=usage.net_tx_bytes,
            source=usage.source,
        )


def _rounded(percent: float | None) -> float | None:
    return None if percent is None else round(percent, 3)


class WindowView(BaseModel):
    """A window. Times are ISO 8601, UTC."""

    window_id: str | None
    service: str
    generation: int | None = None
    cell: str
    state: str | None = None
    opened_at: str | None = None
    ready_at: str | None = None
    startup_ms: float | None = None
    expires_at: str | None = None
    remaining_s: float | None = None
    hold: StrictBool = False
    hold_until: str | None = None
    opened_by: str | None = None
    requested: bool = Field(default=True, description="somebody asked for it; otherwise it is open for others alone")
    depends_on: list[str] = Field(default=[], description="services that it needs")
    needed_by: list[str] = Field(default=[], description="services that need it now")
    resources: dict[str, Any] = {}
    not_enforced: list[str] = []
    endpoints: list[str] = []
    faults: list[str] = Field(default=[], description="what was done to it on purpose, and was not taken back")
    usage: UsageView | None = None
    closed_at: str | None = None
    reason: str | None = None
    detail: str | None = None
    open_s: float | None = None
    close_ms: float | None = None
    killed: bool | None = Field(default=None, description="it did not end by itself within its grace")
    grace_s: float | None = Field(default=None, description="between its stop signal and the kill")

    @classmethod
    def of(cls, window: Window, sample: Sample | None, now: Instant, needed_by: Sequence[str] = ()) -> "WindowView":
        """From the window as it is now."""
        done = window.closed
        return cls(
            window_id=window.window_id,
            service=window.service,
            generation=window.generation,
            cell=window.cell,
            state=window.state.value,
            opened_at=window.opened.iso(),
            ready_at=window.ready.iso() if window.ready else None,
            startup_ms=_ms(window.opened, window.ready),
            expires_at=latest(window.deadline, window.needed_until or window.deadline).iso(),
            remaining_s=0.0 if done else round(window.remaining(now), 3),
            hold=window.hold,
            hold_until=window.hold_until.iso() if window.hold_until else None,
            opened_by=window.opened_by,
            requested=window.requested,
            depends_on=list(window.depends_on),
            needed_by=list(needed_by),
            resources=window.limits.to_json(),
            not_enforced=list(window.not_enforced),
            endpoints=list(window.endpoints),
            faults=[fault.value for fault in window.faults],
            usage=UsageView.of(sample, window.cpu_percent(sample)) if sample else None,
            closed_at=done.iso() if done else None,
            reason=window.reason.value if window.reason else None,
            detail=window.detail or None,
            open_s=round(window.open_seconds(now), 3),
            close_ms=_ms(window.closing, done),
            killed=window.killed,
            grace_s=window.grace,
        )


class WindowOutcome(WindowView):
    """A window, and whether the call changed anything."""

    changed: bool


class FaultOutcome(WindowOutcome):
    """A window with its faults, and how it was seen that this one bites, or is gone."""

    proof: dict[str, str] = Field(description="what was looked at, and what was seen there")


class EngineView(BaseModel):
    """The engine, why it is this one, and what it can do."""

    name: str
    why: str
    capabilities: list[str]


class Status(BaseModel):
    """What is open, and whether only the core runs."""

    cell: str
    windows: list[WindowView]
    solo_madre: bool
    watchdog: bool = Field(description="whether a second enforcer is alive")
    gateway: bool | None = Field(description="whether the gateway answers madre; null where there is none")
    engine: EngineView
    usage_interval_s: float = Field(description="seconds between two samples of what windows use")
    checked_at: str
    closed: list[WindowView] | None = None


class StateEvent(BaseModel):
    """The present windows, as a stream of events begins."""

    number: int = Field(description="that of the newest event before it")
    event: Literal["state"] = "state"
    at: str
    windows: list[WindowView]


class WindowEvent(BaseModel):
    """Something that happened to a window."""

    number: int
    event: Kind
    at: str
    window: WindowView = Field(description="as it was right after; remaining_s and usage are those of when it is sent")


class Logs(BaseModel):
    """The last lines of a window's service."""

    window_id: str
    service: str
    lines: list[str]


class Item(BaseModel):
    """Something that ran."""

    what: str
    window_id: str | None = None
    service: str | None = None


class SoloMadreView(BaseModel):
    """What ran, what was stopped, and the proof."""

    solo_madre: bool
    changed: bool
    dry_run: bool
    checked_at: str
    core: list[str]
    running: list[Item] = Field(description="what ran before")
    left: list[Item] = Field(description="what of it still runs; in a dry run all of it")
    stopped: list[WindowView]
    foreign: list[Item] = Field(description="what is not ours and still runs")
    foreign_stopped: list[Item]
    took_ms: float


class Accepted(BaseModel):
    """A test that was accepted."""

    test_id: str
    state: Literal["accepted"] = "accepted"
    results: str = Field(description="path that answers what it has come to")
    evidence: str = Field(description="evidence root of its run")

    @classmethod
    def of(cls, job: Job) -> "Accepted":
        """From the job."""
        return cls(test_id=job.test_id, results=f"/api/v1/tests/results/{job.test_id}", evidence=str(job.evidence))


class CaseView(BaseModel):
    """A case that has its verdict."""

    case: str
    verdict: str = Field(description="passed, failed, flaky, skipped, aborted or leaked")
    message: str = Field(description="why it did not pass")
    attempts: int = Field(description="0: it never began")
    duration_s: float | None
    asserts: list[dict[str, Any]]
    metrics: dict[str, Any]

    @classmethod
    def of(cls, found: CaseVerdict) -> "CaseView":
        """From its evidence."""
        return cls(
            case=found.case,
            verdict=found.verdict,
            message=found.message,
            attempts=found.attempts,
            duration_s=found.duration,
            asserts=list(found.asserts),
            metrics=found.metrics,
        )


class TestView(BaseModel):
    """What a test has come to so far."""

    test_id: str
    state: State
    passed: bool | None = Field(description="null until it has ended")
    reason: str | None = Field(description="why it was aborted")
    matrix_id: str | None = Field(description="null, as all that was asked for, where madre did not start it")
    throttle_profile: str | None
    engine: str | None
    accepted_at: str | None
    accepted_by: str | None
    cancelled_by: str | None
    started_at: str | None
    ended_at: str | None
    evidence: str | None = Field(description="folder of its run; null until it has one")
    planned: list[str] = Field(description="ids of its cases")
    verdicts: dict[str, int] = Field(description="how many cases so far have each verdict")
    cases: list[CaseView] = Field(description="those that have their verdict")
    left: list[str] = Field(description="what could not be removed at its end")

    @classmethod
    def of(cls, result: Result) -> "TestView":
        """From state file and evidence."""
        job, run = result.job, result.run
        verdicts = run.verdicts if run else ()
        return cls(
            test_id=result.test_id,
            state=result.state,
            passed=result.passed,
            reason=result.reason,
            matrix_id=job.matrix if job else None,
            throttle_profile=job.profile if job else None,
            engine=job.engine if job else None,
            accepted_at=job.accepted.iso() if job else None,
            accepted_by=job.accepted_by if job else None,
            cancelled_by=job.cancelled_by if job else None,
            started_at=_iso(run.started_ns) if run else None,
            ended_at=_iso(run.ended_ns) if run else None,
            evidence=str(run.folder) if run else None,
            planned=list(run.planned) if run else [],
            verdicts=dict(Counter(item.verdict for item in verdicts)),
            cases=[CaseView.of(item) for item in verdicts],
            left=list(run.left) if run else [],
        )


class Health(BaseModel):
    """Liveness of the entry."""

    status: str = "ok"


class Ask(Request):
    """A question of an operator."""

    message: str = Field(max_length=4000)
    session_id: str = Field(default="", max_length=200)


class Told(BaseModel):
    """An answer to an operator."""

    response: str = Field(description="what the language service says, or the facts")
    facts: str = Field(description="what madre found out by itself")
    intent: str = Field(description="which question was understood")
    session_id: str = Field(description="the one that was sent, or a new one")
    degraded: bool = Field(description="no language service is open, or it did not answer")
    fallback_source: Literal["local_llm_degraded"] | None = Field(description="null when a language service answered")
    answered_at: str

    @classmethod
    def of(cls, reply: Reply, session_id: str, now: Instant) -> "Told":
        """From what the operator is answered."""
        degraded = reply.said is None
        return cls(
            response=reply.said or reply.facts,
            facts=reply.facts,
            intent=reply.intent,
            session_id=session_id,
            degraded=degraded,
            fallback_source="local_llm_degraded" if degraded else None,
            answered_at=now.iso(),
        )


class LegacyWindow(BaseModel):
    """The answer of the older deployment."""

    window_id: str
    deadline_timestamp: float
    closed_at: str | None = None
    duration_sec: float | None = None


def legacy(window: Window, now: Instant) -> LegacyWindow:
    """A window as the older deployment described it."""
    return LegacyWindow(
        window_id=window.window_id,
        deadline_timestamp=window.deadline.wall_ns / 1e9,
        closed_at=iso(window.closed.wall_ns) if window.closed else None,
        duration_sec=round(window.open_seconds(now), 3) if window.closed else None,
    )


def _iso(wall_ns: int | None) -> str | None:
    return None if wall_ns is None else iso(wall_ns)


def _ms(start: Instant | None, end: Instant | None) -> float | None:
    return round(start.seconds_until(end) * 1000, 3) if start and end else None
