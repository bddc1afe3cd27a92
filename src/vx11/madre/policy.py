"""The endpoint policy: everything is denied that does not stand in `policy.yml`, and an operator may take more away."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from vx11 import yamlfile
from vx11.catalogue.service import Model
from vx11.errors import InputError, Problem

SHIPPED = Path(__file__).with_name("policy.yml")
# How much more than the configured rate a budget holds.
BUDGETS = {"work": 1, "close": 10, "solo_madre": 10}


class Endpoint(Model):
    """One exception to DENY_ALL; `policy.yml` says what its keys mean."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    auth: Literal["none", "required"]
    scope: str = ""
    budget: Literal["work", "close", "solo_madre"] = "work"
    endless: bool = False

    @model_validator(mode="after")
    def _says_what_is_required(self) -> "Endpoint":
        if bool(self.scopes) != (self.auth == "required"):
            raise ValueError("auth: required needs a scope, and auth: none has none")
        return self

    @property
    def scopes(self) -> frozenset[str]:
        """What a token must carry, all of it; nothing where none is needed."""
        return frozenset(self.scope.split())


class _Document(Model):
    version: Literal[1]
    endpoints: tuple[Endpoint, ...]


class Policy:
    """The exceptions to DENY_ALL.

    Attributes:
        endpoints: all of them.
    """

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self.endpoints = tuple(endpoints)
        self._by_key: dict[tuple[str, str], Endpoint] = {(one.method, one.path): one for one in self.endpoints}
        self._paths = {endpoint.path for endpoint in self.endpoints}
        self._named = {path.rpartition("/")[0]: path for path in self._paths if path.endswith("}")}

    def find(self, method: str, path: str) -> Endpoint | None:
        """The exception that lets a request through, None when there is none. HEAD is judged as GET."""
        known = self._known(path)
        if method != "HEAD":
            return self._by_key.get((method, known))
        endpoint = self._by_key.get(("GET", known))
        return None if endpoint and endpoint.endless else endpoint

    def is_path(self, path: str) -> bool:
        """Whether any method is allowed there."""
        return self._known(path) in self._paths

    def methods(self, path: str) -> list[str]:
        """The methods that are allowed there."""
        known = self._known(path)
        return sorted(endpoint.method for endpoint in self.endpoints if endpoint.path == known)

    def _known(self, path: str) -> str:
        """A path as it stands in the policy."""
        folder, _, name = path.rpartition("/")
        return self._named.get(folder, path) if name and path not in self._paths else path


def load(narrowing: Path | None = None) -> Policy:
    """The shipped policy, or what an operator's file leaves of it.

    Args:
        narrowing: a file of the same form. What it does not name is denied; a scope that it adds is needed, too.

    Raises:
        InputError: every place at which the file is wrong, or would allow more than the shipped policy does.
    """
    shipped = Policy(yamlfile.parse(_Document, yamlfile.load(SHIPPED), SHIPPED).endpoints)
    if narrowing is None:
        return shipped
    data = yamlfile.load(narrowing)
    wanted = yamlfile.parse(_Document, data, narrowing).endpoints
    problems = [
        Problem(f"{yamlfile.dotted(at)}: {message}", narrowing, yamlfile.line_of(data, at))
        for at, message in _widened(shipped, wanted)
    ]
    if problems:
        raise InputError(problems)
    return Policy(endpoint.model_copy(update=_kept(shipped, endpoint)) for endpoint in wanted)


def _widened(shipped: Policy, wanted: Iterable[Endpoint]) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Where a policy is not within the shipped one, and how."""
    seen: set[tuple[str, str]] = set()
    for number, endpoint in enumerate(wanted):
        at, name = ("endpoints", number), f"{endpoint.method} {endpoint.path}"
        known = next((one for one in shipped.endpoints if f"{one.method} {one.path}" == name), None)
        if known is None:
            yield at, f"{name} is not an endpoint of madre; a policy can only take endpoints away"
            continue
        if (endpoint.method, endpoint.path) in seen:
            yield at, f"{name} stands here twice"
        seen.add((endpoint.method, endpoint.path))
        if not endpoint.scopes >= known.scopes:
            yield (*at, "scope" if endpoint.scope else "auth"), f"{name} needs a token with the scope {known.scope}"
        for key in sorted({"budget", "endless"} & endpoint.model_fields_set):
            if getattr(endpoint, key) != getattr(known, key):
                yield (*at, key), f"the {key} of {name} cannot be changed; leave it out"


def _kept(shipped: Policy, endpoint: Endpoint) -> dict[str, Any]:
    known = next(one for one in shipped.endpoints if (one.method, one.path) == (endpoint.method, endpoint.path))
    return {"budget": known.budget, "endless": known.endless}
