"""resource-service: has something for everybody, and something for who shows a token of auth-service.

GET /public -> {"message"}; GET /protected with `Authorization: Bearer` -> {"message", "user"}. Each token is checked by
auth-service, whose address is in AUTH_SERVICE_URL, so a token is worth what its issuer says at that moment.

BUG=open_door: asks nobody, and lets in who shows any token or none.
"""

from _http import Request, Server, bug
from _peer import Peer, user_of


class Resource:
    """The two routes."""

    def __init__(self, auth: Peer, open_door: bool) -> None:
        self._auth = auth
        self._open_door = open_door

    def public(self, _request: Request) -> dict[str, object]:
        """Answers everybody."""
        return {"message": "This is for everybody."}

    def protected(self, request: Request) -> dict[str, object]:
        """Answers who shows a valid token."""
        user = "anybody" if self._open_door else user_of(request, self._auth.ask)
        return {"message": "This is for who is known.", "user": user}


def main() -> None:
    """Runs the service until it is told to stop."""
    resource = Resource(Peer("auth-service"), bool(bug("open_door")))
    routes = {"/public": {"GET": resource.public}, "/protected": {"GET": resource.protected}}
    Server("resource-service", routes).run()


if __name__ == "__main__":
    main()
