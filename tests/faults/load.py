"""Many clients at once against one entry: `python load.py URL CLIENTS SECONDS`, with good tokens on stdin.

Each client asks as fast as it is answered, on a connection of its own: with a good token, with a bad one, without one,
for what is there and for what is not. Prints how often each status was answered, as JSON; `lost` counts connections
that broke.
"""

import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from urllib.parse import urlsplit

BAD = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJub2JvZHkifQ.c2lnbmF0dXJl"


def requests(tokens: list[str], number: int) -> list[bytes]:
    """What a client asks, in turn."""
    mine = tokens[number % len(tokens)]
    asked = [("/api/v1/windows/status", mine), ("/api/v1/windows/status", f"{BAD}{number}"), ("/health", "")]
    asked += [("/api/v1/windows/status", ""), ("/nothing", mine)]
    lines = [
        f"GET {path} HTTP/1.1\r\nHost: x\r\n" + (f"Authorization: Bearer {t}\r\n" if t else "") for path, t in asked
    ]
    return [f"{line}\r\n".encode() for line in lines]


async def client(host: str, port: int, asked: list[bytes], until: float, counts: Counter[str]) -> None:
    """Asks until it is time."""
    turn = itertools.cycle(asked)
    while time.monotonic() < until:
        try:
            reader, writer = await asyncio.open_connection(host, port)
            while time.monotonic() < until:
                writer.write(next(turn))
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.decode("latin-1").lower().split("\r\n")
                length = next((int(line.split(":")[1]) for line in lines if line.startswith("content-length:")), 0)
                await reader.readexactly(length)
                counts[lines[0].split()[1]] += 1
            writer.close()
        except (OSError, asyncio.IncompleteReadError):
            counts["lost"] += 1


async def main(url: str, clients: int, seconds: float) -> None:
    """Runs them all, and prints what came of it."""
    where, tokens = urlsplit(url), sys.stdin.read().split()
    until, counts = time.monotonic() + seconds, Counter[str]()
    every = (client(str(where.hostname), where.port or 0, requests(tokens, n), until, counts) for n in range(clients))
    await asyncio.gather(*every)
    print(json.dumps(counts))  # noqa: T201 - its answer


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
