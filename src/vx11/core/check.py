"""Whether an installed core keeps to its rules (specification §3), by what kernel and madre say; changes nothing."""

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import psutil

from vx11 import tokens
from vx11.catalogue import allowlist, compose
from vx11.core.services import CoreServices, Name
from vx11.core.units import FIREWALL, IPTABLES, SLICE, unit
from vx11.engines import cgroups
from vx11.errors import EnvironmentProblem, Vx11Error
from vx11.madre.settings import Settings
from vx11.units import MIB

MANAGEMENT = (22,)
IDLE_SECONDS = 5.0
TIMEOUT = 30.0
SYSTEM = Path("/sys/fs/cgroup")
# A mount of such a kind is no storage.
_VIRTUAL = frozenset(
    ("autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "fusectl")
) | frozenset(("hugetlbfs", "mqueue", "nsfs", "proc", "pstore", "ramfs", "securityfs", "sysfs", "tmpfs", "tracefs"))
_CAP_KILL = 1 << 5
_HAVE_KILL: tuple[Name, ...] = ("madre", "watchdog")


@dataclass(frozen=True)
class Finding:
    """What came of one question.

    Attributes:
        rule: its number in the specification.
        holds: None when it could not be found out.
        seen: what was found, in words.
    """

    rule: int
    question: str
    holds: bool | None
    seen: str

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"rule": self.rule, "question": self.question, "holds": self.holds, "seen": self.seen}


