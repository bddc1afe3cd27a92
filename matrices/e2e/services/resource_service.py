"""resource-service: has something for everybody, and something for who shows a token of auth-service.

GET /public -> {"message"}; GET /protected with `Authorization: Bearer` -> {"message", "user"}. Each token is checked by
auth-service, whose address is in AUTH_SERVICE_URL, so a token is worth what its issuer says at that moment.

BUG=needs_no_token: who shows none is let in. BUG=remembers_tokens: a token that was accepted once is not checked again.
"""

from _http import Request, Routes, Server, bug
from _peer import Peer, user_of


class Resource:
    """The two routes.

    Args:
        auth: who checks tokens.
        fault: the BUG it has; empty for none.
    """

    def __init__(self, auth: Peer, fault: str = "") -> None:
        self._auth = auth
        self._fault = fault
        self._remembered: dict[str, object] = {}

    def public(self, _request: Request) -> dict[str, object]:
        """Answers everybody."""
        return {"message": "This is for everybody."}

    def protected(self, request: Request) -> dict[str, object]:
        """Answers who shows a valid token."""
        return {"message": "This is for who is known.", "user": self._user(request)}

    def _user(self, request: Request) -> object:
        shown = request.headers.get("Authorization", "")
        if self._fault == "needs_no_token" and not shown:
            return "anybody"
        if self._fault == "remembers_tokens" and shown in self._remembered:
            return self._remembered[shown]
        user = user_of(request, self._auth.ask)
        if self._fault == "remembers_tokens":
            self._remembered[shown] = user
        return user


def main() -> None:
    """Runs the service until it is told to stop."""
    resource = Resource(Peer("auth-service"), bug("needs_no_token", "remembers_tokens"))
    routes: Routes = {"/public": {"GET": resource.public}, "/protected": {"GET": resource.protected}}
    Server("resource-service", routes).run()


if __name__ == "__main__":
    main()
