"""A client for applications in this process."""

import asyncio
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp


class Client:
    """Asks an ASGI application without a server between."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request, answered when the application is done with it."""
        return asyncio.run(self._request(method, path, options))

    async def _request(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://madre.test") as client:
            return await client.request(method, path, **options)


@pytest.fixture(scope="session")
def client_of() -> type[Client]:
    """`client_of(app).request(method, path, …)`."""
    return Client
