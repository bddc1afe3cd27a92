"""auth-service: issues signed tokens to one demo user, checks them, and renews them.

POST /token {"user", "password"} -> {"token", "expires_in", "refresh_token", "refresh_expires_in"}; POST /refresh
{"refresh_token"} -> the same anew; GET /verify with `Authorization: Bearer` -> {"user", "expires_at"}. The user is
AUTH_USER with AUTH_PASSWORD; a token lives AUTH_TOKEN_TTL seconds, or less where a request names a shorter "lifetime".
A refresh token lives AUTH_REFRESH_TTL seconds and works once. The signing key is made at each start and never leaves
the process, so a token ends with the window that issued it.

BUG=accepts_expired: a token never ends. BUG=accepts_forged: nobody looks at signatures. BUG=reuses_refresh: a refresh
token works again and again.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import threading
import time
from typing import NamedTuple

from _http import HttpError, Request, Server, bug, whole_number


class TokenError(Exception):
    """A token is not accepted; the text says why."""


class Issuer:
    """Signs and checks tokens of the form `payload.signature`, both parts in base64url.

    Args:
        fault: the BUG it has; empty for none.
    """

    def __init__(self, fault: str = "") -> None:
        self._fault = fault
        self._key = os.urandom(32)

    def issue(self, user: str, lifetime_s: float) -> str:
        """A token that says who its bearer is, for `lifetime_s` seconds."""
        claims = {"user": user, "expires": time.time() + lifetime_s}
        payload = _encode(json.dumps(claims).encode())
        return f"{payload}.{self._sign(payload)}"

    def check(self, token: str) -> tuple[str, float]:
        """The user of a token and when it ends, in seconds since 1970.

        Raises:
            TokenError: the token was not signed here, or has ended.
        """
        payload, _, signature = token.partition(".")
        if not self._is_signed(payload, signature):
            raise TokenError("the token was not issued by this service")
        claims = json.loads(base64.urlsafe_b64decode(payload))
        if time.time() >= claims["expires"] and self._fault != "accepts_expired":
            raise TokenError("the token has expired")
        return claims["user"], claims["expires"]

    def _is_signed(self, payload: str, signature: str) -> bool:
        right = hmac.compare_digest(signature.encode(), self._sign(payload).encode())
        return right or self._fault == "accepts_forged"

    def _sign(self, payload: str) -> str:
        return _encode(hmac.digest(self._key, payload.encode(), hashlib.sha256))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


class Grant(NamedTuple):
    """What a refresh token is worth: tokens of this user, until a time on the monotonic clock."""

    user: str
    expires: float


class Refreshes:
    """The refresh tokens that still work, of which only digests are kept. Any thread may call.

    Args:
        lifetime_s: how long one works.
        fault: the BUG it has; empty for none.
    """

    def __init__(self, lifetime_s: int, fault: str = "") -> None:
        self.lifetime_s = lifetime_s
        self._fault = fault
        self._grants: dict[bytes, Grant] = {}
        self._lock = threading.Lock()

    def issue(self, user: str) -> str:
        """A refresh token for tokens of this user."""
        token, now = secrets.token_urlsafe(32), time.monotonic()
        with self._lock:
            self._forget_ended(now)
            self._grants[_digest(token)] = Grant(user, now + self.lifetime_s)
        return token

    def redeem(self, token: str) -> str:
        """The user of a refresh token, which is worth nothing from now on.

        Raises:
            TokenError: it was not issued here, was used, or has ended.
        """
        with self._lock:
            self._forget_ended(time.monotonic())
            grant = self._grants.pop(_digest(token), None)
            if grant and self._fault == "reuses_refresh":
                self._grants[_digest(token)] = grant
        if grant is None:
            raise TokenError("the refresh token is unknown, was used before, or has expired")
        return grant.user

    def _forget_ended(self, now: float) -> None:
        # They all live equally long, so the first in the dictionary ends first.
        while self._grants and now >= next(iter(self._grants.values())).expires:
            del self._grants[next(iter(self._grants))]


def _digest(token: str) -> bytes:
    return hashlib.sha256(_comparable(token)).digest()


class Auth:
    """The routes.

    Args:
        user: who may have tokens.
        password: what it takes.
        lifetime_s: the longest life of a token.
        issuer: signs and checks tokens.
        refreshes: the refresh tokens.
    """

    def __init__(self, user: str, password: str, lifetime_s: int, issuer: Issuer, refreshes: Refreshes) -> None:
        self._credentials = (user.encode(), password.encode())
        self._lifetime_s = lifetime_s
        self._issuer = issuer
        self._refreshes = refreshes

    def token(self, request: Request) -> dict[str, object]:
        """Answers tokens to who knows the password."""
        user, password = request.text("user"), request.text("password")
        if not self._known(_comparable(user), _comparable(password)):
            raise _unauthorized("The user or the password is wrong.")
        return self._tokens(user, self._lifetime(request))

    def refresh(self, request: Request) -> dict[str, object]:
        """Answers new tokens for a refresh token, which has then been used."""
        token, lifetime_s = request.text("refresh_token"), self._lifetime(request)
        try:
            user = self._refreshes.redeem(token)
        except TokenError as error:
            raise _unauthorized(f"TokenError: {error}; ask for one with POST /token.") from error
        return self._tokens(user, lifetime_s)

    def verify(self, request: Request) -> dict[str, object]:
        """Answers whose token it is."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _unauthorized("There is no token; send the header 'Authorization: Bearer TOKEN'.")
        try:
            user, expires = self._issuer.check(token.strip())
        except TokenError as error:
            raise _unauthorized(f"TokenError: {error}; ask for one with POST /token.") from error
        return {"user": user, "expires_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires))}

    def _tokens(self, user: str, lifetime_s: float) -> dict[str, object]:
        return {
            "token": self._issuer.issue(user, lifetime_s),
            "expires_in": lifetime_s,
            "refresh_token": self._refreshes.issue(user),
            "refresh_expires_in": self._refreshes.lifetime_s,
        }

    def _lifetime(self, request: Request) -> float:
        """Seconds that a token of this request lives: what it asks for, and never more than is usual."""
        wanted = request.json().get("lifetime", self._lifetime_s)
        if not isinstance(wanted, int | float) or isinstance(wanted, bool) or not wanted >= 0:
            raise HttpError(400, "The field 'lifetime' is not a number of seconds; send one, or leave it out.")
        return min(wanted, self._lifetime_s)

    def _known(self, user: bytes, password: bytes) -> bool:
        # Both are always compared, in constant time: the answer's delay must not tell which one was wrong.
        known_user, known_password = self._credentials
        return hmac.compare_digest(user, known_user) & hmac.compare_digest(password, known_password)


def _comparable(text: str) -> bytes:
    # JSON may carry half a surrogate pair, which has no UTF-8.
    return text.encode(errors="surrogatepass")


def _unauthorized(message: str) -> HttpError:
    return HttpError(401, message, {"WWW-Authenticate": "Bearer"})


def main() -> None:
    """Runs the service until it is told to stop."""
    fault = bug("accepts_expired", "accepts_forged", "reuses_refresh")
    auth = Auth(
        os.environ.get("AUTH_USER", "demo"),
        os.environ.get("AUTH_PASSWORD", "demo-only"),
        whole_number("AUTH_TOKEN_TTL", 300),
        Issuer(fault),
        Refreshes(whole_number("AUTH_REFRESH_TTL", 3600), fault),
    )
    routes = {"/token": {"POST": auth.token}, "/refresh": {"POST": auth.refresh}, "/verify": {"GET": auth.verify}}
    Server("auth-service", routes).run()


if __name__ == "__main__":
    main()
