"""What an attacker sends who has no token, a stolen one, or one for less: nothing gets through, nothing is a 5xx."""

import base64
import contextlib
import hashlib
import hmac
import json
import secrets
import socket
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from vx11 import revocations, tokens
from vx11.conductor.cell import Cell

OPEN, CLOSE, STATUS = (f"/api/v1/windows/{verb}" for verb in ("open", "close", "status"))
SOLO_MADRE, EXECUTE = "/api/v1/system/solo_madre", "/api/v1/tests/execute"
EVERYTHING = " ".join(sorted(tokens.SCOPES))
PRIVATE = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PUBLIC = PRIVATE.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
Forge = Callable[[Any], str]
Answer = tuple[int, bytes]


def send(cell: Cell, method: str, path: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> Answer:
    """One request, byte for byte as it is given: no client tidies its path or its headers."""
    host, _, port = cell.url.removeprefix("http://").rpartition(":")
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}:{port}", "Connection: close"]
    lines += [f"Content-Length: {len(body)}", "Content-Type: application/json"] if body else []
    lines += [f"{name}: {value}" for name, value in headers]
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    head, _, content = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), content


def claims(api: Any, **changed: Any) -> dict[str, Any]:
    """Those of a token that may do everything, with changes; what is None is left out."""
    good = {
        "iss": "vx11-madre",
        "sub": "mallory",
        "aud": api.cell.name,
        "exp": int(time.time()) + 60,
        "jti": str(uuid.uuid4()),
        "scope": EVERYTHING,
    }
    return {name: value for name, value in (good | changed).items() if value is not None}


def signed(api: Any, headers: dict[str, Any] | None = None, **changed: Any) -> str:
    """By the right key."""
    return jwt.encode(claims(api, **changed), api.key, algorithm="HS256", headers=headers)


def encoded(data: Any) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def by_hand(header: Any, payload: Any, key: bytes, digest: str = "sha256") -> str:
    """With any header, and an HMAC of any key."""
    text = f"{encoded(header)}.{encoded(payload)}"
    return f"{text}.{encoded(hmac.new(key, text.encode(), getattr(hashlib, digest)).digest())}"


def revoked(api: Any) -> str:
    token = signed(api, jti="stolen")
    revocations.revoke(api.cell.folder / "key", "stolen", int(time.time()) + 60)
    return token


def by_a_former_key(api: Any) -> str:
    former = secrets.token_bytes(32)
    return jwt.encode(claims(api), former, algorithm="HS256", headers={"kid": tokens.key_id(former)})


def without(name: str) -> Forge:
    return lambda api: signed(api, **{name: None})


def with_kid(kid: Any) -> Forge:
    return lambda api: by_hand({"alg": "HS256", "typ": "JWT", "kid": kid}, claims(api), b"")


def escalated(api: Any) -> str:
    """A token for reading, whose claims are replaced by better ones."""
    head, _, signature = api.token(scopes=["power:read"]).split(".")
    return f"{head}.{encoded(claims(api))}.{signature}"


