"""What every request passes before any route sees it: endpoint policy, token, scope, rate limit."""

import logging
import time
from collections.abc import Callable
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from vx11 import tokens
from vx11.madre import policy, problems
from vx11.madre.ratelimit import Limiter
from vx11.madre.settings import Rate

log = logging.getLogger(__name__)
RECORDED_REFUSALS = Rate(60, 60.0, 10)
Record = Callable[[str, str, str, dict[str, Any]], None]


class Guard:
    """ASGI middleware.

    Args:
        app: what is behind it.
        check: tells whose token it is, or raises `TokenRefused`.
        rate: limit a token; None for none.
        record: writes evidence of what was refused.
    """

    def __init__(self, app: ASGIApp, check: Callable[[str], tokens.Bearer], rate: Rate | None, record: Record) -> None:
        self._app = app
        self._check = check
        self._record = record
        self._limiters = {name: Limiter(_times(rate, factor)) for name, factor in policy.BUDGETS.items()}
        # Whoever reaches the port may send bad tokens; he must not fill the disk with them.
        self._refusals = Limiter(RECORDED_REFUSALS)
        self._unrecorded = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers with a problem, or passes the request on with its `bearer`."""
        if scope["type"] == "websocket":  # nothing here speaks it, and the policy names none
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._judge(scope)
        if scope["method"] == "HEAD":  # answered as GET; the server leaves the body out
            scope = {**scope, "method": "GET"}
        await (refusal or self._app)(scope, receive, send)

    def _judge(self, scope: Scope) -> ASGIApp | None:
        endpoint = policy.find(scope["method"], scope["path"])
        if endpoint is None:
            if policy.is_path(scope["path"]):
                return problems.response("method_not_allowed", f"{scope['path']} does not take {scope['method']}")
            return problems.response("not_found", f"{scope['path']} is not an endpoint of this host")
        if endpoint.scope is None:
            return None
        token = _token(Headers(scope=scope))
        if token is None:
            return problems.response(
                "token_missing",
                "send a token in the header Authorization: Bearer",
                headers={"WWW-Authenticate": "Bearer"},
            )
        try:
            bearer = self._check(token)
        except tokens.TokenRefused as error:
            self._record_refusal(scope["path"], str(error))
            challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            return problems.response("token_invalid", "the token is not valid here and now", headers=challenge)
        if not bearer.scopes.issuperset(endpoint.scope.split()):
            self._record(bearer.subject, "scope_missing", scope["path"], {"scope": endpoint.scope})
            return problems.response("scope_missing", f"this needs a token with the scope {endpoint.scope}")
        wait = self._limiters[endpoint.budget].take(bearer.token_id or bearer.subject, time.monotonic())
        if wait is not None:
            return problems.response(
                "rate_limited", f"too many requests; try again in {wait} s", headers={"Retry-After": str(wait)}
            )
        scope["bearer"] = bearer
        return None

    def _record_refusal(self, path: str, why: str) -> None:
        if self._refusals.take("all", time.monotonic()) is not None:
            self._unrecorded += 1
            return
        self._record("unknown", "token_refused", path, {"why": why, "unrecorded_before": self._unrecorded})
        self._unrecorded = 0


def _times(rate: Rate | None, factor: int) -> Rate | None:
    return rate and Rate(rate.requests * factor, rate.period, rate.burst * factor)


def _token(headers: Headers) -> str | None:
    """From `Authorization: Bearer`, or the header of the older deployment's clients."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and value.strip():
        return value.strip()
    return headers.get("x-vx11-token") or None
