"""A hash chain with seals, from which secrets are kept out: what madre and the conductor write.

Seals are records too: a signature over how many records stand before it, the hash of the last of them, and all else that
the seal says, as when it was made.
"""

import contextlib
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vx11.evidence.appending import CONTINUED, KEEPER, Appender, EvidenceError
from vx11.evidence.canonical import canonical
from vx11.evidence.keys import Signer
from vx11.evidence.reading import SEALED
from vx11.evidence.redact import Redactor

# So many records, or seconds, may be without a seal while more are added.
SEAL_RECORDS, SEAL_SECONDS = 256, 60.0


class Chain(Appender):
    """An appender that seals, at intervals and when it is closed, and replaces secrets before anything is written.

    What it finds at the end without a seal, nobody can say who wrote: it tells where it went on.

    Args:
        path: its first file.
        signer: makes seals; none without.
        redactor: knows secrets.

    Raises:
        EvidenceError: the file cannot be opened.
    """

    def __init__(self, path: Path, signer: Signer | None = None, redactor: Redactor | None = None) -> None:
        self._signer = signer
        self._redactor = redactor or Redactor()
        self._sealed, self._sealed_at = 0, _now()
        super().__init__(path, canonical)
        if signer and self._found.count and not self._found.is_final and self._found == self._written:
            self.append(KEEPER, CONTINUED, path.stem, {"torn": []})
        self._sealed = self._written.count

    def append(
        self, actor: str, action: str, subject: str, data: dict[str, Any] | None = None, *, sync: bool = True
    ) -> None:
        """Adds one record, see `Appender.append`."""
        with self._changed:
            about = self._redactor.value(data or {})
            super().append(self._redactor.text(actor), action, self._redactor.text(subject), about, sync=False)
            if self._is_seal_due():
                with contextlib.suppress(EvidenceError):  # the record is written, whatever becomes of the seal
                    self._seal(final=False)
            if sync:
                self._await_disk(self._written)

    def seal(self, *, final: bool = False) -> None:
        """Signs what is there, unless the last record does so already; without a signer it does nothing.

        Args:
            final: this writer will add nothing more.

        Raises:
            EvidenceError: the seal is not on the disk.
        """
        with self._changed:
            last = self._written
            if self._signer and last.count and not (last.is_final or (last.is_seal and not final)):
                self._seal(final=final)
                self._await_disk(self._written)

    def _is_seal_due(self) -> bool:
        waits = self._written.count - self._sealed >= SEAL_RECORDS or _now() - self._sealed_at > SEAL_SECONDS * 1e9
        return self._signer is not None and waits

    def _seal(self, *, final: bool) -> None:
        assert self._signer is not None
        last = self._written
        about = {"count": last.count, "head": last.head, "final": final, "key": self._signer.public.id}
        record = self._next(KEEPER, SEALED, self.path.stem, about)
        record["data"] = about | {"signature": self._signer.sign(statement(record))}
        self._written = replace(self._write(record), is_seal=True, is_final=final)
        self._sealed, self._sealed_at = self._written.count, _now()

    def close(self) -> None:
        """Seals it for good, where that can be done, and closes the file."""
        with contextlib.suppress(EvidenceError):
            self.seal(final=True)
        super().close()


def statement(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a seal signs: the whole of its record but for the signature, and for the hash, which is over that too."""
    data = {name: value for name, value in record["data"].items() if name != "signature"}
    signed = {name: value for name, value in record.items() if name != "hash"}
    return {"type": "vx11-seal", "record": signed | {"data": data}}


def _now() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
