"""The only port of a host: `vx11 gateway`."""

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from vx11.cli.base import app
from vx11.errors import InputError


@app.command()
def gateway(
    config: Annotated[
        Path, typer.Option(envvar="VX11_CONFIG", help="The configuration of the madre, with its part `gateway`.")
    ],
    show: Annotated[bool, typer.Option("--show", help="Print HAProxy's configuration, without its keys.")] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Write HAProxy's configuration for somebody else who runs it.")
    ] = False,
) -> None:
    """Runs tentaculo_link: HAProxy as the only port, which leads to madre and to the windows that are open."""
    from vx11.gateway.link import Tentaculo
    from vx11.madre import policy, settings

    chosen = settings.load(config, {})
    if chosen.gateway is None:
        raise InputError.of("this configuration has no part `gateway`", config)
    link = chosen.link(chosen.gateway)
    tentaculo = Tentaculo(
        link,
        catalogue=chosen.catalogue,
        key=chosen.gateway.key,
        endpoints=[endpoint.path for endpoint in policy.load(chosen.policy).endpoints],
        complain=lambda what: typer.echo(f"vx11: {what}", err=True),
    )
    if show:
        typer.echo(tentaculo.text(["(a key)"]), nl=False)
        return
    if write:
        typer.echo(f"{'wrote' if tentaculo.write() else 'nothing has changed in'} {link.configuration}")
        return
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    listens = ", ".join(chosen.gateway.listen)
    tentaculo.run(stopping, lambda: typer.echo(f"tentaculo_link of the cell {chosen.cell} listens on {listens}"))
