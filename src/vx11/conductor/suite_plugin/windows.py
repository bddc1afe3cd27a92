"""A window as a suite uses it: its addresses, and a client that notes how long each request took."""

import os
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from vx11.client import is_behind_gateway
from vx11.conductor.suite_plugin import files

TIMEOUT = 10.0


class TimedClient(httpx.Client):
    """An HTTP client that writes a line for each request: method, URL, status or error, milliseconds.

    A request lasts until its answer was read; one that is streamed, until its headers were.

    Args:
        headers: of each request.
        log: the file of these lines, None to write nowhere.
    """

    def __init__(self, base_url: str, headers: dict[str, str], log: Path | None) -> None:
        # Windows are on this machine, or where madre says; a proxy of the environment must not get between.
        super().__init__(base_url=base_url, headers=headers, timeout=TIMEOUT, trust_env=False)
        self._log = log

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Sends a request, as httpx.Client does."""
        line = {"schema": 1, "suite": os.environ.get("VX11_SUITE", ""), "method": request.method}
        line |= {"url": str(request.url), "begun_ns": str(files.now()), "wall_ns": str(time.time_ns())}
        begun = time.perf_counter()
        try:
            answer = super().send(request, **options)
        except httpx.HTTPError as error:
            self._note(line, begun, None, f"{type(error).__name__}: {error}")
            raise
        self._note(line, begun, answer.status_code, None)
        return answer

    def _note(self, line: dict[str, Any], begun: float, status: int | None, error: str | None) -> None:
        took = round((time.perf_counter() - begun) * 1000, 3)
        if self._log:
            files.append(self._log, {**line, "ms": took, "status": status, "error": error})


@dataclass(frozen=True)
class WindowHandle:
    """An open window.

    Attributes:
        info: the window as madre's API describes it.
        log: where its requests are noted, None for nowhere.
    """

    info: dict[str, Any]
    log: Path | None = None

    @property
    def endpoints(self) -> list[str]:
        """Its URLs."""
        return list(self.info["endpoints"])

    @property
    def url(self) -> str:
        """The first of them."""
        if not self.endpoints:
            raise LookupError(f"the window of {self.info['service']} has no endpoint; give its entry ports or expose")
        return self.endpoints[0]

    @property
    def headers(self) -> dict[str, str]:
        """What each request to `url` needs: behind a gateway the token for services, otherwise nothing."""
        token = os.environ.get("VX11_SERVICE_TOKEN")
        return {"X-VX11-Token": token} if token and is_behind_gateway(self.url) else {}

    @cached_property
    def http(self) -> TimedClient:
        """A client whose base is `url`, and which sends `headers`; threads may share it."""
        return TimedClient(self.url, self.headers, self.log)

    def close(self) -> None:
        """Closes the client, if one was made; the window stays open."""
        if "http" in self.__dict__:
            self.http.close()
