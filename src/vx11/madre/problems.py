"""Problem documents (RFC 9457): what was wrong, and with which field."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from starlette.responses import JSONResponse

from vx11.engines.port import EngineError
from vx11.errors import Vx11Error
from vx11.madre.refusals import RequestRefused
from vx11.windows.errors import WindowError

TITLES = {
    "invalid_request": (422, "The request is not valid"),
    "token_missing": (401, "A token is needed"),
    "token_invalid": (401, "The token is not valid"),
    "scope_missing": (403, "The token does not allow this"),
    "faults_off": (403, "Faults are off on this host"),
    "service_not_allowed": (403, "The service may not be opened"),
    "service_unknown": (404, "There is no such service"),
    "no_window": (404, "There is no such window"),
    "matrix_unknown": (404, "There is no such matrix"),
    "test_unknown": (404, "There is no such test"),
    "not_found": (404, "There is no such endpoint"),
    "method_not_allowed": (405, "The endpoint does not take this method"),
    "limits_differ": (409, "The window is open with other limits"),
    "limits_not_applied": (409, "A limit did not take effect"),
    "returning_to_solo_madre": (409, "Everything is being closed"),
    "fault_not_possible": (409, "The window cannot have this fault"),
    "window_stuck": (409, "An earlier window could not be closed"),
    "test_running": (409, "Another test runs"),
    "test_ended": (409, "The test has ended"),
    "too_large": (413, "The body is too large"),
    "matrix_invalid": (422, "The matrix is not valid"),
    "ttl_too_long": (422, "The time is longer than the service allows"),
    "rate_limited": (429, "Too many requests"),
    "internal": (500, "madre failed"),
    "open_failed": (502, "The service did not open"),
    "fault_failed": (502, "The fault was not seen to bite, or to be gone"),
    "engine_unavailable": (503, "The engine does not answer"),
    "evidence_unavailable": (503, "Evidence cannot be written"),
    "tests_unavailable": (503, "Tests cannot be run here"),
    "too_many_streams": (503, "Too many event streams are open"),
}


def response(
    code: str,
    detail: str,
    *,
    errors: Sequence[dict[str, Any]] = (),
    headers: dict[str, str] | None = None,
    more: Mapping[str, str] = MappingProxyType({}),
) -> JSONResponse:
    """The answer for one problem; `more` are members of its own (RFC 9457, section 3.2)."""
    status, title = TITLES[code]
    body: dict[str, Any] = {
        "type": f"urn:vx11:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        **more,
    }
    if errors:
        body["errors"] = list(errors)
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def of(error: Vx11Error) -> JSONResponse:
    """The answer for an error of the package."""
    if isinstance(error, WindowError):
        errors = [{"field": error.field, "message": str(error)}] if error.field else []
        return response(error.code, str(error), errors=errors)
    if isinstance(error, RequestRefused):
        headers = {"Retry-After": str(error.retry_after)} if error.retry_after else None
        return response(error.code, str(error), errors=error.errors, headers=headers, more=error.more)
    code = "engine_unavailable" if isinstance(error, EngineError) else "internal"
    return response(code, str(error))
