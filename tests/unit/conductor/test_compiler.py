"""Steps become tasks of our modules; the shipped playbooks do the same as what their cases' actions become."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from vx11 import cli
from vx11.conductor import actions, collection, compiler, matrix
from vx11.conductor.matrix import Case
from vx11.units import seconds, size

E2E = Path(__file__).parents[3] / "matrices" / "e2e"
BARE = Path(__file__).parent / "bare_matrix.yml"
WINDOW, SUITE, FAULT = (f"vx11.power.vx11_{name}" for name in ("window", "suite", "fault"))
Task = tuple[str, dict[str, Any]]


def shipped() -> list[Case]:
    return list(matrix.load(E2E, collection.find(E2E)).cases)


def tasks(text: str) -> list[Task]:
    """What a playbook does: module and options of each task, with durations and sizes as numbers."""
    ((play),) = yaml.safe_load(text)
    return [_task(item) for item in play["tasks"]]


def _task(item: dict[str, Any]) -> Task:
    ((module, options),) = [(key, value) for key, value in item.items() if "." in key]
    options = {name: value for name, value in options.items() if value is not False}
    if "ttl" in options:
        options["ttl"] = seconds(options["ttl"])
    if "memory" in options.get("resources", {}):
        options["resources"] = options["resources"] | {"memory": size(options["resources"]["memory"])}
    return module, options


def compiled(text: str) -> list[Task]:
    found = actions.read(yaml.safe_load(text))
    assert not found.wrong
    return tasks(compiler.playbook("X-1", "One case", found.steps))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- open_window: web", (WINDOW, {"service": "web"})),
        ("- open_window: [a, b]\n  params: {ttl: 90s}", (WINDOW, {"services": ["a", "b"], "ttl": 90.0})),
        ("- open_window: web\n  params: {hold: true}", (WINDOW, {"service": "web", "hold": True})),
        ("- attempt_open: web", (WINDOW, {"service": "web", "refusal": "recorded"})),
        ("- close_window: web\n  force: true", (WINDOW, {"service": "web", "state": "closed", "force": True})),
        ("- release_hold: web", (WINDOW, {"service": "web", "state": "released"})),
        ("- e2e_test: x\n  steps: [a, b]", (SUITE, {"name": "x", "steps": ["a", "b"]})),
        ("- wait: 1m", ("ansible.builtin.wait_for", {"timeout": 60})),
        ("- wait: 500ms", ("ansible.builtin.wait_for", {"timeout": 1})),
    ],
)
def test_each_step_is_a_task(text: str, expected: Task) -> None:
    assert compiled(text) == [expected]


def test_what_says_something_about_another_action_is_an_option_of_it() -> None:
    text = """
        - set_throttle: {memory: 256MB}
        - open_window: web
        - e2e_test: upload
        - interrupt: close_window (mid-operation)
        - open_window: web
        - e2e_test: fails
        - expect_failure: true
        - force_failure: network_partition
    """
    assert compiled(text) == [
        (WINDOW, {"service": "web", "resources": {"memory": 256 * 1024**2}}),
        (SUITE, {"name": "upload", "interrupt": {"service": "web"}}),
        (WINDOW, {"service": "web", "resources": {"memory": 256 * 1024**2}}),
        (SUITE, {"name": "fails", "expect_failure": True}),
        (FAULT, {"service": "web", "kind": "network_partition"}),
        (SUITE, {"name": "fails", "after": "force_failure"}),
    ]


@pytest.mark.parametrize("count", [1, 1023, 1024, 256 * 1024**2, 3 * 1024**3, 1024**2 + 1])
def test_a_size_is_written_as_it_is_read(count: int) -> None:
    assert size(compiler.size(count)) == count


def test_a_playbook_runs_on_any_host_and_says_what_it_is() -> None:
    ((play),) = yaml.safe_load(compiler.playbook("X-1", "One case", actions.read([{"wait": "1s"}]).steps))
    assert play["name"] == "X-1 one case"
    assert play["hosts"] == "{{ vx11_hosts | default('all') }}"
    assert play["module_defaults"] == {"group/vx11.power.vx11": {"url": "{{ vx11_url }}"}}


@pytest.mark.parametrize("case", shipped(), ids=lambda case: case.id)
def test_a_shipped_playbook_does_what_compiling_its_actions_does(case: Case) -> None:
    assert case.playbook is not None
    assert tasks(case.playbook.read_text(encoding="utf-8")) == tasks(case.compiled())


def test_the_shipped_matrix_has_the_twelve_cases_as_they_were_laid_down() -> None:
    """Asserts and metrics by name and expectation; `bare_matrix.yml` has them without anything of ours."""
    laid_down = yaml.safe_load(BARE.read_text(encoding="utf-8"))["test_matrix"]["cases"]
    ours = yaml.safe_load((E2E / "matrix.yml").read_text(encoding="utf-8"))["test_matrix"]["cases"]
    for wanted, found in zip(laid_down, ours, strict=True):
        assert {name: found[name] for name in wanted if name != "description"} == {
            name: value for name, value in wanted.items() if name != "description"
        }
    asserts = [name for case in ours for item in case["asserts"] for name in item]
    metrics = [name for case in ours for name in case["metrics"]]
    assert (len(asserts), len(set(metrics))) == (36, len(metrics))


def test_what_is_printed_is_the_file_that_a_user_keeps() -> None:
    """ansible-lint refuses an empty line at the end."""
    (case,) = (case for case in shipped() if case.id == "TC-001")
    printed = CliRunner().invoke(cli.app, ["matrix", "compile", str(E2E), "--case", "TC-001"])
    assert printed.stdout == case.compiled()
    assert not printed.stdout.endswith("\n\n")
