"""madre's chain tells how far the watchdog's had got, and so its seals are also the seals of that."""

import os

from vx11.evidence.appending import KEEPER
from vx11.evidence.chain import Chain
from vx11.evidence.reading import WATCHDOG, WITNESSED, end, segments


class Witness:
    """Looks at the watchdog's chain beside one that is sealed."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._seen = 0

    def look(self) -> None:
        """Records how many records it has, and the hash of the last one, if there are more than before.

        Raises:
            EvidenceError, OSError: it cannot be recorded, or read.
        """
        path = self._chain.path.with_name(WATCHDOG)
        files = [file for file in segments(path) if file.exists()]
        for file in files[-1:]:  # what is told of has to be on the disk, also when the power fails now
            with file.open("rb") as written:
                os.fdatasync(written.fileno())
        found = max((end(file)[0] for file in files), key=lambda one: one.count, default=None)
        if found and found.count > self._seen:
            self._chain.append(KEEPER, WITNESSED, WATCHDOG, {"count": found.count, "head": found.head})
            self._seen = found.count
