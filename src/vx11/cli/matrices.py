"""Matrices and their runs: `vx11 matrix …`, `vx11 run`, `vx11 report`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vx11.cli.base import ENVIRONMENT, FAILED, INTERRUPTED, PIPE_WIDTH, EngineChoice, JsonFlag, app, echo, group
from vx11.errors import InputError

matrix_app = group("Test matrices.")
app.add_typer(matrix_app, name="matrix")


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
    echo(about, as_json, lambda: [f"{found.path}: {len(found.cases)} cases, no problem"])


@matrix_app.command("list")
def matrix_list(matrix: MatrixFile, as_json: JsonFlag = False) -> None:
    """Shows the cases of a matrix."""
    from vx11.conductor import collection
    from vx11.conductor import matrix as matrices

    cases = matrices.load(matrix, collection.find(matrix)).cases
    found = [{"id": case.id, "description": case.description, "services": list(case.services)} for case in cases]
    echo(found, as_json, lambda: [f"{case.id}  {case.description}  [{', '.join(case.services)}]" for case in cases])


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
    echo(written, as_json, lambda: list(written.values()))
