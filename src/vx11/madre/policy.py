"""The endpoint policy: everything is denied that does not stand here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Endpoint:
    """One exception to DENY_ALL.

    Attributes:
        path: may end in a name in braces, which stands for any one name.
        scope: what a token must carry, all of it (`a b` is both); None needs no token.
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
    Endpoint("POST", "/api/v1/tests/execute", "tests:run power:write"),
    Endpoint("GET", "/api/v1/tests/results/{test_id}", "tests:read"),
    Endpoint("DELETE", "/api/v1/tests/{test_id}", "tests:run", "close"),
    Endpoint("POST", "/api/v1/system/solo_madre", "system:write", "solo_madre"),
    Endpoint("POST", "/madre/power/window/open", "power:write"),
    Endpoint("POST", "/madre/power/window/close", "power:write", "close"),
)

_BY_KEY = {(endpoint.method, endpoint.path): endpoint for endpoint in ENDPOINTS}
_PATHS = {endpoint.path for endpoint in ENDPOINTS}
_NAMED = {path.rpartition("/")[0]: path for path in _PATHS if path.endswith("}")}


def find(method: str, path: str) -> Endpoint | None:
    """The exception that lets a request through, None when there is none. HEAD is judged as GET."""
    known = _known(path)
    if method != "HEAD":
        return _BY_KEY.get((method, known))
    endpoint = _BY_KEY.get(("GET", known))
    return None if endpoint and endpoint.endless else endpoint


def is_path(path: str) -> bool:
    """Whether any method is allowed there."""
    return _known(path) in _PATHS


def _known(path: str) -> str:
    """A path as it stands in the policy."""
    folder, _, name = path.rpartition("/")
    return _NAMED.get(folder, path) if name and path not in _PATHS else path
