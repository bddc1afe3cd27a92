"""Reads a matrix and checks all of it before anything starts."""

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from vx11 import yamlfile
from vx11.catalogue import allowlist, compose
from vx11.catalogue.service import Model
from vx11.conductor import actions, compiler, expected
from vx11.conductor.actions import Read, Waits
from vx11.conductor.collection import Collection as AnsibleCollection
from vx11.conductor.names import MEASURED
from vx11.engines.port import CAPABILITIES
from vx11.errors import InputError, Problem
from vx11.units import Seconds

BASE_ASSERTS = ("system_returns_to_solo_madre", "tentaculo_link_available", "no_resource_leaks")
DEFAULT_TIMEOUT = 300.0
CATALOGUE, ALLOWLIST, CASES, SUITES = "catalogue.yml", "allowlist.yml", "cases", "suites"
MAX_RETRIES = 10
_CASE_ID = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
# Stands for the id of a case whose own cannot be used, while the rest of it is looked at.
_UNNAMED = "unnamed"


class CaseEntry(Model):
    """One case as the file has it."""

    id: Annotated[str, Field(pattern=_CASE_ID)]
    description: str = ""
    services: tuple[str, ...] = ()
    dependencies: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    actions: tuple[Any, ...] = ()
    asserts: tuple[Any, ...] = ()
    metrics: tuple[str, ...] = ()
    playbook: str | None = None
    suite: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")] | None = None
    timeout: Annotated[Seconds, Field(gt=0)] = DEFAULT_TIMEOUT
    priority: int = 0
    exclusive: bool = False
    requires: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    retries: Annotated[int, Field(ge=0, le=MAX_RETRIES)] = 0


class Body(Model):
    """`test_matrix`. Without `cases` there is one file a case in the folder `cases` beside it."""

    base_asserts: tuple[str, ...] = BASE_ASSERTS
    cases: tuple[CaseEntry, ...] | None = None


class Document(Model):
    """The file."""

    test_matrix: Body


@dataclass(frozen=True)
class Case:
    """One case, checked.

    Attributes:
        services: all that it may open.
        dependencies: what its services need beyond what the catalogue says.
        actions: what it does; without steps where it has a playbook alone.
        playbook: the file to run, None for one that is compiled from the actions.
        asserts: name → what it expects, base asserts included.
        timeout: seconds its playbook may take.
        priority: those with more are started before others.
        exclusive: nothing else may run at the same time.
        requires: capabilities the engine must have, else the case is skipped.
        retries: how often it is tried again when it failed.
    """

    id: str
    description: str
    services: tuple[str, ...]
    dependencies: Mapping[str, tuple[str, ...]]
    actions: Read
    playbook: Path | None
    asserts: Mapping[str, expected.Expected]
    metrics: tuple[str, ...]
    timeout: float
    priority: int
    exclusive: bool
    requires: tuple[str, ...]
    tags: tuple[str, ...]
    retries: int

    def compiled(self, scale: float = 1.0) -> str:
        """A playbook that does what its actions say."""
        return compiler.playbook(self.id, self.description, self.actions.scaled(scale))

    def waits(self) -> float:
        """Seconds that it waits by its actions; what it takes at least."""
        return sum(step.seconds for step in self.actions.steps if isinstance(step, Waits))


@dataclass(frozen=True)
class Matrix:
    """A test plan: its cases, and the catalogue and allowlist of its bundle."""

    path: Path
    cases: tuple[Case, ...]
    catalogue: compose.Catalogue
    allowlist: allowlist.Allowlist

    @property
    def folder(self) -> Path:
        """The bundle."""
        return self.path.parent

    def chosen(self, ids: Collection[str], tags: Collection[str] = ()) -> "Matrix":
        """Only these cases, and those with one of these tags, in the order of the file; all of them for none.

        Raises:
            InputError: there is no such case.
        """
        known = [case.id for case in self.cases]
        unknown = [name for name in ids if name not in known]
        if unknown:
            message = "there is no case {}; there are: {}"
            raise InputError(Problem(message.format(name, ", ".join(known)), self.path) for name in unknown)
        known_tags = {tag for case in self.cases for tag in case.tags}
        if missing := sorted(set(tags) - known_tags):
            message = "no case has the tag {}; there are: {}"
            raise InputError(
                Problem(message.format(tag, ", ".join(sorted(known_tags)) or "none"), self.path) for tag in missing
            )
        every = not (ids or tags)
        cases = tuple(case for case in self.cases if every or case.id in ids or set(case.tags) & set(tags))
        return Matrix(self.path, cases, self.catalogue, self.allowlist)


