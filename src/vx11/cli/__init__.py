"""The command `vx11`: parses, calls, prints. Turns errors into messages and exit codes.

Exit codes: 0 done, all passed; 1 a case failed, or the answer is no; 2 wrong usage or input; 3 the environment cannot
run it; 4 evidence that is not sealed to its end; 130 interrupted.
"""

import sys
from typing import Annotated

import typer

from vx11 import __version__, client
from vx11.cli import core, evidence, gateway, intents, matrices, release, tests, tokens, windows
from vx11.cli.base import ENVIRONMENT, FAILED, USAGE, app
from vx11.errors import InputError, Vx11Error

__all__ = ["core", "evidence", "gateway", "intents", "main", "matrices", "release", "tests", "tokens", "windows"]


def main() -> None:
    """Runs the command line; the only place that exits."""
    try:
        app()
    except InputError as error:
        _exit(str(error), USAGE)
    except client.MadreRefused as error:
        _exit(str(error), USAGE if error.is_input else FAILED)
    except Vx11Error as error:
        _exit(str(error), ENVIRONMENT)
    except OSError as error:
        _exit(f"{error.filename or 'the system'}: {error.strerror}", ENVIRONMENT)


def _exit(message: str, code: int) -> None:
    for line in message.splitlines():
        typer.echo(f"vx11: {line}", err=True)
    sys.exit(code)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vx11 {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Opens services as power windows, keeps the host in SOLO_MADRE otherwise, and proves it."""
