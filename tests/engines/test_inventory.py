"""What carries the mark of a cell is found, whatever became of its madre; nothing else is, and nothing of it stays."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vx11.catalogue.limits import Limits
from vx11.engines import cgroups, procfs
from vx11.engines.port import STOP_SIGNAL
from vx11.engines.select import EngineName

WAITS = "import time; print('up', flush=True); time.sleep(60)"
KEEPS = """
import pathlib, sys, time
file = pathlib.Path(sys.argv[1], 'kept')
said = 'found' if file.exists() else 'new'
file.write_text('kept')
print(said, flush=True)
time.sleep(60)
"""


@pytest.fixture
def keeper(make_entry: Callable[..., Any]) -> dict[str, Any]:
    """An entry that says whether its volume has been used before."""
    entry: dict[str, Any] = make_entry(KEEPS, volumes=["kept:/data"], user="0:0")
    entry["command"].append("/data")
    entry["x-vx11"]["process"]["command"].append("{volume:kept}")
    return entry


@pytest.fixture
def other(open_bench: Callable[[EngineName], Any], engine_name: EngineName) -> Iterator[Any]:
    """A second cell on the same engine."""
    bench = open_bench(engine_name)
    yield bench
    bench.clear()


def test_each_cell_finds_its_own(bench: Any, other: Any) -> None:
    mine, two, theirs = bench.run(WAITS), bench.run(WAITS), other.run(WAITS)
    for at, started in ((bench, mine), (bench, two), (other, theirs)):
        at.says(started, "up")
    assert {found.window_id for found in bench.engine.inventory(bench.cell)} == {
        mine.stamp.window_id,
        two.stamp.window_id,
    }
    assert [found.window_id for found in other.engine.inventory(other.cell)] == [theirs.stamp.window_id]
    other.engine.purge(other.cell)
    assert bench.engine.health(mine.running).alive


@pytest.mark.root
def test_what_ended_and_was_not_removed_is_listed_as_not_alive_and_can_be_removed(bench: Any) -> None:
    lives, ended = bench.run(WAITS), bench.run("pass")
    bench.says(lives, "up")
    bench.ends(ended)
    found = {item.window_id: item for item in bench.engine.inventory(bench.cell)}
    assert {window: item.alive for window, item in found.items()} == {
        lives.stamp.window_id: True,
        ended.stamp.window_id: False,
    }
    left = found[ended.stamp.window_id]
    later = bench.later_engine()
    later.stop(left.running, "SIGTERM", grace=1)
    later.kill(left.running)
    later.remove(left.running, left.window_id)
    assert [item.window_id for item in later.inventory(bench.cell)] == [lives.stamp.window_id]
    assert bench.engine.health(lives.running).alive


@pytest.mark.docker
def test_a_container_that_was_never_started_is_listed_as_not_alive(docker_bench: Any) -> None:
    started = docker_bench.run(WAITS)
    labels = docker_bench.inspect(started)["Config"]["Labels"] | {"vx11.window": "half-born", "vx11.generation": "x"}
    made = docker_bench.client.api.create_container(docker_bench.inspect(started)["Image"], "true", labels=labels)["Id"]
    (found,) = [item for item in docker_bench.engine.inventory(docker_bench.cell) if item.window_id == "half-born"]
    assert (found.running.container, found.generation, found.alive) == (made, 0, False)
    docker_bench.engine.remove(found.running, found.window_id)
    assert [item.window_id for item in docker_bench.engine.inventory(docker_bench.cell)] == [started.stamp.window_id]


@pytest.mark.docker
def test_the_list_shows_what_start_answered(docker_bench: Any, web: dict[str, Any]) -> None:
    started = docker_bench.start(docker_bench.service(web))
    (found,) = docker_bench.engine.inventory(docker_bench.cell)
    # A list tells neither processes nor stop signals.
    assert found.running == replace(started.running, pid=0, start_time=0, stop_signal=STOP_SIGNAL)
    assert found.what == f"container {docker_bench.inspect(started)['Name'][1:]}"


@pytest.mark.docker
def test_the_list_costs_one_call_however_many_there_are(docker_bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    docker_bench.run(WAITS), docker_bench.run(WAITS), docker_bench.run("pass")
    calls: list[str] = []
    send = docker_bench.engine._client.api.__class__.send

    def count(session: Any, request: Any, **more: Any) -> Any:
        calls.append(request.path_url)
        return send(session, request, **more)

    monkeypatch.setattr(docker_bench.engine._client.api.__class__, "send", count)
    assert len(docker_bench.engine.inventory(docker_bench.cell)) == 3
    assert len(calls) == 1


@pytest.mark.docker
def test_in_the_cell_default_whatever_else_runs_is_foreign_and_can_be_ended(docker_bench: Any) -> None:
    plain, ended = docker_bench.run(WAITS), docker_bench.run("pass")
    core = docker_bench.run(WAITS, labels={"vx11.core": ""})
    docker_bench.ends(ended)
    foreign = {item.running.container: item for item in docker_bench.engine.foreign("default")}
    assert plain.running.container in foreign
    assert not {core.running.container, ended.running.container} & set(foreign)
    found = foreign[plain.running.container]
    assert found.what == f"container {docker_bench.inspect(plain)['Name'][1:]}"
    docker_bench.engine.stop(found.running, "SIGTERM", grace=0)
    assert plain.running.container not in {item.running.container for item in docker_bench.engine.foreign("default")}


@pytest.mark.docker
def test_what_carries_the_mark_of_the_cell_default_is_not_foreign_to_it(docker_bench: Any) -> None:
    image = docker_bench.inspect(docker_bench.run("pass"))["Image"]
    api = docker_bench.client.api
    made = api.create_container(image, ["sleep", "60"], labels={"vx11.cell": "default"})["Id"]
    try:
        api.start(made)
        assert made not in {item.running.container for item in docker_bench.engine.foreign("default")}
        assert made in {item.running.container for item in docker_bench.engine.inventory("default")}
    finally:
        api.remove_container(made, force=True)


def test_a_named_cell_calls_nothing_foreign(bench: Any, other: Any) -> None:
    other.run(WAITS)
    assert bench.engine.foreign(bench.cell) == []


def test_a_later_madre_finds_and_ends_what_runs(bench: Any) -> None:
    started = bench.run(WAITS)
    bench.says(started, "up")
    later = bench.later_engine()
    (found,) = later.inventory(bench.cell)
    assert (found.window_id, found.service) == (started.stamp.window_id, "it")
    assert str(found.running.pid or found.running.container) not in ("", "0")
    later.kill(found.running)
    later.remove(found.running, found.window_id)
    assert later.inventory(bench.cell) == []
    assert bench.pids(started) == []


def test_one_entry_a_window_however_many_processes(bench: Any) -> None:
    started = bench.run(f"import os; os.fork(); os.fork()\n{WAITS}")
    bench.says(started, "up")
    assert len(bench.engine.inventory(bench.cell)) == 1


def test_purge_leaves_nothing(other: Any, keeper: dict[str, Any]) -> None:
    service = other.service(keeper, volumes={"kept": None})
    kept, plain = other.start(service, Limits()), other.run(WAITS)
    other.says(kept, "new")
    other.says(plain, "up")
    kinds = {what.split()[0] for what in other.engine.residue(other.cell)}
    expected = {"process": {"process", "volume", "temporary"}, "docker": {"container", "network", "volume"}}
    assert expected[other.engine.name] <= kinds
    other.engine.purge(other.cell)
    assert other.engine.residue(other.cell) == []
    assert traces(other) == []
    other.engine.purge(other.cell)


def traces(bench: Any) -> list[str]:
    """What is left of a cell, found without the engine's help."""
    found = [f"process {pid}" for pid in procfs.marked("VX11_CELL", bench.cell)]
    found += [str(path) for path in cgroups.MOUNT.glob(f"*/vx11/{bench.cell}")]
    if bench.engine.name == "process":
        return found + [str(path) for path in Path(bench.data).iterdir()]
    api, name = bench.client.api, f"vx11-{bench.cell}"
    found += [item["Id"] for item in api.containers(all=True, filters={"name": name})]
    found += [item["Name"] for item in api.networks(names=[name])]
    return found + [item["Name"] for item in api.volumes(filters={"name": name})["Volumes"] or []]


