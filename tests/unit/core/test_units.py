"""The units of the core, as text."""

import configparser
import json
from pathlib import Path
from typing import Any

import pytest

from vx11.core import services, units
from vx11.errors import InputError
from vx11.madre import settings

HOST: dict[str, Any] = {
    "engine": "docker",
    "listen": "127.0.0.1:8001",
    "state": "/run/vx11",
    "evidence": "/var/log/vx11",
    "tests_socket": "/run/vx11/tests.sock",
    "gateway": {"listen": ["0.0.0.0:8000"], "url": "http://host:8000"},
}


def rendered(tmp_path: Path, **change: Any) -> dict[str, str]:
    """The files for a host that is set up so."""
    path = tmp_path / "madre.yml"
    path.write_text(json.dumps(HOST | change), encoding="utf-8")
    installed = units.Installed(path, Path("/opt/vx11/bin/python"))
    return units.render(services.load(services.SHIPPED), settings.load(path, {}), installed)


def read(text: str) -> configparser.RawConfigParser:
    """A unit; of an option that is there twice the last one counts."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    return parser


def test_each_part_has_a_unit_in_the_slice(tmp_path: Path) -> None:
    files = rendered(tmp_path)
    found = {Path(name).name: text for name, text in files.items()}
    assert read(found["vx11.slice"])["Slice"]["CPUQuota"] == "50%"
    assert read(found["vx11.slice"])["Slice"]["MemoryMax"] == str(256 * 1024 * 1024)
    parts = ["vx11-tentaculo-link.service", "vx11-madre.service", "vx11-watchdog.service"]
    for name in [*parts, "vx11-evidence-collector@.service"]:
        service = read(found[name])["Service"]
        assert service["Slice"] == "vx11.slice"
        assert service["User"] in units.USERS.values()
        assert (service["NoNewPrivileges"], service["ProtectSystem"]) == ("yes", "strict")
        assert service["CapabilityBoundingSet"] in ("", "CAP_KILL")
    assert read(found["vx11-tests@.service"])["Service"]["Slice"] != "vx11.slice"
    assert [unit for unit in map(units.unit, services.load(services.SHIPPED).always) if unit not in found] == []


def test_what_has_not_changed_is_not_written(tmp_path: Path) -> None:
    files = rendered(tmp_path)
    root = tmp_path / "root"
    assert len(units.write(files, root)) == len(files)
    assert units.write(files, root) == []
    (root / "etc/systemd/system/vx11.slice").write_text("", encoding="utf-8")
    assert [path.name for path in units.write(files, root)] == ["vx11.slice"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"gateway": None}, "there is no part `gateway`"),
        ({"gateway": HOST["gateway"] | {"listen": ["0.0.0.0:80"]}}, "the core has the port 8000 and no other"),
        ({"engine": "auto"}, "engine: write `docker`"),
        ({"listen": "0.0.0.0:8001"}, "madre listens on 127.0.0.1 alone"),
        ({"tests_socket": None}, "tests_socket: name a socket"),
    ],
)
def test_a_host_that_would_break_a_rule_is_refused(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        rendered(tmp_path, **change)
