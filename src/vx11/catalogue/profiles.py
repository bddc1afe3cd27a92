"""Throttle profiles: the limits and the pace under which cases run (`profiles.yml`)."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from vx11 import yamlfile
from vx11.catalogue.limits import Limits
from vx11.catalogue.service import Model
from vx11.errors import InputError
from vx11.units import Seconds, Size

DEFAULT = "low_power"
FILE = "profiles.yml"


class Resources(Model):
    """Limits of each window, where neither its caller nor its entry has any; best effort."""

    cpu: Annotated[float, Field(gt=0)] | None = None
    memory: Annotated[Size, Field(gt=0)] | None = None
    read_iops: Annotated[int, Field(gt=0)] | None = None
    write_iops: Annotated[int, Field(gt=0)] | None = None
    pids: Annotated[int, Field(gt=0)] | None = None


class Profile(Model):
    """One profile.

    Attributes:
        usage_interval: seconds between two samples of what windows use.
        pace: how hard suites push; 1 is as hard as they can by themselves.
    """

    resources: Resources = Resources()
    usage_interval: Annotated[Seconds, Field(ge=0.1)] = 1.0
    pace: Annotated[float, Field(gt=0, le=10)] = 1.0

    def limits(self) -> Limits:
        """The limits that are set."""
        return Limits(**self.resources.model_dump(exclude_none=True))


class _Document(Model):
    profiles: dict[str, Profile]


def load(path: Path) -> dict[str, Profile]:
    """Reads the profiles of a bundle.

    Raises:
        InputError: every problem, with its line.
    """
    document = yamlfile.load(path)
    try:
        return _Document.model_validate(document).profiles
    except ValidationError as error:
        raise InputError(yamlfile.problems(error, document, path)) from error


def named(path: Path, name: str) -> Profile:
    """One profile of a file; where there is no file, the default one is without limits.

    Raises:
        InputError: there is no such profile.
    """
    if not path.is_file() and name == DEFAULT:
        return Profile()
    known = load(path) if path.is_file() else {}
    if name not in known:
        there = ", ".join(known) or f"none, since {path} is not there"
        raise InputError.of(f"there is no profile {name}; there are: {there}", path)
    return known[name]
