"""Health checks: programs that run beside a service, in its surroundings."""

import secrets
import time
from typing import Any

import pytest

from vx11.engines import procfs
from vx11.engines.port import EngineError

WAITS = "import time; print('up', flush=True); time.sleep(60)"


def test_the_exit_code_is_answered(bench: Any) -> None:
    started = bench.run(WAITS)
    bench.says(started, "up")
    for command, code in ((["true"], 0), (["false"], 1), (["/bin/sh", "-c", "exit 7"], 7)):
        assert bench.engine.exec(started.running, command, timeout=5) == code


def test_the_check_sees_what_the_service_sees(bench: Any, make_entry: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VX11_TOKEN", "a-secret")
    started = bench.start(bench.service(make_entry(WAITS, environment={"COLOUR": "blue"})))
    bench.says(started, "up")

    def check(script: str) -> int:
        code: int = bench.engine.exec(started.running, ["/bin/sh", "-c", script], timeout=5)
        return code

    assert check('test "$COLOUR" = blue && test -n "$PORT"') == 0
    assert check('test -z "$VX11_TOKEN"') == 0


def test_a_check_that_hangs_is_given_up_and_leaves_nothing(bench: Any) -> None:
    started = bench.run(WAITS)
    bench.says(started, "up")
    duration, begun = f"47.{secrets.randbelow(10**9)}", time.monotonic()
    with pytest.raises(EngineError, match=r"the health check /bin/sh took longer than 0\.5 s"):
        bench.engine.exec(started.running, ["/bin/sh", "-c", f"sleep {duration}; true"], timeout=0.5)
    assert time.monotonic() - begun < 4
    bench.remove(started)
    assert [pid for pid in procfs.pids() if procfs.command(pid) == ["sleep", duration]] == []


def test_a_check_that_is_not_there_did_not_succeed(bench: Any) -> None:
    started = bench.run(WAITS)
    bench.says(started, "up")
    assert _outcome(bench, started) in (
        "the health check no-such-check did not run",
        127,
    )  # as a shell: Podman


def _outcome(bench: Any, started: Any) -> str | int:
    try:
        code: int = bench.engine.exec(started.running, ["no-such-check"], timeout=5)
    except EngineError as error:
        return str(error).partition(":")[0]
    return code
