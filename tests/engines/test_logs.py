"""What a service wrote can be read while it runs, and after it is gone."""

from typing import Any

import pytest

# Whole lines at once: where they come in pieces, Podman runs those of the two streams together.
TALKS = """
import os, subprocess, sys, time
for number in range(5):
    os.write(1, b'line %d\\n' % number)
os.write(2, b'a complaint\\n')
subprocess.run([sys.executable, '-c', "import os; os.write(1, b'a child\\\\n')"])
os.write(1, b'\\xff odd bytes\\nend\\n')
time.sleep(60)
"""
WHOLE = ["line 0", "line 1", "line 2", "line 3", "line 4", "a child", "\ufffd odd bytes", "end"]
COMPLAINT = "a complaint"


def test_both_streams_of_all_its_processes_now_and_after_its_removal(bench: Any) -> None:
    started = bench.run(TALKS)
    bench.says(started, "end")
    lines = bench.lines(started)
    # Between the streams Docker promises no order.
    assert [line for line in lines if line != COMPLAINT] == WHOLE
    assert COMPLAINT in lines
    assert bench.lines(started, tail=2) == lines[-2:]
    bench.remove(started)
    assert bench.lines(started) == lines
    assert bench.lines(started, tail=1) == lines[-1:]


def test_what_wrote_nothing_has_no_lines(bench: Any) -> None:
    assert bench.lines(bench.run("import time; time.sleep(60)")) == []


@pytest.mark.docker
def test_a_log_that_cannot_be_kept_keeps_no_container(docker_bench: Any) -> None:
    started = docker_bench.run(TALKS)
    docker_bench.says(started, "end")
    kept = docker_bench.folder / "state" / "logs" / f"{started.stamp.window_id}.log"
    kept.mkdir(parents=True)  # as good as a full disk
    docker_bench.remove(started)
    assert docker_bench.engine.inventory(docker_bench.cell) == []
    kept.rmdir()
