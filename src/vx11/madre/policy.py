"""The endpoint policy: everything is denied that does not stand here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Endpoint:
    """One exception to DENY_ALL.

    Attributes:
        scope: what a token must carry; None needs no token.
        budget: the rate budget that it counts on; emergencies have theirs, so that noise never refuses one.
        endless: whether its answer has no end; HEAD, which would wait for it, is then not taken.
    """

    method: str
    path: str
    scope: str | None
    budget: str = "work"
    endless: bool = False


# How much more than the configured rate a budget holds.
BUDGETS = {"work": 1, "close": 10, "solo_madre": 10}

ENDPOINTS = (
    Endpoint("GET", "/health", None),
    Endpoint("GET", "/metrics", "metrics:read"),
    Endpoint("GET", "/openapi.json", "power:read"),
    Endpoint("GET", "/docs", "power:read"),
    Endpoint("POST", "/api/v1/windows/open", "power:write"),
    Endpoint("POST", "/api/v1/windows/close", "power:write", "close"),
    Endpoint("POST", "/api/v1/windows/hold", "power:write"),
    Endpoint("POST", "/api/v1/windows/extend", "power:write"),
    Endpoint("POST", "/api/v1/windows/fault", "fault:write"),
    Endpoint("GET", "/api/v1/windows/status", "power:read"),
    Endpoint("GET", "/api/v1/windows/logs", "power:read"),
    Endpoint("GET", "/api/v1/windows/events", "power:read", endless=True),
    Endpoint("POST", "/api/v1/system/solo_madre", "system:write", "solo_madre"),
    Endpoint("POST", "/madre/power/window/open", "power:write"),
    Endpoint("POST", "/madre/power/window/close", "power:write", "close"),
)

_BY_KEY = {(endpoint.method, endpoint.path): endpoint for endpoint in ENDPOINTS}
_PATHS = {endpoint.path for endpoint in ENDPOINTS}


def find(method: str, path: str) -> Endpoint | None:
    """The exception that lets a request through, None when there is none. HEAD is judged as GET."""
    if method != "HEAD":
        return _BY_KEY.get((method, path))
    endpoint = _BY_KEY.get(("GET", path))
    return None if endpoint and endpoint.endless else endpoint


def is_path(path: str) -> bool:
    """Whether any method is allowed there."""
    return path in _PATHS
