"""The core of a host: `vx11 serve`, `watchdog`, `allowlist …`."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vx11.cli.base import FAILED, EngineChoice, JsonFlag, app, echo, group, seconds
from vx11.errors import InputError

if TYPE_CHECKING:
    from vx11.catalogue.allowlist import Difference

allowlist_app = group("Which services may be opened.")
app.add_typer(allowlist_app, name="allowlist")
core_app = group("The core of an installed host: its units, and whether it keeps to its rules.")
app.add_typer(core_app, name="core")
ConfigOption = Annotated[
    Path, typer.Option(envvar="VX11_CONFIG", help="The configuration of the madre, with its part `gateway`.")
]
ServicesOption = Annotated[
    Path | None,
    typer.Option(
        help="What the core consists of [default: /etc/vx11/core_services.yaml, else what is shipped].",
        show_default=False,
    ),
]


@app.command()
def serve(
    config: Annotated[
        Path | None, typer.Option(envvar="VX11_CONFIG", help="YAML file with the same names as the flags.")
    ] = None,
    engine: Annotated[EngineChoice | None, typer.Option(help="What runs services [default: auto].")] = None,
    listen: Annotated[str | None, typer.Option(help="ADDRESS:PORT of the entry [default: 127.0.0.1:8000].")] = None,
    catalogue: Annotated[Path | None, typer.Option(help="Compose file with the services.")] = None,
    allowlist: Annotated[Path | None, typer.Option(help="Which of them may be opened.")] = None,
    key: Annotated[Path | None, typer.Option(help="Signing key; see vx11 token new-key.")] = None,
    policy: Annotated[Path | None, typer.Option(help="File that takes endpoints away.")] = None,
    state: Annotated[Path | None, typer.Option(help="Folder for state; a tmpfs is best.")] = None,
    evidence: Annotated[Path | None, typer.Option(help="Folder for evidence.")] = None,
    evidence_key: Annotated[
        Path | None, typer.Option(help="Key that evidence is sealed with; made if it is not there.", show_default=False)
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder for named volumes of the process engine.")] = None,
    cell: Annotated[str | None, typer.Option(help="Name of the cell [default: default].")] = None,
    rate_limit: Annotated[
        str | None, typer.Option(help="REQUESTS/PERIOD:BURST a token, or off [default: 60/min:10].")
    ] = None,
    profiles: Annotated[Path | None, typer.Option(help="File with throttle profiles.")] = None,
    profile: Annotated[str | None, typer.Option(help="Throttle profile of windows [default: low_power].")] = None,
    faults: Annotated[
        bool | None, typer.Option("--faults", help="Let tokens with fault:write break windows on purpose.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Runs madre: answers the power API and closes windows on time."""
    from vx11.engines.port import Engine
    from vx11.madre import serve as server
    from vx11.madre import settings

    flags = {
        "engine": engine.value if engine else None,
        "listen": listen,
        "catalogue": catalogue,
        "allowlist": allowlist,
        "key": key,
        "policy": policy,
        "state": state,
        "evidence": evidence,
        "evidence_key": evidence_key,
        "data": data,
        "cell": cell,
        "rate_limit": rate_limit,
        "profiles": profiles,
        "profile": profile,
        "faults": faults,
    }
    chosen = settings.load(config, {name: value for name, value in flags.items() if value is not None})

    def ready(url: str, engine: Engine, watchdog: bool) -> None:
        if as_json:
            found = {"event": "ready", "url": url, "engine": engine.name, "why": engine.why, "watchdog": watchdog}
            typer.echo(json.dumps(found))
            return
        typer.echo(f"madre of the cell {chosen.cell} answers at {url}")
        typer.echo(
            f"engine {engine.name}: {engine.why}; it can: {', '.join(sorted(engine.capabilities)) or 'nothing more'}"
        )
        if not watchdog:
            command = f"vx11 watchdog --state {chosen.state} --cell {chosen.cell}"
            typer.echo(f"warning: no watchdog is alive; start one with: {command}")

    server.run(chosen, ready)


@app.command()
def watchdog(
    config: Annotated[Path | None, typer.Option(envvar="VX11_CONFIG", help="The configuration of the madre.")] = None,
    state: Annotated[Path | None, typer.Option(help="Folder for state, as madre has it.")] = None,
    evidence: Annotated[Path | None, typer.Option(help="Folder for evidence, as madre has it.")] = None,
    cell: Annotated[str | None, typer.Option(help="Name of the cell [default: default].")] = None,
) -> None:
    """Runs the second enforcer: closes what is overdue when madre does not."""
    from vx11.madre import settings

    flags = {"state": state, "evidence": evidence, "cell": cell}
    chosen = settings.load(config, {name: value for name, value in flags.items() if value is not None})
    places = ["--state", str(chosen.cell_state), "--evidence", str(chosen.cell_evidence)]
    # A process of its own, with nothing of this one's imports.
    os.execv(sys.executable, [sys.executable, "-I", "-m", "vx11.watchdog", *places])  # noqa: S606


