"""Calls to another service: its address is in <NAME>_URL, as the catalogue's peers and dependencies get it."""

import http.client
import json
import os
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urlsplit

from _http import HttpError, Request

TIMEOUT_S = 5.0


class PeerError(Exception):
    """A peer did not answer; the text says which one and why."""


class Peer:
    """Another service. Each call is a connection of its own, so any thread may call.

    Args:
        name: as the catalogue calls it.

    Raises:
        SystemExit: nobody said where it is; with the sentence to show.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        variable = f"{name.upper().replace('-', '_')}_URL"
        self._address = urlsplit(os.environ.get(variable, "")).netloc
        if not self._address:
            raise SystemExit(f"{variable} is not set; set it to the address of {name}, such as http://127.0.0.1:8080.")

    def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, object]]:
        """Status and JSON object of its answer, whatever it says.

        Args:
            method: of HTTP.
            path: with the query.
            body: sent as JSON, unless it is None.
            headers: further ones.

        Raises:
            PeerError: there was no answer within 5 s, or none in JSON.
        """
        payload = None if body is None else json.dumps(body)
        connection = http.client.HTTPConnection(self._address, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, payload, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise PeerError(f"{self.name} did not answer {method} {path}: {error}") from error
        finally:
            connection.close()


class Ask(Protocol):
    """A call to one peer; see `Peer.ask`."""

    def __call__(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, object]]: ...


def user_of(request: Request, ask_auth: Ask) -> object:
    """Who sends a request, as auth-service says of its token.

    Raises:
        HttpError: 401, the token is not accepted; 502, auth-service does not answer.
    """
    headers = {"Authorization": request.headers.get("Authorization", "")}
    try:
        status, answer = ask_auth("GET", "/verify", headers=headers)
    except PeerError as error:
        raise HttpError(502, f"No token can be checked: {error}.") from error
    if status != 200:
        raise HttpError(401, f"auth-service refused the token: {answer.get('error')}", {"WWW-Authenticate": "Bearer"})
    return answer["user"]
