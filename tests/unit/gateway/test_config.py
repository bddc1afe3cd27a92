"""The configuration of HAProxy, as HAProxy itself reads it."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from vx11.catalogue import compose
from vx11.gateway import link
from vx11.gateway.config import Behind, Link, render
from vx11.madre import policy

KEY = "ab" * 32
ENDPOINTS = [endpoint.path for endpoint in policy.load().endpoints]


def is_taken(text: str, folder: Path) -> bool:
    """Whether HAProxy takes it, without a warning."""
    path = folder / "haproxy.cfg"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run([link.installed(), "-c", "-f", path], capture_output=True, text=True, check=False)
    return done.returncode == 0 and "WARNING" not in done.stderr


def a_link(folder: Path, *listen: str) -> Link:
    folder.mkdir(parents=True, exist_ok=True)
    found = Link(listen or ("127.0.0.1:8000",), "default", "127.0.0.1:8001", folder)
    found.revoked.touch()
    return found


@pytest.mark.haproxy
@pytest.mark.parametrize(
    ("services", "keys"),
    [
        ([], [KEY]),
        ([Behind("web"), Behind("a-b_c9", public=True), Behind("rpc", h2=True, port=40000)], [KEY]),
        ([Behind("web")], [KEY, "cd" * 32]),
        ([Behind(f"service-{number}") for number in range(300)], [KEY]),
    ],
    ids=["nothing", "each kind", "two keys", "many"],
)
def test_haproxy_takes_it(tmp_path: Path, services: list[Behind], keys: list[str]) -> None:
    assert is_taken(render(a_link(tmp_path, "127.0.0.1:8000", "[::1]:8000"), keys, services, ENDPOINTS), tmp_path)


@pytest.mark.haproxy
def test_its_folder_may_have_any_name(tmp_path: Path) -> None:
    for name in ("with space", 'with"quote', "with\\backslash", "with$dollar", "with'one", "with#hash"):
        assert is_taken(render(a_link(tmp_path / name), [KEY], [Behind("web")], ENDPOINTS), tmp_path), name


def test_every_path_of_the_policy_is_led_to_madre_and_no_other(tmp_path: Path) -> None:
    text = render(a_link(tmp_path), [KEY], [], ["/health", "/api/v1/tests/results/{test_id}"])
    assert "acl api path -m str /health\n" in text
    assert "acl api path_beg /api/v1/tests/results/\n" in text
    assert "/windows" not in text


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({}, []),
        ({"ports": ["8080"]}, [Behind("it", port=4000)]),
        ({"expose": ["8080"]}, [Behind("it", port=4000)]),
        ({"ports": ["8080"], "x-vx11": {"public": True}}, [Behind("it", public=True, port=4000)]),
        ({"ports": [{"target": 8080, "app_protocol": "grpc"}]}, [Behind("it", h2=True, port=4000)]),
        ({"ports": [{"target": 8080, "app_protocol": "redis"}]}, []),
        ({"ports": ["53/udp"]}, []),
        ({"ports": ["5432"], "x-vx11": {"ready": {"tcp": {"port": 5432}}}}, []),
        ({"ports": ["5432", "8080"], "x-vx11": {"ready": {"tcp": {"port": 5432}}}}, [Behind("it", port=4000)]),
    ],
    ids=str,
)
def test_what_of_a_catalogue_is_behind_it(tmp_path: Path, entry: dict[str, Any], expected: list[Behind]) -> None:
    path = tmp_path / "catalogue.yml"
    path.write_text(yaml.safe_dump({"services": {"it": {"image": "x", **entry}}}), encoding="utf-8")
    assert Behind.of(compose.load(path).services.values(), {"it": 4000, "gone": 1}) == expected
