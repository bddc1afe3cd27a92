# Copyright (c) VX11 maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Acting in the middle of what another process does, when that process says that it is there."""

from __future__ import annotations

import os
import threading
import typing as t


class Middle:
    """A pipe whose writing end the other process gets, and a thread that waits at the other for its one byte.

    Used with `with`. Give `end` to the process, and call `listen` when it has started. At the end of the block the
    process is over, so that the pipe hangs up; then this waits until what was begun has been done.
    """

    def __init__(self, act: t.Callable[[], None]) -> None:
        """act: called once, in a thread of its own; it raises nothing, and takes a limited time."""
        self._act = act
        self._thread = threading.Thread(target=self._wait)
        self._told, self.end = os.pipe()
        self.reached = False

    def __enter__(self) -> Middle:
        return self

    def listen(self) -> None:
        """The process has the writing end now, and is to be the only one."""
        os.close(self.end)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        if self._thread.ident is None:
            os.close(self.end)
        else:
            self._thread.join()
        os.close(self._told)

    def _wait(self) -> None:
        if os.read(self._told, 1):
            self.reached = True
            self._act()
