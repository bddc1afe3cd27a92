"""Becomes the test that madre wants, outside of her budget and with rights of its own: what systemd starts for it.

Its standard input is madre's connection: she says what to run and passes the file for its output, is told who it is,
and lets it go. Whatever she says, it is `vx11 run` and nothing else.
"""

import json
import os
import socket
import sys

from vx11.engines import procfs
from vx11.madre.starting import GO

LONGEST = 64 * 1024


def main() -> None:
    """Ends with 2 where nothing is asked for, and 1 where it is not let go; otherwise it becomes the test."""
    with socket.socket(fileno=os.dup(0)) as link:
        message, files, _, _ = socket.recv_fds(link, LONGEST, 1)
        if not message.endswith(b"\n") or len(files) != 1:
            sys.exit(2)
        words = [str(word) for word in json.loads(message)["run"]]
        link.sendall(json.dumps({"pid": os.getpid(), "started": procfs.start_time(os.getpid())}).encode() + b"\n")
        if link.recv(len(GO)) != GO:
            sys.exit(1)  # nobody has written down who this is
    for number, file in ((0, os.open(os.devnull, os.O_RDONLY)), (1, files[0]), (2, files[0])):
        os.dup2(file, number)
    os.execv(sys.executable, [sys.executable, "-m", "vx11", "run", *words])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
