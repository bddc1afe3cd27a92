"""`python -I -m vx11.watchdog --state DIR`: looks after the cell whose state folder that is."""

import argparse
import signal
import sys
import threading
import time
from pathlib import Path

from vx11.clock import Clock
from vx11.engines import cgroups
from vx11.statefiles import WATCHDOG_LOCK, WINDOWS, held_lock
from vx11.watchdog.log import Log
from vx11.watchdog.orphans import Orphans
from vx11.watchdog.record import StateFolder
from vx11.watchdog.windows import Windows

LOCK_TRIES = 20


def main() -> int:
    """Entry point; ends with 0 on SIGTERM, with 3 when another watchdog looks after the cell."""
    parser = argparse.ArgumentParser(prog="vx11 watchdog", description="Closes windows that are overdue.")
    parser.add_argument("--state", type=Path, required=True, help="state folder of the cell, which has its name")
    parser.add_argument("--evidence", type=Path, help="evidence folder of the cell; it gets a chain of its own there")
    given = parser.parse_args()
    state, log = given.state, Log(None)
    try:
        (state / WINDOWS).mkdir(parents=True, exist_ok=True)  # it may be started before madre
    except OSError as error:
        log.say(f"the state folder {state} cannot be used: {error.strerror}; name another with --state")
        return 3
    for _ in range(LOCK_TRIES):  # madre asks who is alive by trying the lock for a moment
        try:
            with held_lock(state / WATCHDOG_LOCK):
                _watch(state, Log(given.evidence))
                return 0
        except BlockingIOError:
            time.sleep(0.05)
    log.say(f"another watchdog looks after {state}")
    return 3


def _watch(state: Path, log: Log) -> None:
    """Until SIGTERM or SIGINT."""
    folder, clock, hierarchy = StateFolder(state, log.say), Clock(), cgroups.detect()
    windows, orphans = Windows(folder, clock, log, hierarchy), Orphans(folder, clock, log, hierarchy)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: windows.stop())
    threading.Thread(target=orphans.run, daemon=True).start()
    log.started()
    windows.run()
    orphans.stopping.set()
    log.end()


if __name__ == "__main__":
    sys.exit(main())
