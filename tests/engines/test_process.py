"""What is special about services that are plain processes: what they inherit, and what they do not."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from vx11.engines import procfs
from vx11.engines.port import Running

SHOWS = """
import json, os, sys, time
print(json.dumps({
    'environment': dict(os.environ),
    'folder': os.getcwd(),
    'input': sys.stdin.read(),
    'open': sorted(os.readlink('/proc/self/fd/' + name) for name in os.listdir('/proc/self/fd')[:-1]),
    'leads': os.getsid(0) == os.getpid(),
}), flush=True)
time.sleep(60)
"""
OWN = {"VX11_CELL", "VX11_WINDOW", "VX11_SERVICE", "VX11_GENERATION", "VX11_DEADLINE", "TMPDIR", "PORT"}
INHERITED = {"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "PWD", "SHLVL", "_"}
WRITES = """
import os, pathlib, time
pathlib.Path(os.environ['TMPDIR'], 'mine').touch()
print('up', flush=True)
time.sleep(60)
"""


@pytest.fixture
def seen(process_bench: Any, make_entry: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a service finds around it when madre's own environment is full of secrets."""
    monkeypatch.setenv("VX11_TOKEN", "a-secret")
    monkeypatch.setenv("DATABASE_PASSWORD", "a-secret")
    monkeypatch.setenv("PASSED_ON", "meant")
    entry = make_entry(SHOWS, environment=["GIVEN=1", "PASSED_ON"])
    return process_bench.tells(process_bench.start(process_bench.service(entry)))


def test_nothing_of_madres_environment_is_passed_on(seen: Any) -> None:
    assert set(seen["environment"]) - INHERITED == OWN | {"GIVEN", "PASSED_ON"}
    assert "a-secret" not in seen["environment"].values()
    assert seen["environment"]["PASSED_ON"] == "meant"


def test_nothing_that_madre_has_open_is_passed_on(seen: Any, process_bench: Any) -> None:
    window = seen["environment"]["VX11_WINDOW"]
    log = str(process_bench.folder / "state/logs" / f"{window}.log")
    assert set(seen["open"]) <= {"/dev/null", log}
    assert seen["input"] == ""


def test_it_runs_in_the_bundle_in_a_session_of_its_own(seen: Any, process_bench: Any) -> None:
    assert seen["folder"] == str(process_bench.bundle)
    assert seen["leads"]


def test_a_forged_stamp_in_the_entry_has_no_effect(process_bench: Any, make_entry: Callable[..., Any]) -> None:
    entry = make_entry(SHOWS, environment={"VX11_WINDOW": "forged", "VX11_CELL": "forged"})
    started = process_bench.start(process_bench.service(entry))
    environment = process_bench.tells(started)["environment"]
    assert environment["VX11_WINDOW"] == started.stamp.window_id
    assert environment["VX11_CELL"] == process_bench.cell


HIDES = """
import ctypes, os, pathlib, signal, time
def forget():
    fields = pathlib.Path('/proc/self/stat').read_text().rpartition(')')[2].split()
    begin, end = int(fields[47]), int(fields[48])
    ctypes.memset(begin, 0, end - begin)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
forget()
os.fork()
print('hidden', flush=True)
time.sleep(60)
"""


@pytest.mark.root
def test_what_overwrote_its_environment_is_found_by_its_group(process_bench: Any) -> None:
    """As programs do that show a title of their own; see setproctitle(3bsd)."""
    started = process_bench.run(HIDES)
    process_bench.says(started, "hidden")
    assert process_bench.pids(started) == []
    (found,) = process_bench.engine.inventory(process_bench.cell)
    assert found.window_id == started.stamp.window_id
    members = _processes(process_bench)
    assert len(members) == 2
    process_bench.engine.stop(started.running, "SIGTERM", grace=0.1)
    assert _processes(process_bench) == []


@pytest.mark.root
def test_what_overwrote_its_environment_is_purged(open_bench: Callable[..., Any]) -> None:
    bench = open_bench("process")
    bench.says(bench.run(HIDES), "hidden")
    bench.engine.purge(bench.cell)
    assert bench.engine.residue(bench.cell) == []


def test_what_overwrote_its_environment_is_ended_without_control_groups_too(rootless_bench: Any) -> None:
    started = rootless_bench.run(HIDES)
    rootless_bench.says(started, "hidden")
    session = [pid for pid in procfs.pids() if procfs.session_of(pid) == started.running.pid]
    assert len(session) == 2
    rootless_bench.engine.stop(started.running, "SIGTERM", grace=0.1)
    assert not [pid for pid in session if procfs.is_alive(pid, procfs.start_time(pid) or 0)]


NESTS = """
import glob, os, sys, time
window = os.environ['VX11_WINDOW']
for group in glob.glob(f'/sys/fs/cgroup/vx11/*/{window}') or glob.glob(f'/sys/fs/cgroup/*/vx11/*/{window}'):
    os.makedirs(f'{group}/one/two', exist_ok=True)
    if os.fork() == 0:
        with open(f'{group}/one/two/cgroup.procs', 'w') as file:
            file.write(str(os.getpid()))
        os.execve(sys.executable, [sys.executable, '-c', 'import time; print("below", flush=True); time.sleep(60)'], {})
time.sleep(60)
"""


@pytest.mark.root
@pytest.mark.parametrize("ending", ["removed", "purged"])
def test_what_makes_control_groups_of_its_own_ends_with_them(open_bench: Callable[..., Any], ending: str) -> None:
    """As container engines do, and whatever manages services itself."""
    bench = open_bench("process")
    started = bench.run(NESTS)
    bench.says(started, "below")
    assert len(_processes(bench)) > 1
    if ending == "removed":
        bench.remove(started)
    else:
        bench.engine.purge(bench.cell)
    assert bench.engine.residue(bench.cell) == []


def _processes(bench: Any) -> list[str]:
    return [what for what in bench.engine.residue(bench.cell) if what.startswith("process ")]


def test_opening_and_closing_side_by_side_do_not_disturb_each_other(process_bench: Any, web: dict[str, Any]) -> None:
    service = process_bench.service(web)

    def open_and_close(_: int) -> int:
        started = process_bench.start(service)
        process_bench.remove(started)
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(open_and_close, range(80))) == 80
    assert process_bench.engine.inventory(process_bench.cell) == []


def test_what_has_lost_its_mark_takes_no_files_of_others_with_it(process_bench: Any) -> None:
    started = process_bench.run(WRITES)
    process_bench.says(started, "up")
    (temporary,) = (process_bench.folder / "state").glob("tmp/*")
    process_bench.engine.remove(Running("process"), "")
    assert (temporary / "mine").is_file()
