"""The ASGI application of madre."""

from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry, generate_latest
from starlette.exceptions import HTTPException
from starlette.responses import Response

from vx11 import __version__
from vx11.errors import Vx11Error
from vx11.gateway.config import API_BODY
from vx11.madre import problems, routes
from vx11.madre.bodylimit import BodyLimit
from vx11.madre.entry import Entry
from vx11.madre.guard import Guard
from vx11.madre.jobs import Jobs
from vx11.madre.metrics import WindowCollector
from vx11.madre.operator import Operator
from vx11.madre.policy import Policy
from vx11.madre.settings import Rate
from vx11.tokens import Bearer
from vx11.windows.manager import Windows
from vx11.yamlfile import dotted, sentence


def build(
    windows: Windows,
    jobs: Jobs,
    operator: Operator,
    *,
    check: Callable[[str], Bearer],
    policy: Policy,
    rate: Rate | None,
    registry: CollectorRegistry,
    entry: Entry | None = None,
    stop_foreign: bool = False,
    faults: bool = False,
) -> FastAPI:
    """Puts the application together.

    Args:
        windows: the windows of the cell; started and stopped by whoever serves.
        jobs: the tests of the cell.
        operator: answers questions.
        check: tells whose token it is.
        policy: which requests are let through.
        rate: requests a token; None for no limit.
        registry: where metrics are collected.
        entry: the gateway, where there is one; started and stopped by whoever serves.
        stop_foreign: whether SOLO_MADRE stops what is foreign when a request does not say.
        faults: whether faults may be injected.
    """

    app = FastAPI(
        title="VX11 power",
        version=__version__,
        description="Opens services as power windows and keeps the host in SOLO_MADRE otherwise.",
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    registry.register(WindowCollector(windows, entry))
    export = partial(generate_latest, registry)
    app.state.desk = routes.Desk(windows, jobs, operator, export, entry=entry, stop_foreign=stop_foreign, faults=faults)
    app.include_router(routes.entry)
    app.include_router(routes.api)
    app.add_middleware(BodyLimit, most=API_BODY)
    app.add_middleware(Guard, check=check, policy=policy, rate=rate, record=windows.record)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Vx11Error, _refused)
    app.add_exception_handler(HTTPException, _other)
    app.add_exception_handler(Exception, _failed)
    return app


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [{"field": _field(item), "message": sentence(item)} for item in error.errors()]
    detail = "; ".join(f"{item['field']}: {item['message']}" for item in found)
    return problems.response("invalid_request", detail, errors=found)


def _field(item: Any) -> str:
    """Which field was wrong, without the part of the request that it stands in; `body` for what is not JSON."""
    where, *location = item["loc"]
    return dotted(location) if location and item["type"] != "json_invalid" else str(where)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Vx11Error)
    return problems.of(error)


async def _other(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}.get(error.status_code, "invalid_request")
    return problems.response(code, str(error.detail))


async def _failed(request: Request, error: Exception) -> Response:
    return problems.response("internal", "madre failed at this request; its log says why")
