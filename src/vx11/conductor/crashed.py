"""Finishes what a conductor that died has left: ends what it started, and closes the books of its run.

Nothing is ended but what carries the marks of that run, so that a process which has got the pid of one that is gone is
safe. Of a run that another machine, or this one before it was started anew, conducted, nothing is left here: its books
are closed, nothing more. On hosts its windows are closed, and nothing else is touched.
"""

import contextlib
import fcntl
import glob
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vx11.conductor import collection, confidential, inventory, report
from vx11.conductor.cell import end_parts, folder_prefix, keep_logs, key_in
from vx11.conductor.conducted import Conducted, Guest, Visit
from vx11.conductor.host import close_windows
from vx11.conductor.judge import Verdict
from vx11.engines import select
from vx11.engines.port import EngineError
from vx11.errors import InputError, Vx11Error
from vx11.evidence import drafts, layout, verify
from vx11.evidence.chain import Chain
from vx11.evidence.keys import PublicKeys, Signer
from vx11.evidence.reading import GENESIS, LEFT_OUT, RECOVERED
from vx11.evidence.redact import Redactor
from vx11.statefiles import held_lock

LOCK = ".recovery.lock"
WHY = "the conductor died"
ACTOR = "conductor"


@dataclass(frozen=True)
class Recovered:
    """What came of one run.

    Attributes:
        aborted: cases that got their verdict now.
        damage: what is wrong with its evidence, empty when it is sound. What is damaged is not added to.
        left_out: why what its cores said, and what a try wrote that was not over, was left out; empty when it was not.
        left: what could not be done; then the books stay open, and the next start tries again.
    """

    test_id: str
    aborted: Sequence[str] = ()
    damage: str = ""
    left_out: str = ""
    left: Sequence[str] = ()

    def __str__(self) -> str:
        if self.left:
            return f"the run {self.test_id} lost its conductor, and is not recovered yet: {'; '.join(self.left)}"
        cases = f"; aborted: {', '.join(self.aborted)}" if self.aborted else ""
        damage = f"; its evidence is damaged: {self.damage}" if self.damage else ""
        out = f"; {LEFT_OUT}: {self.left_out}" if self.left_out else ""
        return f"the run {self.test_id} had lost its conductor, and is recovered{cases}{damage}{out}"

    def to_json(self) -> dict[str, Any]:
        """As plain data, for whoever reads it with a program."""
        return {
            "test_id": self.test_id,
            "aborted": list(self.aborted),
            "damage": self.damage or None,
            "left_out": self.left_out or None,
            "left": list(self.left),
        }


def recover(root: Path) -> list[Recovered]:
    """Recovers each run below an evidence root whose conductor is gone; none while somebody else does just that.

    Raises:
        OSError: the root cannot be written.
    """
    notes = sorted(root.glob(f"*/{layout.CONDUCTOR}"))
    if not notes:
        return []
    try:
        with held_lock(root / LOCK):
            return [found for note in notes if (found := _recovered(note)) is not None]
    except BlockingIOError:
        return []


