"""Probes that tell whether a service is ready; one try each, quick to say no."""

import http.client
import socket

from vx11.catalogue.compose import Service
from vx11.catalogue.service import HttpReady
from vx11.engines.port import Engine, EngineError, Running

PROBE_TIMEOUT = 2.0
# No longer, whatever the entry says: between two probes it is seen that a window should close.
LONGEST_PROBE = 5.0


def lacking(engine: Engine, service: Service, running: Running, window_id: str) -> str:
    """One probe, by `x-vx11.ready`, else by the entry's health check; why it is not ready, empty when it is."""
    ready = service.entry.vx11.ready
    if ready and ready.http:
        return _unanswered(running, ready.http)
    if ready and ready.tcp:
        return _unaccepted(running, ready.tcp.port)
    if ready and ready.log:
        said = any(ready.log in line for line in engine.logs(running, window_id, 200))
        return "" if said else f"its log does not say {ready.log!r}"
    check = service.entry.healthcheck.command() if service.entry.healthcheck else None
    if check is None:
        return ""
    assert service.entry.healthcheck is not None
    try:
        code = engine.exec(running, check, min(service.entry.healthcheck.timeout or PROBE_TIMEOUT, LONGEST_PROBE))
    except EngineError as error:
        return f"its health check could not be run: {error}"
    return f"its health check ended with exit code {code}" if code else ""


def _unanswered(running: Running, ready: HttpReady) -> str:
    port = running.ports.get(ready.port)
    if port is None:
        return f"it has no port {ready.port}"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PROBE_TIMEOUT)
    try:
        connection.request("GET", ready.path)
        status = connection.getresponse().status
        return "" if 200 <= status < 400 else f"GET {ready.path} was answered with {status}"
    except (OSError, http.client.HTTPException):
        return f"nobody answered GET {ready.path} at its port {ready.port}"
    finally:
        connection.close()


def _unaccepted(running: Running, target: int) -> str:
    port = running.ports.get(target)
    if port is None:
        return f"it has no port {target}"
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PROBE_TIMEOUT).close()
    except OSError:
        return f"nobody listens at its port {target}"
    return ""
