"""The few calls of the Docker API that enforcing needs.

HTTP/1.0 is spoken by hand: an answer ends with its connection, and `http.client` would load TLS and a mail parser into
a process that has to stay small.
"""

import contextlib
import json
import os
import socket
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

CONNECT_TIMEOUT = 1.0
ANSWER_TIMEOUT = 3.0
STOP_MARGIN = 10.0


class DaemonError(Exception):
    """The daemon did not answer, or answered that it cannot."""


def address() -> str:
    """Where the daemon is, empty when its socket is not there."""
    found = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    return "" if found.startswith("unix://") and not Path(found.removeprefix("unix://")).exists() else found


def containers(labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Containers that carry these labels, running or not, as the daemon lists them; none where there is no daemon.

    Raises:
        DaemonError: they could not be listed.
    """
    if not address():
        return []
    filters = json.dumps({"label": [f"{name}={value}" for name, value in labels.items()]})
    return list(_json(f"/containers/json?all=true&filters={urllib.parse.quote(filters)}"))


def state(container: str) -> dict[str, Any] | None:
    """The state of a container as the daemon tells it (`Running`, `Paused`, `Pid`); None when there is no such.

    Raises:
        DaemonError: the daemon did not tell.
    """
    found = _json(f"/containers/{container}/json")
    return dict(found["State"]) if found else None


def unpause(container: str) -> None:
    """Has a container run again that is paused, and handles no signal.

    Raises:
        DaemonError: it stays paused.
    """
    status, body = call("POST", f"/containers/{container}/unpause", ANSWER_TIMEOUT)
    if status not in (204, 404):
        raise _refusal(status, body)


def stop(container: str, grace: float) -> None:
    """Has the daemon send the container's own stop signal, and kill it after `grace` seconds.

    Raises:
        DaemonError: it did not stop it.
    """
    status, body = call("POST", f"/containers/{container}/stop?t={round(grace)}", grace + STOP_MARGIN)
    if status not in (204, 304, 404):
        raise _refusal(status, body)


def kill(container: str) -> None:
    """Has the daemon kill a container, and waits until it sees that it has ended.

    Raises:
        DaemonError: it did not, or does not see it.
    """
    status, body = call("POST", f"/containers/{container}/kill", ANSWER_TIMEOUT)
    if status not in (204, 404, 409):  # 409: it does not run
        raise _refusal(status, body)
    status, body = call("POST", f"/containers/{container}/wait", STOP_MARGIN)
    if status not in (200, 404):
        raise _refusal(status, body)


def _json(path: str) -> Any:
    """What the daemon has at a path; None when it says that there is nothing."""
    status, body = call("GET", path, ANSWER_TIMEOUT)
    if status == 404:
        return None
    if status != 200:
        raise _refusal(status, body)
    try:
        return json.loads(body)
    except ValueError as error:
        raise DaemonError(f"the answer of the daemon to {path} is cut or no JSON: {error}") from error


def _refusal(status: int, body: bytes) -> DaemonError:
    return DaemonError(f"the daemon answered {status}: {body.decode(errors='replace').strip()}")


def call(method: str, path: str, timeout: float) -> tuple[int, bytes]:
    """One request; answers the status and the body.

    Args:
        timeout: seconds without a byte after which the daemon counts as silent.

    Raises:
        DaemonError: there is no daemon, or it is silent.
    """
    try:
        with _connection(timeout) as connection:
            connection.sendall(f"{method} {path} HTTP/1.0\r\nHost: docker\r\nContent-Length: 0\r\n\r\n".encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
    except OSError as error:
        raise DaemonError(f"the Docker daemon does not answer: {error}") from error
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(maxsplit=2)
    if len(words) < 2 or not words[1].isdigit():
        raise DaemonError("the Docker daemon does not answer in HTTP")
    return int(words[1]), body


@contextlib.contextmanager
def _connection(timeout: float) -> Iterator[socket.socket]:
    where = urllib.parse.urlsplit(address())
    with contextlib.ExitStack() as closing:
        if where.scheme == "unix":
            connection = closing.enter_context(socket.socket(socket.AF_UNIX))
            connection.settimeout(CONNECT_TIMEOUT)
            connection.connect(where.path)
        elif where.scheme in ("tcp", "http", "https"):
            connection = closing.enter_context(_over_network(where))
        else:
            raise OSError(f"nothing can be called at {address() or 'its socket, which is not there'}")
        connection.settimeout(timeout)
        yield connection


def _over_network(where: urllib.parse.SplitResult) -> socket.socket:
    """As the docker program: TLS when DOCKER_TLS_VERIFY and DOCKER_CERT_PATH are set."""
    host, folder = where.hostname or "localhost", os.environ.get("DOCKER_CERT_PATH")
    verify = os.environ.get("DOCKER_TLS_VERIFY") and folder
    connection = socket.create_connection((host, where.port or (2376 if verify else 2375)), CONNECT_TIMEOUT)
    if not verify:
        return connection
    import ssl  # which would cost every watchdog 6 MB

    try:
        context = ssl.create_default_context(cafile=f"{folder}/ca.pem")
        context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
        return context.wrap_socket(connection, server_hostname=host)
    except OSError:
        connection.close()
        raise
