"""Writes the playbook that does what the actions of a case say."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from vx11.conductor.actions import Breaks, Closes, Opens, Releases, RunsSuite, Step, Waits
from vx11.units import MIB

_PREFIX = "vx11.power."
_GIB = 1024 * MIB
Task = dict[str, Any]


def playbook(case: str, description: str, steps: Sequence[Step]) -> str:
    """A playbook as text, a task a step.

    Args:
        case: its id, which the play is named after.
    """
    play = {
        "name": " ".join(filter(None, (case, _first_lower(description)))),
        "hosts": "{{ vx11_hosts | default('all') }}",
        "gather_facts": False,
        "module_defaults": {f"group/{_PREFIX}vx11": {"url": "{{ vx11_url }}"}},
        "tasks": [task(step) for step in steps],
    }
    text = yaml.dump([play], Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    return "---\n" + text.replace("\n    - name:", "\n\n    - name:").replace("  tasks:\n\n", "\n  tasks:\n")


def task(step: Step) -> Task:
    """One task."""
    return _TASKS[type(step)](step)


def _opens(step: Opens) -> Task:
    one = len(step.services) == 1
    arguments: Task = {"service": step.services[0]} if one else {"services": list(step.services)}
    if step.params.ttl is not None:
        arguments["ttl"] = duration(step.params.ttl)
    if step.params.hold:
        arguments["hold"] = True
    resources = step.params.resources.given()
    if resources:
        arguments["resources"] = resources | ({"memory": size(resources["memory"])} if "memory" in resources else {})
    if step.attempt:
        arguments["refusal"] = "recorded"
    what = _listed(step.services)
    return _task(f"{'Attempt to open' if step.attempt else 'Open'} {what}", "vx11_window", arguments)


def _closes(step: Closes) -> Task:
    arguments: Task = {"state": "closed", "service": step.service} | ({"force": True} if step.force else {})
    return _task(f"Close {step.service}{' by force' if step.force else ''}", "vx11_window", arguments)


def _releases(step: Releases) -> Task:
    return _task(f"Release the hold of {step.service}", "vx11_window", {"state": "released", "service": step.service})


def _runs_suite(step: RunsSuite) -> Task:
    arguments: Task = {"name": step.name}
    if step.steps:
        arguments["steps"] = list(step.steps)
    if step.interrupt:
        arguments["interrupt"] = {"service": step.interrupt}
    if step.expect_failure:
        arguments["expect_failure"] = True
    if step.after:
        arguments["after"] = step.after
    what = f"Run the suite {step.name}"
    if step.after:
        what = f"See what the suite {step.name} finds after it"
    elif step.interrupt:
        what += f", and close {step.interrupt} in the middle of it"
    elif step.expect_failure:
        what += ", which is meant to fail"
    return _task(what, "vx11_suite", arguments)


def _breaks(step: Breaks) -> Task:
    one = len(step.services) == 1
    arguments: Task = {"service": step.services[0]} if one else {"services": list(step.services)}
    words = step.kind.replace("_", " ")
    return _task(f"Force a {words} on {_listed(step.services)}", "vx11_fault", {**arguments, "kind": step.kind})


def _waits(step: Waits) -> Task:
    seconds = math.ceil(step.seconds)
    return {"name": f"Let {duration(seconds)} pass", "ansible.builtin.wait_for": {"timeout": seconds}}


def _task(name: str, module: str, arguments: Mapping[str, Any]) -> Task:
    return {"name": name, f"{_PREFIX}{module}": dict(arguments)}


_TASKS: dict[type[Any], Callable[[Any], Task]] = {
    Opens: _opens,
    Closes: _closes,
    Releases: _releases,
    RunsSuite: _runs_suite,
    Breaks: _breaks,
    Waits: _waits,
}


def duration(seconds: float) -> str:
    """`30s`, `1.5s`."""
    return f"{seconds:g}s"


def size(count: int) -> str:
    """`256MB`, or bytes where it is no whole number of them."""
    for unit, factor in (("GB", _GIB), ("MB", MIB), ("KB", 1024)):
        if count % factor == 0:
            return f"{count // factor}{unit}"
    return str(count)


def _listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _first_lower(text: str) -> str:
    return text[:1].lower() + text[1:]


class _Dumper(yaml.SafeDumper):
    """Lists below a key are indented, and booleans and text are as ansible-lint wants them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Templates in double quotes, everything else as YAML has it."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if "{{" in text else None)


_Dumper.add_representer(str, _text)
