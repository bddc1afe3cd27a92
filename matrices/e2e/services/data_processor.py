"""data-processor: does as much work as it is asked to, on processor, memory and disk, and proves that it did.

POST /work {"rounds", "memory_mb", "operations"} -> what was done, how long each part took, and a digest of each, by
which a caller that knows the recipe can tell that nothing was left out:

* a working set of `memory_mb` MiB in blocks of 64 KiB, block number n filled with the byte n % 256;
* `rounds` times: digest = SHA-256(digest before, block), the blocks in turn, the first digest empty; the digest is
  written over the first 32 bytes of the block, so that the working set stays in use;
* `operations` writes of 4 KiB to a file below `--data`, at most 256 pages long and used round and round: operation n
  fills page n % 256 with n, as 8 bytes, big-endian, repeated. The file is then read back, hashed and removed.

Writes go to the disk itself (O_DIRECT, else O_SYNC; see open(2)): what the page cache takes is not throttled. One
request works at a time, the others wait, so the working set is what one of them asked for.

BUG=lazy claims work that it does not do; BUG=greedy holds three times the working set that it was asked for.
"""

import argparse
import errno
import hashlib
import mmap
import os
import threading
import time
from pathlib import Path

from _http import HttpError, Request, Server, bug

BLOCK = 64 * 1024
PAGE = 4096
PAGES = 256
MOST = {"rounds": 1_000_000, "memory_mb": 4096, "operations": 100_000}
KINDS = ("lazy", "greedy")


def working_set(memory_mb: int) -> bytearray:
    """Memory of this size, all of it written to; one block at least."""
    blocks = max(1, memory_mb * 1024 * 1024 // BLOCK)
    memory = bytearray(blocks * BLOCK)
    for number in range(blocks):
        memory[number * BLOCK : (number + 1) * BLOCK] = bytes([number % 256]) * BLOCK
    return memory


def compute(memory: bytearray, rounds: int) -> str:
    """The digest, in hexadecimal, after so many rounds over the working set."""
    digest = b""
    with memoryview(memory) as view:
        for number in range(rounds):
            begin = number * BLOCK % len(memory)
            whole = hashlib.sha256(digest)
            whole.update(view[begin : begin + BLOCK])
            digest = whole.digest()
            view[begin : begin + len(digest)] = digest
    return digest.hex()


def write(path: Path, operations: int) -> dict[str, object]:
    """Writes so many pages, reads the file back, removes it; answers its SHA-256, and how it was written."""
    handle, how = open_uncached(path)
    try:
        # Mapped memory is aligned to a page, as O_DIRECT wants it.
        with mmap.mmap(-1, PAGE) as page:
            for number in range(operations):
                page[:] = number.to_bytes(8, "big") * (PAGE // 8)
                os.pwrite(handle, page, number % PAGES * PAGE)
        return {"io": how, "disk_sha256": read_back(handle)}
    finally:
        os.close(handle)
        path.unlink()


def open_uncached(path: Path) -> tuple[int, str]:
    """A new file whose writes wait for the disk; and how: `direct`, or `sync` where the file system has no other."""
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_DIRECT, 0o600), "direct"
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.open(path, flags | os.O_SYNC, 0o600), "sync"


def read_back(handle: int) -> str:
    """SHA-256, in hexadecimal, of what the file holds."""
    with mmap.mmap(-1, PAGES * PAGE) as buffer, memoryview(buffer) as view:
        size = os.preadv(handle, [view], 0)
        with view[:size] as content:
            return hashlib.sha256(content).hexdigest()


def peak_memory_mb() -> float:
    """The most memory that this process ever had, in MiB: VmHWM of proc(5)."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


class Processor:
    """The route. Works on one request at a time."""

    def __init__(self, data: Path, kind: str) -> None:
        self._scratch = data / "scratch"
        self._kind = kind
        self._at_work = threading.Lock()

    def work(self, request: Request) -> dict[str, object]:
        """Does what is asked; answers what was done, and the seconds it took."""
        body = request.json()
        asked = {name: amount(body, name) for name in MOST}
        with self._at_work:
            return {**asked, **self._done(**(dict.fromkeys(asked, 0) if self._kind == "lazy" else asked))}

    def _done(self, rounds: int, memory_mb: int, operations: int) -> dict[str, object]:
        begun, used = time.perf_counter(), time.process_time()
        digest = compute(working_set(memory_mb * (3 if self._kind == "greedy" else 1)), rounds)
        computed = time.perf_counter()
        try:
            written = write(self._scratch, operations)
        except OSError as error:
            raise HttpError(507, f"The disk does not take it: {error.strerror}.") from error
        ended = time.perf_counter()
        return {
            "digest": digest,
            **written,
            "compute_s": computed - begun,
            "disk_s": ended - computed,
            "took_s": ended - begun,
            "cpu_s": time.process_time() - used,
            "peak_memory_mb": peak_memory_mb(),
        }


def amount(body: dict[str, object], name: str) -> int:
    """How much of something is asked for; zero when it is not named.

    Raises:
        HttpError: 400, it is no whole number, or too large.
    """
    value = body.get(name, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST[name]:
        raise HttpError(400, f"{name} is {value!r}; send a whole number from 0 to {MOST[name]}.")
    return value


def main() -> None:
    """Runs the service until it is told to stop."""
    parser = argparse.ArgumentParser(description="Works on processor, memory and disk as it is asked to.")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="where it writes; on a real disk")
    data, kind = parser.parse_args().data, bug(*KINDS)
    try:
        data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SystemExit(f"data-processor cannot use {data}: {error}. Give --data a folder it may write.") from error
    processor = Processor(data, kind)
    Server("data-processor", {"/work": {"POST": processor.work}}).run()


if __name__ == "__main__":
    main()
