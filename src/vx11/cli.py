"""The command `vx11`: parses, calls, prints. Turns errors into messages and exit codes.

Exit codes: 0 done, all passed; 1 a case failed, or the answer is no; 2 wrong usage or input; 3 the environment cannot
run it; 4 evidence that is not sealed to its end; 130 interrupted.
"""

import json
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from vx11 import __version__, cli_evidence, client, units, watch
from vx11.errors import InputError, Vx11Error

FAILED, USAGE, ENVIRONMENT, INTERRUPTED = 1, 2, 3, 130
CONTEXT = {"help_option_names": ["-h", "--help"]}
KEY = Path("/etc/vx11/key")

app = typer.Typer(
    no_args_is_help=True,
    context_settings=CONTEXT,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
)
token_app = typer.Typer(no_args_is_help=True, context_settings=CONTEXT, rich_markup_mode=None, help="Keys and tokens.")
allowlist_app = typer.Typer(
    no_args_is_help=True, context_settings=CONTEXT, rich_markup_mode=None, help="Which services may be opened."
)
window_app = typer.Typer(
    no_args_is_help=True, context_settings=CONTEXT, rich_markup_mode=None, help="Windows of a running madre."
)
test_app = typer.Typer(
    no_args_is_help=True, context_settings=CONTEXT, rich_markup_mode=None, help="Tests that a host runs by itself."
)
matrix_app = typer.Typer(no_args_is_help=True, context_settings=CONTEXT, rich_markup_mode=None, help="Test matrices.")
intent_app = typer.Typer(
    no_args_is_help=True, context_settings=CONTEXT, rich_markup_mode=None, help="Patch intents: what failed, and why."
)
app.add_typer(token_app, name="token")
app.add_typer(allowlist_app, name="allowlist")
app.add_typer(window_app, name="window")
app.add_typer(test_app, name="test")
app.add_typer(matrix_app, name="matrix")
app.add_typer(intent_app, name="intent")
app.add_typer(cli_evidence.app, name="evidence")


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


