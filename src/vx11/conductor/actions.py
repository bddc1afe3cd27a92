"""The actions of a case, as matrices write them, and what they come to, step by step.

Some actions say something about others: `set_throttle` about the windows opened after it, `expect_failure` and
`interrupt` about the suite before it. A step says all of it in one place.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from vx11 import yamlfile
from vx11.catalogue.service import Model
from vx11.units import Seconds, Size

Fault = Literal["network_partition", "pause", "kill"]
MID_OPERATION = "mid-operation"
_OPEN_CALL = re.compile(r"open_window\s*\(\s*([\w.-]+)\s*\)")
_CLOSE_CALL = re.compile(
    rf"close_window\s*(?:\(\s*(?!{MID_OPERATION})([\w.-]+)\s*\)\s*)?(?:\(\s*{MID_OPERATION}\s*\))?"
)


class Resources(Model):
    """Limits of a window."""

    cpu: Annotated[float, Field(gt=0)] | None = None
    memory: Annotated[Size, Field(gt=0)] | None = None
    iops: Annotated[int, Field(gt=0)] | None = None
    read_iops: Annotated[int, Field(gt=0)] | None = None
    write_iops: Annotated[int, Field(gt=0)] | None = None
    pids: Annotated[int, Field(gt=0)] | None = None

    def given(self) -> dict[str, Any]:
        """Those that are set."""
        return self.model_dump(exclude_none=True)


class Params(Model):
    """How a window is opened."""

    ttl: Annotated[Seconds, Field(gt=0)] | None = None
    hold: bool = False
    resources: Resources = Resources()


@dataclass(frozen=True)
class Opens:
    """Opens services, all at the same time.

    Attributes:
        attempt: being refused is an outcome to record, not an error.
    """

    services: tuple[str, ...]
    params: Params = field(default_factory=Params)
    attempt: bool = False


@dataclass(frozen=True)
class Closes:
    """Closes a window."""

    service: str
    force: bool = False


@dataclass(frozen=True)
class Releases:
    """Releases a hold."""

    service: str


@dataclass(frozen=True)
class RunsSuite:
    """Runs a suite.

    Attributes:
        steps: its named steps, in order; none for all of it.
        interrupt: the service whose window is closed when the suite is in the middle of its work.
        expect_failure: it is meant to fail.
        after: the action after which only the tests marked for it are run.
    """

    name: str
    steps: tuple[str, ...] = ()
    interrupt: str = ""
    expect_failure: bool = False
    after: str = ""


@dataclass(frozen=True)
class Breaks:
    """Forces a failure on the windows that are open."""

    kind: str
    services: tuple[str, ...]


@dataclass(frozen=True)
class Waits:
    """Lets time pass."""

    seconds: float


At = tuple[Any, ...]
Step = Opens | Closes | Releases | RunsSuite | Breaks | Waits


@dataclass(frozen=True)
class Wrong:
    """What is wrong with an action: where below the list of actions, and why."""

    at: At
    message: str


@dataclass(frozen=True)
class Read:
    """Actions, read.

    Attributes:
        wrong: what is wrong with them.
        named: each service that they name, other than by an attempt, with where.
        suites: each suite, with where.
    """

    steps: tuple[Step, ...]
    wrong: tuple[Wrong, ...]
    named: tuple[tuple[At, str], ...]
    suites: tuple[tuple[At, str], ...]

    def scaled(self, factor: float) -> tuple[Step, ...]:
        """The steps with all times, waits and times to live alike, so many times as long."""
        return tuple(_scaled(step, factor) for step in self.steps)

    def requires(self) -> set[str]:
        """What an engine must be able to do for them."""
        needed: set[str] = set()
        for step in self.steps:
            if isinstance(step, Breaks):
                needed |= _NEEDED_FOR_FAULT[step.kind]
            elif isinstance(step, Opens):
                needed |= {_NEEDED_FOR_LIMIT[name] for name in step.params.resources.given()}
        return needed


_NEEDED_FOR_FAULT: Mapping[str, set[str]] = {"network_partition": {"partition"}, "pause": {"pause"}, "kill": set()}
_NEEDED_FOR_LIMIT: Mapping[str, str] = {
    "cpu": "limits.cpu",
    "memory": "limits.memory",
    "iops": "limits.iops",
    "read_iops": "limits.iops",
    "write_iops": "limits.iops",
    "pids": "limits.pids",
}


def _scaled(step: Step, factor: float) -> Step:
    if isinstance(step, Waits):
        return Waits(step.seconds * factor)
    if isinstance(step, Opens) and step.params.ttl is not None:
        return replace(step, params=step.params.model_copy(update={"ttl": step.params.ttl * factor}))
    return step


def read(actions: Sequence[Any], suite: str = "") -> Read:
    """Reads the actions of a case, all of them, whatever is wrong with some.

    Args:
        suite: the case's own suite, which is run last unless an action runs one.
    """
    reader = _Reader()
    for number, action in enumerate(actions):
        reader.action(number, action)
    if suite and not any(isinstance(step, RunsSuite) for step in reader.steps):
        reader.steps.append(RunsSuite(suite))
    return Read(tuple(reader.steps), tuple(reader.wrong), tuple(reader.named), tuple(reader.suites))


class _Reader:
    """Reads one action after the other."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.wrong: list[Wrong] = []
        self.named: list[tuple[At, str]] = []
        self.suites: list[tuple[At, str]] = []
        self._throttle: dict[str, Any] = {}
        self._open: list[str] = []

    def action(self, number: int, action: Any) -> None:
        """One item of the list: a map whose first key is the verb."""
        if not isinstance(action, Mapping):
            self._is_wrong((number,), f"{action!r} is not an action; write a map, such as: open_window: web")
            return
        verb = str(next(iter(action), ""))
        known = VERBS.get(verb)
        if known is None:
            named = verb or "an empty action"
            self._is_wrong((number,), f"{named} is not an action; there are: {', '.join(VERBS)}")
            return
        others = set(action) - {verb}
        for key in sorted(map(str, others - known.keys)):
            allowed = f"; beside it there may be: {', '.join(sorted(known.keys))}" if known.keys else ""
            self._is_wrong((number, key), f"{verb} has no {key}{allowed}")
        try:
            argument = known.argument.validate_python(action[verb])
        except ValidationError as error:
            self._invalid((number, verb), error)
            return
        known.read(self, number, argument, action)

    def open_window(self, number: int, services: list[str], action: Mapping[str, Any]) -> None:
        self._opens(number, tuple(services), action, attempt=False)

    def attempt_open(self, number: int, service: str, action: Mapping[str, Any]) -> None:
        self._opens(number, (service,), action, attempt=True)

    def parallel(self, number: int, items: list[dict[str, str]], _: Mapping[str, Any]) -> None:
        names = []
        for position, item in enumerate(items):
            at = (number, "parallel", position)
            call = _OPEN_CALL.fullmatch(next(iter(item.values()), "").strip()) if len(item) == 1 else None
            if call is None:
                self._is_wrong(at, "it is not one label with open_window(SERVICE), such as first: open_window(web)")
            else:
                names.append(call[1])
        if names:
            self._opens(number, tuple(names), {}, attempt=False)

    def _opens(self, number: int, services: tuple[str, ...], action: Mapping[str, Any], *, attempt: bool) -> None:
        params = self._params(number, action)
        if not attempt:
            self.named += [((number,), service) for service in services]
        for service in services:
            if services.count(service) > 1:
                self._is_wrong((number,), f"{service} stands twice; a service has one window")
                return
        if params is None:
            return
        resources = Resources(**(self._throttle | params.resources.given()))
        self.steps.append(Opens(services, params.model_copy(update={"resources": resources}), attempt))
        if not attempt:
            self._open += [service for service in services if service not in self._open]

    def _params(self, number: int, action: Mapping[str, Any]) -> Params | None:
        try:
            return Params.model_validate(action.get("params") or {})
        except ValidationError as error:
            self._invalid((number, "params"), error)
            return None

    def close_window(self, number: int, service: str, action: Mapping[str, Any]) -> None:
        force = action.get("force", False)
        if not isinstance(force, bool):
            self._is_wrong((number, "force"), f"force is {force!r}, not true or false")
        self.named.append(((number,), service))
        self._open = [name for name in self._open if name != service]
        self.steps.append(Closes(service, force is True))

    def release_hold(self, number: int, service: str, _: Mapping[str, Any]) -> None:
        self.named.append(((number,), service))
        self.steps.append(Releases(service))

    def set_throttle(self, number: int, resources: Resources, _: Mapping[str, Any]) -> None:
        self._throttle = resources.given()

    def e2e_test(self, number: int, name: str, action: Mapping[str, Any]) -> None:
        steps = action.get("steps", [])
        if not (isinstance(steps, list) and all(isinstance(step, str) for step in steps)):
            self._is_wrong((number, "steps"), "steps is not a list of names")
            steps = []
        self.suites.append(((number, "e2e_test"), name))
        self.steps.append(RunsSuite(name, tuple(steps)))

    def interrupt(self, number: int, what: str, _: Mapping[str, Any]) -> None:
        call = _CLOSE_CALL.fullmatch(what.strip())
        suite = self._suite_before(number, "interrupt")
        if call is None:
            message = f"{what!r} is not close_window ({MID_OPERATION}) or close_window(SERVICE)"
            self._is_wrong((number, "interrupt"), message)
            return
        if call[1]:
            self.named.append(((number,), call[1]))
        elif len(self._open) != 1:
            opened = ", ".join(self._open) or "none"
            message = f"it has to say which window, as in close_window(SERVICE): there are open {opened}"
            self._is_wrong((number, "interrupt"), message)
            return
        service = call[1] or self._open[0]
        if suite:
            self.steps[-1] = replace(suite, interrupt=service)
            self._open = [name for name in self._open if name != service]

    def expect_failure(self, number: int, expected: bool, _: Mapping[str, Any]) -> None:
        suite = self._suite_before(number, "expect_failure")
        if suite:
            self.steps[-1] = replace(suite, expect_failure=expected)

    def _suite_before(self, number: int, verb: str) -> RunsSuite | None:
        before = self.steps[-1] if self.steps else None
        if isinstance(before, RunsSuite):
            return before
        self._is_wrong((number, verb), f"{verb} is about the suite before it, and there is no e2e_test right before it")
        return None

    def force_failure(self, number: int, kind: str, _: Mapping[str, Any]) -> None:
        if not self._open:
            self._is_wrong((number, "force_failure"), "no window is open that could fail")
            return
        self.steps.append(Breaks(kind, tuple(self._open)))
        suites = [step for step in self.steps if isinstance(step, RunsSuite)]
        if suites:
            self.steps.append(RunsSuite(suites[-1].name, after="force_failure"))

    def wait(self, number: int, seconds: float, _: Mapping[str, Any]) -> None:
        self.steps.append(Waits(seconds))

    def _is_wrong(self, at: At, message: str) -> None:
        self.wrong.append(Wrong(at, message))

    def _invalid(self, at: At, error: ValidationError) -> None:
        for problem in error.errors(include_url=False):
            self._is_wrong((*at, *problem["loc"]), yamlfile.sentence(problem))


