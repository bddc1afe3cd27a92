"""The command `vx11`: parses, calls, prints. Turns errors into messages and exit codes.

Exit codes: 0 done, all passed; 1 a case failed, or the answer is no; 2 wrong usage or input; 3 the environment cannot
run it; 130 interrupted.
"""

import json
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import click
import typer

from vx11 import __version__, units
from vx11.errors import InputError, Vx11Error

FAILED, USAGE, ENVIRONMENT, INTERRUPTED = 1, 2, 3, 130
CONTEXT = {"help_option_names": ["-h", "--help"]}
KEY = Path("/etc/vx11/key")

app = typer.Typer(no_args_is_help=True, context_settings=CONTEXT, add_completion=False, pretty_exceptions_enable=False)
token_app = typer.Typer(no_args_is_help=True, context_settings=CONTEXT, help="Keys and tokens.")
allowlist_app = typer.Typer(no_args_is_help=True, context_settings=CONTEXT, help="Which services may be opened.")
window_app = typer.Typer(no_args_is_help=True, context_settings=CONTEXT, help="Windows of a running madre.")
matrix_app = typer.Typer(no_args_is_help=True, context_settings=CONTEXT, help="Test matrices.")
app.add_typer(token_app, name="token")
app.add_typer(allowlist_app, name="allowlist")
app.add_typer(window_app, name="window")
app.add_typer(matrix_app, name="matrix")


class EngineChoice(StrEnum):
    """What runs services."""

    AUTO = "auto"
    DOCKER = "docker"
    PROCESS = "process"


JsonFlag = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
UrlOption = Annotated[str, typer.Option("--url", envvar="VX11_URL", help="Address of the host's entry.")]
TokenOption = Annotated[str, typer.Option("--token", envvar="VX11_TOKEN", help="Token; better given by VX11_TOKEN.")]
Name = Annotated[str, typer.Argument(metavar="WINDOW", help="A window's id, or its service.")]
DEFAULT_URL = "http://127.0.0.1:8000"


