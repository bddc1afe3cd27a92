"""A service, as its entry in the Compose file describes it.

The models follow the Compose Specification key by key; what VX11 adds stands under `x-vx11`. A key that is not here is
an error, so that nothing is silently ignored.
"""

import re
import shlex
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from vx11 import signals
from vx11.catalogue.limits import Limits
from vx11.units import Seconds, Size

DEFAULT_TTL = 300.0
DEFAULT_MAX_TTL = 3600.0
DEFAULT_MAX_HOLD = 24 * 3600.0
DEFAULT_READY_TIMEOUT = 10.0
DEFAULT_GRACE = 10.0


class Model(BaseModel):
    """Strict about keys, immutable once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _words(value: Any) -> Any:
    """A command as text is split as a shell would split it; Compose runs no shell either."""
    return shlex.split(value) if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _pairs(value: Any) -> Any:
    """`[A=1, B]` and `{A: 1, B: null}` mean the same; booleans are spelled as YAML spells them."""
    if isinstance(value, list):
        split = [str(item).partition("=") for item in value]
        return {name: text if separator else None for name, separator, text in split}
    if isinstance(value, dict):
        return {name: _scalar(item) for name, item in value.items()}
    return value


def _scalar(item: Any) -> Any:
    if isinstance(item, bool):
        return "true" if item else "false"
    return str(item) if isinstance(item, int | float) else item


def _needs(value: Any) -> Any:
    """`[db]` and `{db: {condition: service_started}}` mean the same, as in Compose."""
    if isinstance(value, list):
        return {str(name): {} for name in value}
    return value


def _hosts(value: Any) -> Any:
    """`[name=address, name:address]` and `{name: address}` mean the same; an IPv6 address may stand in brackets."""
    if isinstance(value, list):
        found = [re.fullmatch(r"([^=:]+)[=:](.+)", str(item)) for item in value]
        if not all(found):
            raise ValueError("each item is NAME=ADDRESS")
        value = {match[1]: match[2] for match in found if match}
    return {name: str(item).strip("[]") for name, item in value.items()} if isinstance(value, dict) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
Listed = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Pairs = Annotated[dict[str, str | None], BeforeValidator(_pairs)]
Hosts = Annotated[dict[str, str], BeforeValidator(_hosts)]
PortNumber = Annotated[int, Field(ge=1, le=65535)]
PositiveSize = Annotated[Size, Field(gt=0)]


class Build(Model):
    """How the image is made; an argument without a value takes it from the environment of who builds."""

    context: str = "."
    dockerfile: str = "Dockerfile"
    args: Pairs = {}
    target: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"context": value} if isinstance(value, str) else value


class Port(Model):
    """A port of the container, and the host port it is wanted at, if a fixed one is."""

    target: PortNumber
    published: PortNumber | None = None
    protocol: Literal["tcp", "udp"] = "tcp"
    app_protocol: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if not isinstance(value, str | int):
            return value
        numbers, _, protocol = str(value).partition("/")
        *host, target = numbers.split(":")
        if host[:-1] and host[:-1] != ["127.0.0.1"]:
            raise ValueError(f"{value!r}: ports are published on 127.0.0.1 alone; leave the address out")
        if "-" in numbers:
            raise ValueError(f"{value!r}: a range of ports is not supported; list each port")
        return {"target": target, "published": (host[-1] or None) if host else None, "protocol": protocol or "tcp"}


class Mount(Model):
    """A named volume, a folder of the host, or a tmpfs inside the container."""

    type: Literal["volume", "bind", "tmpfs"]
    source: str | None = None
    target: str
    read_only: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        parts = value.split(":")
        if len(parts) not in (2, 3) or parts[2:] not in ([], ["ro"], ["rw"]):
            raise ValueError(f"{value!r} is not SOURCE:TARGET or SOURCE:TARGET:ro")
        kind = "bind" if parts[0].startswith((".", "/", "~")) else "volume"
        return {"type": kind, "source": parts[0], "target": parts[1], "read_only": parts[2:] == ["ro"]}

    @model_validator(mode="after")
    def _has_source(self) -> "Mount":
        if self.type != "tmpfs" and not self.source:
            raise ValueError(f"a {self.type} needs a source")
        if self.source and self.source.startswith("~"):
            raise ValueError(f"{self.source!r}: write the whole path instead of ~, which is another one for each user")
        return self


def _test(value: Any) -> Any:
    """A test as text goes to a shell as it is, and a list says what it is by its first word, as in Compose."""
    if isinstance(value, str):
        return ["NONE"] if value == "NONE" else ["CMD-SHELL", value]
    if isinstance(value, list) and value and value[0] not in ("NONE", "CMD", "CMD-SHELL"):
        raise ValueError(f"{value!r}: a list starts with CMD, CMD-SHELL or NONE")
    return value


class Healthcheck(Model):
    """The test that tells whether the service is healthy; run by madre, not on the image's own interval."""

    test: Annotated[tuple[str, ...], BeforeValidator(_test)] = ()
    interval: Seconds | None = None
    timeout: Seconds | None = None
    start_period: Seconds | None = None
    start_interval: Seconds | None = None
    retries: int | None = None
    disable: bool = False

    def command(self) -> tuple[str, ...] | None:
        """The program to run inside the container, None when there is none."""
        if self.disable or not self.test or self.test[0] == "NONE":
            return None
        return self.test[1:] if self.test[0] == "CMD" else ("/bin/sh", "-c", *self.test[1:])


