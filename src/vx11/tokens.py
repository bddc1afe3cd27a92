"""Tokens: JWT, HS256 alone, issuer `vx11-madre`; and the file with the keys that sign them."""

import hashlib
import hmac
import os
import re
import secrets
import stat
import time
import uuid
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from vx11 import files
from vx11.errors import InputError, Vx11Error

ISSUER = "vx11-madre"
ALGORITHM = "HS256"
# Seconds by which the clock of who issued a token may differ.
LEEWAY = 5
LONGEST = 8192
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
# Core services cannot open windows (specification §3, rule 6).
CORE = frozenset(["tentaculo_link", "tentaculo_proxy", "madre", "watchdog", "evidence_collector"])
NOT_FOR_CORE = "power:write"
_SERVICE_SCOPE = re.compile(r"svc:[a-z0-9_-]+")
_HEX_KEY = re.compile(r"[0-9a-f]{64}")


_FOR_SERVICES = b"vx11 tokens for services"


class TokenRefused(Vx11Error):
    """A token is missing, malformed, expired, or not for this cell. What exactly is told to the evidence alone.

    Attributes:
        subject, token_id: what it says, where one of our keys has signed it; empty otherwise.
    """

    def __init__(self, why: str, subject: str = "", token_id: str = "") -> None:
        super().__init__(why)
        self.subject = subject
        self.token_id = token_id


@dataclass(frozen=True)
class Bearer:
    """Who a request comes from.

    Attributes:
        expires: from when on the token is refused, in seconds of wall time since 1970.
    """

    subject: str
    scopes: frozenset[str]
    token_id: str
    expires: int


def read_keys(path: Path) -> tuple[bytes, ...]:
    """The keys of a host or cell, one a line: the first one signs; the one before it, if it is there, still counts.

    Raises:
        InputError: the file is missing, readable by others, or does not hold one or two keys of 64 hexadecimal
            characters.
    """
    try:
        with path.open("rb") as file:
            mode, content = os.fstat(file.fileno()).st_mode, file.read()
    except OSError as error:
        hint = f"make one with: vx11 token new-key --key {path}"
        raise InputError.of(f"the key cannot be read: {error.strerror}; {hint}", path) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise InputError.of(
            f"the key can be read by others (mode {stat.S_IMODE(mode):04o}); run: chmod 600 {path}", path
        )
    lines = content.decode("ascii", "replace").split()
    if not 1 <= len(lines) <= 2 or not all(map(_HEX_KEY.fullmatch, lines)):
        raise InputError.of(
            "the key is not 64 hexadecimal characters (32 bytes), or there are more than two, one a line", path
        )
    return tuple(map(bytes.fromhex, lines))


def read_key(path: Path) -> bytes:
    """The key that signs.

    Raises:
        InputError: as `read_keys` does.
    """
    return read_keys(path)[0]


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


def rotate(path: Path, *, keep: bool = True) -> str:
    """A new key signs from now on.

    Args:
        keep: tokens of the key that signed until now still count, until the next rotation.

    Returns:
        The id of the new key.

    Raises:
        InputError: there is no key, or it cannot be written.
    """
    try:
        with files.locked_folder(path.parent):
            former = read_key(path)
            key = secrets.token_bytes(32)
            kept = [key, former] if keep else [key]
            files.write_private(path, "".join(f"{one.hex()}\n" for one in kept), path.stat())
    except OSError as error:
        raise InputError.of(f"the key cannot be replaced: {error.strerror}", path) from error
    return key_id(key)


def key_id(key: bytes) -> str:
    """What a token calls the key that has signed it (`kid`): 16 hexadecimal characters of its sha256."""
    return hashlib.sha256(key).hexdigest()[:16]


def service_key(key: bytes) -> bytes:
    """What tokens for services are signed with, text as HAProxy has it.

    It is derived, so that the gateway, which has no other, can issue nothing else.
    """
    return hmac.new(key, _FOR_SERVICES, hashlib.sha256).hexdigest().encode("ascii")


def derive(path: Path, to: Path) -> None:
    """Writes what tokens for services are signed with, as a key file; one that is there keeps its owner.

    Raises:
        InputError: the one cannot be read, or the other not written.
    """
    text = "".join(f"{service_key(key).decode()}\n" for key in read_keys(path))
    try:
        owner = to.stat() if to.exists() else path.stat()
        files.write_private(to, text, owner)
    except OSError as error:
        raise InputError.of(f"the key of the gateway cannot be written: {error.strerror}", to) from error