@dataclass(frozen=True)
class Installation:
    """An installed core, as its host sees it.

    Attributes:
        url: of its entry.
        management: ports that are the operator's own.
        processes: those of each part that run.
    """

    core: CoreServices
    settings: Settings
    url: str
    management: Sequence[int] = MANAGEMENT
    processes: Mapping[Name, Sequence[int]] | None = None

    def looked_at(self) -> "Installation":
        """With the processes that run now.

        Raises:
            EnvironmentProblem: there is no slice with any.
        """
        members = {name: _members(name) for name in self.core.services}
        if not any(members.values()):
            raise EnvironmentProblem(f"nothing runs in {SLICE}; is the core installed here, and are you root?")
        return replace(self, processes=members)

    @property
    def running(self) -> Mapping[Name, Sequence[int]]:
        """Those of each part that run."""
        return self.processes or {}

    @property
    def pids(self) -> list[int]:
        """All of them."""
        return [pid for pids in self.running.values() for pid in pids]

    def token(self, *scopes: str) -> str:
        """One of this host, for a moment."""
        cell = self.settings.cell
        return tokens.issue(
            tokens.read_key(self.settings.key), subject="core-check", scopes=scopes, ttl=60.0, cell=cell
        )

    def ask(self, method: str, path: str, token: str = "", **more: Any) -> httpx.Response:
        """A request to its entry."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # It is this host's own entry, whatever name its certificate is for.
        return httpx.request(
            method,
            f"{self.url.rstrip('/')}{path}",
            headers=headers,
            timeout=TIMEOUT,
            verify=False,  # noqa: S501
            trust_env=False,
            **more,
        )


def check(found: Installation, idle_seconds: float = IDLE_SECONDS) -> list[Finding]:
    """All rules; each question has an answer, also where looking failed.

    Args:
        idle_seconds: how long it is measured what the core uses.
    """
    questions: list[Callable[[], Iterator[Finding]]] = [
        lambda: _all_run(found),
        lambda: _solo(found),
        lambda: _ports(found),
        lambda: _footprint(found, idle_seconds),
        lambda: _limits(found),
        lambda: _storage(found),
        lambda: _rights(found),
        lambda: _network(found),
        lambda: _tokens(found),
        lambda: _unchanged(found),
    ]
    return [finding for question in questions for finding in _answered(question)]


def _answered(question: Callable[[], Iterator[Finding]]) -> list[Finding]:
    answers: list[Finding] = []
    try:
        answers.extend(question())  # what was answered before it failed stays
    except (Vx11Error, OSError, psutil.Error, httpx.HTTPError, ValueError, KeyError) as error:
        why = str(error) or type(error).__name__
        answers.append(Finding(0, "whether this can be found out", None, why))
    return answers


def _all_run(found: Installation) -> Iterator[Finding]:
    missing = [name for name in found.core.always if not found.running[name]]
    answer = found.ask("GET", found.core.services["tentaculo_link"].health or "/health")
    seen = f"not running: {', '.join(missing)}" if missing else "all of them"
    yield Finding(1, "the parts that always run do so", not missing, seen)
    yield Finding(1, "the entry is well", answer.status_code == 200, f"it answers {answer.status_code}")


def _solo(found: Installation) -> Iterator[Finding]:
    token = found.token("system:write")
    proof = found.ask("POST", "/api/v1/system/solo_madre", token, json={"dry_run": True}).json()
    strays = [str(item["what"]) for item in (*proof["running"], *proof["foreign"]) if not item.get("window_id")]
    seen = f"there runs: {', '.join(strays)}" if strays else "nothing but the core and its windows"
    yield Finding(1, "nothing runs that is neither core nor window", not strays, seen)


def _ports(found: Installation) -> Iterator[Finding]:
    allowed = set(found.core.services["tentaculo_link"].ports)
    ports = {port for port, pid in _public() if pid in found.pids}
    seen = f"it listens on {', '.join(map(str, sorted(ports))) or 'no port'} that others can reach"
    yield Finding(2, f"the core offers {', '.join(map(str, sorted(allowed)))} and nothing else", ports == allowed, seen)


def _footprint(found: Installation, idle_seconds: float) -> Iterator[Finding]:
    processes = {name: [psutil.Process(pid) for pid in pids] for name, pids in found.running.items()}
    before, began = {name: _cpu(some) for name, some in processes.items()}, time.monotonic()
    time.sleep(idle_seconds)
    span = time.monotonic() - began
    cpu = {name: (_cpu(some) - before[name]) / span for name, some in processes.items()}
    memory = {name: sum(process.memory_full_info().pss for process in some) for name, some in processes.items()}
    idle, total, used = found.core.slice.idle, sum(memory.values()), sum(cpu.values())
    yield Finding(
        3, f"the whole core stays under {idle.memory // MIB} MiB", total < idle.memory, f"{total / MIB:.0f} MiB"
    )
    yield Finding(3, f"and under {idle.cpu:g} processors when idle", used < idle.cpu, f"{used:.3f}")
    for name, service in found.core.services.items():
        if found.running[name]:
            seen = f"{memory[name] / MIB:.0f} of {service.memory // MIB} MiB, {cpu[name]:.3f} of {service.cpu:g} CPU"
            within = memory[name] <= service.memory and cpu[name] <= service.cpu
            yield Finding(3, f"{name} keeps to its budget", within, seen)


def _limits(found: Installation) -> Iterator[Finding]:
    version = 2 if (SYSTEM / "cgroup.controllers").exists() else 1
    folders = {name: (SYSTEM / name if version == 1 else SYSTEM) / SLICE for name in ("cpu", "memory")}
    limits = cgroups.Group(version, folders).limits()
    wanted = {"cpu": found.core.slice.cpu, "memory": found.core.slice.memory}
    holds = all(abs(limits.get(name, 0) - value) <= 0.01 * value for name, value in wanted.items())
    seen = ", ".join(f"{name} {limits.get(name, 'unlimited')}" for name in wanted)
    yield Finding(3, "as a group it is throttled", holds, seen)


def _storage(found: Installation) -> Iterator[Finding]:
    kept = found.settings.evidence.resolve()
    for name, pids in found.running.items():
        places = {place for pid in pids for place in _writable(pid)}
        others = sorted(str(place) for place in places if place != kept)
        mine = kept in places
        may = name in _HAVE_KILL
        holds = not others and (may or not mine)
        seen = f"it can write {', '.join(others)}" if others else f"{kept} is {'writable' if mine else 'read-only'}"
        if pids:
            yield Finding(4, f"{name} has no storage but the log, which madre alone writes", holds, seen)


def _rights(found: Installation) -> Iterator[Finding]:
    for name, pids in found.running.items():
        allowed = _CAP_KILL if name in _HAVE_KILL else 0
        wrong = sorted({what for pid in pids for what in _too_much(pid, allowed)})
        if pids:
            yield Finding(
                3, f"{name} has the rights that it needs and no others", not wrong, "; ".join(wrong) or "so it is"
            )


def _network(found: Installation) -> Iterator[Finding]:
    allowed = {*found.core.services["tentaculo_link"].ports, *found.management}
    others = sorted({(port, _name(pid)) for port, pid in _public() if port not in allowed})
    seen = ", ".join(f"{port} ({name})" for port, name in others) or "nothing"
    yield Finding(5, "nothing else of the host listens where others can reach it", not others, seen)
    asked = subprocess.run([IPTABLES, "-w", "-C", *FIREWALL], capture_output=True, text=True, check=False)
    seen = "the rule of the firewall is there" if asked.returncode == 0 else asked.stderr.strip()
    yield Finding(5, "windows are reached from outside through tentaculo_link alone", asked.returncode == 0, seen)


def _tokens(found: Installation) -> Iterator[Finding]:
    gateway = found.settings.gateway
    assert gateway
    key = tokens.read_key(gateway.key)
    forged = tokens.issue(key, subject="core-check", scopes=["power:write"], ttl=60.0, cell=found.settings.cell)
    answer = found.ask("POST", "/api/v1/windows/close", forged, json={"service": "none"})
    seen = f"madre answers {answer.status_code} to a token of the gateway's key"
    yield Finding(6, "no core service can open windows", answer.status_code == 401, seen)


def _unchanged(found: Installation) -> Iterator[Finding]:
    catalogue = compose.load(found.settings.catalogue)
    differences = allowlist.differences(allowlist.load(found.settings.allowlist), catalogue)
    changed = sorted(name for name, one in differences.items() if one.what != "not allowed")
    yield Finding(
        7, "what may be opened is what was allowed", not changed, f"changed: {', '.join(changed) or 'nothing'}"
    )


def _members(name: Name) -> list[int]:
    """Processes of a part; those of one that starts on demand are in units of their own for each caller."""
    places = [place for place in (SYSTEM / "systemd", SYSTEM / "unified", SYSTEM) if (place / SLICE).is_dir()]
    stem = unit(name).rpartition(".")[0]
    files = [file for place in places[:1] for file in sorted((place / SLICE).rglob(f"{stem}*/cgroup.procs"))]
    return [int(word) for file in files for word in file.read_text(encoding="ascii").split()]


def _public() -> Iterator[tuple[int, int | None]]:
    """Ports that listen on more than the loopback, with the process that does."""
    for link in psutil.net_connections("tcp"):
        if link.status == psutil.CONN_LISTEN and link.laddr and not ip_address(link.laddr.ip).is_loopback:
            yield link.laddr.port, link.pid


def _name(pid: int | None) -> str:
    return psutil.Process(pid).name() if pid else "unknown"


def _cpu(processes: Sequence[psutil.Process]) -> float:
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


def _writable(pid: int) -> Iterator[Path]:
    """Places on a disk that a process could write, as far as its mounts let it."""
    for line in Path(f"/proc/{pid}/mountinfo").read_text(encoding="utf-8").splitlines():
        first, _, second = line.partition(" - ")
        place, options = first.split()[4:6]
        if second.split()[0] not in _VIRTUAL and "rw" in options.split(","):
            yield Path(place.encode().decode("unicode_escape"))


def _too_much(pid: int, allowed: int) -> Iterator[str]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    if status["Uid"][0] == "0":
        yield "it is root's"
    if status["NoNewPrivs"] != ["1"]:
        yield "it may get new privileges"
    for kind in ("CapEff", "CapBnd"):
        if int(status[kind][0], 16) & ~allowed:
            yield f"{kind} is {status[kind][0]}"