@pytest.mark.docker
def test_a_stopped_container_is_residue_and_is_purged(open_bench: Callable[[EngineName], Any]) -> None:
    bench = open_bench("docker")
    started = bench.run("pass")
    bench.ends(started)
    assert any(what.startswith("container ") for what in bench.engine.residue(bench.cell))
    bench.engine.purge(bench.cell)
    assert bench.engine.residue(bench.cell) == []


def test_removal_leaves_only_what_the_cell_shares(bench: Any) -> None:
    before = bench.engine.residue(bench.cell)
    started = bench.run(WAITS)
    bench.says(started, "up")
    assert bench.engine.residue(bench.cell) != before
    bench.remove(started)
    assert bench.engine.residue(bench.cell) == before


def test_setup_again_changes_nothing(bench: Any) -> None:
    before = bench.engine.residue(bench.cell)
    bench.engine.setup()
    bench.later_engine().setup()
    assert bench.engine.residue(bench.cell) == before


def test_a_named_volume_outlives_its_windows_until_it_is_removed(bench: Any, keeper: dict[str, Any]) -> None:
    service = bench.service(keeper, volumes={"kept": None})
    said = []
    for end_of in (lambda: None, lambda: bench.engine.remove_volumes(bench.cell), lambda: None):
        started = bench.start(service)
        said.append(bench.says(started, "") and bench.lines(started)[0])
        bench.remove(started)
        end_of()
    assert said == ["new", "found", "new"]


def test_volumes_of_two_cells_are_two(bench: Any, other: Any, keeper: dict[str, Any]) -> None:
    for each in (bench, other):
        started = each.start(each.service(keeper, volumes={"kept": None}))
        each.says(started, "new")


def test_temporary_files_go_with_their_window(process_bench: Any) -> None:
    code = "import tempfile, time; f = tempfile.mkstemp(); print(f[1], flush=True); time.sleep(60)"
    started = process_bench.run(code)
    path = Path(process_bench.says(started, "/"))
    assert path.is_file()
    assert os.fspath(path).startswith(os.fspath(process_bench.folder))
    process_bench.remove(started)
    assert not path.exists()
