"""A small web service with a fault: `faulty.py KIND [ARGUMENT…]`.

GET /work answers {"sum": 3}, or what the fault makes of it.

It is copied beside `_http.py` of the sample services. What it writes to its log is what such programs write.
"""

import ctypes
import faulthandler
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from _http import HttpError, Request, Server

Answer = dict[str, object]
PAGE = 1024 * 1024
# Longer than any suite of the seeded faults is patient.
LONG_S = 60.0
KEPT: list[object] = []


def say(line: str) -> None:
    """Writes to the log."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def works(_request: Request) -> Answer:
    return {"sum": 1 + 2}


def exits(_request: Request) -> Answer:
    """It gives up, with the exit code that is its argument."""
    say("cannot go on")
    os._exit(int(sys.argv[2]))


def panics(_request: Request) -> Answer:
    """An exception that nobody expected ends the program."""
    try:
        raise RuntimeError("the index is not what it was")
    except RuntimeError:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        os._exit(1)


def follows_null(_request: Request) -> Answer:
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.string_at(0)
    return {}


def aborts(_request: Request) -> Answer:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.abort()


def is_killed(_request: Request) -> Answer:
    """Somebody else kills it."""
    subprocess.run(["/bin/sh", "-c", f"kill -9 {os.getpid()}"], check=False)
    return {}


def hoards(_request: Request) -> Answer:
    """It takes memory until it gets no more."""
    while True:
        block = mmap.mmap(-1, PAGE)
        block.write(b"x" * PAGE)
        KEPT.append(block)


def hoards_slowly(_request: Request) -> Answer:
    """As a leak does: in many small pieces."""
    while True:
        KEPT.append(os.urandom(64 * 1024))


def sleeps(_request: Request) -> Answer:
    time.sleep(LONG_S)
    return {}


def locks_up(_request: Request) -> Answer:
    """Two threads wait for each other; the log tells where they are."""
    faulthandler.dump_traceback_later(0.3)
    lock = threading.Lock()
    with lock:
        lock.acquire(timeout=LONG_S)
    return {}


def burns(_request: Request) -> Answer:
    """Half a second of a processor."""
    begun = time.process_time()
    while time.process_time() - begun < 0.5:
        pass
    return works(_request)


def spawns(_request: Request) -> Answer:
    threads = [threading.Thread(target=time.sleep, args=(1,), daemon=True) for _ in range(40)]
    for thread in threads:
        thread.start()
    return works(_request)


def forks(_request: Request) -> Answer:
    KEPT.extend(subprocess.Popen(["/bin/sleep", "2"]) for _ in range(40))
    return works(_request)


def syncs(_request: Request) -> Answer:
    """Writes to the disk, and waits for each."""
    handle = os.open(Path(sys.argv[2]) / "journal", os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
    block = mmap.mmap(-1, 4096)
    for number in range(300):
        os.pwrite(handle, block, number * 4096)
    os.close(handle)
    return works(_request)


def journals(_request: Request) -> Answer:
    """There is no room any more on what it writes to."""
    Path("/dev/full").write_text("entry", encoding="ascii")
    return works(_request)


def outgrows(_request: Request) -> Answer:
    """A file may not grow as it wants."""
    with (Path(sys.argv[2]) / "data").open("wb", buffering=0) as file:
        file.writelines([bytes(4096)] * 4)
    return works(_request)


def miscounts(_request: Request) -> Answer:
    return {"sum": 4}


def indexes(_request: Request) -> Answer:
    """Asks a list for more than it has."""
    return {"sum": sum(_pages()[number] for number in range(3))}


def _pages() -> list[int]:
    return [1, 2]


def looks_up(_request: Request) -> Answer:
    settings = {"rate": "three"}
    return {"sum": int(settings["rate"])}


def refuses(_request: Request) -> Answer:
    status = int(sys.argv[2])
    raise HttpError(status, "The token is not one that this service takes.")


def has_moved(_request: Request) -> Answer:
    raise HttpError(410, "This is not here any more.")


def is_busy(_request: Request) -> Answer:
    raise HttpError(503, "Too much is going on; try again later.")


def hangs_up(_request: Request) -> Answer:
    """It closes the connection without an answer."""
    raise ConnectionError("gone")


def lags(_request: Request) -> Answer:
    time.sleep(float(sys.argv[2]))
    return works(_request)


def asks(_request: Request) -> Answer:
    """What it answers is what another service answers."""
    try:
        with urllib.request.urlopen(f"{os.environ[sys.argv[2]]}/work", timeout=5) as answer:
            return {"sum": 3 if answer.status == 200 else 0}
    except OSError as error:
        raise HttpError(502, f"Another service does not answer: {error}") from error


ANSWERS: dict[str, Callable[[Request], Answer]] = {
    name: made
    for name, made in list(globals().items())
    if callable(made) and getattr(made, "__module__", "") == __name__ and not name.startswith("_")
}


# Before it listens ----------------------------------------------------------------------------------------------------


def misses_argument() -> None:
    sys.exit("usage: service --store FOLDER\nservice: error: the following arguments are required: --store")


def misses_module() -> None:
    __import__("no_such_module_anywhere")


def never_listens() -> None:
    say("waiting for the store")
    signal.pause()


def loads_long() -> None:
    """It computes for long before it can answer."""
    say("building the index")
    begun = time.monotonic()
    while time.monotonic() - begun < LONG_S:
        pass


def finds_port_taken() -> None:
    KEPT.append(socket.create_server(("127.0.0.1", int(os.environ["PORT"]))))


def needs_other() -> None:
    """It asks another service before it starts, and cannot go on without."""
    with urllib.request.urlopen(f"{os.environ[sys.argv[2]]}/work", timeout=5) as answer:
        answer.read()


def caps_files() -> None:
    """No file may grow beyond a page."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    ANSWERS["caps_files"] = outgrows


STARTS: dict[str, Callable[[], None]] = {
    made.__name__: made
    for made in (misses_argument, misses_module, never_listens, loads_long, finds_port_taken, needs_other, caps_files)
}


def main() -> None:
    """Runs the service with its fault."""
    kind = sys.argv[1]
    if kind in STARTS:
        STARTS[kind]()
    routes = {"/work": {"GET": ANSWERS.get(kind, works)}, "/deaf": {"GET": goes_deaf}}
    Server("service", routes, on_stop=stays_a_while).run()


def goes_deaf(_request: Request) -> Answer:
    """From now on it does not listen any more, and lives."""
    KEPT.append("deaf")
    os.kill(os.getpid(), signal.SIGTERM)
    return {}


def stays_a_while() -> None:
    if KEPT == ["deaf"]:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(LONG_S)


if __name__ == "__main__":
    main()
