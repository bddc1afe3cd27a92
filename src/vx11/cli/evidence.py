"""Evidence of runs: `vx11 evidence …`."""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from vx11 import units
from vx11.cli.base import ENVIRONMENT, FAILED, UNSEALED, JsonFlag, app, echo, group, seconds
from vx11.errors import InputError

evidence_app = group("Evidence of runs.")
app.add_typer(evidence_app, name="evidence")
Root = Annotated[Path, typer.Argument(metavar="DIR", help="The evidence root.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of one run, below the folder for evidence.")]
ROOT = Path("evidence")


@evidence_app.command("verify")
def verify(
    path: Annotated[
        Path,
        typer.Argument(metavar="PATH", help="A folder of runs, a run, an archive of one, madre's folder, a chain."),
    ] = ROOT,
    key: Annotated[
        list[Path] | None, typer.Option("--key", help="Public key whose seals are good; several may be given.")
    ] = None,
    anchor: Annotated[
        list[str] | None, typer.Option("--anchor", help="A head that was noted elsewhere; several may be given.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Checks evidence: ends with 0 when it is sound, 1 when it was tampered with, 4 when its end is not sealed.

    Needs the public key alone. Without --key it takes this machine's, else the one that lies with the evidence, which
    proves consistency only. The head that it prints, noted elsewhere, is an --anchor later: it finds a log that was
    written anew with the right key, or cut.
    """
    from vx11.evidence import audit
    from vx11.evidence.verify import State

    if not path.exists():
        raise InputError.of("there is no such evidence", path)
    heads = [_head(text) for text in anchor or ()]
    report = audit.check(path, audit.Trust.of(path, key or ()), heads)
    echo(report.to_json(), as_json, lambda: _told(report))
    if report.state is not State.SOUND:
        raise typer.Exit(FAILED if report.state is State.TAMPERED else UNSEALED)


def _head(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text.strip().lower()):
        raise InputError.of(f"--anchor {text!r} is not a head: these are 64 hexadecimal characters")
    return text.strip().lower()


def _told(report: Any) -> Iterator[str]:
    from vx11.evidence.show import printable

    yield from (printable(f"note: {note}") for note in report.notes)
    yield from (printable(f"unsealed: {why}") for why in report.open)
    yield from (printable(f"wrong: {finding}") for finding in report.findings)
    records = sum(chain.records for chain in report.chains)
    yield f"{report.state}: {records} records in {len(report.chains)} chains, checked {report.trust}"
    if report.chains:
        first = report.chains[0]
        yield f"head of {first.where} at record {first.records}: {first.head}"


@evidence_app.command("list")
def list_runs(root: Root = ROOT, as_json: JsonFlag = False) -> None:
    """Shows the runs of an evidence root, the oldest first, those removed by age included."""
    from vx11.evidence import runs

    every = runs.listed(root)
    width = max((len(run.state) for run in every), default=0)
    lines = [f"{run.folder}  {run.state:{width}}  {run.counts()}" for run in every]
    echo([run.to_json() for run in every], as_json, lambda: lines or [f"there is no run in {root}"])


@evidence_app.command("show")
def show(
    run: Run,
    case: Annotated[str, typer.Option(help="Only of this case, and of its cell in the meantime.")] = "",
    window: Annotated[str, typer.Option(help="Only of the window with this id, or that begins so.")] = "",
    since: Annotated[str, typer.Option(help="From this time on: ISO 8601.")] = "",
    until: Annotated[str, typer.Option(help="Up to this time: ISO 8601.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a record a line, as JSON.")] = False,
) -> None:
    """Prints the records of a run, the conductor's and those of its cells, in the order of time."""
    from vx11.evidence import layout
    from vx11.evidence import show as showing

    if not (run / layout.CHAIN).is_file():
        raise InputError.of("there is no evidence here", run)
    wanted = showing.Filter(case, window, _nanoseconds("--since", since), _nanoseconds("--until", until))
    for item in showing.following(run, wanted) if follow else showing.so_far(run, wanted):
        typer.echo(json.dumps({"chain": item.source, **item.record}) if as_json else showing.line(item))


def _nanoseconds(option: str, text: str) -> int | None:
    if not text:
        return None
    try:
        return int(datetime.fromisoformat(text).astimezone().timestamp() * 1e9)
    except ValueError as error:
        raise InputError.of(f"{option} {text!r} is not a time; write it as 2026-05-31T12:00:00Z") from error


@evidence_app.command("export")
def export(
    run: Run,
    out: Annotated[
        Path | None, typer.Option(help="The archive to write [default: NAME.tar.gz, NAME the run's folder].")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Puts a run into one archive, with a signed in-toto statement of its result; `verify` takes it anywhere."""
    from vx11.evidence import export as exporting
    from vx11.evidence.keys import Signer

    archive = out or Path(f"{run.resolve().name}.tar.gz")
    exporting.export(run.resolve(), archive, Signer.of())
    echo({"archive": str(archive)}, as_json, lambda: [str(archive)])


@evidence_app.command("prune")
def prune(
    root: Root = ROOT,
    older_than: Annotated[str, typer.Option(help="How long ago a run finished that goes, as 30d.")] = "30d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Removes old runs; what stays of each is a signed tombstone, so that `verify` can still tell.

    A run that does not verify is kept.
    """
    from vx11.evidence import retention
    from vx11.evidence.keys import Signer

    age = seconds(older_than, "--older-than")
    found = list(retention.prune(root, Signer.of(), age, dry_run=dry_run))
    would = "would be removed" if dry_run else "removed"
    lines = [
        f"{one.folder}  {f'kept: {one.kept}' if one.kept else f'{would}, {units.show_size(one.size)}'}" for one in found
    ]
    echo([one.to_json() for one in found], as_json, lambda: lines or [f"no run is older than {older_than}"])
    if any(one.kept for one in found):
        raise typer.Exit(FAILED)


@evidence_app.command("new-key")
def new_key(key: Annotated[Path, typer.Option(help="File to make, mode 0600; the public key lies beside it.")]) -> None:
    """Makes a key that evidence is sealed with, for users who cannot make their own."""
    from vx11.evidence.keys import Signer

    if key.exists():
        raise InputError.of("there is one already", key)
    typer.echo(f"made {key}: {Signer.of(key).public.id}")


@evidence_app.command("recover")
def recover(root: Root = ROOT, as_json: JsonFlag = False) -> None:
    """Ends what runs have left whose conductor died, and closes their books; vx11 run does it by itself."""
    from vx11.conductor import crashed

    if not root.is_dir():
        raise InputError.of("there is no such folder; name the one that vx11 run --evidence has", root)
    found = crashed.recover(root.resolve())
    echo([one.to_json() for one in found], as_json, lambda: [str(one) for one in found] or ["nothing to recover"])
    if any(one.left for one in found):
        raise typer.Exit(ENVIRONMENT)
