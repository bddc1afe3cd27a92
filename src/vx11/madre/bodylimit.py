"""How large a body may be: one that says that it is larger is not read, one that grows larger is read no further."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vx11.madre import problems


class BodyLimit:
    """ASGI middleware.

    Args:
        app: what is behind it.
        most: bytes of a body.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most
        self._detail = f"a body may have {most // 1024} KiB at most"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers with a problem, or passes the request on; its body is counted as it comes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if int(Headers(scope=scope).get("content-length", 0)) > self._most:
            await problems.response("too_large", self._detail)(scope, receive, send)
            return
        taken, has_begun = 0, False

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken <= self._most:
                return message
            if has_begun:  # whoever still listens does so to see when the client goes
                return {"type": "http.disconnect"}
            raise HTTPException(413, self._detail)  # no other exception passes whoever reads the body

        async def told(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        await self._app(scope, counted, told)