def issue(key: bytes, *, subject: str, scopes: Iterable[str], ttl: float, cell: str) -> str:
    """A token for one cell: for madre, or for services behind the gateway, which have a key of their own.

    Args:
        ttl: seconds until it expires.

    Raises:
        InputError: a scope is not known, scopes are for both, nobody is named, or a core service would get what it
            never has.
    """
    wanted = sorted(set(scopes))
    unknown = [scope for scope in wanted if scope not in SCOPES and not _SERVICE_SCOPE.fullmatch(scope)]
    if unknown or not wanted:
        known = " ".join(sorted(SCOPES))
        raise InputError.of(f"unknown scope: {' '.join(unknown) or '(none given)'}; known are: {known} svc:<service>")
    for_services = [scope for scope in wanted if scope not in SCOPES]
    if for_services and for_services != wanted:
        raise InputError.of("a token is for madre or for services; issue one with the scopes svc:<service> alone")
    if not subject:
        raise InputError.of("a token is for somebody; name whom")
    if subject in CORE and NOT_FOR_CORE in wanted:
        raise InputError.of(f"{subject} is a core service, and no token of one has {NOT_FOR_CORE}; name somebody else")
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
    signing = service_key(key) if for_services else key
    return jwt.encode(claims, signing, algorithm=ALGORITHM, headers={"kid": key_id(key)})


def check(
    token: str,
    keys: Sequence[bytes],
    *,
    cell: str,
    require_aud_jti: bool = True,
    revoked: Container[str] = frozenset(),
) -> Bearer:
    """Who a token belongs to.

    Args:
        keys: any of them may have signed it.
        revoked: ids of tokens that no longer count.

    Raises:
        TokenRefused: it is not valid here and now.
    """
    for key in _candidates(token, keys):
        try:
            claims = _valid(token, key, cell, require_aud_jti=require_aud_jti)
            return _bearer(claims, revoked)
        except jwt.InvalidSignatureError:
            continue
        except (jwt.InvalidTokenError, OverflowError) as error:
            said = claims_of(token, key)
            raise TokenRefused(str(error), _text(said.get("sub")), _text(said.get("jti"))) from error
    raise TokenRefused("its signature is not by a key of this host")


def _candidates(token: str, keys: Sequence[bytes]) -> list[bytes]:
    """The keys that may have signed it; the id in its header is compared with theirs and serves for nothing else.

    Raises:
        TokenRefused: it is no token, or names a key that is none of these.
    """
    if len(token) > LONGEST:
        raise TokenRefused(f"it is longer than {LONGEST} characters")
    try:
        named = jwt.get_unverified_header(token).get("kid")
    except (jwt.InvalidTokenError, ValueError) as error:
        raise TokenRefused(str(error)) from error
    found = [key for key in keys if named is None or named == key_id(key)]
    if not found:
        raise TokenRefused("it names a key that is not one of this host")
    return found


def _valid(token: str, key: bytes, cell: str, *, require_aud_jti: bool) -> dict[str, Any]:
    """The claims of a token that holds here and now.

    Raises:
        InvalidTokenError, OverflowError: it does not.
    """
    required = ["iss", "sub", "exp", "scope"] + (["aud", "jti"] if require_aud_jti else [])
    for_somebody = require_aud_jti or claims_of(token).get("aud") is not None
    return jwt.decode(
        token,
        key,
        algorithms=[ALGORITHM],
        issuer=ISSUER,
        audience=cell if for_somebody else None,
        leeway=LEEWAY,
        options={"require": required, "verify_aud": for_somebody},
    )


def _bearer(claims: dict[str, Any], revoked: Container[str]) -> Bearer:
    """Who it is.

    Raises:
        InvalidTokenError: a claim is not what it has to be, or the token was revoked.
    """
    for name in ("sub", "jti", "scope"):
        if name in claims and (not isinstance(claims[name], str) or not (claims[name] or name == "scope")):
            raise jwt.InvalidTokenError(f"the claim {name} is not text")
    expires = int(claims["exp"]) + LEEWAY
    bearer = Bearer(claims["sub"], frozenset(claims["scope"].split()), claims.get("jti", ""), expires)
    if bearer.token_id in revoked:
        raise jwt.InvalidTokenError("it was revoked")
    if bearer.subject in CORE and NOT_FOR_CORE in bearer.scopes:
        raise jwt.InvalidTokenError(f"a core service never has {NOT_FOR_CORE}")
    return bearer


def claims_of(token: str, key: bytes | None = None) -> dict[str, Any]:
    """What a token says, whether it holds or not; nothing when it is none, or the key given has not signed it."""
    unchecked = {f"verify_{name}": False for name in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")}
    options: Any = {"verify_signature": key is not None, **unchecked}
    try:
        return jwt.decode(token, key or b"", algorithms=[ALGORITHM], options=options)
    except (jwt.InvalidTokenError, ValueError):
        return {}


def header_of(token: str) -> dict[str, Any]:
    """The header of a token, unchecked; empty when it is none."""
    try:
        return jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, ValueError):
        return {}


def subject(token: str) -> str:
    """Whom a token says that it is for, unchecked; empty when it does not say."""
    return _text(claims_of(token).get("sub"))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
