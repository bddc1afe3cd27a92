"""Probes that tell whether a service is ready; one try each, quick to say no."""

import http.client
import socket

from vx11.catalogue.compose import Service
from vx11.catalogue.service import HttpReady
from vx11.engines.port import Engine, EngineError, Running

PROBE_TIMEOUT = 2.0
# No longer, whatever the entry says: between two probes it is seen that a window should close.
LONGEST_PROBE = 5.0


def is_ready(engine: Engine, service: Service, running: Running, window_id: str) -> bool:
    """One probe, by `x-vx11.ready`, else by the entry's health check, else true."""
    ready = service.entry.vx11.ready
    if ready and ready.http:
        return _answers(running, ready.http)
    if ready and ready.tcp:
        return _accepts(running, ready.tcp.port)
    if ready and ready.log:
        return any(ready.log in line for line in engine.logs(running, window_id, 200))
    check = service.entry.healthcheck.command() if service.entry.healthcheck else None
    if check is None:
        return True
    assert service.entry.healthcheck is not None
    try:
        return engine.exec(running, check, min(service.entry.healthcheck.timeout or PROBE_TIMEOUT, LONGEST_PROBE)) == 0
    except EngineError:
        return False


def _answers(running: Running, ready: HttpReady) -> bool:
    port = running.ports.get(ready.port)
    if port is None:
        return False
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PROBE_TIMEOUT)
    try:
        connection.request("GET", ready.path)
        return 200 <= connection.getresponse().status < 400
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _accepts(running: Running, target: int) -> bool:
    port = running.ports.get(target)
    if port is None:
        return False
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PROBE_TIMEOUT).close()
    except OSError:
        return False
    return True
