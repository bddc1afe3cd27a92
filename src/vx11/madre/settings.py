"""How a madre is set up: the flags of `vx11 serve`, or the same names in a YAML file."""

import os
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from vx11 import yamlfile
from vx11.catalogue import profiles as throttle_profiles
from vx11.catalogue.service import Model
from vx11.engines.select import EngineName
from vx11.errors import InputError
from vx11.evidence import keys
from vx11.gateway.config import Link
from vx11.units import Seconds

_PATHS = (
    "catalogue",
    "allowlist",
    "key",
    "policy",
    "state",
    "evidence",
    "evidence_key",
    "data",
    "profiles",
    "matrices",
    "tests_evidence",
    "tests_socket",
)
_PATHS_OF_GATEWAY = ("key", "certificate")
_RATE = re.compile(r"(\d+)/(s|min|h)(?::(\d+))?")
DEAD_AFTER_MS = 30_000
_PERIOD = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Rate:
    """A rate limit: `requests` in `period` seconds, and `burst` at once."""

    requests: int
    period: float
    burst: int

    @classmethod
    def read(cls, value: Any) -> "Rate | None":
        """Reads `60/min:10`; `off` is None.

        Raises:
            ValueError: it is neither.
        """
        if value is None or isinstance(value, Rate):
            return value
        if value is False or value == "off":  # YAML reads a bare `off` as false
            return None
        match = _RATE.fullmatch(str(value))
        if not match or int(match[1]) == 0:
            raise ValueError(f"{value!r} is not a rate; write REQUESTS/PERIOD:BURST such as 60/min:10, or off")
        return cls(int(match[1]), _PERIOD[match[2]], max(1, int(match[3] or match[1])))


DEFAULT_RATE = Rate(60, 60.0, 10)


def default_state() -> Path:
    """A tmpfs where there is one: /run for root, the user's runtime folder otherwise."""
    if os.geteuid() == 0:
        return Path("/run/vx11")
    return Path(os.environ.get("XDG_RUNTIME_DIR", f"/tmp/vx11-{os.geteuid()}")) / "vx11"  # noqa: S108 - per user


def default_data() -> Path:
    """Where named volumes of the process engine lie."""
    if os.geteuid() == 0:
        return Path("/var/lib/vx11")
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local/share")) / "vx11"


def default_evidence() -> Path:
    """Where madre's evidence lies."""
    return Path("/var/log/vx11") if os.geteuid() == 0 else default_data() / "evidence"


class Gateway(Model):
    """tentaculo_link, where it is the entry: how it listens, and how clients reach it."""

    listen: tuple[str, ...] = ("0.0.0.0:8000",)
    url: str
    key: Path = Path("/etc/vx11/gateway.key")
    certificate: Path | None = None


class Settings(Model):
    """Everything that `vx11 serve` needs to know."""

    catalogue: Path = Path("catalogue.yml")
    allowlist: Path = Path("/etc/vx11/allowed_services.yaml")
    key: Path = Path("/etc/vx11/key")
    policy: Path | None = None
    engine: EngineName = "auto"
    listen: str = "127.0.0.1:8000"
    cell: str = Field(default="default", pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")
    state: Path = Field(default_factory=default_state)
    evidence: Path = Field(default_factory=default_evidence)
    evidence_key: Path = Field(default_factory=keys.default_path)
    data: Path = Field(default_factory=default_data)
    rate_limit: Annotated[Rate | None, BeforeValidator(Rate.read)] = DEFAULT_RATE
    require_aud_jti: bool = True
    usage_interval: Seconds | None = Field(default=None, ge=0.1)
    profiles: Path | None = None
    profile: str = throttle_profiles.DEFAULT
    dependencies: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    foreign: Literal["report", "stop"] = "report"
    faults: bool = False
    matrices: Path = Path("/usr/share/vx11/matrices")
    tests_evidence: Path | None = None
    tests_socket: Path | None = None
    gateway: Gateway | None = None

    @field_validator("listen")
    @classmethod
    def _is_address(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"{value!r} is not ADDRESS:PORT, such as 127.0.0.1:8000")
        return value

    def throttle(self) -> throttle_profiles.Profile:
        """The profile that windows are opened under.

        Raises:
            InputError: it cannot be had.
        """
        return throttle_profiles.named(self.profiles or Path(throttle_profiles.FILE), self.profile)

    def bind(self) -> socket.socket:
        """A listening socket at `listen`; port 0 takes any that is free.

        Raises:
            InputError: the address is taken or is not one of this host.
        """
        host, _, port = self.listen.rpartition(":")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # asyncio turns Nagle's algorithm off only where the protocol is named; it costs 40 ms an answer.
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections have it from here: a client that is gone, or takes nothing, is dropped after this time (tcp(7)).
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_AFTER_MS)
        try:
            bound.bind((host.strip("[]"), int(port)))
        except OSError as error:
            bound.close()
            raise InputError.of(
                f"cannot listen on {self.listen}: {error.strerror}; choose another with --listen"
            ) from error
        return bound

    @property
    def cell_state(self) -> Path:
        """The state folder of this cell."""
        return self.state / self.cell

    def link(self, gateway: Gateway) -> Link:
        """The gateway of this cell; its folder is its own, as that of the state is madre's. No cell has such a name."""
        folder = self.state.absolute() / ".link" / self.cell
        return Link(gateway.listen, self.cell, self.listen, folder, gateway.certificate)

    @staticmethod
    def entry_here(gateway: Gateway) -> str:
        """Where the gateway answers whoever is on this host, whatever name others know it by."""
        host, _, port = gateway.listen[0].rpartition(":")
        here = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
        return f"{'https' if gateway.certificate else 'http'}://{here}:{port}"

    @property
    def cell_evidence(self) -> Path:
        """The evidence folder of this cell: each has a chain of its own."""
        return self.evidence if self.cell == "default" else self.evidence / self.cell

    @property
    def tests_root(self) -> Path:
        """The evidence root of tests that are asked for over the API."""
        return self.tests_evidence or self.cell_evidence / "e2e"


def _from_folder(given: Any, names: Iterable[str], folder: Path) -> None:
    """Paths in a file start from its folder."""
    for name in names if isinstance(given, dict) else ():
        if isinstance(given.get(name), str):
            given[name] = str(folder / given[name])


def load(path: Path | None, flags: dict[str, Any]) -> Settings:
    """The settings of a file, with flags over them; relative paths in the file start from its folder.

    Raises:
        InputError: every problem of the file and the flags.
    """
    given: Any = {}
    if path is not None:
        given = yamlfile.load(path) or {}
        if isinstance(given, dict):
            _from_folder(given, _PATHS, path.parent)
            _from_folder(given.get("gateway"), _PATHS_OF_GATEWAY, path.parent)
            given |= flags
        return yamlfile.parse(Settings, given, path)
    return yamlfile.parse(Settings, flags, Path("vx11 serve"))
