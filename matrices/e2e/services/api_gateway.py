"""api-gateway: answers a question to who has a token, and keeps answers in a cache.

GET /primes?below=N with `Authorization: Bearer` -> {"user", "count", "cache", "hops_ms"}: how many primes there are
below N. The token is checked by auth-service at each request; `cache` says whether the answer was there (`hit`), had to
be worked out (`miss`), or the cache does not answer (`unavailable`), which costs time and nothing else. `hops_ms` has
the milliseconds of each call to a peer, in order. Peers are found by AUTH_SERVICE_URL and CACHE_URL.

BUG=slow_hops: waits 120 ms before each call to a peer.
"""

import time
from collections.abc import Mapping

from _http import HttpError, Request, Server, bug
from _peer import Ask, Peer, PeerError, user_of

LARGEST = 100_000
ANSWER_TTL_S = 60
SLOW_S = 0.12


class Hops:
    """The calls of one request to peers, each timed."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self.milliseconds: list[float] = []

    def to(self, peer: Peer) -> Ask:
        """A call to a peer, see `Peer.ask`, that is timed."""

        def ask(
            method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
        ) -> tuple[int, dict[str, object]]:
            begun = time.perf_counter()
            time.sleep(self._delay_s)
            try:
                return peer.ask(method, path, body, headers)
            finally:
                self.milliseconds.append((time.perf_counter() - begun) * 1000)

        return ask


class Gateway:
    """The one route, and the peers behind it."""

    def __init__(self, auth: Peer, cache: Peer, delay_s: float) -> None:
        self._auth = auth
        self._cache = cache
        self._delay_s = delay_s

    def primes(self, request: Request) -> dict[str, object]:
        """How many primes there are below a number."""
        hops = Hops(self._delay_s)
        user = user_of(request, hops.to(self._auth))
        below = number(request.query.get("below", ""))
        count, cached = _counted(below, hops.to(self._cache))
        return {"user": user, "count": count, "cache": cached, "hops_ms": hops.milliseconds}


def _counted(below: int, ask_cache: Ask) -> tuple[object, str]:
    path = f"/entries/primes-below-{below}"
    try:
        status, answer = ask_cache("GET", path)
        if status == 200:
            return answer["value"], "hit"
        count = primes_below(below)
        ask_cache("PUT", path, {"value": count, "ttl": ANSWER_TTL_S})
    except PeerError:
        return primes_below(below), "unavailable"
    return count, "miss"


def primes_below(limit: int) -> int:
    """How many primes there are below `limit`, by the sieve of Eratosthenes."""
    sieve = bytearray([1]) * limit
    sieve[:2] = bytes(min(limit, 2))
    for step in range(2, int(limit**0.5) + 1):
        if sieve[step]:
            sieve[step * step :: step] = bytes(len(range(step * step, limit, step)))
    return sum(sieve)


def number(text: str) -> int:
    """The number of the query.

    Raises:
        HttpError: 400, it is something else.
    """
    if not text.isdecimal() or len(text) > 6 or int(text) > LARGEST:
        raise HttpError(400, f"below is {text!r}; send a whole number of at most {LARGEST}.")
    return int(text)


def main() -> None:
    """Runs the service until it is told to stop."""
    delay_s = SLOW_S if bug("slow_hops") else 0.0
    gateway = Gateway(Peer("auth-service"), Peer("cache"), delay_s)
    Server("api-gateway", {"/primes": {"GET": gateway.primes}}).run()


if __name__ == "__main__":
    main()
