"""By the marks: what has no state file and is past its birth deadline is ended, and nothing else is."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vx11.clock import Clock, Instant
from vx11.engines.cgroups import Hierarchy
from vx11.watchdog.ending import Target
from vx11.watchdog.marks import Marked
from vx11.watchdog.orphans import CREATION_GRACE, ORPHAN_GRACE, Orphans
from vx11.watchdog.record import OVERDUE

Eventually = Callable[..., Any]
Room = Any  # tests/unit/watchdog/conftest.py
FakeDaemon = Any
Start = Any


class Searching:
    """Orphans of a room, looked for at times of ours."""

    def __init__(self, room: Room, until: Eventually, hierarchy: Hierarchy | None) -> None:
        self.room, self.until = room, until
        self.orphans = Orphans(room.folder, room.clock, room.log, hierarchy)

    def at(self, *seconds: float) -> list[tuple[str, float]]:
        """Looks at each of these times; answers all that was ended until now."""
        for moment in seconds:
            self.room.clock.put(moment)
            for place in self.orphans._places:
                place.next_look = 0.0
            self.orphans.look()
            known = self.orphans._attempts._known
            self.until(lambda known=known: all(item.next_try is not None for item in list(known.values())))
        ended: list[tuple[str, float]] = self.room.ended
        return ended

    def label(self, deadline: float) -> str:
        """The birth deadline of a container, in seconds since the opening."""
        return json.dumps(self.room.clock.at.plus(deadline).to_json(), sort_keys=True)

    def labels(self, window: str = "w1", deadline: float = 60, **more: str) -> dict[str, str]:
        """What madre puts on a container at birth; the clock stands at 0."""
        known = {"cell": self.room.folder.cell, "window": window, "service": "web", "deadline": self.label(deadline)}
        return {f"vx11.{name}": value for name, value in (known | more).items()}


@pytest.fixture
def search(room: Room, daemon: FakeDaemon, eventually: Eventually) -> Searching:
    """On a machine without control groups."""
    return Searching(room, eventually, None)


OVER = 60 + OVERDUE
ENDED = [("w1", ORPHAN_GRACE)]


def test_a_container_without_a_state_file_ends_after_its_birth_deadline(
    search: Searching, daemon: FakeDaemon, room: Room
) -> None:
    daemon.run(search.labels())
    assert search.at(0, 30, OVER - 0.01) == []
    assert search.at(OVER, OVER + CREATION_GRACE - 0.01) == []
    assert search.at(OVER + CREATION_GRACE) == ENDED
    assert room.said == ["closed web (w1), which was overdue and had no state file"]
    assert list(room.windows.iterdir()) == []  # a mark would belong to nothing


def test_one_that_cannot_be_ended_is_tried_again(search: Searching, daemon: FakeDaemon, room: Room) -> None:
    daemon.run(search.labels())
    room.trouble["w1"] = RuntimeError("no")
    assert search.at(70, 72, 72.5) == ENDED
    assert room.said == ["could not close web (w1): no; trying again"]
    assert search.at(73) == 2 * ENDED
    daemon.running.clear()  # it ended by itself
    assert search.at(80, 90) == 2 * ENDED


@pytest.mark.parametrize(
    "changes",
    [{"hold_until": 7200}, {"deadline": 7200}, {"needed_until": 7200}, {"state": "closing", "closing": 58}, {}],
    ids=["held", "extended", "needed", "closing", "overdue"],
)
def test_a_state_file_always_wins(search: Searching, daemon: FakeDaemon, room: Room, changes: dict[str, Any]) -> None:
    daemon.run(search.labels())
    room.save(**changes)
    assert search.at(OVER, 70, 100) == []


def test_a_file_that_stays_unreadable_is_none(search: Searching, daemon: FakeDaemon, room: Room) -> None:
    daemon.run(search.labels())
    room.write("w1.json", "{")
    assert search.at(70) == []
    room.save(hold_until=7200)
    assert search.at(72, 74) == []
    room.write("w1.json", "{")
    assert search.at(80) == []
    assert search.at(82) == ENDED


def test_a_file_that_comes_at_the_last_moment_is_heeded(
    search: Searching, daemon: FakeDaemon, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.run(search.labels())
    search.at(70)
    attempt = search.orphans._attempts.attempt

    def save_first(*arguments: Any) -> None:
        room.save(hold_until=7200)
        attempt(*arguments)

    monkeypatch.setattr(search.orphans._attempts, "attempt", save_first)
    assert search.at(72) == []


def test_what_was_started_for_a_window_that_is_marked_as_closed_ends(
    search: Searching, daemon: FakeDaemon, room: Room
) -> None:
    """madre was slow to start it, and died before it saw that the watchdog had closed the window."""
    room.save()
    room.folder.mark("w1", room.clock.now())
    daemon.run(search.labels())
    assert search.at(70, 72) == ENDED


def test_of_other_cells_and_of_no_window_nothing_is_ended(search: Searching, daemon: FakeDaemon) -> None:
    daemon.run(search.labels(cell="another"))
    daemon.run(search.labels(window=""))
    daemon.run({"vx11.cell": search.room.folder.cell})
    daemon.run({})
    ended = daemon.run(search.labels("w2"))
    daemon.running.discard(ended)
    assert search.at(70, 72, 74) == []
    assert search.room.said == []


@pytest.mark.parametrize("deadline", ["", "tomorrow", "{}", "[]", '{"boot_id": 1}'])
def test_a_deadline_that_cannot_be_read_counts_as_past(search: Searching, daemon: FakeDaemon, deadline: str) -> None:
    daemon.run(search.labels() | {"vx11.deadline": deadline})
    assert search.at(1) == []
    assert search.at(1 + CREATION_GRACE) == ENDED


def test_a_daemon_in_trouble_is_told_once_and_asked_again(search: Searching, daemon: FakeDaemon, room: Room) -> None:
    daemon.run(search.labels())
    daemon.raw = b"nonsense"
    assert search.at(70, 72, 74) == []
    assert room.said == [
        "what has no state file cannot be looked for: the Docker daemon does not answer in HTTP",
    ]
    daemon.raw = b""
    assert search.at(76, 78) == ENDED


def test_where_there_is_no_daemon_nothing_is_said(room: Room, no_daemon: None, eventually: Eventually) -> None:
    assert Searching(room, eventually, Hierarchy(1, {})).at(70, 72) == []
    assert room.said == []


def deadline_of(seconds: float) -> str:
    """The mark of a process, whose deadline is so many seconds from now in truth."""
    moment = Clock().now().plus(seconds)
    return f"{moment.boot_id}:{moment.boot_ns}"


class RealClock(Clock):
    """The clock of this machine, which a test may put ahead."""

    ahead = 0.0

    def now(self) -> Instant:
        return super().now().plus(self.ahead)

    def put(self, seconds: float) -> None:
        self.ahead = seconds


@pytest.fixture
def real_room(room: Room) -> Room:
    """A room whose clock goes, since processes carry deadlines of this boot."""
    room.clock = RealClock()
    return room


def test_processes_are_found_by_their_marks_where_there_are_no_groups(
    real_room: Room, no_daemon: None, start: Start, eventually: Eventually, cell: str
) -> None:
    marks = {"cell": cell, "service": "web", "deadline": deadline_of(60)}
    first = start("polite", window="w1", **marks)
    start("polite", window="w1", **marks)
    start("polite", window="w2", **marks | {"deadline": deadline_of(600)})
    start("polite", window="w3", **marks | {"cell": "another"})
    start("polite", **marks)  # as whoever starts a madre with VX11_CELL
    start("polite", window="w4", cell=cell)
    search = Searching(real_room, eventually, None)
    assert search.at(59, OVER, OVER + 1) == []
    assert search.at(OVER + CREATION_GRACE + 0.1) == ENDED
    (found,) = [item for item in search.orphans._places[1].look() if item.target.window_id == "w1"]
    assert found.target.pid == first.pid


def test_processes_are_not_scanned_at_each_look(room: Room, no_daemon: None, eventually: Eventually) -> None:
    orphans = Searching(room, eventually, None).orphans
    looks: list[float] = []
    place = orphans._places[1]
    place.look = lambda: looks.append(time.monotonic()) or []
    for _ in range(5):
        orphans.look()
    assert len(looks) == 1


def test_processes_that_have_to_end_are_looked_for_again_soon(
    room: Room, no_daemon: None, eventually: Eventually
) -> None:
    orphans = Searching(room, eventually, None).orphans
    found = Marked(Target("w1", pid=4_000_000, start_time=1), "web", room.clock.now())
    orphans._places[1].look = lambda: [found]
    for seconds in (70, 72):
        room.clock.put(seconds)
        orphans.look()
    eventually(lambda: room.ended == ENDED)


@pytest.mark.parametrize("has_marks", [True, False])
def test_processes_are_found_by_their_group(
    real_room: Room, no_daemon: None, start: Start, eventually: Eventually, tmp_path: Path, cell: str, has_marks: bool
) -> None:
    hierarchy = Hierarchy(1, {"cpu": tmp_path / "cpu", "pids": tmp_path / "pids"})
    marks = {"cell": cell, "window": "w1", "deadline": deadline_of(60)} if has_marks else {}
    children = [start("polite", **marks), start("polite", **marks)]
    for name, members in {"w1": [child.pid for child in children], "w2": [], "w3": [children[0].pid]}.items():
        for controller in hierarchy.mounts.values():
            folder = controller / "vx11" / cell / name
            folder.mkdir(parents=True)
            (folder / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in members), encoding="ascii")
    real_room.save("w3")
    search = Searching(real_room, eventually, hierarchy)
    if has_marks:
        assert search.at(0, 2, 59) == []
    assert search.at(OVER, OVER + CREATION_GRACE + 0.1) == ENDED
    (found,) = search.orphans._places[1].look()
    assert (found.target.pid, found.target.cgroup) == (children[0].pid, f"{cell}/w1")
