"""SOLO_MADRE on a whole host: what is foreign is named, stopped only on request, and the core is protected."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.core import Core
from tests.hosts.host import TestHost
from vx11.catalogue import compose
from vx11.conductor.matrix import CATALOGUE
from vx11.engines.docker import DockerEngine, connect

pytestmark = [pytest.mark.docker, pytest.mark.host]
WAITS = (
    "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); print('up', flush=True); signal.pause()"
)


@pytest.fixture
def core(
    host: TestHost,
    make_bundle: Callable[..., Path],
    make_entry: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> Iterator[Core]:
    """A core in the cell `default`, which judges the whole host."""
    bundle = make_bundle({"web": make_entry(WAITS, vx11={"ready": {"log": "up"}})})
    service = compose.load(bundle / CATALOGUE).services["web"]
    client = connect()
    DockerEngine("hosts", tmp_path, client).prepare(service)
    client.close()
    host.load_image(str(service.entry.image))
    found = Core(host, bundle)
    found.start()
    yield found
    found.remove()


def test_what_is_foreign_is_named_and_stopped_only_on_request(host: TestHost, core: Core) -> None:
    image = "vx11/e2e-services:0.1.0"
    command = f"docker run -d --init {{}} {image} python3 -c 'import time; time.sleep(600)'"
    host.run(command.format("--name stranger"))
    host.run(command.format("--name gateway --label vx11.core=true"))
    try:
        with core.madre() as madre:
            assert not madre.status()["solo_madre"]
            madre.post("/api/v1/windows/open", service="web", ttl=60)
            left = madre.solo_madre()
            assert [item["service"] for item in left["stopped"]] == ["web"]
            assert (left["solo_madre"], left["foreign"]) == (False, [_named("stranger")])
            would = madre.solo_madre(dry_run=True, foreign="stop")
            assert (would["solo_madre"], would["changed"], would["foreign_stopped"]) == (False, True, [])
            assert _running(host) == {"stranger", "gateway"}
            done = madre.solo_madre(foreign="stop")
            assert (done["solo_madre"], done["foreign"]) == (True, [])
            assert done["foreign_stopped"] == [_named("stranger")]
            assert _running(host) == {"gateway"}
            assert madre.status()["solo_madre"]
    finally:
        host.run("docker rm -f stranger gateway")


def _named(name: str) -> dict[str, Any]:
    return {"what": f"container {name}", "window_id": None, "service": None}


def _running(host: TestHost) -> set[str]:
    return set(host.run("docker ps --format '{{.Names}}'").split())
