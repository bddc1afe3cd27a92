"""What the catalogue says about a container is what the service inside finds."""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.docker
LOOKS = """
import json, os, pathlib, resource, socket, time
status = dict(line.split(':', 1) for line in pathlib.Path('/proc/self/status').read_text().splitlines())
def writable(path):
    try:
        pathlib.Path(path, 'probe').write_text('x')
        return True
    except OSError:
        return False
def address(name):
    try:
        return socket.gethostbyname(name)
    except OSError:
        return None
print(json.dumps({
    'ids': [os.getuid(), os.getgid()],
    'writable': {path: writable(path) for path in ('/', '/tmp', '/scratch', '/bundle')},
    'capabilities': int(status['CapEff'], 16),
    'bounding': int(status['CapBnd'], 16),
    'no_new_privileges': status['NoNewPrivs'].strip(),
    'files': list(resource.getrlimit(resource.RLIMIT_NOFILE)),
    'hosts': {name: address(name) for name in ('db.example', 'elsewhere.example')},
    'hostname': socket.gethostname(),
    'folder': os.getcwd(),
    'bundle': os.listdir('/bundle') if os.path.isdir('/bundle') else [],
    'first': pathlib.Path('/proc/1/comm').read_text().strip(),
    'environment': dict(os.environ),
}), flush=True)
time.sleep(60)
"""
NET_BIND = 1 << 10


@pytest.fixture
def look(docker_bench: Any, make_entry: Callable[..., Any]) -> Callable[..., Any]:
    """`look(**keys)` answers what a service with these keys finds around it."""

    def run(**keys: Any) -> Any:
        started = docker_bench.start(docker_bench.service(make_entry(LOOKS, **keys)))
        return docker_bench.tells(started) | {"container": started.running.container}

    return run


def test_closed_off(look: Callable[..., Any]) -> None:
    seen = look(
        user="1234:4321",
        read_only=True,
        tmpfs=["/tmp", "/scratch:size=1m,mode=1777"],
        cap_drop=["ALL"],
        security_opt=["no-new-privileges:true"],
    )
    assert seen["ids"] == [1234, 4321]
    assert seen["writable"] == {"/": False, "/tmp": True, "/scratch": True, "/bundle": False}
    assert (seen["capabilities"], seen["bounding"], seen["no_new_privileges"]) == (0, 0, "1")


def test_one_capability_given_back(look: Callable[..., Any]) -> None:
    seen = look(user="0:0", cap_drop=["ALL"], cap_add=["NET_BIND_SERVICE"])
    assert seen["capabilities"] == NET_BIND


def test_names_places_and_limits(look: Callable[..., Any]) -> None:
    seen = look(
        hostname="the-host",
        extra_hosts=["db.example=10.9.8.7", "elsewhere.example:10.9.8.6"],
        working_dir="/usr/lib",
        ulimits={"nofile": {"soft": 100, "hard": 200}, "nproc": 4096},  # Podman raises either when it is left out
        init=True,
    )
    assert seen["files"] == [100, 200]
    assert seen["first"] != "python3"
    assert seen["hostname"] == "the-host"
    assert seen["hosts"] == {"db.example": "10.9.8.7", "elsewhere.example": "10.9.8.6"}
    assert seen["folder"] == "/usr/lib"


def test_environment_and_its_files(
    look: Callable[..., Any], docker_bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSED_ON", "from outside")
    monkeypatch.delenv("NOT_SET", raising=False)
    (docker_bench.bundle / "one.env").write_text("FILE=one\nBOTH=one\n# no\nQUOTED='two words'\n", encoding="utf-8")
    seen = look(
        env_file=["one.env"],
        environment={"BOTH": "entry", "NUMBER": 5, "FLAG": True, "PASSED_ON": None, "NOT_SET": None},
    )["environment"]
    expected = {
        "FILE": "one",
        "BOTH": "entry",
        "QUOTED": "two words",
        "NUMBER": "5",
        "FLAG": "true",
        "PASSED_ON": "from outside",
    }
    assert expected.items() <= seen.items()
    assert "NOT_SET" not in seen
    assert not [name for name in seen if name.startswith("VX11_")]


def test_a_folder_of_the_bundle_and_labels_that_cannot_replace_the_stamp(
    look: Callable[..., Any], docker_bench: Any
) -> None:
    (docker_bench.bundle / "given").mkdir(exist_ok=True)
    (docker_bench.bundle / "given/file").touch()
    seen = look(volumes=["./given:/bundle:ro"], user="0:0", labels={"team": "blue", "vx11.window": "forged"})
    assert seen["bundle"] == ["file"]
    assert not seen["writable"]["/bundle"]
    labels = docker_bench.client.containers.get(seen["container"]).labels
    assert labels["team"] == "blue"
    assert labels["vx11.window"] != "forged"


def test_an_entrypoint_replaces_that_of_the_image(docker_bench: Any, make_entry: Callable[..., Any]) -> None:
    entry = make_entry("pass") | {"entrypoint": ["echo", "it is"], "command": ["replaced"]}
    docker_bench.says(docker_bench.start(docker_bench.service(entry)), "it is replaced")


def test_what_docker_cannot_start_is_an_error_that_says_why_and_leaves_nothing(
    docker_bench: Any, make_entry: Callable[..., Any]
) -> None:
    before = docker_bench.engine.residue(docker_bench.cell)
    service = docker_bench.service(make_entry("pass") | {"command": ["no-such-program"]})
    with pytest.raises(Exception, match=r"it could not be started: .*no-such-program") as caught:
        docker_bench.start(service)
    assert type(caught.value).__name__ == "EngineError"
    assert docker_bench.engine.residue(docker_bench.cell) == before
