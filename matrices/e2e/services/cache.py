"""cache: keeps values for a while, in a bounded memory.

PUT /entries/KEY {"value": any JSON, "ttl": seconds} -> {"key", "expires_in"}; GET /entries/KEY -> {"key", "value",
"expires_in"}, 404 when it is not there or no longer; DELETE /entries/KEY -> {"deleted": bool}; GET /stats. A value
without a ttl lives CACHE_TTL seconds. Keys and values together take at most CACHE_MEMORY bytes: what has ended makes
room first, then what was not used for longest.
"""

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from _http import HttpError, Request, Server, whole_number


class Entry(NamedTuple):
    """A value as JSON text, and when it ends, on the monotonic clock."""

    value: bytes
    expires: float


class Memory:
    """The entries, the one that was not used for longest first. Any thread may call.

    Args:
        limit: bytes that all keys and values may take.
        now: the clock, in seconds.
    """

    def __init__(self, limit: int, now: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._now = now
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._counts = {"hits": 0, "misses": 0, "evicted": 0, "expired": 0}

    def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Keeps a value for `ttl_s` seconds, in the place of an earlier one.

        Raises:
            ValueError: it alone is larger than the memory.
        """
        entry = Entry(value, self._now() + ttl_s)
        if _size(key, entry) > self._limit:
            raise ValueError(f"key and value take {_size(key, entry)} bytes; all entries may take {self._limit}")
        with self._lock:
            self._drop(key)
            self._entries[key] = entry
            self._bytes += _size(key, entry)
            self._make_room()

    def get(self, key: str) -> tuple[bytes, float] | None:
        """A value and how many seconds it has left; None when there is none."""
        with self._lock:
            entry = self._live(key)
            self._counts["hits" if entry else "misses"] += 1
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry.value, entry.expires - self._now()

    def delete(self, key: str) -> bool:
        """Forgets a value; whether there was one."""
        with self._lock:
            return self._live(key) is not None and self._drop(key)

    def stats(self) -> dict[str, int]:
        """How full it is, and how often what happened."""
        with self._lock:
            return {"entries": len(self._entries), "bytes": self._bytes, "limit": self._limit, **self._counts}

    def _live(self, key: str) -> Entry | None:
        entry = self._entries.get(key)
        if entry and self._now() >= entry.expires:
            self._drop(key)
            self._counts["expired"] += 1
            return None
        return entry

    def _make_room(self) -> None:
        if self._bytes <= self._limit:
            return
        for key in list(self._entries):  # what has ended goes before what is of use
            self._live(key)
        while self._bytes > self._limit:
            self._drop(next(iter(self._entries)))
            self._counts["evicted"] += 1

    def _drop(self, key: str) -> bool:
        entry = self._entries.pop(key, None)
        if entry:
            self._bytes -= _size(key, entry)
        return entry is not None


def _size(key: str, entry: Entry) -> int:
    return len(key.encode()) + len(entry.value)


class Api:
    """The routes."""

    def __init__(self, memory: Memory, ttl_s: float) -> None:
        self._memory = memory
        self._ttl_s = ttl_s

    def put(self, request: Request) -> dict[str, object]:
        """Keeps the value of the body."""
        body = request.json()
        if "value" not in body:
            raise HttpError(400, "The field 'value' is missing; send any JSON.")
        ttl_s = seconds(body.get("ttl", self._ttl_s))
        try:
            self._memory.put(request.name, json.dumps(body["value"]).encode(), ttl_s)
        except ValueError as error:
            raise HttpError(413, f"The entry does not fit: {error}.") from error
        return {"key": request.name, "expires_in": ttl_s}

    def get(self, request: Request) -> dict[str, object]:
        """Answers a value."""
        found = self._memory.get(request.name)
        if found is None:
            raise HttpError(404, f"There is no entry {request.name}, or no longer.")
        value, left_s = found
        return {"key": request.name, "value": json.loads(value), "expires_in": left_s}

    def delete(self, request: Request) -> dict[str, object]:
        """Forgets a value."""
        return {"deleted": self._memory.delete(request.name)}

    def stats(self, _request: Request) -> dict[str, object]:
        """How full the memory is, and how often what happened."""
        return dict(self._memory.stats())


def seconds(value: object) -> float:
    """A duration of the body.

    Raises:
        HttpError: 400, it is no number above zero.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise HttpError(400, "The field 'ttl' is not a number of seconds above zero.")
    return float(value)


def main() -> None:
    """Runs the service until it is told to stop."""
    api = Api(Memory(whole_number("CACHE_MEMORY", 4 * 1024 * 1024)), whole_number("CACHE_TTL", 60))
    entries = {"GET": api.get, "PUT": api.put, "DELETE": api.delete}
    Server("cache", {"/entries/": entries, "/stats": {"GET": api.stats}}).run()


if __name__ == "__main__":
    main()