INJECTIONS = [
    "../../../../dev/null",
    "/dev/null",
    "/etc/hostname",
    "key",
    "' UNION SELECT '' -- ",
    "\x00",
    "",
    "$(id)",
    "http://127.0.0.1:1/key",
    "a" * 3000,
]
MANY_DIGITS = b'{"alg": ' + b"9" * 5000 + b"}"
FORGED: dict[str, Forge] = {
    "alg none": lambda api: f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{encoded(claims(api))}.",
    "alg None": lambda api: f"{encoded({'alg': 'None'})}.{encoded(claims(api))}.",
    "alg none with a signature": lambda api: by_hand({"alg": "none"}, claims(api), api.key),
    "no alg": lambda api: by_hand({"typ": "JWT"}, claims(api), api.key),
    "alg is a list": lambda api: by_hand({"alg": ["HS256"]}, claims(api), api.key),
    "HS384": lambda api: by_hand({"alg": "HS384"}, claims(api), api.key, "sha384"),
    "HS512": lambda api: by_hand({"alg": "HS512"}, claims(api), api.key, "sha512"),
    "RS256": lambda api: jwt.encode(claims(api), PRIVATE, algorithm="RS256"),
    "RS256 with our key as the public one": lambda api: by_hand({"alg": "RS256"}, claims(api), api.key),
    "HS256 with a public key": lambda api: by_hand({"alg": "HS256"}, claims(api), PUBLIC),
    "a key of its own in the header": lambda api: by_hand(
        {"alg": "HS256", "jwk": {"kty": "oct", "k": encoded(b"k" * 32)}}, claims(api), b"k" * 32
    ),
    "a key that is to be fetched": lambda api: by_hand(
        {"alg": "HS256", "jku": "http://127.0.0.1:1/"}, claims(api), b"k" * 32
    ),
    "an empty key": lambda api: by_hand({"alg": "HS256"}, claims(api), b""),
    "a key of zeroes": lambda api: by_hand({"alg": "HS256"}, claims(api), bytes(32)),
    "the key in hexadecimal": lambda api: by_hand({"alg": "HS256"}, claims(api), api.key.hex().encode()),
    "the id of the key as the key": lambda api: by_hand(
        {"alg": "HS256", "kid": tokens.key_id(api.key)}, claims(api), tokens.key_id(api.key).encode()
    ),
    "a former key": by_a_former_key,
    "a critical extension": lambda api: signed(api, {"crit": ["b64"], "b64": False}),
    "expired": lambda api: signed(api, exp=int(time.time()) - 60),
    "expired in 1970": lambda api: signed(api, exp=0),
    "expires never": lambda api: signed(api, exp=1e400),
    "expires as text": lambda api: signed(api, exp="9999999999 or so"),
    "not yet valid": lambda api: signed(api, nbf=int(time.time()) + 60),
    "issued tomorrow": lambda api: signed(api, iat=int(time.time()) + 86400),
    "for another cell": lambda api: signed(api, aud="another-cell"),
    "for every cell": lambda api: signed(api, aud="*"),
    "for a list of other cells": lambda api: signed(api, aud=["default", "another-cell"]),
    "by another issuer": lambda api: signed(api, iss="somebody-else"),
    "by several issuers": lambda api: by_hand({"alg": "HS256"}, claims(api, iss=["vx11-madre"]), api.key),
    "for nobody": lambda api: signed(api, sub=""),
    "for a number": lambda api: signed(api, sub=7),
    "for a core service": lambda api: signed(api, sub="tentaculo_link"),
    "an empty id": lambda api: signed(api, jti=""),
    "an id that is a list": lambda api: signed(api, jti=["a"]),
    "scopes as a list": lambda api: signed(api, scope=EVERYTHING.split()),
    "scopes as a map": lambda api: signed(api, scope=dict.fromkeys(EVERYTHING.split(), True)),
    **{f"without {name}": without(name) for name in ("iss", "sub", "aud", "exp", "jti", "scope")},
    "revoked": revoked,
    "escalated": escalated,
    "a signature of nothing": lambda api: signed(api).rpartition(".")[0] + ".",
    "two signatures": lambda api: signed(api) + ".e30",
    "claims that are no object": lambda api: by_hand({"alg": "HS256"}, ["power:write"], api.key),
    "claims that are no JSON": lambda api: by_hand({"alg": "HS256"}, b"\xff\xfe", api.key),
    "a header that is no object": lambda api: by_hand(["HS256"], claims(api), api.key),
    "a header of brackets": lambda api: f"{encoded(b'[' * 5000)}.{encoded(claims(api))}.",
    "a number of many digits": lambda api: f"{encoded(MANY_DIGITS)}.e30.",
    "a long one": lambda api: signed(api, note="a" * 20_000),
    "only dots": lambda api: "." * 2000,
    **{f"kid {kid[:20]!r}": with_kid(kid) for kid in INJECTIONS},
    "kid is a number": with_kid(1),
    "kid is a list": with_kid(["a"]),
    "kid is a map": with_kid({"$gt": ""}),
}


def bearer(token: str) -> tuple[str, str]:
    return "Authorization", f"Bearer {token}"


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_forged_token_opens_nothing_and_is_told_nothing(process_api: Any, forge: Forge) -> None:
    token = forge(process_api)
    body = json.dumps({"service": "web", "ttl": 60}).encode()
    for header in (bearer(token), ("x-vx11-token", token)):
        status, content = send(process_api.cell, "POST", OPEN, [header], body)
        problem = json.loads(content)
        assert (status, problem["code"], problem["detail"]) == (401, "token_invalid", "invalid or expired token")
        assert set(problem) == {"type", "title", "status", "detail", "code"}
    assert process_api.status()["windows"] == []
    assert token not in process_api.evidence_path.read_text(encoding="utf-8")


