"""Closing a release: `vx11 baseline`, `vx11 gates`."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vx11 import client
from vx11.cli.base import DEFAULT_URL, FAILED, JsonFlag, TokenOption, UrlOption, app, echo, madre_at

if TYPE_CHECKING:
    from vx11.release.baseline import Baseline
    from vx11.release.config import Release
    from vx11.release.deliverables import Closed
    from vx11.release.verdicts import Result

AUDIT = Path("audit")
AuditOption = Annotated[Path, typer.Option("--audit", help="The folder of audits.")]
ClosingOption = Annotated[Path | None, typer.Option("--config", help="What is looked at, see docs/closing.md.")]
MadreOption = Annotated[
    Path | None, typer.Option("--madre", envvar="VX11_CONFIG", help="The configuration of the host's madre.")
]
# Seconds that a host has for an answer.
ANSWER = 30.0
SIGNS = {"passed": "✓", "failed": "✗", "not_applicable": "○"}


@app.command("baseline")
def baseline(
    config: ClosingOption = None,
    madre: MadreOption = None,
    audit: AuditOption = AUDIT,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Freezes what a release starts from: git, what runs, databases, inputs. Judges nothing."""
    from vx11.release import closing

    folder, found = closing.freeze(audit, _release(config, madre, client.Madre(url, token), url), token)
    echo({"audit": str(folder)} | found.to_json(), as_json, lambda: _frozen(folder, found))


@app.command("gates")
def gates(
    gate: Annotated[list[int] | None, typer.Option(min=1, max=8, help="Only this one; several may be given.")] = None,
    config: ClosingOption = None,
    madre: MadreOption = None,
    audit: AuditOption = AUDIT,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Looks at the eight gates that a release closes by; ends with 1 when one failed.

    With all of them come the P0 tests and the deliverables A to F, in the folder `report` of the audit.
    """
    from vx11.release import closing
    from vx11.release.gates import GATES

    chosen = [one for one in GATES if not gate or one.number in gate]
    asks = any(one.asks for one in chosen)
    release = _release(config, madre, madre_at(url, token) if asks else client.Madre(url, token), url)
    folder, results, closed = closing.look(audit, release, token, chosen, lambda one: _tell(one, silent=as_json))
    echo(_as_data(folder, results, closed), as_json, lambda: _verdict(folder, closed))
    if any(one.outcome == "failed" for one in results) or (closed and not closed.closes):
        raise typer.Exit(FAILED)


def _release(config: Path | None, madre: Path | None, api: client.Madre, url: str) -> "Release":
    """What is closed: the two configurations, and the host."""
    from vx11.release.config import Closing, Release, load

    api.http.timeout = ANSWER
    closing = load(config) if config else Closing()
    inputs = {"closing": config} if config else {}
    if madre is None:
        return Release(url, api, closing, inputs, evidence=closing.evidence)
    from vx11.madre import policy, settings

    chosen = settings.load(madre, {})
    inputs |= {"configuration": madre, "catalogue": chosen.catalogue, "allowlist": chosen.allowlist}
    evidence = [root for root in (chosen.cell_evidence, chosen.tests_root) if (root / "evidence.pub").is_file()]
    return Release(
        url,
        api,
        closing,
        inputs | {"policy": chosen.policy or policy.SHIPPED},
        places=(chosen.data, chosen.cell_state),
        evidence=(*closing.evidence, *evidence),
        state=chosen.cell_state,
    )


def _tell(result: "Result", *, silent: bool) -> None:
    if not silent:
        why = f": {result.reason}" if result.reason else ""
        typer.echo(f"{SIGNS[result.outcome]} gate {result.number}, {result.title}{why}")


def _verdict(folder: Path, closed: "Closed | None") -> Iterator[str]:
    if closed:
        yield from (f"P0 test failed: {check}" for check in closed.p0 if not check.holds)
        values = ("not measured" if one.value is None else f"{one.value:g} %" for one in closed.scores)
        yield from (f"{one.name}: {value}" for one, value in zip(closed.scores, values, strict=True))
        yield "the release may be closed" if closed.closes else "the release stays open"
    yield str(folder)


def _as_data(folder: Path, results: "Sequence[Result]", closed: "Closed | None") -> dict[str, Any]:
    told: dict[str, Any] = {"schema": 1, "audit": str(folder), "gates": [one.to_json() for one in results]}
    if closed:
        told |= {
            "closes": closed.closes,
            "p0": [asdict(check) for check in closed.p0],
            "scorecard": [asdict(one) | {"met": one.met} for one in closed.scores],
        }
    return told


def _frozen(folder: Path, found: "Baseline") -> Iterator[str]:
    if found.git:
        clean = "clean" if found.git.clean else f"{len(found.git.changed)} files not committed"
        yield f"git: {found.git.branch or 'no branch'} at {found.git.head or 'no commit'}, {clean}"
    running = found.running
    yield f"entry {running.url}: {'answers' if running.answers else 'does not answer'}"
    if running.told:
        yield f"SOLO_MADRE: {'yes' if running.told['solo_madre'] else 'no'}"
        yield f"watchdog: {'alive' if running.told['watchdog'] else 'not alive'}"
    else:
        yield f"madre: {running.why}"
    for one in found.databases:
        sound = "sound" if one.sound else "not sound"
        yield f"{one.path}: {sound}, {one.size} bytes, {len(one.rows)} tables, {sum(one.rows.values())} rows"
    yield from (f"{one.name} {one.path}: {one.sha256 or 'not there'}" for one in found.inputs)
    yield str(folder)
