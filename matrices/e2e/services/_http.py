"""What the sample services share: a small JSON server on the standard library.

A service starts often and lives briefly, under limits that may be tight. So this imports little, sleeps in the kernel
until a request or a signal comes, and ends within a second of SIGTERM, after the requests that are under way.
"""

import http.server
import json
import os
import selectors
import signal
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from email.message import Message
from functools import cached_property
from urllib.parse import parse_qsl, unquote

from _body import Body, BodyError, BodyTooLarge, BrokenOff

BODY_LIMIT = 64 * 1024
# A client that is connected but says nothing must not hold up the end of the service for longer than this.
STOP_LIMIT_S = 0.5


class HttpError(Exception):
    """An answer other than 200: a status, a sentence for the client, and headers."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


class Request:
    """One request: path and query apart, headers, the body.

    Attributes:
        folder: the path up to its last slash.
        name: what follows it, decoded.
        stream: the body as it comes, for a route that does not ask for `body`.
    """

    def __init__(self, target: str, headers: Message, stream: Body) -> None:
        self.path, _, query = target.partition("?")
        self.folder, slash, name = self.path.rpartition("/")
        self.folder += slash
        self.name = unquote(name)
        self.query = dict(parse_qsl(query, keep_blank_values=True))
        self.headers = headers
        self.stream = stream

    @cached_property
    def body(self) -> bytes:
        """The whole body.

        Raises:
            HttpError: 400, it is malformed; 413, it is larger than 64 KiB.
        """
        with body_told():
            return self.stream.whole(BODY_LIMIT)

    def json(self) -> dict[str, object]:
        """The body as a JSON object.

        Raises:
            HttpError: 400, the body is something else.
        """
        try:
            data = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise HttpError(400, f"The body is not valid JSON ({error}); send one JSON object.") from error
        if not isinstance(data, dict):
            raise HttpError(400, "The body is JSON, but not an object; send one such as {}.")
        return data

    def text(self, field: str) -> str:
        """One text field of the JSON body.

        Raises:
            HttpError: 400, the body is no JSON object, or the field is missing or no text.
        """
        value = self.json().get(field)
        if not isinstance(value, str):
            raise HttpError(400, f"The field {field!r} is missing or is not text; send it as a JSON string.")
        return value


@contextmanager
def body_told() -> Iterator[None]:
    """Makes what is wrong with a body an answer for the client.

    Raises:
        HttpError: 400, it is malformed; 413, it is too large.
    """
    try:
        yield
    except BodyError as error:
        raise HttpError(413 if isinstance(error, BodyTooLarge) else 400, str(error)) from error


# What a route returns is sent as JSON with status 200; everything else is an HttpError.
Route = Callable[[Request], dict[str, object]]
# Path, then method, then what answers. A path that ends in a slash is for all names below it.
Routes = Mapping[str, Mapping[str, Route]]


def health(_request: Request) -> dict[str, object]:
    """Answers that the service listens."""
    return {"status": "ok"}


class Handler(http.server.BaseHTTPRequestHandler):
    """Finds the route of a request and answers in JSON, errors included. One connection carries one request."""

    server: "Server"
    timeout = 5  # seconds that a client may be silent
    wbufsize = -1  # head and body leave in one packet

    def answer(self) -> None:
        """Answers the request that was just parsed."""
        try:
            with body_told():
                body = Body(self.headers, self.rfile, self.connection)
        except HttpError as error:
            self._refuse(error)
            return
        self._answer(Request(self.path, self.headers, body))
        self.wfile.flush()
        with suppress(BodyError, BrokenOff):
            body.drain()

    def _answer(self, request: Request) -> None:
        try:
            self._send(200, self._route(request)(request), {})
        except HttpError as error:
            self._refuse(error)
        except OSError:
            raise  # the client is gone: there is nobody to answer
        except Exception:
            self._send(500, {"error": "The service failed on this request; its log says why."}, {})
            raise

    do_DELETE = do_GET = do_HEAD = do_OPTIONS = do_PATCH = do_POST = do_PUT = answer  # noqa: N815 - http.server's names

    def _route(self, request: Request) -> Route:
        routes = self.server.routes
        methods = routes.get(request.path) or (routes.get(request.folder) if request.name else None)
        if methods is None:
            known = ", ".join(sorted(routes))
            raise HttpError(404, f"There is nothing at {request.path}; this service has {known}.")
        if self.command not in methods:
            allowed = ", ".join(sorted(methods))
            raise HttpError(405, f"{request.path} does not take {self.command}; use {allowed}.", {"Allow": allowed})
        return methods[self.command]

    def _refuse(self, error: HttpError) -> None:
        self._send(error.status, {"error": str(error)}, error.headers)

    def _send(self, status: int, body: Mapping[str, object], headers: Mapping[str, str]) -> None:
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers a request that the parser refused, in JSON like everything else."""
        self._send(code, {"error": explain or message or self.responses[code][1]}, {"Connection": "close"})

    def version_string(self) -> str:
        """The Server header; versions are nobody's business."""
        return "vx11-sample"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Logs a request without its query, which may hold secrets, and leaves out the readiness probes."""
        del size  # part of the inherited signature
        line = self.requestline.partition("?")[0]
        if not line.startswith("GET /health"):
            self.log_message("%s -> %s", line, int(code))


class Server(socketserver.ThreadingTCPServer):
    """Listens from its construction on, answers within `run`. BIND and PORT in the environment say where."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128
    timeout = 0  # `run` has waited already

    def __init__(self, name: str, routes: Routes, on_stop: Callable[[], object] = lambda: None) -> None:
        """Starts to listen.

        Args:
            name: how the service calls itself in its log.
            routes: path, then method, then what answers; `GET /health` is added.
            on_stop: called at the stop signal, before requests under way are waited for.

        Raises:
            SystemExit: PORT is no port, or the address cannot be had; with the sentence to show.
        """
        self.name = name
        self.routes = {"/health": {"GET": health}, **routes}
        self._on_stop = on_stop
        self._busy = 0
        self._changed = threading.Condition()
        host, port = os.environ.get("BIND", "127.0.0.1"), whole_number("PORT", 8080)
        try:
            super().__init__((host, port), Handler)
        except (OSError, OverflowError) as error:
            raise SystemExit(f"{name} cannot listen on {host}:{port}: {error}. Set BIND and PORT.") from error

    def run(self) -> None:
        """Serves until SIGTERM or SIGINT, then refuses new connections and lets those under way end."""
        woken, alarm = socket.socketpair()
        alarm.setblocking(False)
        with self, woken, alarm, selectors.DefaultSelector() as selector:
            # Written by the interpreter's own handler: one in Python would not run before the next byte code, and so
            # miss a signal that comes just before select() sleeps.
            signal.set_wakeup_fd(alarm.fileno())
            on_stop_signal(lambda *_: None)
            selector.register(woken, selectors.EVENT_READ)
            selector.register(self, selectors.EVENT_READ)
            self._log("listens on {}:{}".format(*self.server_address[:2]))
            while woken not in [key.fileobj for key, _ in selector.select()]:
                self.handle_request()
            on_stop_signal(signal.SIG_IGN)
            signal.set_wakeup_fd(-1)
        self._on_stop()
        self._wait_for_requests()
        self._log("stopped")

    def _wait_for_requests(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._busy == 0, timeout=STOP_LIMIT_S)

    def get_request(self) -> tuple[socket.socket, object]:
        """Accepts a connection and counts it as under way."""
        accepted = super().get_request()
        with self._changed:
            self._busy += 1
        return accepted

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Closes a connection, whatever became of it."""
        super().shutdown_request(request)
        with self._changed:
            self._busy -= 1
            self._changed.notify_all()

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Logs what went wrong in a request, except that a client went away."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def _log(self, message: str) -> None:
        print(f"{self.name} {message}", file=sys.stderr, flush=True)


def on_stop_signal(handler: Callable[..., object] | signal.Handlers) -> None:
    """Sets what SIGTERM and SIGINT do."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def whole_number(variable: str, default: int) -> int:
    """A number from the environment, zero or more.

    Raises:
        SystemExit: the variable holds something else; with the sentence to show.
    """
    value = os.environ.get(variable, str(default))
    if not value.isdecimal() or len(value) > 15:
        raise SystemExit(f"{variable} is {value!r}; set it to a whole number, zero or more.")
    return int(value)


def bug(*kinds: str) -> str:
    """The fault that BUG in the environment asks a service to have, as a control of the tests; empty for none.

    Raises:
        SystemExit: the service cannot have that one; with the sentence to show.
    """
    kind = os.environ.get("BUG", "")
    if kind and kind not in kinds:
        raise SystemExit(f"BUG is {kind!r}; set it to one of {', '.join(kinds)}, or leave it out.")
    return kind