class ResourceLimits(Model):
    """`deploy.resources.limits`."""

    cpus: float | None = Field(default=None, gt=0)
    memory: PositiveSize | None = None
    pids: int | None = Field(default=None, gt=0)


class Resources(Model):
    """`deploy.resources`."""

    limits: ResourceLimits = ResourceLimits()


class Deploy(Model):
    """`deploy`; of it only the limits mean something on one host."""

    resources: Resources = Resources()


class DeviceRate(Model):
    """A limit of operations a second on one block device of the host."""

    path: str
    rate: int = Field(gt=0)


class BlkioConfig(Model):
    """`blkio_config`."""

    device_read_iops: tuple[DeviceRate, ...] = ()
    device_write_iops: tuple[DeviceRate, ...] = ()


class Ulimit(Model):
    """One resource limit of setrlimit(2)."""

    soft: int
    hard: int

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"soft": value, "hard": value} if isinstance(value, int) else value


class HttpReady(Model):
    """Ready when a GET answers 2xx or 3xx."""

    port: PortNumber
    path: str = "/"


class TcpReady(Model):
    """Ready when a connection is accepted."""

    port: PortNumber


class Ready(Model):
    """How madre sees that a service is ready; exactly one of the three."""

    http: HttpReady | None = None
    tcp: TcpReady | None = None
    log: str | None = None

    @model_validator(mode="after")
    def _one(self) -> "Ready":
        if len(self.model_fields_set) != 1:
            raise ValueError("state exactly one of http, tcp, log")
        return self


class Process(Model):
    """How the service runs as a local process, for the process engine.

    `network` is `private` where the engine can have it, or `host` for a service that needs the network of the host.
    """

    command: Words = Field(min_length=1)
    network: Literal["private", "host"] = "private"


class Vx11(Model):
    """`x-vx11`: what this project adds to an entry.

    Durations in seconds: `ttl` is used when a request names none, `max_ttl` is the longest life of a window with all
    its extensions, `max_hold` how long a hold lasts, `ready_timeout` how long it may take to get ready,
    `public` whether the gateway leads to it without a token, `operator` whether it is the language service, which
    answers operators in words of its own.
    """

    ttl: Seconds = DEFAULT_TTL
    max_ttl: Seconds = DEFAULT_MAX_TTL
    max_hold: Seconds = DEFAULT_MAX_HOLD
    ready: Ready | None = None
    ready_timeout: Seconds = Field(default=DEFAULT_READY_TIMEOUT, gt=0)
    process: Process | None = None
    peers: tuple[str, ...] = ()
    unsafe: tuple[str, ...] = ()
    public: bool = False
    operator: bool = False

    @model_validator(mode="after")
    def _ttl_fits(self) -> "Vx11":
        if "ttl" in self.model_fields_set and self.ttl > self.max_ttl:
            raise ValueError(f"ttl ({self.ttl:g} s) is longer than max_ttl ({self.max_ttl:g} s)")
        return self


