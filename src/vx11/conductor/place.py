"""Where cases run, one at a time: a cell that the conductor starts and removes, or a host that it is a guest of."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from vx11.catalogue.compose import Service
from vx11.client import LONG, Madre
from vx11.conductor.matrix import Case
from vx11.conductor.workers import Workers


@dataclass(frozen=True)
class Inventory:
    """What a playbook is played on.

    Attributes:
        path: anything that Ansible reads as an inventory.
        limit: the host of it that is meant; None for all that it has.
    """

    path: Path
    limit: str | None = None


class Place(Protocol):
    """What a run needs of a place.

    Attributes:
        name: what people call it.
        mark: what its plays carry in their environment, and its temporary folders in their names.
        folder: private, temporary, and gone with it.
        url, token: of its madre.
        service_token: for services behind its gateway; empty where they are reached without.
        workers: what plays its playbooks.
        interval: seconds between two looks at its windows.
    """

    name: str
    mark: str
    kind: Literal["cell", "host"]
    folder: Path
    url: str
    token: str
    service_token: str
    workers: Workers
    interval: float

    def about(self) -> Sequence[str]:
        """What runs the services there, and what it cannot do; a line each."""

    def lacks(self, case: Case) -> str:
        """Why it cannot run a case, empty when it can."""

    def prepare(self, services: Sequence[Service], note: Callable[[str], None], cancelled: threading.Event) -> None:
        """Does beforehand what would make each case wait, for all places of its kind."""

    def begin(self) -> None:
        """Afterwards its madre answers, and it is in SOLO_MADRE."""

    def unusable(self) -> str:
        """Why no further case can run there though others of its kind may go on; empty while one can."""

    def ready_for(self, case: Case) -> None:
        """Makes it what a case needs."""

    def madre(self, timeout: float = LONG) -> Madre:
        """A client of its power API, whose answers may take so many seconds."""

    def inventory(self, scratch: Path) -> Inventory:
        """What its plays are played on.

        Args:
            scratch: the folder of the play, where an inventory can be written.
        """

    def residue(self) -> set[str] | None:
        """What runs or lies there because of windows; None when nobody can tell now."""

    def records(self) -> list[dict[str, Any]]:
        """The evidence of its madre so far; none where that is out of reach."""

    def evidence_size(self) -> int | None:
        """Bytes of that on the disk; None where it is out of reach."""

    def return_to_solo_madre(self) -> str:
        """Closes what is open, and proves that only the core runs; answers why that is not so, empty when it is."""

    def restore(self) -> None:
        """Makes it what it was, after it did not return to SOLO_MADRE, as far as it is the conductor's own."""

    def remove_data(self) -> None:
        """Removes what windows have kept, as far as it is the conductor's own."""

    def end_all(self) -> None:
        """Ends whatever a case may still do there: for when nobody knows what state it is in."""

    def end(self) -> list[str]:
        """Leaves it for good; answers what could not be removed."""