def load(path: Path, collection: AnsibleCollection) -> Matrix:
    """Reads a matrix with its bundle.

    Args:
        path: the file, or a folder that has `matrix.yml`.
        collection: where playbooks given by FQCN are found.

    Raises:
        InputError: every problem of matrix, catalogue and allowlist, each with its line.
    """
    if path.is_dir():
        path = path / "matrix.yml"
    path = path.resolve()
    document = yamlfile.load(path)
    problems: list[Problem] = []
    catalogue = _collect(problems, lambda: compose.load(path.parent / CATALOGUE))
    allowed = _collect(problems, lambda: _allowlist(path.parent))
    if catalogue and allowed:
        problems += _stale(allowed, catalogue)
    own = _Source(path, document, ("test_matrix",))
    base, raw = _body(own, problems)
    entries = [found for source, case in raw if (found := _entry(source, case, problems))]
    problems += _twice(entries)
    cases = [
        _CaseReader(source, path.parent, catalogue, collection, problems).case(entry, base) for source, entry in entries
    ]
    if problems or catalogue is None or allowed is None:
        raise InputError(sorted(problems, key=_place))
    return Matrix(path, tuple(cases), catalogue, allowed)


def _collect(problems: list[Problem], read: Any) -> Any:
    try:
        return read()
    except InputError as error:
        problems += error.problems
        return None


def _allowlist(folder: Path) -> allowlist.Allowlist:
    path = folder / ALLOWLIST
    if not path.exists():
        command = f"vx11 allowlist update --catalogue {folder / CATALOGUE} --allowlist {path}"
        raise InputError.of(f"is not there, so nothing may be opened; look at the catalogue, then run: {command}", path)
    return allowlist.load(path)


def _place(problem: Problem) -> tuple[str, int]:
    """Problems are told as a reader of the files comes to them."""
    return str(problem.path or ""), problem.line or 0


def _stale(allowed: allowlist.Allowlist, catalogue: compose.Catalogue) -> Iterator[Problem]:
    for name, found in allowlist.differences(allowed, catalogue).items():
        if found.what != "not allowed":
            changes = "".join(f" ({change})" for change in found.changes)
            message = f"{name}: its entry is {found.what}{changes}; look at it, then run: vx11 allowlist update"
            yield Problem(f"{message} --catalogue {catalogue.path} --allowlist {allowed.path}", allowed.path)


@dataclass(frozen=True)
class _Source:
    """A place in a file, below which the problems of something lie.

    Attributes:
        whole: False of a case of which parts were left out, since they are wrong.
    """

    path: Path
    document: Any
    where: tuple[Any, ...] = ()
    whole: bool = True

    def at(self, *location: Any) -> "_Source":
        """A place below it."""
        return _Source(self.path, self.document, (*self.where, *location))

    def problem(self, message: str, *location: Any) -> Problem:
        """What is wrong at a place below it."""
        where = (*self.where, *location)
        said = f"{yamlfile.dotted(where)}: {message}" if where else message
        return Problem(said, self.path, yamlfile.line_of(self.document, where))


_Raw = tuple[_Source, Any]


def _body(own: _Source, problems: list[Problem]) -> tuple[tuple[str, ...], Sequence[_Raw]]:
    """The base asserts and the cases, which nobody has looked into yet; none where it is not known what they are."""
    frame, cases = _without_cases(own.document)
    try:
        body = Document.model_validate(frame).test_matrix
    except ValidationError as error:
        problems += yamlfile.problems(error, own.document, own.path)
        return BASE_ASSERTS, _numbered(own, cases or ())
    problems += _base_problems(own, body)
    if cases is None:
        return body.base_asserts, _case_files(own.path.parent / CASES, own, problems)
    if not cases:
        problems.append(own.problem("there is no case in it", "cases"))
    return body.base_asserts, _numbered(own, cases)


def _without_cases(document: Any) -> tuple[Any, Sequence[Any] | None]:
    """A document without its cases, which are looked at one by one, and these; None where there is no list of them."""
    inner = document.get("test_matrix") if isinstance(document, dict) else None
    cases = inner.get("cases") if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or not isinstance(cases, list):
        return document, None
    return {**document, "test_matrix": {key: value for key, value in inner.items() if key != "cases"}}, cases


def _numbered(own: _Source, cases: Sequence[Any]) -> Sequence[_Raw]:
    return [(own.at("cases", index), case) for index, case in enumerate(cases)]


def _base_problems(own: _Source, body: Body) -> Iterator[Problem]:
    for index, name in enumerate(body.base_asserts):
        if name not in BASE_ASSERTS:
            known = ", ".join(BASE_ASSERTS)
            yield own.problem(f"{name} is not a base assert; there are: {known}", "base_asserts", index)


def _case_files(folder: Path, own: _Source, problems: list[Problem]) -> Sequence[_Raw]:
    """One file a case, in the order of their names."""
    found = []
    paths = sorted(folder.glob("*.yml"))
    if not paths:
        problems.append(own.problem(f"there are neither cases in it nor files in {folder}"))
    for path in paths:
        try:
            document = yamlfile.load(path)
            found.append((_Source(path, document), document))
        except InputError as error:
            problems += error.problems
    return found


def _entry(source: _Source, raw: Any, problems: list[Problem]) -> tuple[_Source, CaseEntry] | None:
    """One case; of one that is wrong in parts, the other parts, so that these are looked at too."""
    try:
        return source, CaseEntry.model_validate(raw)
    except ValidationError as error:
        problems += yamlfile.problems(error, source.document, source.path, source.where)
        wrong = {item["loc"][0] for item in error.errors() if item["loc"]}
    if not isinstance(raw, dict):
        return None
    sound = {key: value for key, value in raw.items() if key not in wrong}
    return replace(source, whole=False), CaseEntry.model_validate({"id": _UNNAMED, **sound})


