# Copyright (c) VX11 maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a pytest suite against the windows of a case, on the controller."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.vx11.power.plugins.plugin_utils import junit
from ansible_collections.vx11.power.plugins.plugin_utils.observations import ObservationError, append, observation
from ansible_collections.vx11.power.plugins.plugin_utils.process import Ended, run_group

FAILURES_SHOWN = 10
LINES_SHOWN = 60

ARGUMENT_SPEC: dict[str, t.Any] = {
    "name": {"type": "str"},
    "path": {"type": "path"},
    "url": {"type": "str"},
    "token": {"type": "str", "no_log": True},
    "timeout": {"type": "float", "default": 300.0},
}

Result = t.Dict[str, t.Any]


class ActionModule(ActionBase):
    """Options and results are documented in plugins/modules/vx11_suite.py."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> Result:
        result = super().run(tmp, task_vars)
        args = self.validate_argument_spec(ARGUMENT_SPEC, required_one_of=[("name", "path")])[1]
        name, path = _suite_file(args)
        env = _environment(name, self._url(args["url"], task_vars or {}), args["token"])
        case_dir = os.environ.get("VX11_CASE_DIR")
        try:
            report = _run_kept(case_dir, name, path, env, args) if case_dir else _run_by_hand(name, path, env, args)
        except (OSError, ObservationError) as error:
            raise AnsibleActionFail(f"The suite {name} could not be run: {error}") from error
        result.update(report)
        return result

    def _url(self, option: str | None, task_vars: dict[str, t.Any]) -> str:
        url = option or self._templar.template(task_vars.get("vx11_url")) or os.environ.get("VX11_URL")
        if not url:
            raise AnsibleActionFail(
                "The suite cannot be told where madre is. Set the option url, the host variable vx11_url or the "
                "environment variable VX11_URL, for example to http://127.0.0.1:8000."
            )
        return str(url)


def _suite_file(args: dict[str, t.Any]) -> tuple[str, str]:
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


def _environment(name: str, url: str, token: str | None) -> dict[str, str]:
    env = dict(os.environ, VX11_URL=url, VX11_SUITE=name, PYTHONDONTWRITEBYTECODE="1")
    if token:
        env["VX11_TOKEN"] = token
    # Windows are on this machine's loopback; a proxy must not get between.
    env["NO_PROXY"] = env["no_proxy"] = ",".join(filter(None, [env.get("NO_PROXY"), "127.0.0.1,localhost"]))
    return env


def _command(path: str, xml: str) -> list[str]:
    """pytest for one file, under the settings beside it alone: a suite acts the same wherever its bundle lies."""
    folder = os.path.dirname(path)
    settings = os.path.join(folder, "pytest.ini")
    return [
        *(sys.executable, "-m", "pytest", "-q"),
        *("-p", "vx11.conductor.suite_plugin"),
        *("-p", "no:cacheprovider"),
        *("-c", settings if os.path.isfile(settings) else os.devnull),
        *("--rootdir", folder),
        *("--confcutdir", folder),
        "--junitxml=" + xml,
        path,
    ]


def _run_kept(case_dir: str, name: str, path: str, env: dict[str, str], args: dict[str, t.Any]) -> Result:
    """Run the suite as a part of a case: its output stays with the case, and its outcome is recorded."""
    folder = os.path.join(os.path.abspath(case_dir), "suites")
    os.makedirs(folder, exist_ok=True)
    report = _run_suite(name, path, env, folder, args["timeout"])
    label = f"suite_{name.lower().replace('-', '_')}_passed"
    append(case_dir, [observation(label, not report["failed"])], "vx11_suite")
    return report


def _run_by_hand(name: str, path: str, env: dict[str, str], args: dict[str, t.Any]) -> Result:
    """Run the suite outside a case: what it printed is returned, and nothing is kept."""
    with tempfile.TemporaryDirectory(prefix="vx11-suite-") as folder:
        report = _run_suite(name, path, env, folder, args["timeout"])
        return dict(report, log=None, output=_last_lines(report["log"]))


def _run_suite(name: str, path: str, env: dict[str, str], folder: str, timeout: float) -> Result:
    """Run the suite with its output in `folder`; the result of the task."""
    log, xml = (os.path.join(folder, name + ending) for ending in (".log", ".xml"))
    if os.path.exists(xml):
        os.unlink(xml)
    started = time.monotonic()
    ended = run_group(_command(path, xml), log, env, folder, timeout)
    duration = time.monotonic() - started
    summary = junit.read(xml)
    report: Result = {"changed": False, "suite": name, "log": log, "duration_s": round(duration, 3)}
    report["tests"] = {kind: getattr(summary, kind) for kind in ("passed", "failed", "errors", "skipped")}
    report["failures"] = _shortened(summary.failures)
    complaint = _complaint(name, ended, summary, timeout)
    report["failed"] = complaint is not None
    if complaint:
        report["msg"] = complaint if summary.failures else "\n".join([complaint, *_last_lines(log)[-15:]])
    return report


def _complaint(name: str, ended: Ended, summary: junit.Summary, timeout: float) -> str | None:
    """Why the suite did not pass, or None if it did."""
    bad = summary.failed + summary.errors
    total = bad + summary.passed + summary.skipped
    failures = "".join("\n- " + line for line in _shortened(summary.failures))
    if ended.timed_out:
        return (
            f"The suite {name} was ended at its timeout of {timeout:g} s; passed by then: {summary.passed}.{failures}"
        )
    if bad:
        return f"The suite {name} failed, in {bad} of its {total} tests:{failures}"
    if ended.code == 5 or (ended.code == 0 and not total):
        return f"The suite {name} holds no tests."
    if ended.code == 0 and not summary.passed:
        return f"The suite {name} proved nothing: all {total} of its tests were skipped."
    if ended.code != 0:
        return f"The suite {name} could not be run to its end: pytest ended with {ended.code}."
    return None


def _shortened(failures: t.Sequence[str]) -> list[str]:
    shown = list(failures[:FAILURES_SHOWN])
    if len(failures) > len(shown):
        shown.append(f"and {len(failures) - len(shown)} more")
    return shown


def _last_lines(log: str) -> list[str]:
    with open(log, encoding="utf-8", errors="replace") as lines:
        return [line.rstrip("\n") for line in lines][-LINES_SHOWN:]
