"""Keys and tokens of a host: `vx11 token …`."""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from vx11.cli.base import FAILED, JsonFlag, app, echo, group, seconds
from vx11.errors import InputError
from vx11.units import show_duration

KEY = Path("/etc/vx11/key")
STDIN = "-"
token_app = group("Keys and tokens.")
app.add_typer(token_app, name="token")
KeyOption = Annotated[Path, typer.Option(help="Signing key.")]
CellOption = Annotated[str, typer.Option(help="Cell it is for.")]


@token_app.command("new-key")
def new_key(key: Annotated[Path, typer.Option(help="File to make, mode 0600.")] = KEY) -> None:
    """Makes a signing key; one a host."""
    from vx11 import tokens

    tokens.new_key(key)
    typer.echo(f"made {key}")


@token_app.command("rotate")
def rotate(
    key: KeyOption = KEY,
    drop: Annotated[bool, typer.Option("--drop", help="Refuse all tokens of the former key from now on.")] = False,
) -> None:
    """Signs with a new key from now on; tokens of the former one count until the next rotation."""
    from vx11 import tokens

    new = tokens.rotate(key, keep=not drop)
    former = "no token that was issued before counts any more" if drop else "tokens of the former key still count"
    typer.echo(f"{key} signs with the key {new} now; {former}")


@token_app.command("service-key")
def service_key(
    out: Annotated[Path, typer.Option(help="File to write, mode 0600.")] = Path("/etc/vx11/gateway.key"),
    key: KeyOption = KEY,
) -> None:
    """Derives what the gateway checks tokens for services with; it can sign nothing else. Again after a rotation."""
    from vx11 import tokens

    tokens.derive(key, out)
    typer.echo(f"made {out}")


@token_app.command("issue")
def issue(
    sub: Annotated[str, typer.Option(help="Whom it is for.")],
    scope: Annotated[str, typer.Option(help='Scopes, as in "power:read power:write".')] = "power:read power:write",
    ttl: Annotated[str, typer.Option(help="How long it is valid.")] = "15m",
    key: KeyOption = KEY,
    cell: CellOption = "default",
) -> None:
    """Prints a token."""
    from vx11 import tokens

    typer.echo(
        tokens.issue(tokens.read_key(key), subject=sub, scopes=scope.split(), ttl=seconds(ttl, "--ttl"), cell=cell)
    )


@token_app.command("revoke")
def revoke(
    token: Annotated[
        str, typer.Argument(metavar="TOKEN|ID", help="The token, or its id (jti); - reads it from stdin.")
    ],
    key: KeyOption = KEY,
) -> None:
    """Ends a token before its time; madre refuses it from now on."""
    from vx11 import revocations, tokens

    given, keys = _given(token), tokens.read_keys(key)
    keys = (*keys, *map(tokens.service_key, keys))
    if "." not in given:
        is_new = revocations.revoke(key, given, None)
        typer.echo(f"revoked {given}" if is_new else f"{given} was revoked before")
        return
    claims = next(filter(None, (tokens.claims_of(given, one) for one in keys)), None)
    if claims is None:
        raise InputError.of(f"this token is not signed by a key of {key}, so it does not count there")
    token_id, expires = claims.get("jti"), claims.get("exp")
    if not isinstance(token_id, str) or not token_id or not isinstance(expires, int):
        raise InputError.of("this token has no id (jti) or no end; it can be refused by a rotation of the key alone")
    is_new = revocations.revoke(key, token_id, expires)
    typer.echo(f"revoked {token_id} of {claims.get('sub')}" if is_new else f"{token_id} was revoked before")


@token_app.command("inspect")
def inspect(
    token: Annotated[str, typer.Argument(envvar="VX11_TOKEN", help="The token; - reads it from stdin.")],
    key: KeyOption = KEY,
    cell: CellOption = "default",
    as_json: JsonFlag = False,
) -> None:
    """Shows what a token says, and whether madre would take it; ends with 1 when not, and says why."""
    from vx11 import revocations, tokens

    given, why = _given(token), None
    try:
        tokens.check(given, tokens.read_keys(key), cell=cell, revoked=revocations.read(key))
    except tokens.TokenRefused as error:
        why = str(error)
    said = {"header": tokens.header_of(given), "claims": tokens.claims_of(given), "valid": why is None, "why": why}
    echo(said, as_json, lambda: _lines(said))
    if why is not None:
        raise typer.Exit(FAILED)


def _given(token: str) -> str:
    found = sys.stdin.read().strip() if token == STDIN else token.strip()
    if not found:
        raise InputError.of("there is no token")
    return found


def _lines(said: dict[str, Any]) -> list[str]:
    """A token for people."""
    claims = said["claims"]
    shown = {
        "for": claims.get("sub"),
        "scopes": claims.get("scope"),
        "cell": claims.get("aud"),
        "issued": _when(claims.get("iat")),
        "expires": _when(claims.get("exp")),
        "id": claims.get("jti"),
        "key": said["header"].get("kid"),
        "valid": "yes" if said["valid"] else f"no: {said['why']}",
    }
    return [f"{name:8} {value}" for name, value in shown.items() if value is not None]


def _when(value: Any) -> str | None:
    """A claim that is a time."""
    if not isinstance(value, int) or not 0 <= value < 2**33:
        return None if value is None else str(value)
    away = value - time.time()
    said = f"in {show_duration(away)}" if away > 0 else f"{show_duration(-away)} ago"
    return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%dT%H:%M:%SZ} ({said})"