def _recovered(path: Path) -> Recovered | None:
    """One run; None when it is conducted, or has just been recovered."""
    name = path.parent.name
    try:
        run = Conducted.read(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return Recovered(name, left=[f"{path} cannot be used: {error}"])
    chain = path.with_name(layout.CHAIN)
    try:
        if run.is_conducted() or _is_written(chain):
            return None
        damage = [str(finding) for finding in verify.chain(chain, PublicKeys()).findings]
        secrets, left_out = _secrets(verify.sound_part(chain), is_whole=not damage)
        left = _end(run, path.parent, None if left_out else Redactor(secrets)) if run.is_of_this_boot() else []
        left += _close_windows(run.visit) if run.visit else []
        if left:
            return Recovered(run.test_id, left=left)
        done = _close_books(run, path.parent, damage, left_out)
        path.unlink()
    except (Vx11Error, OSError) as error:
        return Recovered(run.test_id, left=[str(error)])
    return done


def _is_written(chain: Path) -> bool:
    """Whether a conductor has the chain open: one in another process namespace cannot be seen by its pid."""
    handle = os.open(chain, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _end(run: Conducted, folder: Path, redactor: Redactor | None) -> list[str]:
    """Ends all that a run started; answers what is left. The cores go first, so that nobody opens anything anew.

    Args:
        redactor: clears what is taken into the evidence; None to leave that out.
    """
    if not end_parts(run.cells):
        return [f"processes of the run {run.test_id} do not end"]
    left: list[str] = []
    for cell in run.cells:
        left += _purge(run, cell)
        for temporary in _folders(run, cell):
            if redactor:
                redactor.learn(key_in(temporary))
                keep_logs(temporary, folder / "cells" / cell, redactor)
                for draft in drafts.below(temporary / layout.DRAFTS):
                    drafts.take_in(draft, folder / layout.CASES / draft.parent.name / draft.name, redactor)
            shutil.rmtree(temporary)
    return left


def _purge(run: Conducted, cell: str) -> list[str]:
    """What of a cell its engine cannot remove."""
    if run.engine == "auto":
        return []
    with tempfile.TemporaryDirectory(prefix="vx11-recovery-") as scratch:
        try:
            engine = select.make(run.engine, cell, Path(scratch) / "state", Path(scratch) / "data")
            engine.purge(cell)
            return engine.residue(cell)
        except EngineError as error:
            return [str(error)]


def _close_windows(visit: Visit) -> list[str]:
    """What is left of the windows that a run has opened on hosts."""
    path = Path(visit.inventory)
    try:
        hosts = inventory.read(path, visit.limit, collection.find(path), os.environ.get("VX11_TOKEN", ""))
    except Vx11Error as error:
        names = ", ".join(guest.name for guest in visit.guests)
        return [f"windows on the hosts {names} may be open until their time is over: {error}"]
    known = {host.name: host for host in hosts}

    def close(guest: Guest) -> list[str]:
        if guest.name in known:
            return close_windows(known[guest.name], guest)
        return [f"windows on the host {guest.name} may be open; {path} does not have it any more"]

    with ThreadPoolExecutor(len(visit.guests) or 1) as pool:
        return [what for left in pool.map(close, visit.guests) for what in left]


def _folders(run: Conducted, cell: str) -> Iterator[Path]:
    """The temporary folders of a cell, if they are ours and no links."""
    for path in Path(run.temporary).glob(f"{glob.escape(folder_prefix(cell))}????????"):
        if not path.is_symlink() and path.stat().st_uid == os.geteuid():
            yield path


def _close_books(run: Conducted, folder: Path, damage: Sequence[str], left_out: str) -> Recovered:
    """A verdict for every planned case, a chain that is closed, a head, an entry in the index."""
    signer, chain = Signer.of(), folder / layout.CHAIN
    told = verify.sound_part(chain)
    known = {str(item["subject"]): str(item["data"]["verdict"]) for item in told if item["action"] == "verdict"}
    aborted = [case for case in run.cases if case not in known]
    counts = dict(Counter([*known.values(), *(Verdict.ABORTED.value for _ in aborted)]))
    doubt = {"left_out": left_out} if left_out else {}
    if not damage:
        _append(run, chain, signer, aborted, {"verdicts": counts, **doubt})
    records = verify.sound_part(chain)
    head = str(records[-1]["hash"]) if records else GENESIS
    for place in folder.glob(f"{layout.CASES}/*/*"):
        if place.is_symlink():  # to what was left out, or is gone
            place.unlink()
    with contextlib.suppress(InputError):  # it had not come so far that there would be something to report
        report.write(report.read(folder), folder / "report")
    layout.finish(folder, run.test_id, len(records), head, signer)
    entry = {"state": "aborted", "why": WHY, "verdicts": counts, "records": len(records), "head": head, **doubt}
    layout.index(folder.parent, run.test_id, folder=folder.name, **entry, **({"damage": damage} if damage else {}))
    return Recovered(run.test_id, aborted, "; ".join(damage), left_out)


def _secrets(told: Sequence[Mapping[str, Any]], *, is_whole: bool) -> tuple[list[str], str]:
    """The secrets that a run knew, and why there may be others; before it told what it runs nothing had any."""
    for record in told:
        if record["action"] == "run_started":
            return confidential.of_run(record["data"], Signer.of())
    return [], "" if is_whole else "the values of secrets are not known: the chain does not tell which bundle was run"


def _append(run: Conducted, path: Path, signer: Signer, aborted: Sequence[str], told: Mapping[str, Any]) -> None:
    chain = Chain(path, signer)
    try:
        for case in aborted:
            data = {"verdict": Verdict.ABORTED.value, "message": WHY, "observed": {}, "attempts": 0}
            chain.append(ACTOR, "verdict", case, data)
        chain.append(ACTOR, RECOVERED, run.test_id, {"state": "aborted", "why": WHY, **told})
    finally:
        chain.close()
