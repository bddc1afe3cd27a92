"""What a verdict says of a case that ran out of time, and of a service that never got ready."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NEVER = "import time\nfor n in range(3): print(f'still loading part {n}', flush=True)\ntime.sleep(300)"
READY = {"http": {"port": 8080, "path": "/health"}}
STAY = {"name": "Wait for Godot", "ansible.builtin.command": "sleep 300"}


def opening(service: str, **more: Any) -> dict[str, Any]:
    """A task that opens a window."""
    return {"name": f"Open {service}", "vx11.power.vx11_window": {"service": service, "ttl": "1m", **more}}


@pytest.fixture(scope="module", params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def ran(
    request: pytest.FixtureRequest,
    make_bundle: Callable[..., Path],
    make_entry: Callable[..., dict[str, Any]],
    write_matrix: Callable[..., Path],
    run_matrix: Callable[..., Any],
    web: dict[str, Any],
) -> Any:
    """One matrix of all of them."""
    never = make_entry(NEVER, vx11={"ready": READY, "ready_timeout": "1s"})
    slow = make_entry(NEVER, vx11={"ready": READY, "ready_timeout": "50s"})
    cases = {
        "never-ready": ([opening("never")], {}),
        "opening": ([opening("web", hold=True), opening("slow")], {"timeout": "12s"}),
        "waits": ([opening("web"), STAY], {"timeout": "12s"}),
    }
    bundle = write_matrix(make_bundle({"web": web, "never": never, "slow": slow}), cases)
    return run_matrix(bundle, "--json", "--engine", request.param)


def test_a_service_that_never_gets_ready_is_told_with_its_last_words(ran: Any) -> None:
    found = ran.case("never-ready")
    assert found["verdict"] == "failed"
    assert "never was not ready within 1.0 s" in found["message"]
    assert "still loading part 1 | still loading part 2" in found["message"]


def test_a_case_that_was_opening_says_what_was_open_and_what_was_not(ran: Any) -> None:
    found = ran.case("opening")
    assert found["verdict"] == "failed"
    told = found["message"]
    assert told.startswith("it was not done after 12.0 s; it was at the task 'Open slow' for ")
    assert "web was open, held" in told
    assert "slow was opening, not ready, " in told
    assert "it last said: still loading part 0 | still loading part 1 | still loading part 2" in told


def test_a_case_that_waited_says_how_much_time_its_window_had(ran: Any) -> None:
    told = ran.case("waits")["message"]
    assert told.startswith("it was not done after 12.0 s; it was at the task 'Wait for Godot' for ")
    assert "web was open, " in told
    assert " left" in told


def test_the_clean_up_is_no_part_of_the_time(ran: Any) -> None:
    for case in ("never-ready", "opening", "waits"):
        assert all(item["holds"] for item in ran.case(case)["asserts"])
