"""Whose token it is, by the keys and the revocations as they stand on disk now: a change counts at once."""

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from vx11 import files, revocations, tokens
from vx11.errors import InputError
from vx11.tokens import Bearer, TokenRefused

log = logging.getLogger(__name__)


class Authority:
    """Judges tokens.

    Args:
        key: the key file; the list of revoked tokens lies beside it.
        cell: tokens of others are refused.
        learn: told of every key, so that none is written down anywhere.

    Raises:
        InputError: one of the files is wrong at the start. If one becomes wrong later, every token is refused until it
            is mended.
    """

    def __init__(
        self, key: Path, *, cell: str, require_aud_jti: bool, learn: Callable[[Iterable[str]], None] = lambda _: None
    ) -> None:
        self._key = key
        self._cell = cell
        self._require_aud_jti = require_aud_jti
        self._learn = learn
        self._lock = threading.Lock()
        self._seen = self._signatures()
        self._broken = ""
        self._keys, self._revoked = self._read()

    def check(self, token: str) -> Bearer:
        """Who a token belongs to.

        Raises:
            TokenRefused: it is not valid here and now.
        """
        self._refresh()
        if self._broken:
            raise TokenRefused(f"no token is taken until this is mended: {self._broken}")
        return tokens.check(
            token, self._keys, cell=self._cell, require_aud_jti=self._require_aud_jti, revoked=self._revoked
        )

    def problems(self) -> dict[str, str]:
        """Why no token is taken, if none is."""
        self._refresh()
        return {"key": self._broken} if self._broken else {}

    def revoked(self) -> Collection[str]:
        """The ids of the tokens that do not count any more."""
        self._refresh()
        return self._revoked.keys()

    def _refresh(self) -> None:
        with self._lock:
            seen = self._signatures()
            if seen == self._seen:
                return
            try:
                self._keys, self._revoked = self._read()
                self._broken = ""
            except InputError as error:
                log.error("%s", error)
                self._broken = str(error)
            self._seen = seen

    def _read(self) -> tuple[tuple[bytes, ...], Mapping[str, int | None]]:
        keys = tokens.read_keys(self._key)
        self._learn(key.hex() for key in keys)
        return keys, revocations.read(self._key)

    def _signatures(self) -> tuple[files.Signature, files.Signature]:
        return files.signature(self._key), files.signature(revocations.path_of(self._key))
