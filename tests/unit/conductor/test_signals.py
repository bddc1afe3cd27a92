"""What ends a program ends the case that runs, whichever thread the signal reaches."""

import subprocess
import sys

CODE = """
import signal, threading
from pathlib import Path
from unittest.mock import Mock
from vx11.conductor.run import _cancelled_by_signals

status = Path(f"/proc/self/task/{threading.get_native_id()}/stat")
forever = threading.Lock()
forever.acquire()


def interrupt():
    sleeping = 0  # the main thread waits by now where nothing but a signal to itself would wake it
    while sleeping < 200:
        sleeping = sleeping + 1 if status.read_text().rpartition(")")[2].split()[0] == "S" else 0
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    print(cancelled.wait(5))
    forever.release()


with _cancelled_by_signals(Mock()) as cancelled:
    threading.Thread(target=interrupt).start()
    forever.acquire()
"""


def test_a_signal_that_another_thread_gets_cancels_too() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr
