"""What every request passes before any route sees it: endpoint policy, token, rate limit, scope."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vx11 import tokens
from vx11.madre import problems, ratelimit
from vx11.madre.policy import BUDGETS, Endpoint, Policy
from vx11.madre.ratelimit import Limiter
from vx11.madre.settings import Rate

log = logging.getLogger(__name__)
RECORDED_REFUSALS = Rate(60, 60.0, 10)
UNKNOWN = "unknown"
# All that a client is told of why its token is refused; the evidence has the reason.
INVALID = "invalid or expired token"
Record = Callable[[str, str, str, dict[str, Any]], None]


class _Refused(Exception):
    """A request goes no further."""

    def __init__(self, answer: ASGIApp) -> None:
        super().__init__()
        self.answer = answer


class Guard:
    """ASGI middleware.

    Args:
        app: what is behind it.
        check: tells whose token it is, or raises `TokenRefused`.
        policy: what is let through.
        rate: limit a token, and an address from which tokens come that do not hold; None for none.
        record: writes evidence of what was refused.
    """

    def __init__(
        self,
        app: ASGIApp,
        check: Callable[[str], tokens.Bearer],
        policy: Policy,
        rate: Rate | None,
        record: Record,
    ) -> None:
        self._app = app
        self._check = check
        self._policy = policy
        self._record = record
        self._limiters = {name: Limiter(_times(rate, factor)) for name, factor in BUDGETS.items()}
        self._strangers = Limiter(rate)
        # Whoever reaches the port may send bad tokens; he must not fill the disk with them.
        self._refusals = Limiter(RECORDED_REFUSALS)
        self._unrecorded = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers with a problem, or passes the request on with its `bearer` and a way to ask if he still `holds`."""
        if scope["type"] == "websocket":  # nothing here speaks it, and the policy names none
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told: dict[str, str] = {}
        try:
            self._judge(scope, told)
            answer = self._app
        except _Refused as refusal:
            answer = refusal.answer
        if scope["method"] == "HEAD":  # answered as GET; the server leaves the body out
            scope = {**scope, "method": "GET"}
        await answer(scope, receive, _telling(send, told) if told else send)

    def _judge(self, scope: Scope, told: dict[str, str]) -> None:
        """Does nothing to a request that may go on, but for saying who it comes from.

        Args:
            told: gets the headers that any answer has from now on.

        Raises:
            _Refused: it may not.
        """
        endpoint = self._endpoint(scope)
        if not endpoint.scopes:
            return
        token, bearer = self._bearer(scope)
        limiter = self._limiters[endpoint.budget]
        taken = limiter.take(bearer.token_id or bearer.subject, time.monotonic())
        if taken and limiter.rate:
            told |= ratelimit.headers(endpoint.budget, limiter.rate, taken)
        if taken and taken.wait is not None:
            raise _Refused(_too_many(taken.wait))
        if not bearer.scopes >= endpoint.scopes:
            self._record_refusal(bearer.subject, "scope_missing", scope, {"scope": endpoint.scope})
            challenge = f'Bearer error="insufficient_scope", scope="{endpoint.scope}"'
            detail = f"this needs a token with the scope {endpoint.scope}"
            raise _Refused(problems.response("scope_missing", detail, headers={"WWW-Authenticate": challenge}))
        scope["bearer"] = bearer
        scope["holds"] = lambda: self._holds(token)

    def _endpoint(self, scope: Scope) -> Endpoint:
        method, path = scope["method"], scope["path"]
        # No path of the policy needs an escape: who sends one wants something before us to read another path than we.
        plain = b"%" not in scope.get("raw_path", b"")
        endpoint = self._policy.find(method, path) if plain else None
        if endpoint is not None:
            return endpoint
        if plain and self._policy.is_path(path):
            allowed = {"Allow": ", ".join(self._policy.methods(path))}
            raise _Refused(problems.response("method_not_allowed", f"{path} does not take {method}", headers=allowed))
        raise _Refused(problems.response("not_found", f"{path} is not an endpoint of this host"))

    def _bearer(self, scope: Scope) -> tuple[str, tokens.Bearer]:
        try:
            token = _token(Headers(scope=scope))
            if token is not None:
                return token, self._check(token)
        except tokens.TokenRefused as error:
            raise _Refused(self._stranger(scope, error)) from error
        detail = "send a token in the header Authorization: Bearer"
        raise _Refused(problems.response("token_missing", detail, headers={"WWW-Authenticate": "Bearer"}))

    def _stranger(self, scope: Scope, error: tokens.TokenRefused) -> ASGIApp:
        """The answer to a token that does not hold. An address that sends many is told to wait; good tokens are not."""
        address = (scope.get("client") or (UNKNOWN,))[0]
        taken = self._strangers.take(address, time.monotonic())
        if taken and taken.wait is not None:
            self._unrecorded += 1
            return _too_many(taken.wait, {"Retry-After": str(taken.wait)})
        why = {"why": str(error), "client": address}
        data = why | ({"token_id": error.token_id} if error.token_id else {})
        self._record_refusal(error.subject or UNKNOWN, "token_refused", scope, data)
        challenge = f'Bearer error="invalid_token", error_description="{INVALID}"'
        return problems.response("token_invalid", INVALID, headers={"WWW-Authenticate": challenge})

    def _holds(self, token: str) -> bool:
        try:
            self._check(token)
        except tokens.TokenRefused:
            return False
        return True

    def _record_refusal(self, actor: str, action: str, scope: Scope, data: dict[str, Any]) -> None:
        taken = self._refusals.take("all", time.monotonic())
        if taken and taken.wait is not None:
            self._unrecorded += 1
            return
        self._record(actor, action, scope["path"], {**data, "unrecorded_before": self._unrecorded})
        self._unrecorded = 0


def _times(rate: Rate | None, factor: int) -> Rate | None:
    return rate and Rate(rate.requests * factor, rate.period, rate.burst * factor)


def _too_many(wait: int, headers: dict[str, str] | None = None) -> ASGIApp:
    return problems.response("rate_limited", f"too many requests; try again in {wait} s", headers=headers)


def _telling(send: Send, told: Mapping[str, str]) -> Send:
    """Sends an answer with more headers."""

    async def tell(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(told)
        await send(message)

    return tell


def _token(headers: Headers) -> str | None:
    """From `Authorization: Bearer`, or the header of the older deployment's clients.

    Raises:
        TokenRefused: there are several, of which somebody before us may have read another one.
    """
    given, legacy = headers.getlist("authorization"), headers.getlist("x-vx11-token")
    if len(given) > 1 or len(legacy) > 1:
        raise tokens.TokenRefused("a header with a token stands there twice")
    kind, _, value = (given or [""])[0].partition(" ")
    found = {value.strip()} if kind.lower() == "bearer" else set()
    found = {token for token in (*found, *legacy) if token}
    if len(found) > 1:
        raise tokens.TokenRefused("two headers have different tokens")
    return next(iter(found), None)
