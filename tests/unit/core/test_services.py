"""What the core consists of."""

from pathlib import Path

import pytest
import yaml

from vx11.core import services
from vx11.errors import InputError

MIB = 1024 * 1024


def test_what_is_shipped_is_what_the_specification_says() -> None:
    core = services.load(services.SHIPPED)
    assert (core.slice.memory, core.slice.cpu) == (256 * MIB, 0.5)
    assert (core.slice.idle.memory, core.slice.idle.cpu) == (200 * MIB, 0.3)
    budgets = {name: (service.cpu, service.memory // MIB, service.start) for name, service in core.services.items()}
    assert budgets == {
        "tentaculo_link": (0.1, 64, "always"),
        "madre": (0.2, 128, "always"),
        "watchdog": (0.05, 32, "always"),
        "evidence_collector": (0.05, 32, "on_demand"),
    }
    assert core.services["tentaculo_link"].ports == (8000,)
    assert core.services["madre"].environment == {"MODE": "SOLO_MADRE", "ALLOWLIST_ENFORCE": "true"}
    assert core.always == ["tentaculo_link", "madre", "watchdog"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda core: core["services"].pop("watchdog"), "watchdog is missing; the core is whole"),
        (lambda core: core["services"].update(web={}), "web"),
        (lambda core: core["slice"].update(memory="much"), "slice.memory"),
        (lambda core: core["slice"].update(cpu=0), "slice.cpu"),
        (lambda core: core.update(version=2), "version"),
        (lambda core: core["services"]["madre"].update(colour="red"), "colour"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, change: object, why: str) -> None:
    core = yaml.safe_load(services.SHIPPED.read_text(encoding="utf-8"))
    assert callable(change)
    change(core)
    path = tmp_path / "core_services.yaml"
    path.write_text(yaml.safe_dump(core), encoding="utf-8")
    with pytest.raises(InputError, match=why):
        services.load(path)


def test_one_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"core_services\.yaml"):
        services.load(tmp_path / "core_services.yaml")
