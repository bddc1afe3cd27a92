"""What an attacker tries at the only port of a host: tokens, paths, requests in requests, slowness, size."""

import base64
import contextlib
import hmac
import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest

from tests.gateway.conftest import Host
from tests.gateway.test_gateway import problem
from vx11 import revocations, tokens
from vx11.evidence.reading import records

pytestmark = pytest.mark.haproxy
GONE = "(gone)"
Make = Callable[[Host], str]


def service_key(host: Host) -> bytes:
    return tokens.service_key(tokens.read_key(host.key))


def claims(host: Host, **changed: Any) -> dict[str, Any]:
    """Those of a good token, changed; what is GONE is left out."""
    good = {
        "iss": tokens.ISSUER,
        "sub": "tester",
        "aud": host.cell,
        "exp": int(time.time()) + 600,
        "iat": int(time.time()),
        "jti": "some-id",
        "scope": "svc:echo",
    }
    return {name: value for name, value in (good | changed).items() if value is not GONE}


def signed(algorithm: str = "HS256", key: Callable[[Host], bytes] = service_key, **changed: Any) -> Make:
    """A token with these claims changed."""
    return lambda host: jwt.encode(claims(host, **changed), key(host), algorithm=algorithm)


def says(algorithm: str) -> Make:
    """A token that is signed as it has to be, whose header says something else."""

    def make(host: Host) -> str:
        parts = [json.dumps(part).encode() for part in ({"typ": "JWT", "alg": algorithm}, claims(host))]
        text = b".".join(map(jwt.utils.base64url_encode, parts))
        signature = hmac.digest(service_key(host), text, "sha256")
        return b".".join([text, jwt.utils.base64url_encode(signature)]).decode()

    return make


def unsigned(host: Host) -> str:
    return jwt.encode(claims(host), None, algorithm="none")


def resealed(host: Host) -> str:
    """A good token for another service whose payload was changed."""
    head, _, signature = host.token("svc:other").split(".")
    payload = base64.urlsafe_b64encode(json.dumps(claims(host)).encode()).rstrip(b"=").decode()
    return f"{head}.{payload}.{signature}"


TOKENS: dict[str, Make] = {
    "none": unsigned,
    "no signature": lambda host: host.token("svc:echo").rpartition(".")[0] + ".",
    "half a token": lambda host: host.token("svc:echo")[:40],
    "nonsense": lambda host: "a.b.c",
    "another payload": resealed,
    "HS512": signed("HS512"),
    "header says none": says("none"),
    "header says RS256": says("RS256"),
    "key of madre": signed(key=lambda host: tokens.read_key(host.key)),
    "empty key": signed(key=lambda _: b"\0" * 64),
    "another issuer": signed(iss="somebody"),
    "no issuer": signed(iss=GONE),
    "another cell": signed(aud="default"),
    "no cell": signed(aud=GONE),
    "several cells": signed(aud=["x", "y"]),
    "nobody": signed(sub=GONE),
    "no id": signed(jti=GONE),
    "no end": signed(exp=GONE),
    "expired": signed(exp=1),
    "an end that is nothing": signed(exp=None),
    "not yet": signed(nbf=int(time.time()) + 300),
    "madre's token": lambda host: host.token(),
}


@pytest.mark.parametrize("make", TOKENS.values(), ids=TOKENS)
@pytest.mark.parametrize("header", ["X-VX11-Token", "Authorization"])
def test_no_other_token_gets_through(host: Host, make: Make, header: str) -> None:
    host.open("echo")
    token = make(host)
    answer = host.http.get("/svc/echo/", headers={header: token if header == "X-VX11-Token" else f"Bearer {token}"})
    detail = problem(answer, 401, "token_invalid")
    assert detail == problem(host.http.get("/svc/echo/"), 401, "token_invalid")  # which tells an attacker nothing
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("make", [signed(), says("HS256")], ids=["by the library", "by hand"])
def test_the_same_with_nothing_changed_does(host: Host, make: Make) -> None:
    host.open("echo")
    assert host.http.get("/svc/echo/", headers={"X-VX11-Token": make(host)}).status_code == 200


@pytest.mark.parametrize(
    "scope",
    [
        "svc:other",
        "svc:echoo",
        "xsvc:echo",
        "svc:",
        "svc:echo,svc:other",
        "svc:*",
        "",
        GONE,
        ["svc:echo"],
        "power:write",
    ],
    ids=str,
)
def test_a_token_opens_its_own_doors_alone(host: Host, scope: Any) -> None:
    host.open("echo")
    answer = host.http.get("/svc/echo/", headers={"X-VX11-Token": signed(scope=scope)(host)})
    assert answer.status_code == 403
    assert problem(answer, 403, "scope_missing") == "this needs a token with the scope svc:echo"


def test_the_gateways_key_signs_nothing_for_madre(host: Host) -> None:
    forged = signed(scope="power:read power:write system:write")(host)
    answer = host.http.get("/api/v1/windows/status", headers={"Authorization": f"Bearer {forged}"})
    problem(answer, 401, "token_invalid")


def test_a_revoked_token_is_refused(host: Host, eventually: Callable[..., Any]) -> None:
    host.open("echo")
    token = host.token("svc:echo")
    said = {"X-VX11-Token": token}
    assert host.http.get("/svc/echo/", headers=said).status_code == 200
    about = tokens.claims_of(token, service_key(host))
    revocations.revoke(host.key, about["jti"], about["exp"])
    eventually(lambda: host.http.get("/svc/echo/", headers=said).status_code == 401)
    assert host.ask("echo").status_code == 200  # which brings a token of its own


def test_of_two_tokens_the_one_of_its_own_header_counts(host: Host) -> None:
    host.open("echo")
    headers = {"X-VX11-Token": "a.b.c", "Authorization": f"Bearer {host.token('svc:echo')}"}
    problem(host.http.get("/svc/echo/", headers=headers), 401, "token_invalid")


@pytest.mark.parametrize("name", ["Authorization", "X-VX11-Token", "Host"])
def test_a_header_that_is_there_twice_is_refused(host: Host, name: str) -> None:
    said = raw(host, f"GET /svc/echo/ HTTP/1.1\r\nHost: x\r\n{name}: a\r\n{name}: b\r\n\r\n")
    assert statuses(said) == [400]


def test_the_evidence_has_the_address_of_who_sends_a_bad_token(host: Host, eventually: Callable[..., Any]) -> None:
    with socket.create_connection(("127.0.0.1", host.port), 15, source_address=("127.0.0.9", 0)) as link:
        spoofed = "X-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nAuthorization: Bearer a.b.c"
        link.sendall(f"GET /api/v1/windows/status HTTP/1.1\r\nHost: x\r\n{spoofed}\r\n\r\n".encode())
        assert statuses(link.recv(65536).decode()) == [401]
    (path,) = (host.folder / "evidence").rglob("evidence.jsonl")

    def refused() -> list[str]:
        return [r["data"]["client"] for r in records(path) if r["action"] == "token_refused"]

    assert "127.0.0.9" in eventually(refused)
    assert "1.2.3.4" not in refused()


# paths


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/windows/status/",
        "//api/v1/windows/status",
        "/./api/v1/windows/status",
        "/x/../api/v1/windows/status",
        "/API/v1/windows/status",
        "/api%2fv1%2fwindows%2fstatus",
        "/api/v1/windows%2fstatus",
        "/%61pi/v1/windows/status",
        "/api/v1/windows/status;x",
        "/api/v1/windows/status%00",
        "/api\\v1\\windows\\status",
        "/madre",
        "/svc",
        "/svc//",
        "/svc/../health",
        "/svc/..%2fhealth",
        "/svc/%65cho/",
        "/svc/ECHO/",
        "/stats",
        "/haproxy?stats",
    ],
)
def test_only_what_stands_in_the_policy_is_an_endpoint(host: Host, path: str) -> None:
    host.open("echo")
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {host.token()}\r\nConnection: close\r\n\r\n"
    said = raw(host, head)
    assert statuses(said)[0] in (400, 404), said


def test_a_path_of_a_service_leads_to_no_other(host: Host) -> None:
    host.open("echo")
    seen = raw(
        host,
        f"GET /svc/echo/../other/../../api/v1/windows/status HTTP/1.1\r\nHost: x\r\n"
        f"X-VX11-Token: {host.token('svc:echo')}\r\nConnection: close\r\n\r\n",
    )
    assert '"path": "/../other/../../api/v1/windows/status"' in seen  # told as it was asked, to the service itself


# requests in requests

SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
SMUGGLING = {
    "length and chunks": f"Content-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "chunks and length": f"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n{SMUGGLED}\r\n0\r\n\r\n",
    "two lengths": f"Content-Length: 0\r\nContent-Length: {len(SMUGGLED)}\r\n\r\n{SMUGGLED}",
    "a list of lengths": f"Content-Length: 0, {len(SMUGGLED)}\r\n\r\n{SMUGGLED}",
    "a signed length": f"Content-Length: +{len(SMUGGLED)}\r\n\r\n{SMUGGLED}",
    "a length in hexadecimal": f"Content-Length: 0x{len(SMUGGLED):x}\r\n\r\n{SMUGGLED}",
    "a name with a space": f"Transfer-Encoding : chunked\r\nContent-Length: {len(SMUGGLED)}\r\n\r\n{SMUGGLED}",
    "another encoding": f"Transfer-Encoding: xchunked\r\nContent-Length: {len(SMUGGLED)}\r\n\r\n{SMUGGLED}",
    "two encodings": f"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "a tab": f"Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "a folded header": f"X: a\r\n Transfer-Encoding: chunked\r\nContent-Length: {len(SMUGGLED)}\r\n\r\n{SMUGGLED}",
    "a bare newline": f"X: a\nContent-Length: {len(SMUGGLED)}\r\n\r\n{SMUGGLED}",
    "a zero byte": f"X: a\0b\r\nContent-Length: {len(SMUGGLED)}\r\n\r\n{SMUGGLED}",
}


def raw(host: Host, text: str, limit: float = 3.0) -> str:
    """What comes back for these bytes until the other side has nothing more to say."""
    said = b""
    with host.connect() as link, contextlib.suppress(TimeoutError, ConnectionResetError):
        link.sendall(text.encode("latin-1"))
        link.settimeout(limit)
        while data := link.recv(65536):
            said += data
    return said.decode("latin-1")


def statuses(said: str) -> list[int]:
    """The status of each answer."""
    return [int(line.split()[1]) for line in said.splitlines() if line.startswith("HTTP/1.")]


@pytest.mark.parametrize("rest", SMUGGLING.values(), ids=SMUGGLING)
def test_what_is_in_a_request_reaches_nobody_as_another_one(host: Host, rest: str) -> None:
    host.open("open")
    said = raw(host, f"POST /svc/open/ HTTP/1.1\r\nHost: x\r\n{rest}", limit=1.0)
    assert '"path": "/smuggled"' not in said
    # What is left of it may be a request to the gateway itself, which knows no such endpoint.
    assert statuses(said)[0] in (200, 400, 422)
    assert set(statuses(said)[1:]) <= {400, 404}


# slowness and size


def test_who_is_slow_is_cut_off_and_holds_up_nobody(host: Host) -> None:
    host.open("open")
    begun = time.monotonic()

    def drip(head: str) -> tuple[str, float]:
        said = raw(host, head, limit=30)
        return said, time.monotonic() - begun

    heads = ["GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ", "GET"] * 50
    with ThreadPoolExecutor(len(heads)) as pool:
        waiting = [pool.submit(drip, head) for head in heads]
        assert host.http.get("/health").status_code == 200
        assert host.http.get("/svc/open/").status_code == 200
        ended = [found.result() for found in waiting]
    assert all(seconds < 15 for _, seconds in ended)
    assert {tuple(statuses(said)) for said, _ in ended} <= {(408,), ()}


@pytest.mark.parametrize(
    "head",
    ["".join(f"X-{number}: a\r\n" for number in range(200)), f"X: {'a' * 20_000}\r\n", f"Cookie: {'a=b; ' * 5000}\r\n"],
    ids=["many headers", "a long header", "a long cookie"],
)
def test_a_flood_of_headers_is_refused(host: Host, head: str) -> None:
    assert statuses(raw(host, f"GET /health HTTP/1.1\r\nHost: x\r\n{head}\r\n")) == [400]
    assert host.http.get("/health").status_code == 200


def test_madre_is_sent_no_large_body(host: Host) -> None:
    headers = {"Authorization": f"Bearer {host.token()}"}
    large = host.http.post("/api/v1/windows/open", content=b"x" * 70_000, headers=headers)
    problem(large, 413, "too_large")
    chunked = host.http.post("/api/v1/windows/open", content=iter([b"{}"]), headers=headers)
    problem(chunked, 411, "length_missing")
