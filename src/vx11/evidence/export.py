"""One archive of a run that proves itself elsewhere: its folder, and a signed statement of what the test came to.

The statement is an in-toto Statement with the predicate of test results, in a DSSE envelope.
"""

import base64
import contextlib
import json
import tarfile
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from vx11.errors import InputError
from vx11.evidence import runs
from vx11.evidence.keys import PublicKeys, Signer
from vx11.evidence.layout import CHAIN, MANIFEST, digest
from vx11.evidence.reading import records
from vx11.statefiles import read_json

ATTESTATION = "attestation.dsse.json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT, PREDICATE = "https://in-toto.io/Statement/v1", "https://in-toto.io/attestation/test-result/v0.1"
# Verdicts that are no failure. What passed at a later try passed with a warning; what was skipped is in no list, since
# the predicate has none for it.
_PASSED, _WARNED = "passed", "flaky"
_GOOD = (_PASSED, _WARNED, "skipped")


def export(folder: Path, archive: Path, signer: Signer) -> None:
    """Writes a run, and the statement about it, into a compressed tar file.

    Raises:
        InputError: the run has not finished, or the archive is there already.
        OSError: it cannot be read, or written.
    """
    if not (folder / MANIFEST).is_file():
        raise InputError.of("only a run whose books are closed can be exported; this has no manifest.json", folder)
    if archive.exists():
        raise InputError.of("is there already, and is not written over", archive)
    envelope = json.dumps(sealed(statement(folder), signer), indent=2).encode()
    partial = archive.with_name(f".{archive.name}.new")
    try:
        with tarfile.open(partial, "w:gz") as tar:
            tar.add(folder, folder.name, filter=_plain)
            about = tarfile.TarInfo(ATTESTATION)
            about.size, about.mode, about.mtime = len(envelope), 0o644, int((folder / MANIFEST).stat().st_mtime)
            tar.addfile(about, BytesIO(envelope))
        partial.replace(archive)
    finally:
        partial.unlink(missing_ok=True)


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Who owned it on this machine is of no use on another."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def statement(folder: Path) -> dict[str, Any]:
    """The in-toto statement about a run; its subject is the manifest, which has the digest of everything else."""
    run = runs.of_folder(folder)
    verdicts = {item.case: item.verdict for item in run.verdicts}
    warned = [case for case, verdict in verdicts.items() if verdict == _WARNED]
    failed = [case for case in run.planned if verdicts.get(case) not in _GOOD]
    predicate = {
        "result": "FAILED" if failed or run.left else "WARNED" if warned else "PASSED",
        "configuration": _configuration(folder),
        "passedTests": [case for case, verdict in verdicts.items() if verdict == _PASSED],
        "warnedTests": warned,
        "failedTests": failed,
    }
    subject = {"name": f"{folder.name}/{MANIFEST}", "digest": {"sha256": digest(folder / MANIFEST)}}
    return {"_type": STATEMENT, "subject": [subject], "predicateType": PREDICATE, "predicate": predicate}


def _configuration(folder: Path) -> list[dict[str, Any]]:
    """What was run: the matrix, by the digest that the run's first record has of it."""
    started = [record["data"] for record in records(folder / CHAIN) if record["action"] == "run_started"]
    return [
        {"name": Path(data["matrix"]).name, "digest": {"sha256": data["matrix_sha256"]}}
        for data in started
        if "matrix_sha256" in data
    ]


def sealed(content: dict[str, Any], signer: Signer) -> dict[str, Any]:
    """A DSSE envelope with one signature."""
    payload = json.dumps(content, sort_keys=True).encode()
    signature = {"keyid": signer.public.id, "sig": signer.sign_bytes(_encoded(payload))}
    body = base64.b64encode(payload).decode("ascii")
    return {"payloadType": PAYLOAD_TYPE, "payload": body, "signatures": [signature]}


def opened(envelope: Any, keys: PublicKeys) -> dict[str, Any]:
    """The statement in an envelope.

    Args:
        keys: who may have signed it; with none of them, signatures are not checked.

    Raises:
        ValueError: it is no such envelope, or nobody whose key is known has signed it.
    """
    try:
        payload = base64.b64decode(envelope["payload"], validate=True)
        found: dict[str, Any] = json.loads(payload)
        signatures = [(str(item["keyid"]), str(item["sig"])) for item in envelope["signatures"]]
        if envelope["payloadType"] != PAYLOAD_TYPE or found["_type"] != STATEMENT:
            raise ValueError("is not an in-toto statement")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError("is not an in-toto statement in a DSSE envelope") from error
    if keys and not any((key := keys.get(name)) and key.signed_bytes(_encoded(payload), sig) for name, sig in signatures):
        raise ValueError(f"has no good signature by {keys}")
    return found


def _encoded(payload: bytes) -> bytes:
    """What a DSSE signature is of."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


@contextlib.contextmanager
def unpacked(archive: Path) -> Iterator[Path]:
    """The folder of the run in an archive, for as long as the block runs.

    Raises:
        InputError: it is not such an archive.
    """
    with tempfile.TemporaryDirectory(prefix="vx11-evidence-") as scratch:
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(scratch, filter="data")
        except (tarfile.TarError, EOFError) as error:
            raise InputError.of(f"this is neither a chain nor an archive of a run: {error}", archive) from error
        folders = [path for path in Path(scratch).iterdir() if path.is_dir()]
        if len(folders) != 1:
            raise InputError.of("this is not an archive of one run", archive)
        yield folders[0]


def attested(folder: Path, keys: PublicKeys) -> str:
    """What is wrong with the statement that lies beside an unpacked run; empty when nothing is."""
    try:
        found = opened(read_json(folder.parent / ATTESTATION), keys)
        (subject,) = found["subject"]
        told = subject["digest"]["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        return str(error) if isinstance(error, ValueError) else "is not a statement about one run"
    if not (folder / MANIFEST).is_file():
        return "is about a run that has no manifest"
    return "" if told == digest(folder / MANIFEST) else "is about another run, or this one as it was before"