def test_the_token_that_the_forged_ones_are_made_from_would_open(process_api: Any) -> None:
    body = json.dumps({"service": "web", "ttl": 60}).encode()
    for headers in (None, {"kid": tokens.key_id(process_api.key)}):
        assert send(process_api.cell, "POST", OPEN, [bearer(signed(process_api, headers))], body)[0] == 200
    process_api.close()


@pytest.mark.parametrize("size", [70_000, 1_000_000])
def test_a_header_that_is_too_large_is_refused(process_api: Any, size: int) -> None:
    with contextlib.suppress(ConnectionError):  # madre need not read it to its end
        assert send(process_api.cell, "GET", STATUS, [bearer("a" * size)])[0] in {400, 401, 431}
    assert process_api.status()["windows"] == []


def several(first: str, second: str) -> list[list[tuple[str, str]]]:
    """Ways to send two tokens at once."""
    old = "x-vx11-token"
    return [
        [bearer(first), bearer(second)],
        [bearer(first), ("AUTHORIZATION", f"bearer {second}")],
        [bearer(first), (old, second)],
        [(old, second), bearer(first)],
        [(old, first), (old, second)],
        [bearer(f"{first}, Bearer {second}")],
        [bearer(f"{first} {second}")],
        [(old, f"{first},{second}")],
        [("Authorization", "Basic YTpi"), bearer(second)],
    ]


@pytest.mark.parametrize("way", range(9))
@pytest.mark.parametrize("turned", [False, True])
def test_of_two_tokens_none_is_taken(process_api: Any, way: int, turned: bool) -> None:
    pair = [process_api.token(), process_api.token(scopes=["power:read"])]
    headers = several(*(reversed(pair) if turned else pair))[way]
    status, content = send(process_api.cell, "POST", OPEN, headers, b'{"service": "web"}')
    assert (status, json.loads(content)["detail"]) == (401, "invalid or expired token")


@pytest.mark.parametrize("scope", sorted({*tokens.SCOPES} - {"power:write"}))
@pytest.mark.parametrize(
    "more", ["", "POWER:WRITE", "power:writer", "power:*", "power", "*", "power:write,", "svc:web"]
)
def test_no_other_scope_opens(process_api: Any, scope: str, more: str) -> None:
    token = signed(process_api, scope=f"{scope} {more}")
    status, content = send(process_api.cell, "POST", OPEN, [bearer(token)], b'{"service": "web"}')
    assert (status, json.loads(content)["code"]) == (403, "scope_missing")


# Each would be read by something as a path that is open to everybody, or that the token may use.
PATHS = [
    f"/health/..{OPEN}",
    f"/health/../..{OPEN}",
    f"/health/%2e%2e{OPEN}",
    f"/health/..;{OPEN}",
    f"/health;{OPEN}",
    f"/health%00{OPEN}",
    f"/health?{OPEN}",
    "/health%2F..%2Fapi%2Fv1%2Fwindows%2Fopen",
    f"/{OPEN}",
    f"/.{OPEN}",
    f"/;{OPEN}",
    OPEN.replace("/", "//"),
    OPEN.replace("/", "%2F"),
    OPEN.replace("/", "%252F"),
    OPEN.replace("/", "\\"),
    OPEN.replace("/", "%5c"),
    OPEN.replace("open", "%6fpen"),
    OPEN.replace("open", "%6Fpen"),
    OPEN.replace("open", "./open"),
    OPEN.replace("open", "status/../open"),
    OPEN.upper(),
    OPEN.replace("open", "Open"),
    f"{OPEN}/",
    f"{OPEN}/.",
    f"{OPEN}//",
    f"{OPEN}%20",
    f"{OPEN}%0d%0aX:1",
    f"{OPEN}.json",
    f"{OPEN};a=b",
    f"{OPEN}%3f",
    f"{OPEN}%23",
    "/api/v1/windows/%c0%afopen",
    "/api/v1/windows/\xffopen",
    "*",
    "http://127.0.0.1/health",
    f"http://127.0.0.1{OPEN}",
    f"//127.0.0.1{OPEN}",
    "/api/v1/tests/..",
    "/api/v1/tests/results/../execute",
    "/api/v1/tests/results/..%2fexecute",
    "/" + "a" * 20_000,
]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:60])
@pytest.mark.parametrize("may", [[], ["power:read"], ["power:write"]], ids=["nobody", "reads", "writes"])
def test_a_path_is_what_it_says_or_nothing(process_api: Any, path: str, may: list[str]) -> None:
    headers = [bearer(process_api.token(scopes=may))] if may else []
    status, _ = send(process_api.cell, "POST", path, headers, b'{"service": "web"}')
    assert status in {400, 401, 404, 405, 414}
    assert process_api.status()["windows"] == []