class Condition(StrEnum):
    """What has to be true of a service before another one that needs it is started."""

    STARTED = "service_started"
    HEALTHY = "service_healthy"
    COMPLETED = "service_completed_successfully"


class Need(Model):
    """One item of `depends_on`; `restart` means nothing here, since nothing is restarted."""

    condition: Condition = Condition.STARTED
    restart: bool = False
    required: Literal[True] = True


GIVES_AWAY_THE_HOST = ("privileged", "devices", "network_mode", "pid")


class Entry(Model):
    """One entry of `services`, checked key by key."""

    image: str | None = None
    build: Build | None = None
    command: Words | None = None
    entrypoint: Words | None = None
    environment: Pairs = {}
    env_file: Listed = ()
    ports: tuple[Port, ...] = ()
    expose: tuple[PortNumber, ...] = ()
    volumes: tuple[Mount, ...] = ()
    tmpfs: Listed = ()
    depends_on: Annotated[dict[str, Need], BeforeValidator(_needs)] = {}
    healthcheck: Healthcheck | None = None
    deploy: Deploy = Deploy()
    cpus: float | None = Field(default=None, gt=0)
    mem_limit: PositiveSize | None = None
    pids_limit: int | None = Field(default=None, gt=0)
    blkio_config: BlkioConfig = BlkioConfig()
    user: str | None = None
    working_dir: str | None = None
    read_only: bool = False
    cap_drop: tuple[str, ...] = ()
    cap_add: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    init: bool | None = None
    ulimits: dict[str, Ulimit] = {}
    stop_signal: str | None = None
    stop_grace_period: Seconds = DEFAULT_GRACE
    labels: Pairs = {}
    extra_hosts: Hosts = {}
    hostname: str | None = None
    restart: str | None = None
    privileged: bool = False
    devices: tuple[str, ...] = ()
    network_mode: Literal["host"] | None = None
    pid: Literal["host"] | None = None
    vx11: Vx11 = Field(default=Vx11(), alias="x-vx11")

    @field_validator("stop_signal", mode="before")
    @classmethod
    def _is_signal(cls, value: Any) -> Any:
        signals.number(str(value))
        return str(value)

    @field_validator("user", mode="before")
    @classmethod
    def _user_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="before")
    @classmethod
    def _without_extensions(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: item for key, item in value.items() if key == "x-vx11" or not str(key).startswith("x-")}

    @model_validator(mode="after")
    def _runs_something(self) -> "Entry":
        if not (self.image or self.build or self.vx11.process):
            raise ValueError("nothing to run: state image, build, or x-vx11.process.command")
        return self

    def undeclared(self) -> list[str]:
        """Keys that give away the host, and that `x-vx11.unsafe` does not name."""
        return [key for key in GIVES_AWAY_THE_HOST if getattr(self, key) and key not in self.vx11.unsafe]

    def limits(self) -> Limits:
        """What the entry states, `deploy` before the older keys."""
        stated = self.deploy.resources.limits
        return Limits(
            cpu=stated.cpus or self.cpus,
            memory=stated.memory or self.mem_limit,
            read_iops=min((item.rate for item in self.blkio_config.device_read_iops), default=None),
            write_iops=min((item.rate for item in self.blkio_config.device_write_iops), default=None),
            pids=stated.pids or self.pids_limit,
        )

    def neighbours(self) -> tuple[str, ...]:
        """Services whose addresses it gets: those it needs and its peers, each once."""
        return tuple(dict.fromkeys((*self.depends_on, *self.vx11.peers)))

    def container_ports(self) -> tuple[Port, ...]:
        """All ports, those of `expose` included, each once and in the order of the file."""
        known = {port.target for port in self.ports}
        return (*self.ports, *(Port(target=number) for number in dict.fromkeys(self.expose) if number not in known))
