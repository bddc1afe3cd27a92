"""Tests that a host runs by itself: `vx11 test …`."""

from typing import Annotated, Any

import typer

from vx11.cli.base import (
    DEFAULT_URL,
    FAILED,
    INTERRUPTED,
    EngineChoice,
    JsonFlag,
    TokenOption,
    UrlOption,
    app,
    echo,
    group,
    madre_at,
)

test_app = group("Tests that a host runs by itself.")
app.add_typer(test_app, name="test")


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
    madre = madre_at(url, token)
    body = {"matrix_id": matrix, "evidence_path": evidence_path, "throttle_profile": profile}
    accepted = madre.post("/api/v1/tests/execute", **body, engine=engine.value if engine else None)
    if wait:
        typer.echo(f"{accepted['test_id']} is accepted", err=True)
        _print_test(madre.ended_test(accepted["test_id"]), as_json)
    else:
        echo(accepted, as_json, lambda: [f"{accepted['test_id']} is accepted; evidence: {accepted['evidence']}"])


@test_app.command("result")
def show_test(test: TestId, url: UrlOption = DEFAULT_URL, token: TokenOption = "", as_json: JsonFlag = False) -> None:
    """Shows what a test has come to; ends with 0 when it has passed, 130 when it was cancelled, else 1."""
    _print_test(madre_at(url, token).test_result(test), as_json)


@test_app.command("cancel")
def cancel_test(test: TestId, url: UrlOption = DEFAULT_URL, token: TokenOption = "", as_json: JsonFlag = False) -> None:
    """Tells a test to end; it cleans up by itself."""
    found = madre_at(url, token).cancel_test(test)
    echo(found, as_json, lambda: [f"{found['test_id']} was told to end"])


def _print_test(found: dict[str, Any], as_json: bool) -> None:
    def lines() -> list[str]:
        cases = [f"{item['case']} {item['verdict']} {item['message']}".rstrip() for item in found["cases"]]
        reason = [f"aborted: {line}" for line in (found["reason"] or "").splitlines()]
        left = [f"left behind: {what}" for what in found["left"]]
        evidence = [f"evidence: {found['evidence']}"] if found["evidence"] else []
        counts = ", ".join(f"{number} {verdict}" for verdict, number in found["verdicts"].items())
        summary = f"{found['state']}; {len(found['cases'])} of {len(found['planned'])} cases: {counts or 'none yet'}"
        return [*cases, *reason, *left, *evidence, summary]

    echo(found, as_json, lines)
    if found["cancelled_by"] and found["state"] == "aborted":
        raise typer.Exit(INTERRUPTED)
    if not found["passed"]:
        raise typer.Exit(FAILED)
