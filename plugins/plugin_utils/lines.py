# Copyright (c) VX11 maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of lines of JSON that several processes append to at the same time."""

from __future__ import annotations

import errno
import json
import os
import typing as t


def append(path: str, lines: t.Iterable[t.Mapping[str, t.Any]]) -> None:
    """Append each line in one write, so that none is torn. Raises OSError if that was not possible.

    What JSON has no form for is shown by the name of its type: it may be a secret that is still encrypted.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        for line in lines:
            # Escaped to ASCII: no separator of Unicode in a text can be taken for the end of the line.
            text = json.dumps(line, allow_nan=False, default=lambda value: f"({type(value).__name__})")
            _write(descriptor, text.encode("ascii") + b"\n")
    finally:
        os.close(descriptor)


def _write(descriptor: int, line: bytes) -> None:
    if os.write(descriptor, line) != len(line):
        raise OSError(errno.ENOSPC, "only a part of the line could be written, the disk is probably full")
