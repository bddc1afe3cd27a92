"""What is known of a case that failed, as plain data; the conductor gathers it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Assert:
    """A judged assert.

    Attributes:
        expected: as the matrix says it, such as `< 100`.
        observed: as text with its unit, None when nothing was observed.
        why: what is wrong, empty when it holds.
    """

    name: str
    expected: str
    observed: str | None
    holds: bool
    why: str = ""


@dataclass(frozen=True)
class Call:
    """A call of a module.

    Attributes:
        args: its options.
        begun_ns, ended_ns: wall time since the epoch.
        message: why it failed.
        result: what it returned; `problem` is madre's refusal.
        where: file and line, below the folder of the try.
    """

    module: str
    args: Json
    begun_ns: int
    ended_ns: int
    failed: bool
    message: str = ""
    result: Json = field(default_factory=dict)
    where: str = "steps.jsonl"


@dataclass(frozen=True)
class Request:
    """A request of a suite to a window.

    Attributes:
        status: None when there was no answer.
        error: why there was none, empty when there was one.
        ended_ns: wall time since the epoch.
        where: file and line, below the folder of the try.
    """

    suite: str
    url: str
    status: int | None
    error: str
    ended_ns: int
    where: str


@dataclass(frozen=True)
class FailedTest:
    """A test of a suite that failed.

    Attributes:
        message: pytest's one line.
        traceback: all that pytest says of it.
        ended_ns: wall time since the epoch, None when it is not known.
        where: file, below the folder of the try.
    """

    suite: str
    name: str
    message: str
    traceback: str = ""
    ended_ns: int | None = None
    where: str = "junit.xml"


@dataclass(frozen=True)
class Service:
    """A service of the case, as the catalogue has it.

    Attributes:
        limits: those it states: `cpu` in processors, `memory` in bytes, `read_iops`, `write_iops`, `pids`.
        ready_timeout: seconds.
        program: the words that start it.
        needed_by: services that depend on it.
        neighbours: services whose addresses it gets.
        max_ttl: seconds.
    """

    name: str
    limits: Json = field(default_factory=dict)
    ready_timeout: float = 10.0
    program: Sequence[str] = ()
    needed_by: Sequence[str] = ()
    neighbours: Sequence[str] = ()
    max_ttl: float = 3600.0


@dataclass(frozen=True)
class OtherCase:
    """Another case of the run that has its verdict."""

    case: str
    verdict: str
    message: str
    services: Sequence[str]


@dataclass(frozen=True)
class Past:
    """What earlier runs in the same evidence root show.

    Attributes:
        runs: how many of them had this case.
        figures: assert or metric → its values in tries of this case that passed.
        startups: service → milliseconds until it was ready, in tries of any case.
    """

    runs: int = 0
    figures: Mapping[str, Sequence[float]] = field(default_factory=dict)
    startups: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Explained:
    """A failure that has its patch intent already.

    Attributes:
        intent: its id.
        signature: what was suspected and by which sign, the same for the same bug.
        at: when it was detected, ISO 8601.
    """

    intent: str
    test_id: str
    case: str
    signature: str
    at: str


@dataclass(frozen=True)
class Revision:
    """Where the bundle stands in git.

    Attributes:
        commit: its full name.
        changed: paths, from the repository's root, that differ from it.
    """

    root: Path
    commit: str
    changed: Sequence[str] = ()


@dataclass(frozen=True)
class CleanUp:
    """What the return to SOLO_MADRE showed.

    Attributes:
        entry_answers: whether the entry answered before it.
        leaked: what was left.
        seconds: how long it took.
    """

    solo_madre: bool
    entry_answers: bool
    leaked: Sequence[str] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Failure:
    """All of it.

    Attributes:
        test_id: of the run.
        judged_ns: when it was judged, wall time since the epoch.
        message: the verdict's.
        play_failure: why the playbook or a suite failed, empty when none did.
        expected: whether the matrix says that it fails.
        late: whether only the clean-up showed it.
        windows: the case's, as madre's API describes them.
        logs: service → the last lines that it wrote; they are kept as `logs/<service>.log` of the try.
        records: madre's evidence of the case.
        requests: of suites to windows.
        samples: looks at the windows while the playbook ran, as `usage.jsonl` of the try has them.
        past: earlier runs.
        explained: failures of this run and of earlier ones that have their intents, the oldest first.
        evidence: the folder of the try.
        matrix: its file; catalogue and allowlist lie beside it.
        playbook: the case's own; None for one that is compiled from its actions.
        revision: None when the bundle is in no git repository.
    """

    test_id: str
    case: str
    description: str
    attempt: int
    version: str
    judged_ns: int
    message: str
    evidence: Path
    matrix: Path
    playbook: Path | None = None
    play_failure: str = ""
    expected: bool = False
    late: bool = False
    asserts: Sequence[Assert] = ()
    calls: Sequence[Call] = ()
    tests: Sequence[FailedTest] = ()
    windows: Sequence[Json] = ()
    logs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    records: Sequence[Json] = ()
    requests: Sequence[Request] = ()
    samples: Sequence[Json] = ()
    past: Past = Past()
    explained: Sequence[Explained] = ()
    services: Sequence[Service] = ()
    others: Sequence[OtherCase] = ()
    revision: Revision | None = None
    clean_up: CleanUp | None = None

    @property
    def bundle(self) -> Path:
        """The folder of the matrix."""
        return self.matrix.parent

    @property
    def wrong(self) -> list[Assert]:
        """The asserts that do not hold."""
        return [item for item in self.asserts if not item.holds]

    def service(self, name: str) -> Service:
        """A service of the case; one that the catalogue does not have has nothing but its name."""
        return next((item for item in self.services if item.name == name), Service(name))
