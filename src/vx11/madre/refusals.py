"""Why madre itself, not its windows, refuses a request."""

from collections.abc import Sequence
from typing import Any

from vx11.errors import Vx11Error


class RequestRefused(Vx11Error):
    """A request that is refused.

    Args:
        code: the word that clients see.
        detail: what is wrong, and what to do.
        field: which field is wrong, where it is one.
        errors: all that is wrong, where it is more than that.
        retry_after: seconds after which the same request may do.
        more: what else clients are told.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        field: str | None = None,
        *,
        errors: Sequence[dict[str, Any]] = (),
        retry_after: int | None = None,
        **more: str,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.errors = [{"field": field, "message": detail}] if field else list(errors)
        self.retry_after = retry_after
        self.more = more
