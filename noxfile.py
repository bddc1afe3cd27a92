"""Sessions: `nox -s e2e` runs the matrix, `tests` the tests, `faults` faults, `lint` linters, `bench` benchmarks."""

import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "tests", "e2e"]
nox.options.reuse_venv = "yes"

PROJECT = nox.project.load_toml()
# An interrupted run first brings its cell back to SOLO_MADRE; nox would kill it after half a second.
CLEAN_UP_S = 60.0
# Tests wait more than they compute. Those of one file stay together, since they share what is dear to set up.
SIDE_BY_SIDE = ("-n", "4", "--dist", "loadfile")
# The engines' tests that concern control groups; a machine that is emulated is slow.
ON_CGROUPS = ("tests/engines", "-k", "limits or usage or paused or group or purge or daemons")


def groups(*names: str) -> list[str]:
    """The requirements of dependency groups of pyproject.toml."""
    return nox.project.dependency_groups(PROJECT, *names)


@nox.session(python=False)
def base_image(session: nox.Session) -> None:
    """Make the base image of the sample services where no registry can be reached."""
    session.run("sh", "matrices/e2e/services/base-image.sh", *session.posargs, external=True)


@nox.session
def e2e(session: nox.Session) -> None:
    """Run the end-to-end matrix; arguments go to `vx11 run`, as in `nox -s e2e -- --engine docker`."""
    session.install("-e", ".")
    session.run("vx11", "run", "matrices/e2e", *session.posargs, interrupt_timeout=CLEAN_UP_S)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests; arguments go to pytest. What the machine cannot do is skipped and named at the end."""
    session.install("-e", ".", *groups("tests"))
    apart = ("--ignore", "tests/openapi")
    session.run("python", "-m", "pytest", *SIDE_BY_SIDE, *apart, *session.posargs, interrupt_timeout=CLEAN_UP_S)


@nox.session
def openapi(session: nox.Session) -> None:
    """Hold madre to the description of its API with thousands of generated requests; arguments go to pytest."""
    session.install("-e", ".", *groups("tests", "openapi"))
    session.run("python", "-m", "pytest", "tests/openapi", *session.posargs, interrupt_timeout=CLEAN_UP_S)


@nox.session
def podman(session: nox.Session) -> None:
    """Run the docker engine's tests on Podman's socket, in namespaces of their own; needs root, and Docker's images."""
    session.install("-e", ".", *groups("tests"))
    command = ("python", "-m", "pytest", *SIDE_BY_SIDE, "tests/engines", "-m", "docker", *session.posargs)
    session.run("sh", "tests/engines/with-podman.sh", *command, external=True, interrupt_timeout=CLEAN_UP_S)


@nox.session
def cgroup2(session: nox.Session) -> None:
    """Run the engines' tests on control groups of version 2, in a virtual machine; needs root, Docker and QEMU."""
    session.install("-e", ".", *groups("tests"))
    command = ("python3", "-m", "pytest", *(session.posargs or ON_CGROUPS))
    session.run("sh", "tests/engines/with-cgroup2.sh", *command, external=True, interrupt_timeout=CLEAN_UP_S)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure; arguments go to the benchmarks, as in `nox -s bench -- open --engine docker --json FILE --quick`."""
    session.install("-e", ".")
    session.run("python", "-m", "tests.bench", *session.posargs, interrupt_timeout=CLEAN_UP_S)


@nox.session
def faults(session: nox.Session) -> None:
    """Run the fault suite in its full form, long and destructive; arguments go to pytest."""
    session.install("-e", ".", *groups("tests"))
    full = {"VX11_FAULTS": "full"}
    where = session.posargs or ("tests/faults", "tests/e2e/test_seeded_faults.py")
    session.run("python", "-m", "pytest", *where, env=full, interrupt_timeout=CLEAN_UP_S)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types, YAML and playbooks."""
    session.install("-e", ".", *groups("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
    session.run("yamllint", "--strict", ".")
    # ansible-lint resolves the modules by the collection's full name.
    scratch = Path(session.create_tmp()) / "collections"
    parent = scratch / "ansible_collections" / "vx11"
    parent.mkdir(parents=True, exist_ok=True)
    link = parent / "power"
    if not link.is_symlink():
        link.symlink_to(Path.cwd(), target_is_directory=True)
    env = {"ANSIBLE_COLLECTIONS_PATH": str(scratch), "ANSIBLE_HOME": str(scratch / "home")}
    session.run("ansible-lint", "--offline", "--strict", env=env)
    with tempfile.TemporaryDirectory() as folder:
        session.run("ansible-lint", "--offline", "--strict", *compiled(session, Path(folder)), env=env)


def compiled(session: nox.Session, folder: Path) -> list[str]:
    """What the actions of the shipped cases compile to, a file a case, as a user would keep it."""
    printed = str(session.run("vx11", "matrix", "compile", "matrices/e2e", silent=True))
    files = []
    for number, play in enumerate(printed.split("---\n")[1:], 1):
        files.append(folder / f"tc_{number:03}.yml")
        files[-1].write_text(f"---\n{play}", encoding="utf-8")
    return [str(file) for file in files]
