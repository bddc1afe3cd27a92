"""Checks folders of evidence: a run's chain and files, and what a root says of its runs, those removed included."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vx11.errors import InputError
from vx11.evidence import export, verify
from vx11.evidence.keys import PUBLIC, PublicKeys, Signer, default_path
from vx11.evidence.layout import (
    BEGAN,
    CHAIN,
    CONDUCTOR,
    FINISHED,
    HEADS,
    INDEX,
    MANIFEST,
    OF_HEAD,
    PRUNED,
    REMOVING,
    TOMBSTONES,
    digest,
    digests,
    tombstone_of,
)
from vx11.evidence.reading import INTENT, LEFT_OUT, RECOVERED, WATCHDOG, records, segments
from vx11.evidence.verify import ChainReport, Finding, Kind, State
from vx11.statefiles import read_json

# What an evidence root holds beside folders of runs.
OF_ROOT = (INDEX, f"{INDEX}.new", PUBLIC, TOMBSTONES, ".index.lock", ".heads.lock", ".recovery.lock", ".prune.lock")

# What the chain of a run tells at its end.
_ENDED = ("run_finished", RECOVERED)


@dataclass(frozen=True)
class Trust:
    """Which keys seals are checked with, and what that proves."""

    keys: PublicKeys
    why: str

    @classmethod
    def by(cls, signer: Signer) -> "Trust":
        """Only what this signer has sealed."""
        return cls(PublicKeys([signer.public]), "by the key that it is sealed with")

    @classmethod
    def of(cls, path: Path, files: Sequence[Path]) -> "Trust":
        """The keys that somebody gives; without them this machine's; without that the one that lies with the evidence.

        Raises:
            InputError: a key cannot be read.
        """
        if files:
            return cls(PublicKeys.read(files), "by the given key")
        own = default_path().with_suffix(".pub")
        if own.is_file():
            return cls(PublicKeys.read([own]), f"by the key of this machine, {own}")
        folder = path if path.is_dir() else path.parent
        beside = [place / PUBLIC for place in (folder, folder.parent) if (place / PUBLIC).is_file()]
        if beside:
            why = "by the key that lies with it: that proves consistency only, since whoever forges the one can the other"
            return cls(PublicKeys.read(beside[:1]), why)
        return cls(PublicKeys(), "without a key: seals were not checked; name one with --key")


@dataclass
class Report:
    """What evidence is found to be.

    Attributes:
        trust: in words, which key its seals were checked with.
        notes: what is no fault, and worth knowing.
        open: why it is not sealed and closed to its end.
    """

    path: Path
    trust: str
    chains: list[ChainReport] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    @property
    def state(self) -> State:
        """Tampered with, when anything is wrong; sound, when all of it is sealed."""
        if self.findings:
            return State.TAMPERED
        return State.UNSEALED if self.open else State.SOUND

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "path": str(self.path),
            "state": self.state.value,
            "trust": self.trust,
            "findings": [finding.to_json() for finding in self.findings],
            "unsealed": self.open,
            "notes": self.notes,
            "chains": [chain.to_json() for chain in self.chains],
        }


def check(path: Path, trust: Trust, anchors: Iterable[str] = ()) -> Report:
    """Checks a chain, the folder of a run or of a madre, an archive of a run, or a root.

    Args:
        anchors: heads that were noted elsewhere.

    Raises:
        InputError: there is no evidence.
        OSError: it cannot be read.
    """
    checking = _Checking(Report(path, trust.why), trust.keys, tuple(anchors))
    if path.is_file() and path.suffix == ".jsonl":
        checking.chain(path, path.name)
    elif path.is_file():
        with export.unpacked(path) as folder:
            checking.archive(folder)
    elif (path / HEADS).is_file() or _index(path):
        checking.root(path)
    elif (path / CHAIN).is_file():
        checking.run(path, "")
    else:
        raise InputError.of("there is no evidence here: neither a run nor a folder of runs", path)
    checking.look_for_anchors()
    return checking.report


class _Checking:
    def __init__(self, report: Report, keys: PublicKeys, anchors: Sequence[str]) -> None:
        self.report = report
        self._keys = keys
        self._anchors = set(anchors)

    def _find(self, where: str, kind: Kind, message: str) -> None:
        self.report.findings.append(Finding(where, kind, message))

    def look_for_anchors(self) -> None:
        """Each head that was noted elsewhere has to be somewhere."""
        for anchor in sorted(self._anchors):
            message = f"no chain has the record {anchor}, which was a head once: it was written anew, or cut"
            self._find(self.report.path.name, Kind.RESEALED, message)

    def chain(self, path: Path, where: str, *, covered: bool = False) -> ChainReport:
        """One chain.

        Args:
            covered: something else that is signed has its digest, so that it may end anywhere.
        """
        found = verify.chain(path, self._keys, where, self._anchors)
        self._anchors -= found.anchors
        self.report.chains.append(found)
        self.report.findings += found.findings
        crashed = [f"{where}: its writer ended without closing it after record {at}" for at in found.crashes]
        self.report.notes += crashed
        if found.state is State.UNSEALED:
            (self.report.notes if covered else self.report.open).append(f"{where}: {found.why}")
        return found

    def run(self, folder: Path, where: str, head: Mapping[str, Any] | None = None) -> None:
        """The folder of a run, or of a madre.

        Args:
            head: what the chain of heads says of it.
        """
        manifest = read_json(folder / MANIFEST)
        found = self._madre(folder, where, covered=manifest is not None)
        for record in found.notable:
            self._note(found.where, record["action"], record["data"])
        for path in sorted(folder.glob(f"cells/*/{CHAIN}")) if found.of_run else ():
            self._madre(path.parent, _below(where, f"cells/{path.parent.name}"), covered=manifest is not None)
        if head and head.get("manifest") and head["manifest"] != _digest(folder / MANIFEST):
            self._find(_below(where, MANIFEST), Kind.CHANGED, "is not the one that the chain of heads tells of")
        if manifest is not None:
            self._manifest(folder, where, manifest)
        if (folder / CONDUCTOR).exists():
            self.report.open.append(f"{where or folder.name}: the run goes on, or has lost its conductor")
        elif manifest is None and found.closed and found.of_run:
            self._find(_below(where, MANIFEST), Kind.REMOVED, "is gone: nothing tells what files the run has")
        self._head(found, manifest or head)

    def _note(self, where: str, action: str, told: Mapping[str, Any]) -> None:
        if action == INTENT:
            self._intent(where, told)
        elif told.get("left_out"):
            self.report.notes.append(f"{where}: {LEFT_OUT}: {told['left_out']}")

    def _intent(self, where: str, told: Mapping[str, Any]) -> None:
        """The copy of a patch intent that people have: what they do with it is no fault of the evidence."""
        folder, written = Path(str(told.get("folder"))), told.get("sha256")
        if not isinstance(written, dict) or not folder.parent.is_dir():  # as on another machine
            return
        if differing := _differences(folder, written):
            self.report.notes.append(f"{where}: the patch intent {folder} is not as it was: {', '.join(differing)}")

    def _madre(self, folder: Path, where: str, *, covered: bool) -> ChainReport:
        """The chain in a folder, and that of the watchdog beside it."""
        found = self.chain(folder / CHAIN, _below(where, CHAIN), covered=covered)
        self._watchdog(folder, where, found, covered=covered)
        return found

    def _watchdog(self, folder: Path, where: str, madre: ChainReport, *, covered: bool) -> None:
        """The watchdog's chain, up to where madre's tells of it: it has no seals of its own."""
        path, name = folder / WATCHDOG, _below(where, WATCHDOG)
        if not path.is_file():
            if madre.witnessed:
                self._find(name, Kind.REMOVED, f"is gone; {madre.where} tells of it")
            return
        found = verify.chain(path, self._keys, name, {*self._anchors, *madre.witnessed.values()})
        self._anchors -= found.anchors
        self.report.chains.append(found)
        self.report.findings += found.findings
        for number, head in madre.witnessed.items():
            if head not in found.anchors:
                message = f"has no record {number} as {madre.where} saw it: it was written anew, or cut"
                self._find(name, Kind.CUT if number > found.records else Kind.RESEALED, message)
        told = max((number for number, head in madre.witnessed.items() if head in found.anchors), default=0)
        if found.records > told and not covered:
            why = f"unsealed since record {told + 1} of {found.records}: {madre.where} does not tell of them"
            self.report.open.append(f"{name}: {why}")

    def archive(self, folder: Path) -> None:
        """The run in an archive, and the statement about it."""
        if (folder / CHAIN).is_file():
            self.run(folder, folder.name)
        else:
            self._find(_below(folder.name, CHAIN), Kind.REMOVED, "is gone")
        for path in sorted(folder.parent.iterdir()):
            if path.name not in (folder.name, export.ATTESTATION):
                self._find(path.name, Kind.FOREIGN, "is not part of the archive of a run")
        if wrong := export.attested(folder, self._keys):
            self._find(export.ATTESTATION, Kind.CHANGED, wrong)

    def _head(self, found: ChainReport, told: Mapping[str, Any] | None) -> None:
        if not told or (told.get("records"), told.get("head")) == (found.records, found.head):
            return
        if isinstance(told.get("records"), int) and found.records < told["records"]:
            message = f"its tail is cut: {found.records} of {told['records']} records are there"
            self._find(found.where, Kind.CUT, message)
        else:
            self._find(found.where, Kind.CHANGED, f"does not end with the head {told.get('head')} that it had")

    def _manifest(self, folder: Path, where: str, manifest: Any) -> None:
        name = _below(where, MANIFEST)
        listed = manifest.get("files") if isinstance(manifest, dict) else None
        if not isinstance(listed, dict):
            self._find(name, Kind.CHANGED, "is not a manifest")
            return
        self._signature(name, manifest)
        if json.dumps(manifest).encode() != (folder / MANIFEST).read_bytes():
            self._find(name, Kind.CHANGED, "is not in the form in which it was written")
        present = digests(folder)
        for file in sorted(listed.keys() | present.keys()):
            if file not in present:
                self._find(_below(where, file), Kind.REMOVED, "is gone")
            elif file not in listed:
                self._find(_below(where, file), Kind.FOREIGN, "is not part of the run: the manifest does not list it")
            elif present[file] != listed[file]:
                self._find(_below(where, file), Kind.CHANGED, "was changed: its digest is not that of the manifest")

    def _signature(self, where: str, document: Mapping[str, Any]) -> None:
        if not self._keys:
            return
        key_id = str(document.get("key"))
        key = self._keys.get(key_id)
        if key is None:
            self._find(where, Kind.WRONG_KEY, f"is signed by the key {key_id}, not by {self._keys}")
            return
        about = {name: value for name, value in document.items() if name != "signature"}
        if not key.signed(about, str(document.get("signature"))):
            self._find(where, Kind.BAD_SEAL, "has a signature that is wrong: it was changed")

    def _tombstone(self, folder: Path, head: Mapping[str, Any], pruned: Mapping[str, Any]) -> None:
        """What is left of a run that was removed by age."""
        path = tombstone_of(folder)
        name = f"{TOMBSTONES}/{path.name}"
        found = read_json(path)
        if not path.is_file():
            self._find(name, Kind.REMOVED, "is gone")
        elif not isinstance(found, dict):
            self._find(name, Kind.CHANGED, "is not a tombstone")
        else:
            self._signature(name, found)
            if any(found.get(word) != head.get(word) for word in OF_HEAD):
                self._find(name, Kind.CHANGED, "does not say of the run what the chain of heads says")
            elif digest(path) != pruned.get("tombstone"):
                self._find(name, Kind.CHANGED, "is not the one that was made")

    def root(self, root: Path) -> None:
        """All runs of a root."""
        if (root / HEADS).is_file():
            self.chain(root / HEADS, HEADS)
        began, finished, pruned = _heads(root)
        going = {test_id: data for test_id, data in began.items() if test_id not in finished}
        for test_id, data in finished.items():
            self._of_head(root, test_id, data, pruned.get(test_id))
        index = self._index(root, [*finished, *going])
        for test_id, data in going.items():
            self._of_begun(root, test_id, data, index.get(test_id))
        for test_id in index.keys() - going.keys():
            self._of_index(root, test_id, index[test_id], finished.get(test_id))
        names = {str(data.get("folder")) for data in ({**index, **began, **finished}).values()}
        for path in _foreign(root, names):
            what = "is no run that this root tells of" if path.is_dir() else "is not part of the evidence"
            self._find(str(path.relative_to(root)), Kind.FOREIGN, what)

    def _of_head(self, root: Path, test_id: str, data: Mapping[str, Any], pruned: Mapping[str, Any] | None) -> None:
        name = Path(str(data.get("folder"))).name
        folder = root / name
        if pruned is not None:
            self._tombstone(folder, data, pruned)
        if (folder / CHAIN).is_file():
            self.run(folder, name, data)
        elif pruned is None:
            self._find(name, Kind.REMOVED, f"the run {test_id} is gone")

    def _of_begun(
        self, root: Path, test_id: str, data: Mapping[str, Any], entry: Mapping[str, Any] | None
    ) -> None:
        """A run that has not ended, by the chain of heads."""
        name = Path(str(data.get("folder"))).name
        if entry and entry.get("state") != "running":
            self._find(HEADS, Kind.REMOVED, f"does not tell that the run {test_id} has ended")
        elif entry and entry.get("folder") != data.get("folder"):
            self._find(INDEX, Kind.CHANGED, f"does not say of the run {test_id} what the chain of heads says: folder")
        self._of_going(root / name, test_id)

    def _of_going(self, folder: Path, test_id: str) -> None:
        if (folder / CHAIN).is_file():
            self.run(folder, folder.name)
        else:
            self._find(folder.name, Kind.REMOVED, f"the run {test_id}, which has not ended, is gone")

    def _of_index(self, root: Path, test_id: str, entry: Mapping[str, Any], head: Mapping[str, Any] | None) -> None:
        if head is not None:
            self._of_ended(root, test_id, entry, head)
        elif entry.get("state") != "running":
            self._find(HEADS, Kind.REMOVED, f"does not tell that the run {test_id} has ended")
        else:
            self._of_going(root / Path(str(entry.get("folder"))).name, test_id)

    def _index(self, root: Path, known: Iterable[str]) -> dict[str, dict[str, Any]]:
        """What the index says of each run; it has all that began, those removed by age included."""
        index = _index(root)
        if not (root / INDEX).is_file():
            self._find(INDEX, Kind.REMOVED, "is gone: nothing tells which runs go on")
        else:
            for test_id in known:
                if test_id not in index:
                    self._find(INDEX, Kind.CHANGED, f"does not list the run {test_id}")
        return index

    def _of_ended(self, root: Path, test_id: str, entry: Mapping[str, Any], head: Mapping[str, Any]) -> None:
        """What the index says of a run that has ended; while its books are open it may not have been told yet."""
        folder = root / Path(str(head.get("folder"))).name
        if (folder / CONDUCTOR).exists():
            return
        told = {"folder": head.get("folder"), "head": head.get("head")} | _ended(folder)
        for word, value in told.items():
            if entry.get(word) != value:
                self._find(INDEX, Kind.CHANGED, f"does not say of the run {test_id} what its evidence says: {word}")


def _ended(folder: Path) -> dict[str, Any]:
    """What a run came to, by the last record that says so; nothing when its evidence is gone."""
    chain = folder / CHAIN
    ends = [record["data"] for record in records(chain) if record.get("action") in _ENDED] if chain.is_file() else []
    return {word: ends[-1].get(word) for word in ("state", "verdicts")} if ends and isinstance(ends[-1], dict) else {}


def _heads(root: Path) -> tuple[dict[str, dict[str, Any]], ...]:
    """What the chain of heads says of each run: when it began, when it finished, and when it was removed by age."""
    told: dict[str, dict[str, dict[str, Any]]] = {BEGAN: {}, FINISHED: {}, PRUNED: {}}
    for record in records(root / HEADS) if (root / HEADS).is_file() else ():
        kept = told.get(str(record.get("action")))
        if kept is not None and isinstance(record.get("data"), dict):
            kept[str(record.get("subject"))] = record["data"]
    return tuple(told.values())


def _index(root: Path) -> dict[str, dict[str, Any]]:
    found = read_json(root / INDEX)
    runs = found.get("runs") if isinstance(found, dict) else None
    every = runs.items() if isinstance(runs, dict) else ()
    return {str(name): entry for name, entry in every if isinstance(entry, dict)}


def _foreign(root: Path, runs: set[str]) -> Iterator[Path]:
    own = {*OF_ROOT, *(path.name for path in segments(root / HEADS)), *runs}
    for path in sorted(root.iterdir()):
        if path.name not in own and not path.name.startswith(("index.broken-", REMOVING)):
            yield path
    tombstones = {f"{tombstone_of(root / run).name}{end}" for run in runs for end in ("", ".new")}
    for path in sorted((root / TOMBSTONES).glob("*")):
        if path.name not in tombstones:
            yield path


def _differences(folder: Path, digests: Mapping[str, str]) -> list[str]:
    """Which files of a folder are gone, or not those of these digests."""
    wrong = [name for name in sorted(digests) if _digest(folder / name) != digests[name]]
    return [f"{name} {'was changed' if (folder / name).is_file() else 'is gone'}" for name in wrong]


def _digest(path: Path) -> str:
    return digest(path) if path.is_file() else ""


def _below(where: str, name: str) -> str:
    return f"{where}/{name}" if where else name
