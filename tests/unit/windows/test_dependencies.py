"""Windows that need others: order, sharing, and what follows when one of them ends."""

import json
import threading
from typing import Any

import pytest

from vx11.engines.port import EngineError
from vx11.windows import solo_madre
from vx11.windows.errors import LimitsNotApplied, OpenFailed, ServiceNotAllowed
from vx11.windows.window import Reason, State

Room = Any  # tests/unit/windows/conftest.py
Eventually = Any  # tests/conftest.py
Beside = Any
ONCE = {"migrate": {"condition": "service_completed_successfully"}}
HEALTHY = {"condition": "service_healthy"}


def ended(room: Room) -> dict[str, Reason | None]:
    return {window.service: window.reason for window in room.windows.closed()}


def started(room: Room) -> list[str]:
    return [service for method, service in room.engine.calls if method == "start"]


def file_of(room: Room, service: str) -> Any:
    window = room.windows.find(service)
    return json.loads((room.store.windows / f"{window.window_id}.json").read_text(encoding="utf-8"))


@pytest.fixture
def chain(room: Room) -> Room:
    """`app` needs `web`, which needs `db`; `other` needs `db` too."""
    room.services.add("web", depends_on={"db": HEALTHY})
    room.services.add("app", depends_on={"web": HEALTHY})
    room.services.add("other", depends_on=["db"])
    return room


# Opening --------------------------------------------------------------------------------------------------------------


def test_what_is_needed_starts_first_and_ends_last(chain: Room) -> None:
    window = chain.open("app", ttl=60.0)
    assert started(chain) == ["db", "web", "app"]
    assert [chain.state(name) for name in ("db", "web", "app")] == [State.OPEN] * 3
    needed = chain.windows.find("db")
    assert (needed.requested, needed.due(), needed.opened_by) == (False, window.due(), "anna")
    assert chain.windows.needed_by(needed) == ["web"]
    assert chain.close("app").state is State.CLOSED
    assert chain.engine.called("stop") == [("stop", "app"), ("stop", "web"), ("stop", "db")]
    assert ended(chain) == dict.fromkeys(("app", "web", "db"), Reason.REQUESTED)
    assert "which needed it, has closed" in chain.windows.find("db").detail


def test_started_is_enough_where_no_more_is_asked(chain: Room, beside: Beside, eventually: Eventually) -> None:
    chain.engine.talks = False
    opening = beside(chain.open, "other")
    eventually(lambda: chain.engine.alive("other"))
    assert chain.state("db") is State.OPENING
    chain.program("other").lines.append("ready")
    assert opening.result(5).state is State.OPEN
    chain.program("db").lines.append("ready")
    eventually(lambda: chain.state("db") is State.OPEN)


def test_healthy_waits_until_it_is(chain: Room, beside: Beside, eventually: Eventually) -> None:
    chain.engine.talks = False
    opening = beside(chain.open, "web")
    eventually(lambda: chain.engine.alive("db"))
    looks = chain.engine.looks
    eventually(lambda: chain.engine.looks > looks + 3)
    assert started(chain) == ["db"]
    chain.engine.talks = True
    chain.program("db").lines.append("ready")
    assert opening.result(5).state is State.OPEN


def test_many_opens_at_once_start_what_they_share_once(room: Room, beside: Beside) -> None:
    names = [f"s-{number}" for number in range(10)]
    for name in names:
        room.services.add(name, depends_on={"db": HEALTHY})
    assert {future.result(10).state for future in [beside(room.open, name) for name in names]} == {State.OPEN}
    assert started(room).count("db") == 1
    assert sorted(room.windows.needed_by(room.windows.find("db"))) == names


def test_what_has_to_run_to_its_end_does_so_first_and_once(room: Room, beside: Beside, eventually: Eventually) -> None:
    room.services.add("migrate")
    for name in ("a", "b", "late"):
        room.services.add(name, depends_on=ONCE)
    opening = [beside(room.open, name) for name in ("a", "b")]
    eventually(lambda: room.engine.alive("migrate"))
    assert started(room) == ["migrate"]
    room.crash("migrate", exit_code=0)
    assert [future.result(5).state for future in opening] == [State.OPEN] * 2
    assert ended(room) == {"migrate": Reason.COMPLETED}
    room.open("late")
    assert started(room).count("migrate") == 1
    for name in ("a", "b", "late"):
        room.close(name)
    again = beside(room.open, "a")  # nobody is open for whom it ran
    eventually(lambda: room.engine.alive("migrate"))
    room.crash("migrate", exit_code=0)
    assert again.result(5).state is State.OPEN


def test_an_open_window_that_completes_is_enough(room: Room, beside: Beside, eventually: Eventually) -> None:
    room.services.add("migrate")
    room.services.add("web", depends_on=ONCE)
    room.open("migrate")
    opening = beside(room.open, "web")
    eventually(lambda: room.windows.needed_by(room.windows.find("migrate")))
    room.crash("migrate", exit_code=0)
    assert opening.result(5).state is State.OPEN
    assert ended(room) == {"migrate": Reason.COMPLETED}


