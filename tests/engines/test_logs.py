"""What a service wrote can be read while it runs, and after it is gone."""

from typing import Any

TALKS = """
import subprocess, sys, time
for number in range(5):
    print('line', number, flush=True)
print('a complaint', file=sys.stderr, flush=True)
subprocess.run([sys.executable, '-c', "print('a child', flush=True)"])
sys.stdout.buffer.write(b'\\xff odd bytes\\n')
print('end', flush=True)
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
