"""What the core consists of: `/etc/vx11/core_services.yaml`."""

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator

from vx11 import yamlfile
from vx11.catalogue.service import Model
from vx11.errors import InputError
from vx11.units import Size

SHIPPED = Path(__file__).with_name("core_services.yaml")
INSTALLED = Path("/etc/vx11/core_services.yaml")
Name = Literal["tentaculo_link", "madre", "watchdog", "evidence_collector"]
Processors = Annotated[float, Field(gt=0)]


class Budget(Model):
    """What may be used: processors, and bytes."""

    cpu: Processors
    memory: Size


class CoreService(Budget):
    """One part of the core; `health` is the path of the entry that says whether it is well."""

    ports: tuple[int, ...] = ()
    start: Literal["always", "on_demand"]
    after: tuple[Name, ...] = ()
    environment: dict[str, str] = Field(default_factory=dict)
    health: str | None = None


class Slice(Budget):
    """All of it as one group; `idle` is what it keeps to while nothing is asked."""

    idle: Budget


class CoreServices(Model):
    """The file."""

    version: Literal[1]
    slice: Slice
    services: dict[Name, CoreService]

    @field_validator("services")
    @classmethod
    def _is_whole(cls, value: dict[Name, CoreService]) -> dict[Name, CoreService]:
        if missing := [name for name in get_args(Name) if name not in value]:
            raise ValueError(f"{', '.join(missing)} is missing; the core is whole, or there is none")
        return value

    @property
    def always(self) -> list[Name]:
        """Those that run all the time."""
        return [name for name, service in self.services.items() if service.start == "always"]


def load(path: Path | None = None) -> CoreServices:
    """Reads the file.

    Args:
        path: by default the installed one, or what is shipped where none is installed.

    Raises:
        InputError: every problem of it.
    """
    found = path or (INSTALLED if INSTALLED.exists() else SHIPPED)
    try:
        return yamlfile.parse(CoreServices, yamlfile.load(found), found)
    except OSError as error:
        raise InputError.of(f"it cannot be read: {error.strerror}", found) from error