@core_app.command("render")
def core_render(
    config: ConfigOption,
    to: Annotated[Path, typer.Option(help="Folder to write below; / installs it.")],
    services: ServicesOption = None,
    python: Annotated[Path, typer.Option(help="The interpreter that has vx11 on the host.")] = Path(sys.executable),
    as_json: JsonFlag = False,
) -> None:
    """Writes the units of the core for systemd, its users and its folders; says which files are new."""
    from vx11.core import services as parts
    from vx11.core import units
    from vx11.madre import settings

    config = config.absolute()
    files = units.render(parts.load(services), settings.load(config, {}), units.Installed(config, python))
    changed = units.write(files, to)
    told = [str(path) for path in changed]
    echo({"changed": told}, as_json, lambda: told or ["nothing has changed"])


@core_app.command("check")
def core_check(
    config: ConfigOption,
    services: ServicesOption = None,
    management_port: Annotated[list[int] | None, typer.Option(help="A port that is your own [default: 22].")] = None,
    idle: Annotated[str, typer.Option(help="How long it is measured what the core uses.")] = "5s",
    as_json: JsonFlag = False,
) -> None:
    """Asks whether an installed core keeps to its rules; ends with 1 when it does not. Needs root, changes nothing."""
    from vx11.core import check
    from vx11.core import services as parts
    from vx11.madre import settings

    chosen = settings.load(config, {})
    if chosen.gateway is None:
        raise InputError.of("this configuration has no part `gateway`, so there is no installed core", config)
    ports = management_port or list(check.MANAGEMENT)
    installed = check.Installation(parts.load(services), chosen, chosen.gateway.url, ports).looked_at()
    found = check.check(installed, seconds(idle, "--idle"))
    words = {True: "holds", False: "DOES NOT", None: "unknown"}
    echo(
        {"holds": all(one.holds for one in found), "findings": [one.to_json() for one in found]},
        as_json,
        lambda: [f"{one.rule or '?'}  {words[one.holds]:8}  {one.question}: {one.seen}" for one in found],
    )
    if not all(one.holds for one in found):
        raise typer.Exit(FAILED)


@allowlist_app.command("update")
def allowlist_update(
    catalogue: Annotated[Path, typer.Option(help="Compose file with the services.")],
    allowlist: Annotated[Path, typer.Option(help="The allowlist to write.")],
    service: Annotated[list[str] | None, typer.Option(help="A service to allow; may be repeated.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Writes the digests of catalogue entries; a new file without names allows all services."""
    from vx11.catalogue import allowlist as lists
    from vx11.catalogue import compose

    done = lists.update(allowlist, compose.load(catalogue), service or ())
    told = [f"{found.what} {name}" + _in_words(found) for name, found in done.items()]
    echo(
        {name: _as_data(found) for name, found in done.items()}, as_json, lambda: told or [f"{allowlist} is up to date"]
    )


@allowlist_app.command("check")
def allowlist_check(
    catalogue: Annotated[Path, typer.Option(help="Compose file with the services.")],
    allowlist: Annotated[Path, typer.Option(help="The allowlist.")],
    as_json: JsonFlag = False,
) -> None:
    """Shows where catalogue and allowlist differ; ends with 1 when an allowed entry has changed or is gone."""
    from vx11.catalogue import allowlist as lists
    from vx11.catalogue import compose

    services = compose.load(catalogue)
    found = lists.differences(lists.load(allowlist), services)
    told = [f"{name}: {one.what}" + _in_words(one) for name, one in found.items()]
    echo({name: _as_data(one) for name, one in found.items()}, as_json, lambda: told or ["no difference"])
    for name, one in services.services.items():
        if not one.entry.build and one.entry.image and "@sha256:" not in one.entry.image:
            typer.echo(
                f"note: {name}: {one.entry.image} has no digest, so what is pulled by that name may change", err=True
            )
    if {one.what for one in found.values()} - {"not allowed"}:
        raise typer.Exit(FAILED)


def _in_words(found: "Difference") -> str:
    """The changes of a difference, a line each, below the line that names it."""
    if found.what in ("changed", "updated") and not found.changes:
        return "\n  what has changed is not shown, or what was allowed is not known"
    return "".join(f"\n  {change}" for change in found.changes)


def _as_data(found: "Difference") -> dict[str, Any]:
    changes = [{"key": change.key, "from": change.before, "to": change.after} for change in found.changes]
    return {"what": found.what, "changes": changes}
