"""TC-005: whatever interrupts an upload, what upload-service has acknowledged is whole, and nothing else is left.

The window may be closed while the last upload is in its middle. Then it is opened again to see what outlived it, and
closed at the end. When nobody interrupts, the upload completes and the same has to hold.
"""

import base64
import hashlib
import random
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

SERVICE = "upload-service"
BLOCK = 64 * 1024
SMALL_FILES = 4
SMALL_BLOCKS = 8
# The first half of the large upload goes quickly. The second takes its time: within that it may be interrupted.
LARGE_BLOCKS = 200
PAUSE_S = 0.02
REOPENED_TTL_S = 30


@dataclass
class Uploads:
    """What was sent.

    Attributes:
        service: a client of upload-service.
        sent: name → SHA-256 of all that was to be sent under it.
        acknowledged: names that the service said it has.
    """

    service: httpx.Client
    prefix: str = field(default_factory=lambda: secrets.token_hex(4))
    sent: dict[str, str] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)

    def put(self, label: str, blocks: list[bytes], slowly: Callable[[list[bytes]], Iterator[bytes]] = iter) -> None:
        """Uploads blocks in chunks; raises httpx.TransportError when the connection breaks."""
        name, digest = f"{self.prefix}-{label}.bin", hashlib.sha256(b"".join(blocks))
        self.sent[name] = digest.hexdigest()
        answer = self.service.put(f"/files/{name}", content=slowly(blocks), headers=content_digest(digest.digest()))
        assert answer.raise_for_status().json()["sha256"] == self.sent[name]
        self.acknowledged.add(name)

    def torn(self, service: httpx.Client) -> list[str]:
        """Names that are missing although they were acknowledged, or have another content than was sent."""
        found = {item["name"]: item["sha256"] for item in ask(service, "/files")["files"]}
        present = {name for name in self.sent if name in found}
        return sorted((self.acknowledged - present) | {name for name in present if found[name] != self.sent[name]})


def content_digest(digest: bytes) -> dict[str, str]:
    """The header that says what a body must be (RFC 9530)."""
    return {"Content-Digest": f"sha-256=:{base64.b64encode(digest).decode()}:"}


def ask(service: httpx.Client, path: str) -> Any:
    """What the service answers at a path."""
    return service.get(path).raise_for_status().json()


def content(blocks: int) -> list[bytes]:
    """Blocks that are like no others."""
    source = random.Random(secrets.randbits(64))
    return [source.randbytes(BLOCK) for _ in range(blocks)]


@pytest.fixture
def service(window: Callable[[str], Any]) -> httpx.Client:
    """A client of the case's upload-service."""
    client: httpx.Client = window(SERVICE).http
    return client


@contextmanager
def reopened(madre: httpx.Client, window: Callable[[str], Any]) -> Iterator[httpx.Client]:
    """A client of the service in a new window, which is closed at the end."""
    madre.post("/api/v1/windows/open", json={"service": SERVICE, "ttl": REOPENED_TTL_S}).raise_for_status()
    try:
        yield window(SERVICE).http
    finally:
        madre.post("/api/v1/windows/close", json={"service": SERVICE}).raise_for_status()


def test_what_does_not_have_its_checksum_is_refused(service: httpx.Client) -> None:
    name = f"{secrets.token_hex(4)}.bin"
    before = ask(service, "/temp")["count"]
    answer = service.put(f"/files/{name}", content=iter(content(2)), headers=content_digest(bytes(32)))
    assert answer.status_code == 422, answer.text
    assert name not in [item["name"] for item in ask(service, "/files")["files"]]
    assert ask(service, "/temp")["count"] == before


def test_an_interruption_tears_nothing(
    service: httpx.Client,
    window: Callable[[str], Any],
    madre: httpx.Client,
    mid_operation: Callable[[], None],
    observe: Callable[..., None],
    metric: Callable[..., None],
) -> None:
    uploads, under_way = Uploads(service), 0

    def slowly(blocks: list[bytes]) -> Iterator[bytes]:
        nonlocal under_way
        half = len(blocks) // 2
        yield from blocks[:half]
        under_way = ask(service, "/temp")["count"]
        mid_operation()
        for block in blocks[half:]:
            time.sleep(PAUSE_S)
            yield block

    def check(service: httpx.Client) -> None:
        torn, left = uploads.torn(service), ask(service, "/temp")["count"]
        observe("no_data_corruption", not torn)
        observe("temp_files_cleaned", left == 0)
        metric("cleanup_completeness", 100 * (1 - left / max(left, under_way, 1)), "%")
        assert not torn
        assert left == 0

    for number in range(SMALL_FILES):
        uploads.put(f"small-{number}", content(SMALL_BLOCKS))
    try:
        uploads.put("large", content(LARGE_BLOCKS), slowly)
        check(service)
    except httpx.TransportError:
        with reopened(madre, window) as service_again:
            check(service_again)
    assert under_way, "there was no temporary file in the middle of the upload"
