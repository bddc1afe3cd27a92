"""What the commands share: the application, its options, how results are printed."""

import json
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Annotated, Any

import typer

from vx11 import client, units
from vx11.errors import InputError

FAILED, USAGE, ENVIRONMENT, UNSEALED, INTERRUPTED = 1, 2, 3, 4, 130


def group(text: str = "") -> typer.Typer:
    """A group of commands."""
    return typer.Typer(
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
        help=text or None,
    )


app = group()


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
PIPE_WIDTH = 200


def seconds(text: str, option: str) -> float:
    """A duration that an option gives; more than none."""
    try:
        found = units.seconds(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error
    if not found:
        raise typer.BadParameter("it has to be longer than 0", param_hint=option)
    return found


def echo(result: Any, as_json: bool, lines: Callable[[], Iterable[str]]) -> None:
    """Prints a result: as JSON, or in lines for people."""
    for line in [json.dumps(result, indent=2)] if as_json else lines():
        typer.echo(line)


def madre_at(url: str, token: str) -> client.Madre:
    """The madre that options mean."""
    if not token:
        raise InputError.of("a token is needed; set VX11_TOKEN (vx11 token issue prints one)")
    return client.Madre(url, token)
