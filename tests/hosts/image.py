"""The image of hosts, and whether this machine can have hosts at all."""

import contextlib
import fcntl
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import docker.errors

from tests.hosts.errors import FAILURES, HostError

DOCKERFILE = Path(__file__).with_name("Dockerfile")
PYTHON = (3, 11)  # of Debian 12, which the hosts run
BUILD_LIMIT = 600


def missing() -> str:
    """Why this machine cannot have hosts, as far as can be told without starting one; empty when it can."""
    if sys.version_info[:2] != PYTHON:
        return "hosts run Python {}.{} and import what this interpreter does, which is {}.{}".format(
            *PYTHON, *sys.version_info[:2]
        )
    if not os.environ.get("DOCKER_HOST", "unix://").startswith("unix://"):
        return "folders of this machine are mounted into hosts, and DOCKER_HOST names an engine elsewhere"
    client = None
    try:
        client = docker.from_env(timeout=BUILD_LIMIT)
        build_image(client)
    except (HostError, OSError, *FAILURES) as error:
        return str(error)
    finally:
        if client:
            client.close()
    return ""


def build_image(client: docker.DockerClient) -> str:
    """The name of the image of hosts, which is built where it is missing, by one process at a time.

    VX11_BASE_IMAGE names the base, as for the sample services.

    Raises:
        HostError: it cannot be built; has the last lines.
    """
    base = os.environ.get("VX11_BASE_IMAGE", "")
    digest = hashlib.sha256(DOCKERFILE.read_bytes() + base.encode()).hexdigest()[:12]
    image = f"vx11/test-host:{digest}"
    with _lock(f"vx11-test-host-image-{os.geteuid()}.lock"):
        try:
            client.images.get(image)
        except docker.errors.ImageNotFound:
            _build(client, image, {"BASE": base} if base else {})
    return image


def _build(client: docker.DockerClient, image: str, arguments: dict[str, str]) -> None:
    lines: list[str] = []
    for event in client.api.build(
        path=str(DOCKERFILE.parent),
        tag=image,
        buildargs=arguments,
        network_mode="host",
        rm=True,
        forcerm=True,
        decode=True,
        timeout=BUILD_LIMIT,
    ):
        lines = [*lines, event.get("stream", event.get("error", "")).strip()][-12:]
        if "error" in event:
            raise HostError(f"the image {image} was not built:\n" + "\n".join(filter(None, lines)))


@contextlib.contextmanager
def _lock(name: str) -> Iterator[None]:
    with (Path(tempfile.gettempdir()) / name).open("w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
