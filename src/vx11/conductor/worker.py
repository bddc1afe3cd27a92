"""The worker process: runs one playbook through ansible-runner and says what happens, one JSON line an event.

ansible-runner replaces signal handlers and does not restore them, so it lives in a process of its own. Reads its orders
as JSON from standard input.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import ansible_runner

SETTINGS = {"pexpect_timeout": 0.1, "idle_timeout": 0, "job_timeout": 0}


def run(orders: dict[str, Any]) -> None:
    """Runs `playbook` on `limit` of `inventory` with `environment` in `private_data_dir`; says its return code."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    result = ansible_runner.run(
        private_data_dir=orders["private_data_dir"],
        playbook=orders["playbook"],
        inventory=orders["inventory"],
        limit=orders["limit"],
        envvars=orders["environment"],
        settings=SETTINGS,
        ident="run",
        quiet=True,
        suppress_env_files=True,
        event_handler=_tell,
    )
    say({"event": "end", "rc": result.rc, "status": result.status})


def _tell(event: dict[str, Any]) -> bool:
    """Passes on what progress and messages need; it must return at once (ansible-runner#1343)."""
    data = event.get("event_data", {})
    kind = event["event"]
    if kind == "playbook_on_task_start":
        say({"event": "task", "name": data.get("name") or data.get("task", "")})
    elif kind in ("runner_on_failed", "runner_on_unreachable") and not data.get("ignore_errors"):
        # Output that was not UTF-8 comes as lone surrogates, which neither evidence nor reports can hold.
        message = str(data.get("res", {}).get("msg", "")).encode(errors="replace").decode()
        say({"event": "failed", "task": data.get("task", ""), "message": message})
    elif kind == "playbook_on_stats":
        say({"event": "rescued", "count": sum(data.get("rescued", {}).values())})
    return True


def say(event: dict[str, Any]) -> None:
    """One line."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run(json.load(sys.stdin))