@dataclass(frozen=True)
class _Verb:
    argument: TypeAdapter[Any]
    read: Callable[[_Reader, int, Any, Mapping[str, Any]], None]
    keys: frozenset[str] = frozenset()


def _verb(argument: Any, read: Callable[..., None], *keys: str) -> _Verb:
    return _Verb(TypeAdapter(argument), read, frozenset(keys))


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


_Name = Annotated[str, Field(min_length=1)]
_Names = Annotated[list[_Name], BeforeValidator(_listed), Field(min_length=1)]
VERBS: Mapping[str, _Verb] = {
    "open_window": _verb(_Names, _Reader.open_window, "params"),
    "attempt_open": _verb(_Name, _Reader.attempt_open, "params"),
    "close_window": _verb(_Name, _Reader.close_window, "force"),
    "release_hold": _verb(_Name, _Reader.release_hold),
    "set_throttle": _verb(Resources, _Reader.set_throttle),
    "e2e_test": _verb(Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")], _Reader.e2e_test, "steps"),
    "interrupt": _verb(_Name, _Reader.interrupt),
    "force_failure": _verb(Fault, _Reader.force_failure),
    "expect_failure": _verb(bool, _Reader.expect_failure),
    "wait": _verb(Seconds, _Reader.wait),
    "parallel": _verb(Annotated[list[dict[str, str]], Field(min_length=1)], _Reader.parallel),
}
