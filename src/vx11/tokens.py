"""Tokens: JWT, HS256 alone, issuer `vx11-madre`."""

import os
import re
import secrets
import stat
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import jwt

from vx11.errors import InputError, Vx11Error

ISSUER = "vx11-madre"
ALGORITHM = "HS256"
SCOPES = frozenset(
    [
        "power:read",
        "power:write",
        "system:write",
        "tests:run",
        "tests:read",
        "metrics:read",
        "operator:chat",
        "fault:write",
    ]
)
_HEX_KEY = re.compile(r"[0-9a-f]{64}")


class TokenRefused(Vx11Error):
    """A token is missing, malformed, expired, or not for this cell. What exactly is told to the evidence alone."""


@dataclass(frozen=True)
class Bearer:
    """Who a request comes from.

    Attributes:
        expires: when the token ends, in seconds of wall time since 1970.
    """

    subject: str
    scopes: frozenset[str]
    token_id: str
    expires: int


def read_key(path: Path) -> bytes:
    """The signing key of a host or cell.

    Raises:
        InputError: it is missing, readable by others, or not 64 hexadecimal characters.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii").strip()
    except OSError as error:
        hint = f"make one with: vx11 token new-key --key {path}"
        raise InputError.of(f"the key cannot be read: {error.strerror}; {hint}", path) from error
    except UnicodeDecodeError:
        text = ""
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise InputError.of(
            f"the key can be read by others (mode {stat.S_IMODE(mode):04o}); run: chmod 600 {path}", path
        )
    if not _HEX_KEY.fullmatch(text):
        raise InputError.of("the key is not 64 hexadecimal characters (32 bytes)", path)
    return bytes.fromhex(text)


def new_key(path: Path) -> None:
    """Makes a key, mode 0600; never over one that is there.

    Raises:
        InputError: there is one already, or the folder cannot be written.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InputError.of(f"a key cannot be made here: {error.strerror}", path) from error
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32) + "\n")


def issue(key: bytes, *, subject: str, scopes: Iterable[str], ttl: float, cell: str) -> str:
    """A token for one cell.

    Args:
        ttl: seconds until it expires.

    Raises:
        InputError: a scope is not known.
    """
    wanted = sorted(set(scopes))
    unknown = [scope for scope in wanted if scope not in SCOPES and not scope.startswith("svc:")]
    if unknown or not wanted:
        known = " ".join(sorted(SCOPES))
        raise InputError.of(f"unknown scope: {' '.join(unknown) or '(none given)'}; known are: {known} svc:<service>")
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "sub": subject,
        "aud": cell,
        "exp": now + max(1, round(ttl)),
        "iat": now,
        "jti": str(uuid.uuid4()),
        "scope": " ".join(wanted),
    }
    return jwt.encode(claims, key, algorithm=ALGORITHM)


def check(token: str, key: bytes, *, cell: str, require_aud_jti: bool = True) -> Bearer:
    """Who a token belongs to.

    Raises:
        TokenRefused: it is not valid here and now.
    """
    required = ["iss", "sub", "exp", "scope"] + (["aud", "jti"] if require_aud_jti else [])
    try:
        claims = jwt.decode(
            token, key, algorithms=[ALGORITHM], issuer=ISSUER, audience=cell, options={"require": required}
        )
    except jwt.MissingRequiredClaimError as error:
        if require_aud_jti or error.claim != "aud":
            raise TokenRefused(str(error)) from error
        claims = jwt.decode(token, key, algorithms=[ALGORITHM], issuer=ISSUER, options={"require": required})
    except jwt.InvalidTokenError as error:
        raise TokenRefused(str(error)) from error
    if not isinstance(claims["scope"], str):
        raise TokenRefused("the scope is not text")
    scopes = frozenset(claims["scope"].split())
    return Bearer(claims["sub"], scopes, str(claims.get("jti", "")), int(claims["exp"]))


def subject(token: str) -> str:
    """Whom a token says that it is for, unchecked; empty when it does not say."""
    try:
        return str(jwt.decode(token, options={"verify_signature": False}).get("sub", ""))
    except jwt.InvalidTokenError:
        return ""
