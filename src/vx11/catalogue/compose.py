"""Reads a Compose file into a catalogue of services."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import dotenv
import rfc8785
from pydantic import ValidationError

from vx11 import yamlfile
from vx11.catalogue import interpolate
from vx11.catalogue.service import Entry, Mount
from vx11.errors import InputError, Problem
from vx11.yamlfile import MarkedDict

_TOP_LEVEL = {"name", "version", "services", "volumes"}
_NAME_CHARACTERS = set("abcdefghijklmnopqrstuvwxyz0123456789-_")


@dataclass(frozen=True)
class Service:
    """What a window can run.

    Attributes:
        name: its name in the catalogue.
        entry: its entry, checked.
        canonical: the entry's RFC 8785 form after anchors and variables.
        base: the folder that relative paths of the entry start from.
        variable: where in the entry a value comes from a variable.
    """

    name: str
    entry: Entry
    canonical: bytes
    base: Path
    variable: frozenset[tuple[Any, ...]] = frozenset()

    def environment(self) -> dict[str, str]:
        """The variables of the entry; those without a value are passed on from the environment of madre."""
        found: dict[str, str] = {}
        for file in self.entry.env_file:
            found |= {key: value or "" for key, value in dotenv.dotenv_values(self.base / file).items()}
        for name, value in self.entry.environment.items():
            passed = os.environ.get(name) if value is None else value
            if passed is not None:
                found[name] = passed
        return found

    def spoken(self) -> dict[int, str]:
        """What each port speaks: HTTP, unless the entry says otherwise."""
        ready_by = self.entry.vx11.ready
        bare = {ready_by.tcp.port} if ready_by and ready_by.tcp else set()
        return {
            port.target: port.app_protocol or ("tcp" if port.target in bare or port.protocol != "tcp" else "http")
            for port in self.entry.container_ports()
        }

    def build_arguments(self) -> dict[str, str]:
        """The arguments of `build`; those without a value come from the environment of who builds, if it has them."""
        given = self.entry.build.args if self.entry.build else {}
        values = {name: os.environ.get(name) if value is None else value for name, value in given.items()}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class Catalogue:
    """The services of one Compose file, by name."""

    path: Path
    services: Mapping[str, Service]


def load(path: Path, variables: Mapping[str, str] | None = None) -> Catalogue:
    """Reads and checks a Compose file.

    Args:
        path: the file.
        variables: values for `${NAME}`; by default the environment over a `.env` beside the file, as Compose does.

    Raises:
        InputError: every problem of the file, each with its line, service and key.
    """
    written = yamlfile.load(path)
    if variables is None:
        variables = _default_variables(path.parent)
    report = interpolate.Report()
    document = interpolate.tree(written, variables, report)
    problems = list(_top_level_problems(path, document))
    services: dict[str, Service] = {}
    if isinstance(document, MarkedDict) and isinstance(document.get("services"), MarkedDict):
        services = dict(_services(path, document, written, problems))
        problems += _cycles(path, document)
        problems += _operator_problems(path, document, services)
    unset = [_problem(path, document, location, message) for location, message in report.found]
    # What a text with a variable left in it is not, follows from the variable alone.
    places = tuple(f"{yamlfile.dotted(location)}: " for location, _ in report.found)
    problems = unset + [problem for problem in problems if not problem.message.startswith(places)]
    if problems:
        raise InputError(sorted(problems, key=lambda problem: problem.line or 0))
    return Catalogue(path, services)


def _default_variables(folder: Path) -> Mapping[str, str]:
    file = folder / ".env"
    try:
        beside = dotenv.dotenv_values(file) if file.is_file() else {}
    except UnicodeDecodeError as error:
        raise InputError.of(f"is not UTF-8 text: {error.reason} at byte {error.start}", file) from error
    return {name: value or "" for name, value in beside.items()} | dict(os.environ)


def _problem(path: Path, document: Any, location: tuple[Any, ...], message: str) -> Problem:
    return Problem(f"{yamlfile.dotted(location)}: {message}", path, yamlfile.line_of(document, location))


def _top_level_problems(path: Path, document: Any) -> Iterator[Problem]:
    if not isinstance(document, MarkedDict) or not isinstance(document.get("services"), MarkedDict):
        yield Problem("is not a Compose file: it needs a mapping named services", path)
        return
    for key in document:
        if key not in _TOP_LEVEL and not str(key).startswith("x-"):
            yield _problem(path, document, (key,), "this key is not supported; see docs/catalogue.md")
    volumes = document.get("volumes") or {}
    if not isinstance(volumes, dict):
        yield _problem(path, document, ("volumes",), "must be a mapping of names")
        return
    for name, options in volumes.items():
        if options:
            yield _problem(path, document, ("volumes", name), "options of a volume are not supported; leave it empty")


def _services(
    path: Path, document: MarkedDict, written: MarkedDict, problems: list[Problem]
) -> Iterator[tuple[str, Service]]:
    for name, raw in document["services"].items():
        at = ("services", name)
        if not isinstance(name, str) or not name or not set(name) <= _NAME_CHARACTERS:
            problems.append(_problem(path, document, at, "a service's name has a-z, 0-9, - and _ alone"))
            continue
        try:
            entry, canonical = Entry.model_validate(raw), rfc8785.dumps(raw)
        except ValidationError as error:
            problems += [_with_help(found) for found in yamlfile.problems(error, document, path, at)]
            continue
        except rfc8785.CanonicalizationError as error:
            problems.append(_problem(path, document, at, f"has no digest: {error}"))
            continue
        found = list(_entry_problems(path, document, name, entry))
        problems += found
        if not found:
            variable = frozenset(interpolate.differing(written["services"][name], raw))
            yield name, Service(name, entry, canonical, path.parent.resolve(), variable)


def _with_help(problem: Problem) -> Problem:
    if not problem.message.endswith(": unknown key"):
        return problem
    return Problem(f"{problem.message} (or not supported; see docs/catalogue.md)", problem.path, problem.line)


def _entry_problems(path: Path, document: MarkedDict, name: str, entry: Entry) -> Iterator[Problem]:
    """What a single model cannot see: files, and names that other parts of the document declare."""
    at = ("services", name)
    for key in entry.undeclared():
        message = f"gives away the host; if that is meant, say so with x-vx11.unsafe: [{key}]"
        yield _problem(path, document, (*at, key), message)
    for index, file in enumerate(entry.env_file):
        if not (path.parent / file).is_file():
            yield _problem(path, document, (*at, "env_file", index), f"the file {file} does not exist beside it")
    for index, mount in enumerate(entry.volumes):
        message = _mount_problem(path, document, entry, mount)
        if message:
            yield _problem(path, document, (*at, "volumes", index), message)
    ready = entry.vx11.ready
    probe = (ready.http or ready.tcp) if ready else None
    if probe and probe.port not in {port.target for port in entry.container_ports()}:
        message = f"port {probe.port} is not among the service's ports or expose"
        yield _problem(path, document, (*at, "x-vx11", "ready"), message)
    named = [("depends_on", name) for name in entry.depends_on] + [
        ("x-vx11", "peers", name) for name in entry.vx11.peers
    ]
    for location in named:
        if location[-1] not in document["services"]:
            yield _problem(path, document, (*at, *location), f"there is no service {location[-1]}")


def _cycles(path: Path, document: MarkedDict) -> Iterator[Problem]:
    """Services that need each other, one problem for each cycle; its members are left out to find the next."""
    entries = {name: raw for name, raw in document["services"].items() if isinstance(raw, dict)}
    needs = {name: set(raw["depends_on"]) for name, raw in entries.items() if _is_names(raw.get("depends_on"))}
    while True:
        try:
            TopologicalSorter(needs).prepare()
            return
        except CycleError as error:
            around = list(reversed(error.args[1]))
            message = f"needs itself: {' → '.join(around)}"
            yield _problem(path, document, ("services", around[0], "depends_on"), message)
            needs = {name: found for name, found in needs.items() if name not in around}


def _operator_problems(path: Path, document: MarkedDict, services: Mapping[str, Service]) -> Iterator[Problem]:
    """What answers operators is one service, and speaks HTTP."""
    names = [name for name, service in services.items() if service.entry.vx11.operator]
    for name in names:
        at = ("services", name, "x-vx11", "operator")
        if name != names[0]:
            yield _problem(path, document, at, f"{names[0]} answers operators already; a catalogue has one that does")
        if "http" not in services[name].spoken().values():
            yield _problem(path, document, at, "what answers operators needs a port that speaks HTTP")


def _is_names(value: Any) -> bool:
    return isinstance(value, list | dict) and all(isinstance(name, str) for name in value)


def _mount_problem(path: Path, document: MarkedDict, entry: Entry, mount: Mount) -> str:
    """Why a mount cannot be had, empty when it can."""
    base, declared = path.parent.resolve(), document.get("volumes")
    if mount.type == "volume" and mount.source not in (declared if isinstance(declared, dict) else {}):
        return f"the volume {mount.source} is not declared under volumes"
    outside = mount.type == "bind" and not (base / str(mount.source)).resolve().is_relative_to(base)
    if outside and "volumes" not in entry.vx11.unsafe:
        return f"{mount.source} lies outside the bundle; if that is meant, say so with x-vx11.unsafe: [volumes]"
    return ""
