"""Renders the configuration of HAProxy from what may be reached: madre's endpoints, and the services of the catalogue.

What is open is no part of it: madre tells a running HAProxy where the window of a service is, see `runtime`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from vx11.catalogue.compose import Service
from vx11.tokens import ALGORITHM, ISSUER

# Bytes of a body that madre takes, also without a gateway; what services are sent has no limit here.
API_BODY = 64 * 1024
# What a port may speak that is led to (`app_protocol` in Compose files), and what of that is HTTP/2 without TLS.
H2 = frozenset(["h2c", "grpc"])
WEB = H2 | {"http"}
TITLES = {
    400: "The request is not valid",
    401: "A token is needed that is valid here and now",
    403: "The token does not allow this",
    404: "There is no such endpoint",
    408: "The request did not arrive in time",
    411: "The length of the body has to be stated",
    413: "The body is too large",
    502: "No usable answer came",
    503: "What is meant is not there just now",
    504: "No answer came in time",
}


@dataclass(frozen=True)
class Behind:
    """A service as the gateway knows it.

    Attributes:
        public: whether it is reached without a token.
        h2: whether it speaks HTTP/2 without TLS, as gRPC services do.
        port: of its window on 127.0.0.1, 0 while none is open.
    """

    name: str
    public: bool = False
    h2: bool = False
    port: int = 0

    @classmethod
    def of(cls, services: Iterable[Service], ports: Mapping[str, int]) -> "list[Behind]":
        """Those that can be behind it, and where their windows are: by their first port that speaks HTTP."""
        found = {service.name: (service, _protocol(service)) for service in services}
        return [
            cls(name, service.entry.vx11.public, protocol in H2, ports.get(name, 0))
            for name, (service, protocol) in found.items()
            if protocol
        ]


@dataclass(frozen=True)
class Link:
    """A gateway.

    Attributes:
        listen: addresses with their ports, as `0.0.0.0:8000` or `[::]:8000`.
        cell: whose; tokens are for it alone, and `<service>.<cell>` are the host names of services.
        madre: address and port that madre listens on.
        folder: its own.
        certificate: PEM file with certificate and key; None for plain HTTP.
    """

    listen: Sequence[str]
    cell: str
    madre: str
    folder: Path
    certificate: Path | None = None

    @property
    def configuration(self) -> Path:
        """The file that HAProxy reads."""
        return self.folder / "haproxy.cfg"

    @property
    def socket(self) -> Path:
        """Where HAProxy is told of windows."""
        return self.folder / "socket"

    @property
    def revoked(self) -> Path:
        """The ids of tokens that HAProxy refuses when it starts, one a line."""
        return self.folder / "revoked"


def render(link: Link, keys: Iterable[str], services: Sequence[Behind], endpoints: Iterable[str]) -> str:
    """The configuration, as text.

    Args:
        keys: what tokens for services are signed with.
        services: what `/svc/` leads to.
        endpoints: paths that madre answers; a name in braces stands for any one name.
    """
    paths = sorted(set(endpoints))
    return (
        _environment()
        .get_template("haproxy.cfg.j2")
        .render(
            link=link,
            keys=list(keys),
            services=services,
            exact=[path for path in paths if "{" not in path],
            below=[path[: path.index("{")] for path in paths if "{" in path],
            api_body=API_BODY,
            titles=TITLES,
            issuer=ISSUER,
            algorithm=ALGORITHM,
        )
    )


def _protocol(service: Service) -> str:
    """What the port speaks that is led to; empty when there is none such."""
    return next((spoken for spoken in service.spoken().values() if spoken in WEB), "")


def problem(status: int, code: str, detail: str) -> str:
    """A problem document (RFC 9457), as text that HAProxy takes between single quotes."""
    about: Mapping[str, object] = {
        "type": f"urn:vx11:problem:{code}",
        "title": TITLES[status],
        "status": status,
        "detail": detail,
        "code": code,
    }
    text = json.dumps(about)
    assert "'" not in text
    return text


def _quoted(path: Path) -> str:
    """A path as one word of the configuration."""
    return '"' + "".join(f"\\{sign}" if sign in '\\"$' else sign for sign in str(path)) + '"'


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("vx11.gateway", "templates"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - no HTML; all that goes in is checked by the catalogue or quoted
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["quoted"] = _quoted
    found.globals["problem"] = problem
    return found
