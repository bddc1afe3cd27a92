"""Tokens that no longer count: their ids, in a file beside the key, each for as long as its token would have lasted."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vx11 import files
from vx11.errors import InputError
from vx11.tokens import LEEWAY

SCHEMA = 1


def path_of(key: Path) -> Path:
    """Where the revocations of the tokens of a key file stand."""
    return key.with_name(f"{key.name}.revoked")


def read(key: Path) -> Mapping[str, int | None]:
    """Ids of revoked tokens, each with the second since 1970 at which it expires, None where that is not known.

    Raises:
        InputError: the file is there and cannot be read, or is not what `revoke` writes.
    """
    path = path_of(key)
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError.of(f"the list of revoked tokens cannot be read: {error.strerror}", path) from error
    except (ValueError, RecursionError):
        data = None
    if not _is_list(data):
        raise InputError.of("this is not a list of revoked tokens; vx11 token revoke writes one", path)
    found: dict[str, int | None] = data["revoked"]
    return found


def _is_list(data: Any) -> bool:
    if not isinstance(data, dict) or data.get("schema") != SCHEMA or not isinstance(data.get("revoked"), dict):
        return False
    return all(expires is None or type(expires) is int for expires in data["revoked"].values())


def revoke(key: Path, token_id: str, expires: int | None) -> bool:
    """Adds a token, and drops those that have expired by themselves.

    Args:
        key: the key file.
        expires: when it ends by itself, in seconds since 1970; None keeps it on the list for good.

    Returns:
        Whether it was not on the list yet.

    Raises:
        InputError: the list cannot be read or written.
    """
    path = path_of(key)
    try:
        with files.locked_folder(key.parent):
            known, now = read(key), time.time()
            kept = {name: end for name, end in known.items() if end is None or end + LEEWAY > now}
            # Nothing is known of the end of a token that was once revoked by its id alone.
            after = {**kept, token_id: None if token_id in kept and kept[token_id] is None else expires}
            if after != known:
                text = json.dumps({"schema": SCHEMA, "revoked": after}, indent=1)
                files.write_private(path, f"{text}\n", key.stat())
    except OSError as error:
        raise InputError.of(f"the list of revoked tokens cannot be written: {error.strerror}", path) from error
    return token_id not in known
