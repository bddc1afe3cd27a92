"""Two processes ask for one chain, each with eight threads, and are killed again and again.

Arguments: the chain, how often, a seed. Prints what was acknowledged, a subject a line.
"""

import itertools
import os
import random
import signal
import sys
import threading
from pathlib import Path

from vx11.evidence.appending import EvidenceError
from vx11.evidence.chain import Chain
from vx11.evidence.keys import Signer

THREADS = 8


def write(path: Path, name: int, acknowledged: int) -> None:
    """Appends until it is killed; waits before that for whoever writes now."""
    signer = Signer.of()
    while True:
        try:
            chain = Chain(path, signer)
            break
        except EvidenceError:
            os.sched_yield()

    def work(thread: int) -> None:
        for number in itertools.count():
            subject = f"{name}.{thread}.{number}"
            chain.append("writer", "noted", subject, {"number": number})
            os.write(acknowledged, f"{subject}\n".encode())

    for thread in range(THREADS):
        threading.Thread(target=work, args=(thread,), daemon=True).start()
    signal.pause()


def start(path: Path, name: int, acknowledged: int) -> int:
    pid = os.fork()
    if not pid:
        try:
            write(path, name, acknowledged)
        finally:
            os._exit(1)
    return pid


def main(path: Path, kills: int, seed: str) -> None:
    chosen = random.Random(seed)
    reading, acknowledged = os.pipe()
    names = itertools.count()
    living = [start(path, next(names), acknowledged) for _ in range(2)]
    with os.fdopen(reading, "r") as told:
        for _ in range(kills):
            for _ in range(chosen.randint(1, 40)):
                sys.stdout.write(told.readline())
            pid = living.pop(chosen.randrange(2))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            living.append(start(path, next(names), acknowledged))
        for pid in living:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(acknowledged)
        sys.stdout.write(told.read())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
