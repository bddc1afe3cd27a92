"""Who may import whom (design §3): imports point downwards, and the two halves never meet.

Read from the source with `ast`, imports inside functions included; what is loaded in fact is asked of an interpreter.
"""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGE = CHECKOUT / "src" / "vx11"
LEAVES = {"errors", "units", "clock", "files", "signals", "yamlfile", "statefiles"}
MAY_IMPORT = {
    **dict.fromkeys(LEAVES, LEAVES),
    "client": LEAVES,
    "watch": LEAVES | {"client"},
    "tokens": LEAVES,
    "revocations": LEAVES | {"tokens"},
    "catalogue": LEAVES,
    "evidence": LEAVES,
    "engines": LEAVES | {"catalogue"},
    "watchdog": {"clock", "signals", "statefiles", "engines", "evidence"},
    "windows": LEAVES | {"engines", "catalogue", "evidence"},
    "gateway": LEAVES | {"tokens", "catalogue"},
    "madre": LEAVES | {"tokens", "revocations", "gateway", "windows", "engines", "catalogue", "evidence"},
    "core": LEAVES | {"tokens", "catalogue", "engines", "madre"},
    "recovery": LEAVES | {"evidence"},
    "conductor": LEAVES | {"client", "tokens", "engines", "catalogue", "evidence", "recovery"},
    "release": LEAVES | {"client", "engines", "evidence", "recovery"},
    "cli": LEAVES
    | {"client", "watch", "tokens", "revocations", "conductor", "madre", "gateway", "core", "release"}
    | {"engines", "catalogue", "evidence", "recovery"},
    "__main__": {"cli"},
    "__init__": set[str](),
}
STANDARD_LIBRARY_ALONE = [
    "__init__",
    "errors",
    "clock",
    "signals",
    "statefiles",
    "files",
    *(f"watchdog/{path.stem}" for path in (PACKAGE / "watchdog").glob("*.py")),
    *("evidence/__init__", "evidence/appending", "evidence/reading"),
    "engines/__init__",
    "engines/procfs",
    "engines/cgroups",
    "engines/bypass",
    "engines/netns",
    "engines/relay",
]
WEB_AND_DOCKER = {"fastapi", "starlette", "uvicorn", "docker", "httpx", "requests"}


def imported(path: Path) -> Iterator[str]:
    """The dotted names of all that a file imports; `from a import b` is `a.b`, which may be a module or not."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative imports hide what is imported"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "_collection" not in path.parts)


def unit_of(path: Path) -> str:
    """`windows` for windows/store.py, `units` for units.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def own_units(path: Path) -> set[str]:
    """Which parts of the package a file imports, its own left out."""
    names = (name.split(".") for name in imported(path))
    found = {parts[1] for parts in names if parts[0] == "vx11" and len(parts) > 1}
    return found - {unit_of(path), "__version__"}


def name_of(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


@pytest.mark.parametrize("path", files(PACKAGE), ids=name_of)
def test_imports_point_downwards(path: Path) -> None:
    assert unit_of(path) in MAY_IMPORT, "a new part of the package needs its rule here and in design §3"
    assert own_units(path) <= MAY_IMPORT[unit_of(path)]


def test_the_rules_have_no_circle() -> None:
    above: dict[str, set[str]] = {unit: set(below) - {unit} for unit, below in MAY_IMPORT.items()}
    above |= {leaf: set() for leaf in LEAVES}  # leaves may use each other; that they do not go round, python shows
    while above:
        lowest = {unit for unit, below in above.items() if not below & set(above)}
        assert lowest, f"these import each other: {sorted(above)}"
        above = {unit: below for unit, below in above.items() if unit not in lowest}


@pytest.mark.parametrize("path", files(PACKAGE / "windows"), ids=name_of)
def test_windows_know_no_http_and_no_particular_engine(path: Path) -> None:
    names = set(imported(path))
    assert not {name.split(".")[0] for name in names} & WEB_AND_DOCKER
    engines = {name for name in names if name.startswith("vx11.engines")}
    assert {name for name in engines if not name.startswith("vx11.engines.port.")} <= {"vx11.engines.ready"}


@pytest.mark.parametrize("name", STANDARD_LIBRARY_ALONE)
def test_what_the_watchdog_needs_keeps_to_the_standard_library(name: str) -> None:
    roots = {name.split(".")[0] for name in imported(PACKAGE / f"{name}.py")}
    assert roots <= sys.stdlib_module_names | {"vx11"}


def test_the_relay_is_a_program_of_its_own() -> None:
    assert "vx11" not in {name.split(".")[0] for name in imported(PACKAGE / "engines/relay.py")}


@pytest.mark.parametrize("path", files(CHECKOUT / "plugins"), ids=name_of)
def test_the_collection_never_imports_the_package(path: Path) -> None:
    assert "vx11" not in {name.split(".")[0] for name in imported(path)}


@pytest.mark.parametrize("path", files(PACKAGE), ids=name_of)
def test_the_package_never_imports_the_collection(path: Path) -> None:
    assert not {name.split(".")[0] for name in imported(path)} & {"ansible_collections", "ansible"}


def loaded_by(statement: str, *flags: str) -> set[str]:
    """The modules that an interpreter has after a statement."""
    code = f"import sys, json\n{statement}\njson.dump(sorted(sys.modules), sys.stdout)"
    done = subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    return set(json.loads(done.stdout))


def test_the_watchdog_loads_the_standard_library_alone() -> None:
    loaded = loaded_by(
        "before = set(sys.modules)\nimport vx11.watchdog.__main__\n[sys.modules.pop(n) for n in before]", "-I"
    )
    ours = {name for name in loaded if name.split(".")[0] == "vx11"}
    assert {name for name in ours if not name.startswith("vx11.watchdog")} == {
        "vx11",
        "vx11.clock",
        "vx11.engines",
        "vx11.engines.bypass",
        "vx11.engines.cgroups",
        "vx11.engines.procfs",
        "vx11.errors",
        "vx11.evidence",
        "vx11.evidence.appending",
        "vx11.evidence.reading",
        "vx11.signals",
        "vx11.statefiles",
    }
    assert not {"ssl", "http.client"} & loaded  # which would take more memory than all the rest
    assert {name.split(".")[0] for name in loaded - ours} <= sys.stdlib_module_names


def test_madre_does_not_load_what_it_never_needs_while_idle() -> None:
    assert not {name for name in loaded_by("import vx11.madre.serve") if name.startswith("vx11.conductor")}


def test_windows_load_no_web_framework_and_no_docker() -> None:
    loaded = loaded_by("import vx11.windows.manager, vx11.windows.solo_madre")
    assert not {name.split(".")[0] for name in loaded} & WEB_AND_DOCKER


def test_recovery_loads_no_conductor_and_no_templates_before_there_is_something_to_write() -> None:
    loaded = loaded_by("import vx11.recovery.intent")
    ours = {name.split(".")[1] for name in loaded if name.startswith("vx11.")}
    assert ours <= {"recovery", "errors", "clock", "units", "yamlfile", "statefiles"}
    assert not {name.split(".")[0] for name in loaded} & (WEB_AND_DOCKER | {"jinja2"})


@pytest.mark.parametrize("path", files(PACKAGE / "recovery"), ids=name_of)
def test_recovery_starts_no_program(path: Path) -> None:
    roots = {name.split(".")[0] for name in imported(path)}
    assert not roots & {"subprocess", "multiprocessing", "ansible_runner"}
