"""Problem documents (RFC 9457) for everything that can be refused."""

import json
from typing import Any

import pytest

from vx11.engines.port import EngineError
from vx11.errors import Vx11Error
from vx11.evidence.appending import EvidenceError
from vx11.madre import problems
from vx11.madre.refusals import RequestRefused
from vx11.windows import errors
from vx11.windows.errors import WindowError

WINDOW_ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, WindowError)]


def body(error: Vx11Error) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bytes(problems.of(error).body))
    return found


@pytest.mark.parametrize("kind", [kind for kind in WINDOW_ERRORS if kind is not WindowError])
def test_every_refusal_of_windows_has_a_title_and_its_own_code(kind: type[WindowError]) -> None:
    found = body(kind("it was so"))
    assert found["code"] == kind.code
    assert found["type"] == f"urn:vx11:problem:{kind.code}"
    assert found["detail"] == "it was so"
    assert found["title"]
    assert 400 <= found["status"] < 600
    assert ("errors" in found) is (kind.field is not None)
    if kind.field:
        assert found["errors"] == [{"field": kind.field, "message": "it was so"}]


def test_what_madre_refuses_says_when_to_try_again_and_what_else_is_known() -> None:
    answer = problems.of(RequestRefused("test_running", "it runs", retry_after=30, test_id="e2e-1"))
    found = json.loads(bytes(answer.body))
    assert (found["status"], found["code"], found["test_id"], found["detail"]) == (
        409,
        "test_running",
        "e2e-1",
        "it runs",
    )
    assert answer.headers["Retry-After"] == "30"
    assert "errors" not in found
    assert body(RequestRefused("matrix_unknown", "none", "matrix_id"))["errors"] == [
        {"field": "matrix_id", "message": "none"}
    ]


def test_codes_are_told_apart() -> None:
    codes = [kind.code for kind in WINDOW_ERRORS if kind is not WindowError]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("invalid_request", 422),
        ("token_missing", 401),
        ("token_invalid", 401),
        ("scope_missing", 403),
        ("service_not_allowed", 403),
        ("service_unknown", 404),
        ("no_window", 404),
        ("not_found", 404),
        ("limits_differ", 409),
        ("limits_not_applied", 409),
        ("window_stuck", 409),
        ("ttl_too_long", 422),
        ("open_failed", 502),
        ("evidence_unavailable", 503),
        ("rate_limited", 429),
        ("engine_unavailable", 503),
    ],
)
def test_codes_have_the_status_of_the_contract(code: str, status: int) -> None:
    answer = problems.response(code, "why", headers={"Retry-After": "3"})
    assert answer.status_code == json.loads(bytes(answer.body))["status"] == status
    assert answer.media_type == "application/problem+json"
    assert answer.headers["retry-after"] == "3"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EngineError("no daemon answers"), "engine_unavailable"),
        (EvidenceError("no space left"), "internal"),
        (Vx11Error("something"), "internal"),
    ],
)
def test_other_errors_of_the_package_are_told_too(error: Vx11Error, code: str) -> None:
    assert (body(error)["code"], body(error)["detail"]) == (code, str(error))
