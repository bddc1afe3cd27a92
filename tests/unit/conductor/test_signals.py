"""What ends a program ends the case that runs, whichever thread the signal reaches."""

import subprocess
import sys

CODE = """
import signal, sys, threading
from unittest.mock import Mock
from vx11.conductor.run import _cancelled_by_signals

with _cancelled_by_signals(Mock()) as cancelled:
    other = threading.Thread(target=lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT))
    forever = threading.Lock()
    forever.acquire()
    threading.Thread(target=lambda: (cancelled.wait(10), print(cancelled.is_set()), forever.release())).start()
    other.start()
    forever.acquire()  # the main thread waits where nothing interrupts it
"""


def test_a_signal_that_another_thread_gets_cancels_too() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr
