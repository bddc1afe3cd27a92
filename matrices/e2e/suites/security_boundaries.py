"""TC-009: what is not allowed is refused and leaves no trace; what is allowed works and learns no secret.

All probes are sent and recorded before anything is asserted, so that the score tells the truth about a failure too.
"""

import base64
import hashlib
import hmac
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

OPEN = "/api/v1/windows/open"
STATUS = "/api/v1/windows/status"
BLOCKED = "blocked-service"
SAMPLES = 9
# Madre may limit how often it is asked. A 429 says nothing about a probe, so it is asked again.
RETRIES = 30
RETRY_AFTER_LIMIT_S = 10.0

# Names that must not lead to a service, although they are made of the names of two that exist.
TRICKS = [
    "../allowed-service",
    "./allowed-service",
    "allowed-service/../blocked-service",
    "%2e%2e%2fallowed-service",
    "allowed-service\x00",
    "allowed-service\n",
    "ALLOWED-SERVICE",
    "",
]

Json = dict[str, Any]


@dataclass(frozen=True)
class Probe:
    """A request that must be refused: with one of `statuses`, and with one of `codes` unless that is empty."""

    name: str
    ask: Callable[[], httpx.Response]
    statuses: Sequence[int]
    codes: Sequence[str] = ()

    def failure(self) -> str | None:
        """What is wrong with the answer; None when the request was refused as it should be."""
        try:
            answer = patiently(self.ask)
        except httpx.HTTPError as error:
            return f"{self.name}: no answer ({error})"
        code = problem_code(answer)
        if answer.status_code in self.statuses and (not self.codes or code in self.codes):
            return None
        wanted = f"{'/'.join(map(str, self.statuses))} {'/'.join(self.codes)}".strip()
        return f"{self.name}: answered {answer.status_code} {code}, not {wanted}"


def patiently(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """The first answer that is not "too many requests"."""
    for _ in range(RETRIES):
        answer = ask()
        if answer.status_code != 429:
            break
        time.sleep(min(float(answer.headers.get("Retry-After", "1")), RETRY_AFTER_LIMIT_S))
    return answer


def problem_code(answer: httpx.Response) -> str | None:
    """The code of a problem document; None for any other answer."""
    if "json" not in answer.headers.get("Content-Type", ""):
        return None
    body = answer.json()
    return body.get("code") if isinstance(body, dict) else None


@pytest.fixture
def anonymous(madre: httpx.Client) -> Iterator[httpx.Client]:
    """A client of the same madre that has no token."""
    with httpx.Client(base_url=madre.base_url, timeout=10) as client:
        yield client


def opening(madre: httpx.Client, service: str) -> Callable[[], httpx.Response]:
    """A request to open a service."""
    return lambda: madre.post(OPEN, json={"service": service, "ttl": 5})


def allowlist_probes(madre: httpx.Client) -> list[Probe]:
    """Requests for services that may not be opened."""
    tricks = [Probe(f"the name {name!r}", opening(madre, name), [403, 404, 422]) for name in TRICKS]
    return [
        Probe("a blocked service", opening(madre, BLOCKED), [403], ["service_not_allowed"]),
        Probe("an unknown service", opening(madre, "no-such-service"), [404], ["service_unknown"]),
        *tricks,
    ]


def token_probes(madre: httpx.Client, anonymous: httpx.Client) -> list[Probe]:
    """Requests whose sender cannot be known."""
    token = madre.headers["Authorization"].partition(" ")[2]

    def bearing(forged: str) -> Callable[[], httpx.Response]:
        return lambda: anonymous.get(STATUS, headers={"Authorization": f"Bearer {forged}"})

    def in_query() -> httpx.Response:
        return anonymous.get(STATUS, params={"token": token, "access_token": token})

    forged = [Probe(name, bearing(text), [401], ["token_invalid"]) for name, text in forgeries(token).items()]
    missing = ["token_missing"]
    return [
        Probe("no token", lambda: anonymous.get(STATUS), [401], missing),
        Probe("no token, to open", opening(anonymous, "allowed-service"), [401], missing),
        Probe("a token in the query", in_query, [401], missing),
        *forged,
    ]


def forgeries(token: str) -> dict[str, str]:
    """Tokens that nobody issued, made from one that madre did issue."""
    header, payload, signature = token.split(".")
    claims = json.loads(decoded(payload))
    more = encoded({**claims, "scope": f"{claims['scope']} system:write"})
    return {
        "garbage": "garbage",
        "three parts of garbage": "a.b.c",
        "alg none": f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{payload}.",
        "alg None": f"{encoded({'alg': 'None', 'typ': 'JWT'})}.{payload}.",
        "no signature": f"{header}.{payload}.",
        "another key": signed(header, payload, b"0" * 32),
        "an empty key": signed(header, payload, b""),
        "more scopes, old signature": f"{header}.{more}.{signature}",
    }


def signed(header: str, payload: str, key: bytes) -> str:
    """A token with an HMAC-SHA256 signature by `key`."""
    digest = hmac.digest(key, f"{header}.{payload}".encode(), hashlib.sha256)
    return f"{header}.{payload}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def encoded(part: Json) -> str:
    """A part of a JSON Web Token (RFC 7515: base64url without padding)."""
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def decoded(part: str) -> bytes:
    """The reverse of `encoded`."""
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def status(madre: httpx.Client) -> Json:
    """What madre says about all windows, closed ones included."""
    answer: Json = patiently(lambda: madre.get(STATUS, params={"closed": "true"})).raise_for_status().json()
    return answer


def blocked_windows(madre: httpx.Client) -> set[str]:
    """The ids of all windows that the blocked service has or had."""
    seen = status(madre)
    return {window["window_id"] for window in [*seen["windows"], *seen["closed"]] if window["service"] == BLOCKED}


def failures(probes: Sequence[Probe]) -> list[str]:
    """What was wrong with the answers to the probes."""
    return [failure for probe in probes if (failure := probe.failure())]


def test_everything_forbidden_is_refused(
    madre: httpx.Client, anonymous: httpx.Client, observe: Callable[..., None], metric: Callable[..., None]
) -> None:
    before = blocked_windows(madre)
    by_name, by_token = allowlist_probes(madre), token_probes(madre, anonymous)
    opened, accepted = failures(by_name), failures(by_token)
    appeared = blocked_windows(madre) - before
    observe("allowlist_enforced", not opened and not appeared)
    probes = len(by_name) + len(by_token)
    metric("isolation_score", 100 * (probes - len(opened) - len(accepted)) / probes, "%")
    assert not opened + accepted
    assert not appeared, f"refused opens of {BLOCKED} left windows: {sorted(appeared)}"


def test_refusing_is_quick(madre: httpx.Client, metric: Callable[..., None]) -> None:
    answers = [patiently(opening(madre, BLOCKED)) for _ in range(SAMPLES)]
    metric("security_check_overhead_ms", statistics.median(a.elapsed.total_seconds() * 1000 for a in answers), "ms")
    assert {answer.status_code for answer in answers} == {403}


@pytest.fixture
def identity(window: Callable[[str], Any]) -> Json:
    """What the allowed service says about itself."""
    answer: Json = httpx.get(f"{window('allowed-service').url}/whoami", timeout=10).raise_for_status().json()
    return answer


def test_the_allowed_service_answers(identity: Json) -> None:
    assert identity["service"] == "allowed-service"


def test_no_secret_is_in_its_environment(identity: Json) -> None:
    names = [name for name in identity["visible_env"] if name.startswith("VX11_")]
    assert not [name for name in names if any(word in name for word in ("TOKEN", "KEY", "SECRET"))]


def test_its_container_is_closed_off(madre: httpx.Client, identity: Json) -> None:
    engine = status(madre)["engine"]["name"]
    if engine != "docker":
        pytest.skip(f"the engine {engine} runs services without a container")
    assert (identity["uid"], identity["read_only_root"]) == (65534, True)
