"""Windows of a running madre: `vx11 window …`, `vx11 solo-madre`."""

import sys
from typing import Annotated, Any

import typer
from rich.console import Console

from vx11 import client, units, watch
from vx11.cli.base import (
    DEFAULT_URL,
    FAILED,
    PIPE_WIDTH,
    JsonFlag,
    Name,
    TokenOption,
    UrlOption,
    app,
    echo,
    group,
    madre_at,
)

window_app = group("Windows of a running madre.")
app.add_typer(window_app, name="window")


@window_app.command("open")
def window_open(
    service: Annotated[str, typer.Argument(help="What to open.")],
    ttl: Annotated[str | None, typer.Option(help="How long: 30, 30s, 5m [default: the service's own].")] = None,
    hold: Annotated[bool, typer.Option("--hold", help="Stay open beyond the ttl until released.")] = False,
    cpu: Annotated[float | None, typer.Option(help="Processors; 0.5 is half of one core.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory, such as 256MB.")] = None,
    iops: Annotated[int | None, typer.Option(help="Disk operations a second.")] = None,
    pids: Annotated[int | None, typer.Option(help="Processes and threads.")] = None,
    min_remaining: Annotated[str | None, typer.Option(help="Extend an open window that has less left.")] = None,
    wait: Annotated[bool, typer.Option(help="Answer when it is ready.")] = True,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Opens a service, or shows the window that is open already."""
    limits = {"cpu": cpu, "memory": memory, "iops": iops, "pids": pids}
    resources = {name: value for name, value in limits.items() if value is not None}
    body = {
        "service": service,
        "ttl": ttl,
        "hold": hold,
        "resources": resources,
        "min_remaining": min_remaining,
        "wait": wait,
    }
    _show(madre_at(url, token).post("/api/v1/windows/open", **body), as_json)


@window_app.command("close")
def window_close(
    window: Name,
    force: Annotated[bool, typer.Option("--force", help="At once, without grace.")] = False,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Closes a window."""
    closed = madre_at(url, token).post("/api/v1/windows/close", **client.named(window), force=force)
    _show(closed, as_json)
    if closed["state"] != "closed":
        raise typer.Exit(FAILED)


@window_app.command("hold")
def window_hold(window: Name, url: UrlOption = DEFAULT_URL, token: TokenOption = "", as_json: JsonFlag = False) -> None:
    """Keeps a window open beyond its deadline, until it is released."""
    _show(madre_at(url, token).post("/api/v1/windows/hold", **client.named(window), hold=True), as_json)


@window_app.command("release")
def window_release(
    window: Name, url: UrlOption = DEFAULT_URL, token: TokenOption = "", as_json: JsonFlag = False
) -> None:
    """Releases a hold; after its deadline the window closes at once."""
    _show(madre_at(url, token).post("/api/v1/windows/hold", **client.named(window), hold=False), as_json)


@window_app.command("extend")
def window_extend(
    window: Name,
    ttl: Annotated[str, typer.Option(help="Time from now that it has at least.")],
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Gives a window more time; never less."""
    _show(madre_at(url, token).post("/api/v1/windows/extend", **client.named(window), ttl=ttl), as_json)


@window_app.command("list")
def window_list(
    closed: Annotated[bool, typer.Option("--closed", help="Also those that closed lately.")] = False,
    follow: Annotated[
        bool, typer.Option("--watch", help="Go on showing what happens, until Ctrl-C; with --json an object a line.")
    ] = False,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Shows what is open, and whether only the core runs."""
    if follow and closed:
        raise typer.BadParameter("--watch shows each window as it closes", param_hint="--closed")
    if follow:
        watch.run(madre_at(url, token), as_json=as_json)
        return
    status = madre_at(url, token).status(closed=closed)
    if as_json:
        echo(status, as_json, list)
        return
    table = watch.table([*status["windows"], *(status["closed"] or [])])
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    if table.row_count:
        console.print(table)
    console.print(f"SOLO_MADRE: {'yes' if status['solo_madre'] else 'no'}", highlight=False)
    if not status["watchdog"]:
        console.print("warning: no watchdog is alive", highlight=False)
    if status["gateway"] is False:
        console.print("warning: the gateway does not answer madre", highlight=False)


@window_app.command("logs")
def window_logs(
    window: Name,
    tail: Annotated[int, typer.Option(help="How many lines, at most 2000.")] = 200,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Shows the last lines that a window's service wrote."""
    found = madre_at(url, token).call("GET", "/api/v1/windows/logs", params={"window": window, "tail": tail})
    echo(found, as_json, lambda: found["lines"])


@app.command("solo-madre")
def solo_madre(
    check: Annotated[bool, typer.Option("--check", help="Only say whether it is so; stop nothing.")] = False,
    stop_foreign: Annotated[
        bool, typer.Option("--stop-foreign", help="Also stop what is neither the core nor a window.")
    ] = False,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Closes every window and proves that only the core runs; ends with 1 when it does not."""
    found = madre_at(url, token).solo_madre(dry_run=check, foreign="stop" if stop_foreign else None)
    stopped = [f"stopped {item['service']} ({item['window_id']})" for item in found["stopped"]]
    word = "runs" if check else "still runs"
    runs = [f"{word}: {item['what']} {item['service'] or ''}".rstrip() for item in found["left"]]
    stopped += [f"stopped foreign {item['what']}" for item in found["foreign_stopped"]]
    foreign = [f"foreign: {item['what']}" for item in found["foreign"]]
    verdict = f"SOLO_MADRE: {'yes' if found['solo_madre'] else 'no'}"
    echo(found, as_json, lambda: [*stopped, *runs, *foreign, verdict])
    if not found["solo_madre"]:
        raise typer.Exit(FAILED)


def _show(window: dict[str, Any], as_json: bool) -> None:
    def lines() -> list[str]:
        known = f"{window['service']} {window['state']}" + (f" ({window['reason']})" if window["reason"] else "")
        if window["state"] == "closed":
            return [f"{known} after {units.show_duration(window['open_s'])}"]
        held = ", held" if window["hold"] else ""
        same = "" if window["changed"] else ", unchanged"
        where = " ".join(window["endpoints"])
        return [f"{known} for {units.show_duration(window['remaining_s'])}{held}{same}  {where}".rstrip()]

    echo(window, as_json, lines)