@token_app.command("new-key")
def token_new_key(key: Annotated[Path, typer.Option(help="File to make, mode 0600.")] = KEY) -> None:
    """Makes a signing key; one a host."""
    from vx11 import tokens

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
    from vx11 import tokens

    typer.echo(
        tokens.issue(tokens.read_key(key), subject=sub, scopes=scope.split(), ttl=_seconds(ttl, "--ttl"), cell=cell)
    )


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
        found = units.seconds(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error
    if not found:
        raise typer.BadParameter("it has to be longer than 0", param_hint=option)
    return found


def _print(result: Any, as_json: bool, lines: Callable[[], list[str]]) -> None:
    for line in [json.dumps(result, indent=2)] if as_json else lines():
        typer.echo(line)


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
    _show(_madre(url, token).post("/api/v1/windows/open", **body), as_json)


@window_app.command("close")
def window_close(
    window: Name,
    force: Annotated[bool, typer.Option("--force", help="At once, without grace.")] = False,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Closes a window."""
    closed = _madre(url, token).post("/api/v1/windows/close", **client.named(window), force=force)
    _show(closed, as_json)
    if closed["state"] != "closed":
        raise typer.Exit(FAILED)


@window_app.command("hold")
def window_hold(window: Name, url: UrlOption = DEFAULT_URL, token: TokenOption = "", as_json: JsonFlag = False) -> None:
    """Keeps a window open beyond its deadline, until it is released."""
    _show(_madre(url, token).post("/api/v1/windows/hold", **client.named(window), hold=True), as_json)


@window_app.command("release")
def window_release(
    window: Name, url: UrlOption = DEFAULT_URL, token: TokenOption = "", as_json: JsonFlag = False
) -> None:
    """Releases a hold; after its deadline the window closes at once."""
    _show(_madre(url, token).post("/api/v1/windows/hold", **client.named(window), hold=False), as_json)


@window_app.command("extend")
def window_extend(
    window: Name,
    ttl: Annotated[str, typer.Option(help="Time from now that it has at least.")],
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Gives a window more time; never less."""
    _show(_madre(url, token).post("/api/v1/windows/extend", **client.named(window), ttl=ttl), as_json)


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
        watch.run(_madre(url, token), as_json=as_json)
        return
    status = _madre(url, token).status(closed=closed)
    if as_json:
        _print(status, as_json, list)
        return
    table = watch.table([*status["windows"], *(status["closed"] or [])])
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    if table.row_count:
        console.print(table)
    console.print(f"SOLO_MADRE: {'yes' if status['solo_madre'] else 'no'}", highlight=False)
    if not status["watchdog"]:
        console.print("warning: no watchdog is alive", highlight=False)


@window_app.command("logs")
def window_logs(
    window: Name,
    tail: Annotated[int, typer.Option(help="How many lines, at most 2000.")] = 200,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Shows the last lines that a window's service wrote."""
    found = _madre(url, token).call("GET", "/api/v1/windows/logs", params={"window": window, "tail": tail})
    _print(found, as_json, lambda: found["lines"])


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
    found = _madre(url, token).solo_madre(dry_run=check, foreign="stop" if stop_foreign else None)
    stopped = [f"stopped {item['service']} ({item['window_id']})" for item in found["stopped"]]
    word = "runs" if check else "still runs"
    runs = [f"{word}: {item['what']} {item['service'] or ''}".rstrip() for item in found["left"]]
    stopped += [f"stopped foreign {item['what']}" for item in found["foreign_stopped"]]
    foreign = [f"foreign: {item['what']}" for item in found["foreign"]]
    verdict = f"SOLO_MADRE: {'yes' if found['solo_madre'] else 'no'}"
    _print(found, as_json, lambda: [*stopped, *runs, *foreign, verdict])
    if not found["solo_madre"]:
        raise typer.Exit(FAILED)


def _madre(url: str, token: str) -> client.Madre:
    if not token:
        raise InputError.of("a token is needed; set VX11_TOKEN (vx11 token issue prints one)")
    return client.Madre(url, token)


def _show(window: dict[str, Any], as_json: bool) -> None:
    def lines() -> list[str]:
        known = f"{window['service']} {window['state']}" + (f" ({window['reason']})" if window["reason"] else "")
        if window["state"] == "closed":
            return [f"{known} after {units.show_duration(window['open_s'])}"]
        held = ", held" if window["hold"] else ""
        same = "" if window["changed"] else ", unchanged"
        where = " ".join(window["endpoints"])
        return [f"{known} for {units.show_duration(window['remaining_s'])}{held}{same}  {where}".rstrip()]

    _print(window, as_json, lines)


TestId = Annotated[str, typer.Argument(metavar="TEST", help="The test's id.")]


@test_app.command("run")
def run_test(
    matrix: Annotated[str, typer.Argument(metavar="MATRIX_ID", help="A matrix that is installed on the host.")],
    evidence_path: Annotated[str, typer.Option(help="Folder below the host's evidence root of tests.")] = ".",
    profile: Annotated[str, typer.Option(help="Throttle profile of the matrix.")] = "low_power",
    engine: Annotated[EngineChoice | None, typer.Option(help="What runs services [default: the host's].")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Answer when it has ended.")] = False,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Has a host run one of its matrices; with --wait it ends as `vx11 test result` does."""
    madre = _madre(url, token)
    body = {"matrix_id": matrix, "evidence_path": evidence_path, "throttle_profile": profile}
    accepted = madre.post("/api/v1/tests/execute", **body, engine=engine.value if engine else None)
    if wait:
        typer.echo(f"{accepted['test_id']} is accepted", err=True)
        _print_test(madre.ended_test(accepted["test_id"]), as_json)
    else:
        _print(accepted, as_json, lambda: [f"{accepted['test_id']} is accepted; evidence: {accepted['evidence']}"])


@test_app.command("result")
def show_test(test: TestId, url: UrlOption = DEFAULT_URL, token: TokenOption = "", as_json: JsonFlag = False) -> None:
    """Shows what a test has come to; ends with 0 when it has passed, 130 when it was cancelled, else 1."""
    _print_test(_madre(url, token).test_result(test), as_json)


@test_app.command("cancel")
def cancel_test(test: TestId, url: UrlOption = DEFAULT_URL, token: TokenOption = "", as_json: JsonFlag = False) -> None:
    """Tells a test to end; it cleans up by itself."""
    found = _madre(url, token).cancel_test(test)
    _print(found, as_json, lambda: [f"{found['test_id']} was told to end"])


def _print_test(found: dict[str, Any], as_json: bool) -> None:
    def lines() -> list[str]:
        cases = [f"{item['case']} {item['verdict']} {item['message']}".rstrip() for item in found["cases"]]
        reason = [f"aborted: {line}" for line in (found["reason"] or "").splitlines()]
        left = [f"left behind: {what}" for what in found["left"]]
        evidence = [f"evidence: {found['evidence']}"] if found["evidence"] else []
        counts = ", ".join(f"{number} {verdict}" for verdict, number in found["verdicts"].items())
        summary = f"{found['state']}; {len(found['cases'])} of {len(found['planned'])} cases: {counts or 'none yet'}"
        return [*cases, *reason, *left, *evidence, summary]

    _print(found, as_json, lines)
    if found["cancelled_by"] and found["state"] == "aborted":
        raise typer.Exit(INTERRUPTED)
    if not found["passed"]:
        raise typer.Exit(FAILED)


MatrixFile = Annotated[Path, typer.Argument(metavar="MATRIX", help="The file, or the folder of its bundle.")]


@matrix_app.command("validate")
def matrix_validate(matrix: MatrixFile, as_json: JsonFlag = False) -> None:
    """Checks a matrix, its catalogue and its allowlist; prints every problem with file and line."""
    from vx11.conductor import collection
    from vx11.conductor import matrix as matrices

    try:
        found = matrices.load(matrix, collection.find(matrix))
    except InputError as error:
        if as_json:
            told = [
                {"message": problem.message, "path": problem.path and str(problem.path), "line": problem.line}
                for problem in error.problems
            ]
            typer.echo(json.dumps({"matrix": str(matrix), "problems": told}, indent=2))
        raise
    about = {"matrix": str(found.path), "cases": len(found.cases), "problems": []}
    _print(about, as_json, lambda: [f"{found.path}: {len(found.cases)} cases, no problem"])


@matrix_app.command("list")
def matrix_list(matrix: MatrixFile, as_json: JsonFlag = False) -> None:
    """Shows the cases of a matrix."""
    from vx11.conductor import collection
    from vx11.conductor import matrix as matrices

    cases = matrices.load(matrix, collection.find(matrix)).cases
    found = [{"id": case.id, "description": case.description, "services": list(case.services)} for case in cases]
    _print(found, as_json, lambda: [f"{case.id}  {case.description}  [{', '.join(case.services)}]" for case in cases])


@matrix_app.command("compile")
def matrix_compile(
    matrix: MatrixFile,
    case: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only this case; may be repeated.")] = None,
) -> None:
    """Prints the playbooks that do what the actions of the cases say."""
    from vx11.conductor import collection
    from vx11.conductor import matrix as matrices

    for found in matrices.load(matrix, collection.find(matrix)).chosen(case or ()).cases:
        if found.actions.steps:
            typer.echo(found.compiled(), nl=False)
        else:
            typer.echo(f"# {found.id} has no actions; it is played by {found.playbook}")


@matrix_app.command("schema")
def matrix_schema() -> None:
    """Prints the JSON Schema of matrix files, for editors."""
    from vx11.conductor import schema

    typer.echo(json.dumps(schema.of_matrix(), indent=2))


@app.command("run")
def run_matrix(
    matrix: MatrixFile,
    case: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only this case; may be repeated.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only cases with this tag; may be repeated.")] = None,
    engine: Annotated[EngineChoice | None, typer.Option(help="What runs the services [default: process].")] = None,
    inventory: Annotated[
        Path | None, typer.Option(help="Run the cases on the hosts of this Ansible inventory, not in cells.")
    ] = None,
    limit: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Only on these hosts of the inventory, as in Ansible.")
    ] = None,
    profile: Annotated[str, typer.Option(help="Throttle profile, from profiles.yml.")] = "low_power",
    cells: Annotated[
        int | None, typer.Option(min=1, help="Cases side by side [default: as many as shorten the run].")
    ] = None,
    time_scale: Annotated[
        float, typer.Option(min=0.01, max=100, help="Waits and times to live are so many times as long.")
    ] = 1.0,
    evidence: Annotated[Path, typer.Option(help="Folder for evidence.")] = Path("evidence"),
    intents: Annotated[
        Path | None, typer.Option(help="Folder for patch intents [default: patch_intents beside the evidence].")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Put the reports here too.")] = None,
    test_id: Annotated[str | None, typer.Option(help="Id of the run, given by madre.", hidden=True)] = None,
    as_json: JsonFlag = False,
) -> None:
    """Runs a matrix in cells of its own, or on hosts, from the proof of SOLO_MADRE before to the proof after."""
    from vx11.conductor import progress, run
    from vx11.conductor import report as reports

    _expect_cells_or_hosts(inventory, limit, engine, cells)
    console = Console(stderr=as_json, width=None if sys.stdout.isatty() else PIPE_WIDTH)
    options = run.Options(
        matrix,
        cases=tuple(case or ()),
        tags=tuple(tag or ()),
        engine=engine.value if engine else "process",
        evidence=evidence,
        intents=intents,
        report=report,
        cells=cells,
        profile=profile,
        time_scale=time_scale,
        test_id=test_id,
        inventory=inventory,
        limit=limit,
    )
    with progress.choose(console) as shown:
        done = run.run(options, shown)
    if as_json:
        typer.echo(json.dumps(done.to_json(), indent=2))
    reports.print_table(console, done.results)
    for what in done.left:
        console.print(f"left behind: {what}", style="red", highlight=False)
    console.print(f"evidence: {done.folder}", highlight=False, soft_wrap=True)
    for result in done.results:
        if result.intent:
            console.print(f"patch intent: {result.intent}", highlight=False, soft_wrap=True)
    console.print(reports.summary(done.results), highlight=False)
    if done.problem:
        typer.echo(f"vx11: {done.problem}", err=True)
    if done.interrupted:
        raise typer.Exit(INTERRUPTED)
    if done.problem:
        raise typer.Exit(ENVIRONMENT)
    if not done.passed:
        raise typer.Exit(FAILED)


def _expect_cells_or_hosts(
    inventory: Path | None, limit: str | None, engine: EngineChoice | None, cells: int | None
) -> None:
    if inventory is None and limit is not None:
        raise typer.BadParameter("it chooses among the hosts of --inventory", param_hint="--limit")
    if inventory is not None and engine is not None:
        raise typer.BadParameter("each host of --inventory has its own", param_hint="--engine")
    if inventory is not None and cells is not None:
        raise typer.BadParameter("with --inventory cases run on its hosts, one a host at a time", param_hint="--cells")


IntentsOption = Annotated[Path, typer.Option(help="Folder of patch intents.")]
INTENTS = Path("patch_intents")


@intent_app.command("list")
def intent_list(intents: IntentsOption = INTENTS, as_json: JsonFlag = False) -> None:
    """Shows the patch intents that were written, the oldest first; ends with 1 when one is not whole."""
    from vx11.recovery import intent

    every = intent.listed(intents)
    about = [found.about() for found in every]
    _print(about, as_json, lambda: [str(found) for found in every] or [f"there is no patch intent in {intents}"])
    if any(found.missing for found in every):
        raise typer.Exit(FAILED)


@intent_app.command("show")
def intent_show(
    name: Annotated[str, typer.Argument(metavar="INTENT", help="Its id, or a part that no other id has.")],
    intents: IntentsOption = INTENTS,
    as_json: JsonFlag = False,
) -> None:
    """Prints a patch intent: as Markdown, or its data."""
    from vx11.recovery import intent

    found = intent.named(intents, name)
    data = found.intent.model_dump(by_alias=True) if found.intent else None
    _print(data, as_json, lambda: [(found.folder / intent.MARKDOWN).read_text(encoding="utf-8").rstrip()])


@intent_app.command("schema")
def intent_schema() -> None:
    """Prints the JSON Schema of intent.json."""
    from vx11.recovery import intent

    typer.echo(json.dumps(intent.schema(), indent=2))


@app.command("report")
def report_run(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of one run, below the folder for evidence.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write to [default: the run's own report/].")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Makes the reports of a run anew, from its evidence alone."""
    from vx11.conductor import report as reports

    record = reports.read(run)
    folder = out or record.folder / "report"
    reports.write(record, folder)
    written = {name: str(folder / name) for name in reports.FILES}
    _print(written, as_json, lambda: list(written.values()))
