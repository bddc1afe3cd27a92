"""auth-service: issues signed tokens to one demo user, and checks them.

POST /token {"user", "password"} -> {"token", "expires_in"}; GET /verify with `Authorization: Bearer` -> {"user",
"expires_at"}. The user is AUTH_USER with AUTH_PASSWORD; a token lives AUTH_TOKEN_TTL seconds. The signing key is made
at each start and never leaves the process, so a token ends with the window that issued it.
"""

import base64
import hashlib
import hmac
import json
import os
import time

from _http import HttpError, Request, Server, whole_number


class TokenError(Exception):
    """A token is not accepted; the text says why."""


class Issuer:
    """Signs and checks tokens of the form `payload.signature`, both parts in base64url."""

    def __init__(self, lifetime_s: int) -> None:
        self.lifetime_s = lifetime_s
        self._key = os.urandom(32)

    def issue(self, user: str) -> str:
        """A token that says who its bearer is, for `lifetime_s` seconds."""
        claims = {"user": user, "expires": time.time() + self.lifetime_s}
        payload = _encode(json.dumps(claims).encode())
        return f"{payload}.{self._sign(payload)}"

    def check(self, token: str) -> tuple[str, float]:
        """The user of a token and when it ends, in seconds since 1970.

        Raises:
            TokenError: the token was not signed here, or has ended.
        """
        payload, _, signature = token.partition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(payload).encode()):
            raise TokenError("the token was not issued by this service")
        claims = json.loads(base64.urlsafe_b64decode(payload))
        if time.time() >= claims["expires"]:
            raise TokenError("the token has expired")
        return claims["user"], claims["expires"]

    def _sign(self, payload: str) -> str:
        return _encode(hmac.digest(self._key, payload.encode(), hashlib.sha256))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


class Auth:
    """The two routes."""

    def __init__(self, user: str, password: str, issuer: Issuer) -> None:
        self._credentials = (user.encode(), password.encode())
        self._issuer = issuer

    def token(self, request: Request) -> dict[str, object]:
        """Answers a token to who knows the password."""
        user, password = request.text("user"), request.text("password")
        if not self._known(_comparable(user), _comparable(password)):
            raise _unauthorized("The user or the password is wrong.")
        return {"token": self._issuer.issue(user), "expires_in": self._issuer.lifetime_s}

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
    issuer = Issuer(whole_number("AUTH_TOKEN_TTL", 300))
    auth = Auth(os.environ.get("AUTH_USER", "demo"), os.environ.get("AUTH_PASSWORD", "demo-only"), issuer)
    Server("auth-service", {"/token": {"POST": auth.token}, "/verify": {"GET": auth.verify}}).run()


if __name__ == "__main__":
    main()
