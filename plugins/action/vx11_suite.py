# Copyright (c) VX11 maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a pytest suite against the windows of a case, on the controller."""

from __future__ import annotations

import os
import re
import tempfile
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.vx11.power.plugins.module_utils.client import MadreClient, MadreError
from ansible_collections.vx11.power.plugins.plugin_utils import steps, suites
from ansible_collections.vx11.power.plugins.plugin_utils.middle import Middle
from ansible_collections.vx11.power.plugins.plugin_utils.observations import ObservationError, append, observation
from ansible_collections.vx11.power.plugins.plugin_utils.suites import Ran, Suite

ARGUMENT_SPEC: dict[str, t.Any] = {
    "name": {"type": "str"},
    "path": {"type": "path"},
    "url": {"type": "str"},
    "token": {"type": "str", "no_log": True},
    "timeout": {"type": "float", "default": 300.0},
    "steps": {"type": "list", "elements": "str"},
    "after": {"type": "str"},
    "interrupt": {"type": "dict", "options": {"service": {"type": "str", "required": True}}},
    "expect_failure": {"type": "bool", "default": False},
}

Result = t.Dict[str, t.Any]


class Interruption:
    """The close of a window in the middle of a suite.

    result: what madre answered, and when the call began and ended (CLOCK_BOOTTIME); None before it.
    error: why the window was not closed.
    """

    def __init__(self, client: MadreClient, service: str) -> None:
        self._client = client
        self.service = service
        self.result: Result | None = None
        self.error: str | None = None

    def act(self) -> None:
        """Close the window, gracefully, and wait until it is closed."""
        begun = steps.now()
        try:
            window = self._client.window("close", {"service": self.service, "force": False, "wait": True})
        except MadreError as error:
            self.error = str(error)
            return
        self.result = {"begun_ns": str(begun), "ended_ns": str(steps.now()), "window": window}

    def complaint(self, suite: str) -> str | None:
        """Why the suite was not interrupted, or None if it was."""
        if self.error:
            return f"The suite {suite} was in the middle, but the window was not closed: {self.error}"
        if self.result is None:
            return (
                f"The suite {suite} ended before it said that it was in the middle (mid_operation), so that nothing "
                f"was interrupted, and the window of {self.service} was left open."
            )
        return None


