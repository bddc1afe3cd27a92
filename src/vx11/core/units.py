"""The units of the core for systemd, rendered from what the core consists of and how its madre is set up.

Each part is an ordinary user's, has the capabilities that it uses and no others, and sees a system that it cannot
change. madre and watchdog may end processes of other users (CAP_KILL): that closes windows while the engine is away.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from vx11.core.services import CoreServices, Name
from vx11.engines.docker import BRIDGES
from vx11.errors import InputError
from vx11.madre.jobs import INTENTS
from vx11.madre.settings import Gateway, Settings

SLICE = "vx11.slice"
# Who runs what; the watchdog counts to madre.
USERS: Mapping[Name, str] = {
    "tentaculo_link": "vx11-link",
    "madre": "vx11",
    "watchdog": "vx11",
    "evidence_collector": "vx11-collector",
}
# What drops connections from outside to windows: Docker lets neighbours of the host reach the ports of containers that
# are published, at their own addresses and whatever address they are published at (moby#45610).
_OUTSIDE = ("!", "-i", f"{BRIDGES}+", "-o", f"{BRIDGES}+")
FIREWALL = ("DOCKER-USER", *_OUTSIDE, "-m", "conntrack", "--ctstate", "NEW", "-j", "DROP")
IPTABLES = "/usr/sbin/iptables"
NETWORK = "vx11-network.service"
# Who may have evidence collected; who runs tests, and where.
READERS = "vx11-readers"
TESTS_USER, TESTS_SLICE = "vx11-tests", "vx11tests.slice"
_UNITS = "etc/systemd/system"
_FILES = {
    f"{_UNITS}/{SLICE}": "slice",
    f"{_UNITS}/{NETWORK}": "network.service",
    f"{_UNITS}/vx11-tentaculo-link.service": "tentaculo-link.service",
    f"{_UNITS}/vx11-tentaculo-link.path": "tentaculo-link.path",
    f"{_UNITS}/vx11-tentaculo-link-reload.service": "tentaculo-link-reload.service",
    f"{_UNITS}/vx11-madre.service": "madre.service",
    f"{_UNITS}/vx11-watchdog.service": "watchdog.service",
    f"{_UNITS}/vx11-evidence-collector.socket": "evidence-collector.socket",
    f"{_UNITS}/vx11-evidence-collector@.service": "evidence-collector.service",
    f"{_UNITS}/vx11-tests.socket": "tests.socket",
    f"{_UNITS}/vx11-tests@.service": "tests.service",
    "etc/sysusers.d/vx11.conf": "sysusers",
    "etc/tmpfiles.d/vx11.conf": "tmpfiles",
}


@dataclass(frozen=True)
class Installed:
    """Where things are on the host.

    Attributes:
        configuration: the file that madre, watchdog and gateway read.
        python: the interpreter that has `vx11`.
    """

    configuration: Path
    python: Path = Path(sys.executable)


def unit(name: Name) -> str:
    """The unit of a part; that of what starts on demand is a socket."""
    kind = "socket" if name == "evidence_collector" else "service"
    return f"vx11-{name.replace('_', '-')}.{kind}"


def render(core: CoreServices, settings: Settings, installed: Installed) -> dict[str, str]:
    """The files, by their paths below `/`.

    Raises:
        InputError: the configuration has no gateway, or one that cannot listen where the core has its ports; or its
            engine cannot be used by ordinary users.
    """
    gateway = _expect_core(core, settings, installed.configuration)
    shared = {
        "link": settings.link(gateway),
        "listens": sorted(_addresses(gateway)),
        "write": f"{installed.python} -m vx11 gateway --config {installed.configuration} --write",
        "core": core,
        "settings": settings,
        "installed": installed,
        "users": USERS,
        "readers": READERS,
        "tests_user": TESTS_USER,
        "tests_slice": TESTS_SLICE,
        "intents": settings.tests_root.parent / INTENTS,
        "network": NETWORK,
        "iptables": f"{IPTABLES} -w",
        "firewall": " ".join(FIREWALL),
        "slice": SLICE,
        "unit": unit,
    }
    return {path: _environment().get_template(f"{name}.j2").render(shared) for path, name in _FILES.items()}


def write(files: Mapping[str, str], root: Path) -> list[Path]:
    """Writes the files below a folder; answers those that were not so before.

    Raises:
        OSError: one cannot be written.
    """
    changed = []
    for name, text in files.items():
        path = root / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed


def _addresses(gateway: Gateway) -> set[str]:
    """Those that are meant by their numbers; madre asks there how the entry is."""
    hosts = {address.rpartition(":")[0].strip("[]") for address in gateway.listen}
    return {host for host in hosts if _is_number(host) and not ip_address(host).is_unspecified}


def _is_number(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _expect_core(core: CoreServices, settings: Settings, path: Path) -> Gateway:
    wrong, gateway = [], settings.gateway
    if gateway is None:
        wrong.append("there is no part `gateway`; tentaculo_link is the only port of a host")
    else:
        ports = {int(address.rpartition(":")[2]) for address in gateway.listen}
        if ports != set(core.services["tentaculo_link"].ports):
            allowed = ", ".join(map(str, core.services["tentaculo_link"].ports))
            wrong.append(f"gateway.listen: the core has the port {allowed} and no other")
    if settings.engine != "docker":
        wrong.append("engine: write `docker`; the core runs as ordinary users, who can enforce no limits by themselves")
    if settings.listen.rpartition(":")[0] not in ("127.0.0.1", "[::1]"):
        wrong.append("listen: madre listens on 127.0.0.1 alone, behind tentaculo_link")
    if settings.tests_socket is None:
        wrong.append("tests_socket: name a socket; tests are started by systemd, outside of the core")
    if wrong or gateway is None:
        raise InputError.of("; ".join(wrong), path)
    return gateway


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("vx11.core", "templates"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - no HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
