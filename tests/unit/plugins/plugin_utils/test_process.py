"""A process ends with all that it started, whatever it does."""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path

import pytest
from ansible_collections.vx11.power.plugins.plugin_utils import process
from ansible_collections.vx11.power.plugins.plugin_utils.process import run_group

# Starts a child that would outlive it, and that holds the writing end of a pipe as long as it lives.
STARTS_A_CHILD = """
import os, signal, subprocess, sys, time
end = os.open(sys.argv[1], os.O_WRONLY)
subprocess.Popen(["sleep", "600"], pass_fds=[end])
os.write(end, b"started")
"""


def test_output_and_code(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getcwd()); print(os.environ['GREETING'], file=sys.stderr); sys.exit(3)"
    ended = run_group([sys.executable, "-c", code], str(tmp_path / "log"), {"GREETING": "hi"}, str(tmp_path), 30)
    assert ended == (3, False)
    assert sorted((tmp_path / "log").read_text().split()) == sorted([str(tmp_path), "hi"])


@pytest.mark.parametrize(
    ("then", "timeout", "timed_out"),
    [
        ("", 30.0, False),
        ("signal.pause()", 1.0, True),
        ("signal.signal(signal.SIGINT, signal.SIG_IGN); signal.pause()", 1.0, True),
    ],
    ids=["it ends before its child", "it hangs", "it hangs and does not listen"],
)
def test_nothing_of_the_group_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str, timeout: float, timed_out: bool
) -> None:
    monkeypatch.setattr(process, "LAST_WORDS_S", 0.2)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        command = [sys.executable, "-c", STARTS_A_CHILD + then, str(pipe)]
        ended = run_group(command, str(tmp_path / "log"), os.environ, str(tmp_path), timeout)
        assert ended.timed_out is timed_out
        assert os.read(reading, 100) == b"started"
        assert _all_writers_end(reading)
    finally:
        os.close(reading)


def _all_writers_end(reading: int) -> bool:
    """Whether the pipe hangs up, as it does when nobody has its writing end any more."""
    poll = select.poll()
    poll.register(reading, 0)
    return any(events & select.POLLHUP for dummy, events in poll.poll(5000))


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run_group([str(tmp_path / "nothing")], str(tmp_path / "log"), {}, str(tmp_path), 1)
