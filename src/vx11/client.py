"""A client of madre's power API, for the command line, the conductor and suites."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from httpx_sse import EventSource, connect_sse

from vx11.errors import InputError, Vx11Error

LONG = 120.0
HEALTH = 5.0
EVENTS = "/api/v1/windows/events"
# madre says at least each 15 s that it is alive.
SILENCE = httpx.Timeout(5.0, read=40.0)
PAUSE, LONGEST_PAUSE = 0.5, 5.0
TEST_PAUSE = 2.0
# Refusals of names that mean nothing to madre: as wrong as any other input.
UNKNOWN = {"service_unknown", "matrix_unknown", "test_unknown"}


def _ignored(now: bool) -> None:
    """Whether madre answers, for who does not want to know."""


class MadreUnreachable(Vx11Error):
    """Nobody answers at the address, or what answers is not a madre."""


class MadreRefused(Vx11Error):
    """madre answered with a problem document."""

    def __init__(self, problem: dict[str, Any]) -> None:
        self.problem = problem
        self.code = str(problem.get("code", ""))
        self.is_input = problem.get("status") == 422 or self.code in UNKNOWN
        super().__init__(str(problem.get("detail") or problem.get("title") or problem))


class Madre:
    """One host's power API.

    Args:
        url: its entry, such as http://127.0.0.1:8000.
        token: a token; without one only `health` answers.
        timeout: seconds that an answer may take.
    """

    def __init__(self, url: str, token: str = "", timeout: float = LONG) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if not token.isascii():
            raise InputError.of("the token has characters that no token has; set VX11_TOKEN to one that was issued")
        self._url = url
        # Not by a proxy of the environment: the entry is near, and the token is for it alone.
        # Where nothing is encrypted, reading the certificate authorities would cost more than the call.
        address = _address(url)
        encrypted = address.scheme == "https"
        self.http = httpx.Client(base_url=address, headers=headers, timeout=timeout, trust_env=False, verify=encrypted)

    def __enter__(self) -> "Madre":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()

    def call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """One call.

        Returns:
            The answer's JSON.

        Raises:
            MadreUnreachable, MadreRefused.
        """
        with self._answers():
            answer = self.http.request(method, path, **options)
            body = _body(answer)
        if not isinstance(body, dict):
            raise MadreRefused({"detail": str(body)})
        return body

    @contextmanager
    def _answers(self) -> Iterator[None]:
        """Whatever goes wrong between here and there is told as one of our errors."""
        try:
            yield
        except httpx.InvalidURL as error:
            raise MadreUnreachable(f"{self._url} is not an address: {error}") from error
        except httpx.HTTPError as error:
            raise MadreUnreachable(f"no madre answers at {self._url}: {error}; is vx11 serve running there?") from error
        except ValueError as error:
            raise MadreUnreachable(f"what answers at {self._url} is not a madre: {error}") from error

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """A POST; what is None is left out."""
        return self.call("POST", path, json={name: value for name, value in body.items() if value is not None})

    def status(self, *, service: str | None = None, closed: bool = False) -> dict[str, Any]:
        """What is open, and whether only the core runs."""
        parameters = {"closed": str(closed).lower()} | ({"service": service} if service else {})
        return self.call("GET", "/api/v1/windows/status", params=parameters)

    def events(
        self, *, service: str | None = None, answers: Callable[[bool], object] = _ignored
    ) -> Iterator[dict[str, Any]]:
        """What happens to windows, as it happens: first the present ones (`state`), then each event; without end.

        When madre restarts, or the connection breaks, it goes on as soon as madre answers again: with what it has
        missed, or with `state`.

        Args:
            service: only of this service.
            answers: told False when madre has stopped answering, and True when it answers again.

        Raises:
            MadreUnreachable: at the first try alone.
            MadreRefused: also later, when the token is no longer taken.
        """
        begun, lost, last, pause = False, False, "", PAUSE
        while True:
            try:
                with self._stream(service, last) as source:
                    if lost:
                        answers(True)
                    lost, pause = False, PAUSE
                    for found in source.iter_sse():
                        begun, last = True, found.id
                        if found.data:  # none stands in the comments that keep the connection alive
                            yield found.json()
            except (MadreUnreachable, MadreRefused) as error:
                if not begun or not _may_pass(error):
                    raise
                if not lost:
                    answers(False)
                lost = True
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    @contextmanager
    def _stream(self, service: str | None, last: str) -> Iterator[EventSource]:
        parameters = {"service": service} if service else {}
        headers = {"Last-Event-ID": last} if last else {}
        with (
            self._answers(),
            connect_sse(self.http, "GET", EVENTS, params=parameters, headers=headers, timeout=SILENCE) as source,
        ):
            if source.response.status_code >= 400:
                source.response.read()
                _body(source.response)
            yield source

    def fault(self, window: str, kind: str, *, active: bool) -> dict[str, Any]:
        """Injects `network_partition`, `pause` or `kill` into a window, or takes it back; see `named`."""
        return self.post("/api/v1/windows/fault", **named(window), kind=kind, active=active)

    def solo_madre(self, *, dry_run: bool = False, foreign: str | None = None) -> dict[str, Any]:
        """Returns the cell to SOLO_MADRE; `foreign` is `report` or `stop`, None for what madre is configured to do."""
        return self.post("/api/v1/system/solo_madre", dry_run=dry_run, foreign=foreign)

    def test_result(self, test_id: str) -> dict[str, Any]:
        """What a test has come to so far."""
        return self.call("GET", f"/api/v1/tests/results/{quote(test_id, safe='')}")

    def cancel_test(self, test_id: str) -> dict[str, Any]:
        """Tells a test to end."""
        return self.call("DELETE", f"/api/v1/tests/{quote(test_id, safe='')}")

    def ended_test(self, test_id: str) -> dict[str, Any]:
        """Waits until a test has ended, also over a restart of madre; answers what it came to.

        Raises:
            MadreRefused: there is no such test, or the token is no longer taken.
        """
        while True:
            with suppress(MadreUnreachable):
                try:
                    found = self.test_result(test_id)
                except MadreRefused as error:
                    if not _may_pass(error):
                        raise
                else:
                    if found["state"] in ("finished", "aborted"):
                        return found
            time.sleep(TEST_PAUSE)

    def is_alive(self) -> bool:
        """Whether the entry answers, within 5 s."""
        try:
            return self.call("GET", "/health", timeout=HEALTH) == {"status": "ok"}
        except Vx11Error:
            return False


def _body(answer: httpx.Response) -> Any:
    """What stands in an answer.

    Raises:
        MadreRefused: it is a problem document.
        ValueError: it is not JSON.
    """
    try:
        body = answer.json()
    except ValueError as error:
        raise ValueError(f"{answer.status_code}, not JSON") from error
    if answer.status_code >= 400:
        raise MadreRefused(body if isinstance(body, dict) else {"detail": str(body)})
    return body


def _may_pass(error: MadreUnreachable | MadreRefused) -> bool:
    """Whether the same request may do later: nobody answered, or it was too much just now."""
    return isinstance(error, MadreUnreachable) or error.problem.get("status") in (429, 503)


def _address(url: str) -> httpx.URL:
    try:
        found = httpx.URL(url)
        if found.scheme not in ("http", "https") or not found.host:
            raise httpx.InvalidURL("it needs http:// or https://, and a host")
    except httpx.InvalidURL as error:
        raise InputError.of(f"{url} is not an address: {error}; write it like http://127.0.0.1:8000") from error
    return found


def is_behind_gateway(url: str) -> bool:
    """Whether an endpoint leads through the gateway of its host: that one answers, whatever its window does."""
    return urlsplit(url).path.startswith("/svc/")


def named(window: str) -> dict[str, str]:
    """A window by what the user called it: an id has the form of a UUID, a service has not."""
    is_id = len(window) == 36 and window.count("-") == 4
    return {"window_id": window} if is_id else {"service": window}