@pytest.mark.parametrize(
    "name", ["..", ".", "%2e%2e", "..%2f..%2fetc", "a%00b", "' OR 1=1", "e2e-1;id", "$(id)", "A", "a" * 5000]
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/api/v1/tests/results/"), ("DELETE", "/api/v1/tests/")])
def test_the_name_of_a_test_leads_nowhere(process_api: Any, method: str, path: str, name: str) -> None:
    token = process_api.token(scopes=["tests:read", "tests:run"])
    assert send(process_api.cell, method, path + name, [bearer(token)])[0] in {400, 404, 405}


OVERRIDES = ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "_method"]
FORWARDED = {
    "X-Original-URL": OPEN,
    "X-Rewrite-URL": OPEN,
    "X-Forwarded-Prefix": OPEN,
    "X-Forwarded-For": "127.0.0.1",
    "X-Forwarded-User": "admin",
    "X-Remote-User": "admin",
    "Forwarded": "for=127.0.0.1;host=madre",
    "X-Vx11-Scope": EVERYTHING,
}


@pytest.mark.parametrize("name", OVERRIDES)
def test_no_header_makes_another_method_of_one(process_api: Any, name: str) -> None:
    reader = bearer(process_api.token(scopes=["power:read"]))
    body = b'{"service": "web"}'
    assert send(process_api.cell, "GET", OPEN, [reader, (name, "POST")], body)[0] == 405
    assert send(process_api.cell, "POST", STATUS, [(name, "GET")], body)[0] == 405
    assert process_api.status()["windows"] == []


@pytest.mark.parametrize("name", FORWARDED)
def test_no_header_makes_somebody_or_another_path_of_a_request(process_api: Any, name: str) -> None:
    headers = [(name, FORWARDED[name])]
    body = b'{"service": "web"}'
    assert send(process_api.cell, "POST", OPEN, headers, body)[0] == 401
    assert send(process_api.cell, "POST", "/health", headers, body)[0] == 405
    reader = bearer(process_api.token(scopes=["power:read"]))
    assert send(process_api.cell, "POST", OPEN, [reader, *headers], body)[0] == 403
    assert process_api.status()["windows"] == []


@pytest.mark.parametrize(
    "method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "post", "G\xc3T", "GET\tX"]
)
@pytest.mark.parametrize("path", [OPEN, STATUS, "/health", SOLO_MADRE, EXECUTE])
def test_no_other_method_does_anything(process_api: Any, method: str, path: str) -> None:
    status, _ = send(process_api.cell, method, path, [bearer(process_api.cell.token)])
    assert status in {400, 404, 405, 501}


def test_what_stands_in_the_evidence_tells_the_operator_why(process_api: Any, eventually: Callable[..., Any]) -> None:
    reasons = {
        "expired": "expired",
        "for another cell": "Audience",
        "by another issuer": "issuer",
        "revoked": "revoked",
        "a former key": "names a key",
        "for a core service": "core service",
        "alg none": "alg",
    }
    for name, words in reasons.items():
        token = FORGED[name](process_api)

        def told(token: str = token, words: str = words) -> Any:
            """One a second is written down when there were many."""
            send(process_api.cell, "GET", STATUS, [bearer(token)])
            record = process_api.evidence()[-1]
            return record if words in record["data"].get("why", "") else None

        record = eventually(told)
        assert record["action"] == "token_refused"
        assert record["data"]["client"] == "127.0.0.1"
        ours = name not in {"a former key", "alg none"}
        assert (record["actor"] != "unknown", "token_id" in record["data"]) == (ours, ours)