# What goes wrong ------------------------------------------------------------------------------------------------------


def test_what_ends_in_error_instead_of_completing_takes_all_back(
    room: Room, beside: Beside, eventually: Eventually
) -> None:
    room.services.add("migrate")
    room.services.add("web", depends_on={"db": HEALTHY, **ONCE})
    opening = beside(room.open)
    eventually(lambda: room.engine.alive("migrate") and room.engine.alive("db"))
    room.crash("migrate", exit_code=4)
    with pytest.raises(OpenFailed, match=r"web needs migrate, which did not open: .*ended with exit code 4"):
        opening.result(5)
    eventually(lambda: room.windows.windows() == [])
    assert room.engine.alive() == []
    assert ended(room) == dict.fromkeys(("web", "db", "migrate"), Reason.OPEN_FAILED)
    assert started(room).count("web") == 0


def test_a_failed_open_takes_back_what_it_started_and_nothing_else(chain: Room) -> None:
    chain.open("db")
    chain.engine.on["start"] = lambda program: _refuse(program, "web")
    with pytest.raises(OpenFailed, match="app needs web, which did not open: it does not do it"):
        chain.open("app")
    assert [window.service for window in chain.windows.windows()] == ["db"]
    assert chain.state("db") is State.OPEN


def test_it_is_not_opened_when_what_it_needs_is_not_allowed(chain: Room) -> None:
    chain.services.blocked.add("db")
    with pytest.raises(ServiceNotAllowed, match="db"):
        chain.request("app", dry_run=True)
    with pytest.raises(ServiceNotAllowed, match="db"):
        chain.open("app")
    assert (chain.engine.calls, chain.windows.windows()) == ([], [])


def test_limits_of_what_it_needs_are_strict_too(chain: Room) -> None:
    chain.services.add("db", mem_limit="64m")
    chain.engine.capabilities -= {"limits.memory"}
    with pytest.raises(LimitsNotApplied, match="memory"):
        chain.request("app", dry_run=True)


def test_a_close_while_what_it_needs_opens_takes_all_back(chain: Room, beside: Beside, eventually: Eventually) -> None:
    chain.engine.talks = False
    opening = beside(chain.open, "web")
    eventually(lambda: chain.engine.alive("db"))
    assert chain.close("web").state is State.CLOSED
    with pytest.raises(OpenFailed, match="web was closed before it was ready"):
        opening.result(5)
    eventually(lambda: chain.windows.windows() == [])
    assert chain.engine.alive() == []


def test_one_that_crashes_leaves_those_that_need_it_to_their_own_health(chain: Room, eventually: Eventually) -> None:
    chain.open("web")
    chain.crash("db")
    eventually(lambda: ended(chain) == {"db": Reason.CRASHED})
    assert chain.state("web") is State.OPEN


def test_what_a_crashed_one_needed_closes_since_its_time_is_over(chain: Room, eventually: Eventually) -> None:
    chain.open("web")
    chain.crash("web")
    eventually(lambda: ended(chain) == {"web": Reason.CRASHED, "db": Reason.EXPIRED})


# Time -----------------------------------------------------------------------------------------------------------------


def test_it_is_open_as_long_as_the_longest_that_needs_it(chain: Room, eventually: Eventually) -> None:
    chain.open("web", ttl=60.0)
    longer = chain.open("other", ttl=100.0)
    assert chain.windows.find("db").due() == longer.due()
    assert file_of(chain, "db")["deadline"] == longer.due().to_json()
    chain.close("other")
    assert chain.windows.find("db").due() == chain.windows.find("web").due()
    extended = chain.windows.extend("web", 200.0, "anna").window
    assert chain.windows.find("db").due() == extended.due()
    chain.windows.hold("web", on=True, wait=True, actor="anna")
    assert chain.windows.find("db").due() == chain.windows.find("web").hold_until
    chain.windows.hold("web", on=False, wait=True, actor="anna")
    assert chain.windows.find("db").due() == extended.due()
    chain.clock.step(200)
    eventually(lambda: ended(chain) == {"other": Reason.REQUESTED, "web": Reason.EXPIRED, "db": Reason.EXPIRED})
    assert chain.engine.called("stop")[-2:] == [("stop", "web"), ("stop", "db")]


def test_one_that_somebody_asked_for_too_keeps_its_own_time(chain: Room, eventually: Eventually) -> None:
    chain.open("db", ttl=30.0)
    longer = chain.open("web", ttl=100.0)
    assert chain.windows.find("db").due() == longer.due()
    chain.clock.step(10)
    chain.close("web")
    assert chain.state("db") is State.OPEN
    chain.clock.step(20)
    eventually(lambda: ended(chain).get("db") is Reason.EXPIRED)


