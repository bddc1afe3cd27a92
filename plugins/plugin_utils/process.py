# Copyright (c) VX11 maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One subprocess with all that it starts: it ends with its group, in time or not."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import typing as t

# How long a group that is out of time has to write down where it hung.
LAST_WORDS_S = 10.0


class Ended(t.NamedTuple):
    """How a process ended. code is its exit status, negative for a signal."""

    code: int
    timed_out: bool


def run_group(
    command: t.Sequence[str],
    log: str,
    env: t.Mapping[str, str],
    cwd: str,
    timeout: float,
    pass_fds: t.Sequence[int] = (),
    started: t.Callable[[], None] | None = None,
) -> Ended:
    """Run `command` in a process group of its own, its output in the file `log`, for at most `timeout` seconds.

    Whatever is left of the group is killed before this returns. Raises OSError if the command cannot be started.
    pass_fds: descriptors that it inherits. started: called when it has started.
    """
    with open(log, "wb") as output:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
            pass_fds=pass_fds,
        )
    try:
        if started:
            started()
        return Ended(process.wait(timeout), False)
    except subprocess.TimeoutExpired:
        return Ended(_interrupt(process), True)
    finally:
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _interrupt(process: subprocess.Popen[bytes]) -> int:
    _signal_group(process, signal.SIGINT)
    try:
        return process.wait(LAST_WORDS_S)
    except subprocess.TimeoutExpired:
        return -signal.SIGKILL


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