class ActionModule(ActionBase):
    """Options and results are documented in plugins/modules/vx11_suite.py."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = False

    def run(self, tmp: str | None = None, task_vars: Result | None = None) -> Result:
        result = super().run(tmp, task_vars)
        result.update(steps.recorded(self._task, lambda: self._report(task_vars or {})))
        return result

    def _report(self, task_vars: Result) -> Result:
        args = self.validate_argument_spec(
            ARGUMENT_SPEC,
            required_one_of=[("name", "path")],
            mutually_exclusive=[("steps", "after"), ("interrupt", "after"), ("interrupt", "expect_failure")],
        )[1]
        name, path = _suite_file(args)
        suite = Suite(name, path, args["timeout"], tuple(args["steps"] or ()), args["after"])
        url = self._url(args["url"], task_vars)
        interruption = _interruption(args, url)
        env = _environment(url, args["token"])
        try:
            case_dir = os.environ.get("VX11_CASE_DIR")
            ran = _run_kept(case_dir, suite, env, interruption) if case_dir else _run_by_hand(suite, env, interruption)
        except (OSError, ObservationError) as error:
            raise AnsibleActionFail(f"The suite {name} could not be run: {error}") from error
        return _judged(suite, ran, args["expect_failure"], interruption)

    def _url(self, option: str | None, task_vars: Result) -> str:
        url = option or self._templar.template(task_vars.get("vx11_url")) or os.environ.get("VX11_URL")
        if not url:
            raise AnsibleActionFail(
                "The suite cannot be told where madre is. Set the option url, the host variable vx11_url or the "
                "environment variable VX11_URL, for example to http://127.0.0.1:8000."
            )
        return str(url)


def _suite_file(args: Result) -> tuple[str, str]:
    """Name and path of the suite that the options mean."""
    path = args["path"] and os.path.abspath(args["path"])
    name = args["name"] or os.path.splitext(os.path.basename(path))[0]
    if not re.match(r"^[A-Za-z][A-Za-z0-9_-]*\Z", name):
        raise AnsibleActionFail(
            f"{name!r} is not a name for a suite: use letters, digits, underscores and hyphens, with a letter first."
        )
    path = path or os.path.join(_matrix_dir(name), "suites", name + ".py")
    if not os.path.isfile(path):
        raise AnsibleActionFail(f"There is no file {path} for the suite {name}. Check the options name and path.")
    return name, path


def _matrix_dir(name: str) -> str:
    folder = os.environ.get("VX11_MATRIX_DIR")
    if not folder:
        raise AnsibleActionFail(
            f"It is not said where the suite {name} lies: VX11_MATRIX_DIR is not set, as it is in a run of the "
            "conductor. Set it to the folder of the matrix, or use the option path."
        )
    return os.path.abspath(folder)


def _interruption(args: Result, url: str) -> Interruption | None:
    if not args["interrupt"]:
        return None
    try:
        client = MadreClient(url, args["token"] or os.environ.get("VX11_TOKEN"))
    except MadreError as error:
        raise AnsibleActionFail(str(error)) from error
    return Interruption(client, args["interrupt"]["service"])


def _environment(url: str, token: str | None) -> dict[str, str]:
    env = dict(os.environ, VX11_URL=url)
    if token:
        env["VX11_TOKEN"] = token
    # Windows are on this machine's loopback; a proxy must not get between.
    env["NO_PROXY"] = env["no_proxy"] = ",".join(filter(None, [env.get("NO_PROXY"), "127.0.0.1,localhost"]))
    return env


def _run_kept(case_dir: str, suite: Suite, env: dict[str, str], interruption: Interruption | None) -> Ran:
    """Run the suite as a part of a case: what it leaves stays with the case, and its outcome is recorded."""
    folder = suites.new_folder(os.path.join(os.path.abspath(case_dir), "suites"), suite.name)
    ran = _run(suite, folder, env, interruption)
    passed = suites.complaint(suite, ran) is None
    if ran.tests or not passed:
        append(case_dir, [observation(_label(suite), passed)], "vx11_suite")
    return ran


def _run_by_hand(suite: Suite, env: dict[str, str], interruption: Interruption | None) -> Ran:
    """Run the suite outside a case: nothing is kept."""
    with tempfile.TemporaryDirectory(prefix="vx11-suite-") as folder:
        return _run(suite, folder, env, interruption)._replace(log=None)


def _run(suite: Suite, folder: str, env: dict[str, str], interruption: Interruption | None) -> Ran:
    if interruption is None:
        return suites.run(suite, folder, env)
    with Middle(interruption.act) as middle:
        return suites.run(suite, folder, env, middle)


def _label(suite: Suite) -> str:
    """The observation that says whether the suite passed; what runs after a fault has one of its own."""
    when = f"_after_{suite.after}" if suite.after else ""
    return re.sub(r"[^a-z0-9_]", "_", f"suite_{suite.name}{when}_passed".lower())


def _judged(suite: Suite, ran: Ran, expect_failure: bool, interruption: Interruption | None) -> Result:
    """The result of the task: what came of the suite, and whether that is what was wanted of it."""
    complaint = suites.complaint(suite, ran)
    may_fail = ran.failed_by_itself and (expect_failure or interruption is not None)
    result: Result = {
        "changed": False,
        "failed": complaint is not None and not may_fail,
        "suite": suite.name,
        "passed": complaint is None,
        "expected_failure": may_fail and expect_failure,
        "interrupted": False,
        "tests": [{**test._asdict(), "ended_ns": ran.ended_at.get(test.name)} for test in ran.tests],
        "steps": list(ran.steps),
        "duration_s": ran.seconds,
        "log": ran.log,
    }
    if ran.log is None:
        result["output"] = list(ran.output)
    if expect_failure and complaint is None:
        result.update(failed=True)
        complaint = f"The suite {suite.name} was expected to fail, and passed."
    if interruption:
        result.update(interrupted=interruption.result is not None, interruption=interruption.result)
        if missed := interruption.complaint(suite.name):
            result.update(failed=True)
            complaint = "\n".join(filter(None, [missed, complaint]))
    return dict(result, msg=complaint) if complaint else result
