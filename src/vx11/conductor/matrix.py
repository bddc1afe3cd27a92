"""Reads a matrix and checks all of it before anything starts."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from vx11 import yamlfile
from vx11.catalogue import allowlist, compose
from vx11.catalogue.service import Model
from vx11.conductor import expected
from vx11.conductor.collection import Collection as AnsibleCollection
from vx11.engines.port import CAPABILITIES
from vx11.errors import InputError, Problem
from vx11.units import Seconds

VERBS = (
    "open_window",
    "attempt_open",
    "close_window",
    "release_hold",
    "set_throttle",
    "e2e_test",
    "interrupt",
    "force_failure",
    "expect_failure",
    "wait",
    "parallel",
)
BASE_ASSERTS = ("system_returns_to_solo_madre", "tentaculo_link_available", "no_resource_leaks")
DEFAULT_TIMEOUT = 300.0
CATALOGUE, ALLOWLIST = "catalogue.yml", "allowlist.yml"
_CASE_ID = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class CaseEntry(Model):
    """One case as the file has it."""

    id: Annotated[str, Field(pattern=_CASE_ID)]
    description: str = ""
    services: tuple[str, ...] = ()
    playbook: str
    actions: tuple[dict[str, Any], ...] = ()
    asserts: tuple[dict[str, Any], ...] = ()
    metrics: tuple[str, ...] = ()
    timeout: Annotated[Seconds, Field(gt=0)] = DEFAULT_TIMEOUT
    requires: tuple[str, ...] = ()


class Body(Model):
    """`test_matrix`."""

    base_asserts: tuple[str, ...] = BASE_ASSERTS
    cases: tuple[CaseEntry, ...]


class Document(Model):
    """The file."""

    test_matrix: Body


@dataclass(frozen=True)
class Case:
    """One case, checked.

    Attributes:
        playbook: the file to run.
        asserts: name → what it expects, base asserts included.
        timeout: seconds its playbook may take.
        requires: capabilities the engine must have, else the case is skipped.
    """

    id: str
    description: str
    services: tuple[str, ...]
    playbook: Path
    asserts: Mapping[str, expected.Expected]
    metrics: tuple[str, ...]
    timeout: float
    requires: tuple[str, ...]


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

    def chosen(self, ids: Collection[str]) -> "Matrix":
        """Only these cases, in the order of the file; all of them for none.

        Raises:
            InputError: there is no such case.
        """
        known = [case.id for case in self.cases]
        unknown = [name for name in ids if name not in known]
        if unknown:
            message = "there is no case {}; there are: {}"
            raise InputError(Problem(message.format(name, ", ".join(known)), self.path) for name in unknown)
        cases = tuple(case for case in self.cases if not ids or case.id in ids)
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
    allowed = _collect(problems, lambda: allowlist.load(path.parent / ALLOWLIST))
    if catalogue and allowed:
        problems += _stale(allowed, catalogue)
    try:
        body = Document.model_validate(document).test_matrix
    except ValidationError as error:
        raise InputError([*yamlfile.problems(error, document, path), *problems]) from error
    reader = _Reader(path, document, catalogue, collection)
    problems += reader.base_problems(body)
    cases = [reader.case(index, entry, body.base_asserts, problems) for index, entry in enumerate(body.cases)]
    if problems or catalogue is None or allowed is None:
        raise InputError(problems)
    return Matrix(path, tuple(cases), catalogue, allowed)


def _collect(problems: list[Problem], read: Any) -> Any:
    try:
        return read()
    except InputError as error:
        problems += error.problems
        return None


def _stale(allowed: allowlist.Allowlist, catalogue: compose.Catalogue) -> Iterator[Problem]:
    for name, what in allowlist.differences(allowed, catalogue).items():
        if what != "not allowed":
            message = f"{name}: its entry is {what}; look at it, then run: vx11 allowlist update"
            yield Problem(f"{message} --catalogue {catalogue.path} --allowlist {allowed.path}", allowed.path)


@dataclass(frozen=True)
class _Reader:
    path: Path
    document: Any
    catalogue: compose.Catalogue | None
    collection: AnsibleCollection

    def problem(self, message: str, *location: Any) -> Problem:
        where = ("test_matrix", *location)
        return Problem(f"{yamlfile.dotted(where)}: {message}", self.path, yamlfile.line_of(self.document, where))

    def base_problems(self, body: Body) -> Iterator[Problem]:
        for index, name in enumerate(body.base_asserts):
            if name not in BASE_ASSERTS:
                known = ", ".join(BASE_ASSERTS)
                yield self.problem(f"{name} is not a base assert; there are: {known}", "base_asserts", index)
        if not body.cases:
            yield self.problem("there is no case in it", "cases")
        seen: set[str] = set()
        for index, entry in enumerate(body.cases):
            if entry.id in seen:
                yield self.problem(f"the id {entry.id} stands twice", "cases", index, "id")
            seen.add(entry.id)

    def case(self, index: int, entry: CaseEntry, base: tuple[str, ...], problems: list[Problem]) -> Case:
        at = ("cases", index)
        for number, name in enumerate(entry.services):
            if self.catalogue and name not in self.catalogue.services:
                problems.append(self.problem(f"the catalogue has no service {name}", *at, "services", number))
        for number, action in enumerate(entry.actions):
            verb = next(iter(action), None)
            if verb not in VERBS:
                problems.append(
                    self.problem(f"{verb} is not an action; there are: {', '.join(VERBS)}", *at, "actions", number)
                )
        for number, name in enumerate(entry.requires):
            if name not in CAPABILITIES:
                known = ", ".join(CAPABILITIES)
                problems.append(self.problem(f"{name} is no capability; there are: {known}", *at, "requires", number))
        playbook = self.playbook(entry.playbook)
        if not playbook.is_file():
            problems.append(self.problem(f"the playbook {entry.playbook} was not found at {playbook}", *at, "playbook"))
        asserts = {name: expected.read(name, True) for name in base}
        own: dict[str, expected.Expected] = {}
        for number, item in enumerate(entry.asserts):
            found = self.one_assert(item, (*at, "asserts", number), problems)
            problems += [
                self.problem(f"{name} stands twice; only one of the two would be judged", *at, "asserts", number, name)
                for name in found
                if name in own
            ]
            own |= found
        return Case(
            id=entry.id,
            description=entry.description,
            services=entry.services,
            playbook=playbook,
            asserts=asserts | own,
            metrics=entry.metrics,
            timeout=entry.timeout,
            requires=entry.requires,
        )

    def one_assert(
        self, item: Mapping[str, Any], at: tuple[Any, ...], problems: list[Problem]
    ) -> dict[str, expected.Expected]:
        if len(item) != 1:
            problems.append(self.problem("an assert is a map of one name to what it expects", *at))
            return {}
        ((name, raw),) = item.items()
        if not _NAME.fullmatch(str(name)):
            problems.append(self.problem(f"{name} is not a name; use a-z, 0-9 and _", *at))
            return {}
        try:
            return {name: expected.read(name, raw)}
        except ValueError as error:
            problems.append(self.problem(str(error), *at, name))
            return {}

    def playbook(self, name: str) -> Path:
        """A path beside the matrix, or a playbook of a collection by its FQCN."""
        return self.collection.playbook(name) or (self.path.parent / name).resolve()