def _twice(entries: Sequence[tuple[_Source, CaseEntry]]) -> Iterator[Problem]:
    seen: set[str] = set()
    for source, entry in entries:
        if entry.id in seen and entry.id != _UNNAMED:
            yield source.problem(f"the id {entry.id} stands twice", "id")
        seen.add(entry.id)


@dataclass(frozen=True)
class _CaseReader:
    """Checks one case; what is wrong is added to `problems`."""

    source: _Source
    folder: Path
    catalogue: compose.Catalogue | None
    collection: AnsibleCollection
    problems: list[Problem]

    def case(self, entry: CaseEntry, base: tuple[str, ...]) -> Case:
        self._know_services(enumerate(entry.services), "services")
        for name, needed in entry.dependencies.items():
            self._know_services([(name, name), *((name, other) for other in needed)], "dependencies")
        actions = self._actions(entry)
        for number, name in enumerate(entry.requires):
            if name not in CAPABILITIES:
                self._wrong(f"{name} is no capability; there are: {', '.join(CAPABILITIES)}", "requires", number)
        asserts = {name: expected.read(name, True) for name in base}
        opened = [name for _, name in actions.named]
        return Case(
            id=entry.id,
            description=entry.description,
            services=tuple(dict.fromkeys([*entry.services, *opened])),
            dependencies=entry.dependencies,
            actions=actions,
            playbook=self._playbook(entry),
            asserts=asserts | self._asserts(entry, observes=bool(entry.playbook or actions.suites)),
            metrics=entry.metrics,
            timeout=entry.timeout,
            priority=entry.priority,
            exclusive=entry.exclusive,
            requires=tuple(sorted({*entry.requires, *actions.requires()})),
            tags=entry.tags,
            retries=entry.retries,
        )

    def _wrong(self, message: str, *location: Any) -> None:
        self.problems.append(self.source.problem(message, *location))

    def _know_services(self, names: Iterable[tuple[Any, str]], *location: Any) -> None:
        for at, name in names:
            if self.catalogue and name not in self.catalogue.services:
                self._wrong(f"the catalogue has no service {name}", *location, at)

    def _actions(self, entry: CaseEntry) -> Read:
        found = actions.read(entry.actions, entry.suite or "")
        for wrong in found.wrong:
            self._wrong(wrong.message, "actions", *wrong.at)
        for at, name in found.named:
            self._know_services([(at[-1], name)], "actions", *at[:-1])
        suites = [(("actions", *at), name) for at, name in found.suites]
        for where, name in [*suites, *([(("suite",), entry.suite)] if entry.suite else [])]:
            if not (self.folder / SUITES / f"{name}.py").is_file():
                self._wrong(f"the suite {name} was not found at {self.folder / SUITES / f'{name}.py'}", *where)
        return found

    def _playbook(self, entry: CaseEntry) -> Path | None:
        """A path beside the matrix, or a playbook of a collection by its FQCN; None where actions say what to do."""
        if entry.playbook is None:
            if self.source.whole and not (entry.actions or entry.suite):
                self._wrong("the case does nothing: it has neither actions, nor a suite, nor a playbook")
            return None
        playbook = self.collection.playbook(entry.playbook) or (self.folder / entry.playbook).resolve()
        if not playbook.is_file():
            self._wrong(f"the playbook {entry.playbook} was not found at {playbook}", "playbook")
        return playbook

    def _asserts(self, entry: CaseEntry, *, observes: bool) -> dict[str, expected.Expected]:
        """Its own asserts.

        Args:
            observes: it has a playbook or a suite, which may observe whatever they like.
        """
        own: dict[str, expected.Expected] = {}
        for number, item in enumerate(entry.asserts):
            found = self._one_assert(item, ("asserts", number))
            for name in found:
                if not observes and name not in MEASURED:
                    near = difflib.get_close_matches(name, MEASURED, 1)
                    hint = f"; did you mean {near[0]}?" if near else ", and the case has no suite that could"
                    self._wrong(f"nothing observes {name}{hint}", "asserts", number, name)
                if name in own:
                    self._wrong(f"{name} stands twice; only one of the two would be judged", "asserts", number, name)
            own |= found
        return own

    def _one_assert(self, item: Any, at: tuple[Any, ...]) -> dict[str, expected.Expected]:
        if not isinstance(item, dict) or len(item) != 1:
            self._wrong("an assert is a map of one name to what it expects, such as: window_auto_closed: true", *at)
            return {}
        ((name, raw),) = item.items()
        if not _NAME.fullmatch(str(name)):
            self._wrong(f"{name} is not a name; use a-z, 0-9 and _", *at)
            return {}
        try:
            return {name: expected.read(name, raw)}
        except ValueError as error:
            self._wrong(str(error), *at, name)
            return {}
