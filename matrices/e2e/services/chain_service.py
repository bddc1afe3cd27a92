"""service-a, service-b, service-c: a chain in which each asks the one below.

--name says who it is, --below who stands below it, whose address is in <NAME>_URL; the lowest has none. GET /identity
-> {"service", "instance"}, where the instance is made up at each start; GET /chain -> {"chain": [{"service",
"instance"}]}, itself first and then what the one below answers. So a whole chain cannot be answered without asking it.

BUG=breaks_chain: answers for the one below instead of asking it. BUG=unhealthy: `GET /health` answers 503.
"""

import argparse
import secrets

from _http import HttpError, Request, Server, bug
from _peer import Peer, PeerError


class Link:
    """One service of the chain."""

    def __init__(self, name: str, below: Peer | None, breaks_chain: bool) -> None:
        self._me = {"service": name, "instance": secrets.token_hex(8)}
        self._below = below
        self._breaks_chain = breaks_chain

    def identity(self, _request: Request) -> dict[str, object]:
        """Who it is."""
        return dict(self._me)

    def chain(self, _request: Request) -> dict[str, object]:
        """Itself and all below it."""
        return {"chain": [self._me, *self._rest()]}

    def _rest(self) -> list[object]:
        if self._below is None:
            return []
        if self._breaks_chain:
            return [{"service": self._below.name, "instance": secrets.token_hex(8)}]
        try:
            status, answer = self._below.ask("GET", "/chain")
        except PeerError as error:
            raise HttpError(502, f"The chain ends at {self._me['service']}: {error}.") from error
        rest = answer.get("chain")
        if status != 200 or not isinstance(rest, list):
            raise HttpError(502, f"The chain ends at {self._below.name}: {answer.get('error')}")
        return rest


def unhealthy(_request: Request) -> dict[str, object]:
    """Answers that the service is not ready."""
    raise HttpError(503, "This service was told to be unhealthy.")


def main() -> None:
    """Runs the service until it is told to stop."""
    parser = argparse.ArgumentParser(description="One service of a chain, which asks the one below.")
    parser.add_argument("--name", required=True, help="who it is")
    parser.add_argument("--below", metavar="NAME", help="who stands below it; the lowest has none")
    arguments = parser.parse_args()
    kind = bug("breaks_chain", "unhealthy")
    link = Link(arguments.name, arguments.below and Peer(arguments.below), kind == "breaks_chain")
    routes = {"/identity": {"GET": link.identity}, "/chain": {"GET": link.chain}}
    if kind == "unhealthy":
        routes["/health"] = {"GET": unhealthy}
    Server(arguments.name, routes).run()


if __name__ == "__main__":
    main()
