"""The plain data of the engine port."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vx11.engines.port import Running, mark_of, url_variable

PORTS = st.dictionaries(st.integers(1, 65535), st.integers(1, 65535), max_size=4)


@given(st.text(max_size=5), st.text(max_size=5), st.integers(0, 2**22), st.integers(0, 2**50), PORTS)
def test_a_handle_survives_a_state_file(
    window: str, container: str, pid: int, start_time: int, ports: dict[int, int]
) -> None:
    running = Running("docker", window, container, pid, start_time, "cell/w", ports)
    assert Running.from_json(json.loads(json.dumps(running.to_json()))) == running


@pytest.mark.parametrize(
    ("service", "variable"),
    [
        ("web", "WEB_URL"),
        ("auth-service", "AUTH_SERVICE_URL"),
        ("legacy-api-v1", "LEGACY_API_V1_URL"),
        ("a_b", "A_B_URL"),
    ],
)
def test_the_variable_that_tells_where_a_service_is(service: str, variable: str) -> None:
    assert url_variable(service) == variable


@pytest.mark.parametrize(
    ("running", "name"),
    [
        (Running("docker", container="0123456789abcdef"), "container 0123456789ab"),
        (Running("process", pid=77), "process 77"),
    ],
)
def test_what_runs_has_a_name_in_messages(running: Running, name: str) -> None:
    assert mark_of(running) == name