def main() -> None:
    """Runs the command line; the only place that exits."""
    try:
        app(standalone_mode=False)
    except click.exceptions.Abort:
        _exit("interrupted", INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(USAGE)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _exit("interrupted", INTERRUPTED)
    except InputError as error:
        _exit(str(error), USAGE)
    except Vx11Error as error:
        _exit(str(error), ENVIRONMENT)


def _exit(message: str, code: int) -> None:
    for line in message.splitlines():
        typer.echo(f"vx11: {line}", err=True)
    sys.exit(code)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    """Opens services as power windows, keeps the host in SOLO_MADRE otherwise, and proves it."""
    if version:
        typer.echo(f"vx11 {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise click.UsageError("say what to do; see vx11 --help")


@app.command()
def serve(
    config: Annotated[Path | None, typer.Option(envvar="VX11_CONFIG", help="YAML file with the same names as the flags.")] = None,
    engine: Annotated[EngineChoice | None, typer.Option(help="What runs services [default: auto].")] = None,
    listen: Annotated[str | None, typer.Option(help="ADDRESS:PORT of the entry [default: 127.0.0.1:8000].")] = None,
    catalogue: Annotated[Path | None, typer.Option(help="Compose file with the services.")] = None,
    allowlist: Annotated[Path | None, typer.Option(help="Which of them may be opened.")] = None,
    key: Annotated[Path | None, typer.Option(help="Signing key; see vx11 token new-key.")] = None,
    state: Annotated[Path | None, typer.Option(help="Folder for state; a tmpfs is best.")] = None,
    evidence: Annotated[Path | None, typer.Option(help="Folder for evidence.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder for named volumes of the process engine.")] = None,
    cell: Annotated[str | None, typer.Option(help="Name of the cell [default: default].")] = None,
    rate_limit: Annotated[str | None, typer.Option(help="REQUESTS/PERIOD:BURST a token, or off [default: 60/min:10].")] = None,
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
        "state": state,
        "evidence": evidence,
        "data": data,
        "cell": cell,
        "rate_limit": rate_limit,
    }
    chosen = settings.load(config, {name: value for name, value in flags.items() if value is not None})

    def ready(url: str, engine: Engine, watchdog: bool) -> None:
        if as_json:
            found = {"event": "ready", "url": url, "engine": engine.name, "why": engine.why, "watchdog": watchdog}
            typer.echo(json.dumps(found))
            return
        typer.echo(f"madre of the cell {chosen.cell} answers at {url}")
        typer.echo(f"engine {engine.name}: {engine.why}; it can: {', '.join(sorted(engine.capabilities)) or 'nothing more'}")
        if not watchdog:
            typer.echo(f"warning: no watchdog is alive; start one with: vx11 watchdog --state {chosen.state} --cell {chosen.cell}")

    server.run(chosen, ready)


@app.command()
def watchdog(
    config: Annotated[Path | None, typer.Option(envvar="VX11_CONFIG", help="The configuration of the madre.")] = None,
    state: Annotated[Path | None, typer.Option(help="Folder for state, as madre has it.")] = None,
    cell: Annotated[str | None, typer.Option(help="Name of the cell [default: default].")] = None,
) -> None:
    """Runs the second enforcer: closes what is overdue when madre does not."""
    from vx11.madre import settings

    flags = {"state": state, "cell": cell}
    chosen = settings.load(config, {name: value for name, value in flags.items() if value is not None})
    os.execv(  # noqa: S606 - a process of its own, with nothing of this one's imports
        sys.executable, [sys.executable, "-I", "-m", "vx11.watchdog", "--state", str(chosen.cell_state)]
    )


@token_app.command("new-key")
def token_new_key(key: Annotated[Path, typer.Option(help="File to make, mode 0600.")] = KEY) -> None:
    """Makes a signing key; one a host."""
    from vx11.madre import tokens

    tokens.new_key(key)
    typer.echo(f"made {key}")


@token_app.command("issue")
def token_issue(
    sub: Annotated[str, typer.Option(help="Whom it is for.")],
    scope: Annotated[str, typer.Option(help='Scopes, as in "power:read power:write".')] = "power:read power:write",
    ttl: Annotated[str, typer.Option(help="How long it is valid.")] = "15m",
    key: Annotated[Path, typer.Option(help="Signing key.")] = KEY,
    cell: Annotated[str, typer.Option(help="Cell it is for.")] = "default",
) -> None:
    """Prints a token."""
    from vx11.madre import tokens

    typer.echo(tokens.issue(tokens.read_key(key), subject=sub, scopes=scope.split(), ttl=_seconds(ttl, "--ttl"), cell=cell))


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
    _print(done, as_json, lambda: [f"{what} {name}" for name, what in done.items()] or [f"{allowlist} is up to date"])


@allowlist_app.command("check")
def allowlist_check(
    catalogue: Annotated[Path, typer.Option(help="Compose file with the services.")],
    allowlist: Annotated[Path, typer.Option(help="The allowlist.")],
    as_json: JsonFlag = False,
) -> None:
    """Shows where catalogue and allowlist differ; ends with 1 when an allowed entry has changed or is gone."""
    from vx11.catalogue import allowlist as lists
    from vx11.catalogue import compose

    found = lists.differences(lists.load(allowlist), compose.load(catalogue))
    _print(found, as_json, lambda: [f"{name}: {what}" for name, what in found.items()] or ["no difference"])
    if set(found.values()) - {"not allowed"}:
        raise typer.Exit(FAILED)


def _seconds(text: str, option: str) -> float:
    try:
        return units.seconds(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from error


def _print(result: Any, as_json: bool, lines: Callable[[], list[str]]) -> None:
    for line in [json.dumps(result, indent=2)] if as_json else lines():
        typer.echo(line)
