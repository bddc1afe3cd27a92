"""Tells a running HAProxy where windows are, over its runtime API."""

import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

from vx11.errors import EnvironmentProblem

TIMEOUT = 2.0
PREFIX, SERVER = "svc_", "window"
# The bits of srv_admin_state that take a server out of service: forced, inherited, by name resolution. That it once was
# by the configuration (0x04) stays there for good, beside the first.
_MAINTENANCE = 0x01 | 0x02 | 0x20


class GatewayGone(EnvironmentProblem):
    """HAProxy does not answer, or does not know what it is asked about."""


class Runtime:
    """The runtime API of one HAProxy.

    Args:
        path: its socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def ports(self) -> dict[str, int]:
        """Service → port of its window on 127.0.0.1, 0 while none is open.

        Raises:
            GatewayGone.
        """
        _, names, *rows = self._ask("show servers state").splitlines()
        columns = names.lstrip("# ").split()
        servers = [dict(zip(columns, row.split(), strict=False)) for row in rows if row.strip()]
        return {
            server["be_name"].removeprefix(PREFIX): 0
            if int(server["srv_admin_state"]) & _MAINTENANCE
            else int(server["srv_port"])
            for server in servers
            if server["be_name"].startswith(PREFIX)
        }

    def lead(self, ports: Mapping[str, int]) -> None:
        """Leads requests to these windows; where the port is 0, cuts off who is connected and lets nobody in.

        Raises:
            GatewayGone.
        """
        servers = {f"{PREFIX}{service}/{SERVER}": port for service, port in ports.items()}
        commands = [command for server, port in servers.items() for command in _leading(server, port)]
        if commands and (said := self._ask("; ".join(commands))):
            wrong = [line for line in said.splitlines() if line and not _is_fine(line)]
            if wrong:
                raise GatewayGone(f"HAProxy refused: {'; '.join(wrong)}")

    def revoked(self, file: Path) -> set[str]:
        """The ids of the tokens that it refuses.

        Raises:
            GatewayGone.
        """
        return {line.split()[1] for line in self._ask(f"show acl {file}").splitlines() if line.startswith("0x")}

    def revoke(self, ids: Iterable[str], file: Path) -> None:
        """Refuses the tokens with these ids, and none but these.

        Raises:
            GatewayGone.
        """
        self._ask("; ".join([f"clear acl {file}", *(f"add acl {file} {one}" for one in ids)]))

    def _ask(self, command: str) -> str:
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(TIMEOUT)
                link.connect(str(self._path))
                link.sendall(f"{command}\n".encode())
                return b"".join(iter(lambda: link.recv(65536), b"")).decode(errors="replace").strip()
        except OSError as error:
            raise GatewayGone(f"HAProxy does not answer at {self._path}: {error.strerror or error}") from error


def _leading(server: str, port: int) -> list[str]:
    if port:
        return [f"set server {server} addr 127.0.0.1 port {port}", f"set server {server} state ready"]
    return [f"set server {server} state maint", f"shutdown sessions server {server}"]


def _is_fine(line: str) -> bool:
    """Changes of an address are told, by `by 'stats socket command'`; others say nothing."""
    return "by 'stats socket command'" in line or line.startswith("no need to change")
