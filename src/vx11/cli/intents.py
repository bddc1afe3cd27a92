"""Patch intents: `vx11 intent …`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from vx11.cli.base import FAILED, JsonFlag, app, echo, group

intent_app = group("Patch intents: what failed, and why.")
app.add_typer(intent_app, name="intent")


IntentsOption = Annotated[Path, typer.Option(help="Folder of patch intents.")]
INTENTS = Path("patch_intents")


@intent_app.command("list")
def intent_list(intents: IntentsOption = INTENTS, as_json: JsonFlag = False) -> None:
    """Shows the patch intents that were written, the oldest first; ends with 1 when one is not whole."""
    from vx11.recovery import intent

    every = intent.listed(intents)
    about = [found.about() for found in every]
    echo(about, as_json, lambda: [str(found) for found in every] or [f"there is no patch intent in {intents}"])
    if any(found.missing for found in every):
        raise typer.Exit(FAILED)


@intent_app.command("show")
def intent_show(
    name: Annotated[str, typer.Argument(metavar="INTENT", help="Its id, or a part that no other id has.")],
    intents: IntentsOption = INTENTS,
    as_json: JsonFlag = False,
) -> None:
    """Prints a patch intent: as Markdown, or its data; says on standard error where its evidence has another."""
    from vx11.recovery import intent

    found = intent.named(intents, name)
    if doubt := found.doubt():
        typer.echo(f"vx11: {doubt}", err=True)
    data = found.intent.model_dump(by_alias=True) if found.intent else None
    echo(data, as_json, lambda: [(found.folder / intent.MARKDOWN).read_text(encoding="utf-8").rstrip()])


@intent_app.command("schema")
def intent_schema() -> None:
    """Prints the JSON Schema of intent.json."""
    from vx11.recovery import intent

    typer.echo(json.dumps(intent.schema(), indent=2))