def test_one_that_somebody_asks_for_later_outlives_those_that_need_it(chain: Room) -> None:
    chain.open("web", ttl=30.0)
    outcome = chain.request("db", ttl=50.0)
    assert (outcome.changed, outcome.window.requested) == (True, True)
    assert not chain.request("db", ttl=50.0).changed
    chain.close("web")
    assert chain.state("db") is State.OPEN
    assert chain.windows.find("db").remaining(chain.clock.now()) == 50


@pytest.mark.parametrize("change", ["hold", "extend"])
def test_who_holds_or_extends_it_asks_for_it(chain: Room, change: str) -> None:
    chain.open("web", ttl=30.0)
    if change == "hold":
        chain.windows.hold("db", on=True, wait=True, actor="anna")
    else:
        chain.windows.extend("db", 40.0, "anna")
    chain.close("web")
    assert chain.state("db") is State.OPEN


def test_a_full_disk_extends_neither(chain: Room) -> None:
    window = chain.open("web", ttl=30.0)
    chain.store.room = 0
    with pytest.raises(Exception, match="No space left"):
        chain.windows.extend("web", 100.0, "anna")
    assert chain.windows.find("web").due() == chain.windows.find("db").due() == window.due()


# Closing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("force", [False, True])
def test_closing_it_closes_what_needs_it_first(chain: Room, *, force: bool) -> None:
    chain.open("app")
    assert chain.close("db", force=force).state is State.CLOSED
    how = "kill" if force else "stop"
    assert chain.engine.called("stop", "kill") == [(how, "app"), (how, "web"), (how, "db")]
    assert set(ended(chain)) == {"app", "web", "db"}


def test_while_those_before_it_close_it_is_within_its_grace(
    chain: Room, beside: Beside, eventually: Eventually
) -> None:
    goes_on = threading.Event()
    chain.open("app", ttl=60.0)
    chain.engine.on["stop"] = lambda program: goes_on.wait(10) if program.service == "app" else None
    closing = beside(chain.close, "db")
    eventually(lambda: chain.engine.called("stop"))
    record = file_of(chain, "db")
    assert record["state"] == "closing"
    assert record["close_by"] == chain.clock.now().plus(3 * 5).to_json()  # each has 5 s
    goes_on.set()
    assert closing.result(5).state is State.CLOSED


def test_solo_madre_stops_in_order(chain: Room) -> None:
    chain.open("app")
    chain.open("other")
    assert solo_madre.enforce(chain.windows, "anna").after.solo
    order = [service for _, service in chain.engine.called("stop")]
    assert order.index("app") < order.index("web") < order.index("db")
    assert order.index("other") < order.index("db")
    assert set(ended(chain).values()) == {Reason.SOLO_MADRE}


def test_one_that_cannot_be_closed_does_not_keep_open_what_it_needed(chain: Room) -> None:
    chain.open("web", ttl=60.0)
    chain.engine.on["stop"] = lambda program: _refuse(program, "web")
    chain.close("web")
    assert chain.state("web") is State.STUCK
    chain.engine.on.clear()
    assert chain.close("db").state is State.CLOSED


def _refuse(program: Any, service: str) -> None:
    if program.service == service:
        raise EngineError("it does not do it")


def test_a_catalogue_that_was_turned_around_makes_no_circle(chain: Room, eventually: Eventually) -> None:
    chain.open("web")
    chain.crash("db")
    eventually(lambda: ended(chain) == {"db": Reason.CRASHED})
    chain.services.add("web")
    chain.services.add("db", depends_on={"web": HEALTHY})
    with pytest.raises(OpenFailed, match="db would need itself: the catalogue has changed"):
        chain.open("db")
    assert chain.close("web").state is State.CLOSED


def test_a_one_shot_that_runs_for_another_is_no_failure_for_who_opens_it(
    room: Room, beside: Beside, eventually: Eventually
) -> None:
    room.services.add("migrate")
    room.services.add("web", depends_on=ONCE)
    opening = beside(room.open)
    eventually(lambda: room.engine.alive("migrate"))
    too = beside(room.open, "migrate")
    eventually(lambda: room.windows._registry.get("migrate")._changed._waiters)
    room.crash("migrate", exit_code=0)
    assert opening.result(5).state is State.OPEN
    assert too.result(5).reason is Reason.COMPLETED


# A later madre --------------------------------------------------------------------------------------------------------


def test_a_later_madre_knows_who_needs_whom(chain: Room) -> None:
    chain.open("app")
    chain.restart()
    assert chain.windows.needed_by(chain.windows.find("db")) == ["web"]
    chain.close("app")
    assert chain.windows.windows() == []


def test_a_later_madre_closes_what_nothing_needs_any_more(idle_room: Room, eventually: Eventually) -> None:
    idle_room.on_file(requested=False, running=None)
    idle_room.engine.stray("from-before", "web")
    idle_room.windows.start()
    eventually(lambda: ended(idle_room) == {"web": Reason.EXPIRED})
    idle_room.windows.stop()
