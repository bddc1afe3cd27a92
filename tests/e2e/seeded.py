"""The catalogue of seeded faults: small cases, each with a fault whose cause is known, in one bundle.

Services have names that say nothing. What the rules say of them they have from evidence alone.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from vx11.catalogue import allowlist, compose

FAULTY = Path(__file__).with_name("faulty.py")
SERVICES = Path(__file__).resolve().parents[2] / "matrices" / "e2e" / "services"
READY = {"http": {"port": 8080, "path": "/health"}}
HEAD = "import httpx\nimport pytest\n\n\n"
WORKS = """
def test_it_works(window):
    answer = httpx.get(f"{window('SERVICE').url}/work", timeout=2, trust_env=False)
    assert answer.status_code == 200, f"{answer.url} answered {answer.status_code}"
    assert answer.json() == {"sum": 3}
"""
PATIENT = WORKS.replace("timeout=2", "timeout=None")
GOES_DEAF = """
def test_it_works(window):
    handle = window("SERVICE")
    httpx.get(f"{handle.url}/deaf", timeout=2, trust_env=False)
    assert httpx.get(f"{handle.url}/work", timeout=2, trust_env=False).status_code == 200
"""
LONG_WORK = """
import time


def test_it_works_for_long(window):
    handle = window("SERVICE")
    end = time.monotonic() + 4
    while time.monotonic() < end:
        assert handle.http.get("/work").json() == {"sum": 3}
        time.sleep(0.1)
"""
TIMES = """
import time


def test_it_is_quick(window, observe):
    handle = window("SERVICE")
    begun = time.perf_counter()
    assert handle.http.get("/work").status_code == 200
    observe("work_ms", 1000 * (time.perf_counter() - begun), "ms")
"""
COUNTS = """
def test_it_counts(window, observe):
    assert window("SERVICE").http.get("/work").status_code == 200
    observe("share_used", 104.0, "%")
"""
SAYS_NOTHING = """
def test_it_says_nothing(window):
    assert window("SERVICE").http.get("/work").status_code == 200
"""
MISSPELT = """
def test_it_is_misspelt(window):
    answer = window("SERVICE").http.get("/work")
    assert anwser.status_code == 200
"""
LACKS_FIXTURE = """
def test_it_wants_more(window, no_such_fixture):
    assert window("SERVICE").http.get("/work").status_code == 200
"""
TAKES_WRONG = """
def test_it_takes_it_apart(window):
    answer = window("SERVICE").http.get("/work")
    assert answer.json()["total"]["sum"] == 3
"""
ENDS_MADRE = """
import psutil


def test_it_ends_madre(madre):
    connections = psutil.net_connections("tcp")
    (pid,) = {at.pid for at in connections if at.status == "LISTEN" and at.laddr.port == madre.base_url.port}
    psutil.Process(pid).kill()
"""
PLAY = {"hosts": "all", "gather_facts": False, "module_defaults": {"group/vx11.power.vx11": {"url": "{{ vx11_url }}"}}}
WINDOW = "vx11.power.vx11_window"
Truth = tuple[str, str]


@dataclass(frozen=True)
class Seed:
    """A fault, and what causes the failure.

    Attributes:
        name: of the case; `SERVICE` in what follows is the case's service.
        truth: the cause, and what is to be suspected.
        kind: what the service does, with arguments.
        suite: code of its suite, empty for none.
        actions: between the opening and the suite.
        entry: of the catalogue, beyond the usual.
        params: of the opening.
        more: of the case.
        tasks: of its playbook, in the place of actions.
        others: services beside it → what they do.
        opens: what the case opens; its service by default.
        held_out: whether the weights were set without a look at it.
    """

    name: str
    truth: Truth
    kind: Sequence[str] = ("works",)
    suite: str = WORKS
    actions: Sequence[Mapping[str, Any]] = ()
    entry: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    tasks: Sequence[Mapping[str, Any]] = ()
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    opens: bool = True
    held_out: bool = False


def limited(**limits: Any) -> dict[str, Any]:
    """Limits of a catalogue entry."""
    return {"deploy": {"resources": {"limits": limits}}}


def other(*kind: str, **more: Any) -> dict[str, Any]:
    """A service beside that of the case."""
    return {"kind": kind, **more}


SOFT = {"x-vx11": {"ready_timeout": "5s"}}
SEEDS = (
    Seed("stop-3", ("crashed", "SERVICE"), ("exits", "3")),
    Seed("stop-70", ("crashed", "SERVICE"), ("exits", "70"), held_out=True),
    Seed("stop-0", ("crashed", "SERVICE"), ("exits", "0"), held_out=True),
    Seed("panic", ("crashed", "SERVICE"), ("panics",)),
    Seed("null", ("deadly_signal", "SERVICE"), ("follows_null",)),
    Seed("abort", ("deadly_signal", "SERVICE"), ("aborts",), held_out=True),
    Seed("kill-9", ("killed", "SERVICE"), ("is_killed",)),
    Seed("hoard", ("memory_limit", "SERVICE"), ("hoards",), entry=limited(memory="48M")),
    Seed("leak", ("memory_limit", "SERVICE"), ("hoards_slowly",), entry=limited(memory="64M"), held_out=True),
    Seed("usage", ("did_not_start", "SERVICE"), ("misses_argument",)),
    Seed("module", ("did_not_start", "SERVICE"), ("misses_module",), held_out=True),
    Seed("waits", ("never_ready", "SERVICE"), ("never_listens",), entry=SOFT),
    Seed("loads", ("ready_timeout", "SERVICE"), ("loads_long",), entry=SOFT),
    Seed(
        "path",
        ("ready_check", "SERVICE"),
        entry={"x-vx11": {"ready": {"http": {"port": 8080, "path": "/healthz"}}, "ready_timeout": "5s"}},
    ),
    Seed("port", ("port_taken", "SERVICE"), ("finds_port_taken",)),
    Seed(
        "needs",
        ("lacks_dependency", "SERVICE"),
        ("needs_other", "NEEDS_B_URL"),
        entry={"x-vx11": {"peers": ["needs-b"]}},
        others={"needs-b": other("works")},
    ),
    Seed(
        "below",
        ("did_not_start", "below-b"),
        entry={"depends_on": {"below-b": {"condition": "service_healthy"}}},
        others={"below-b": other("misses_argument")},
    ),
    Seed(
        "beside",
        ("crashed", "beside-b"),
        ("asks", "BESIDE_B_URL"),
        entry={"depends_on": {"beside-b": {"condition": "service_healthy"}}},
        others={"beside-b": other("exits", "9")},
    ),
    Seed("full", ("disk_full", "SERVICE"), ("journals",)),
    Seed(
        "grown",
        ("disk_full", "SERVICE"),
        ("caps_files", "{volume:data}"),
        entry={"volumes": ["data:/data"]},
        held_out=True,
    ),
    Seed("hang", ("hangs", "SERVICE"), ("sleeps",)),
    Seed("lock", ("hangs", "SERVICE"), ("locks_up",)),
    Seed("patient", ("hangs", "SERVICE"), ("sleeps",), suite=PATIENT, more={"timeout": "20s"}, held_out=True),
    Seed("deaf", ("unreachable", "SERVICE"), suite=GOES_DEAF),
    Seed(
        "burn", ("cpu_limit", "SERVICE"), ("burns",), entry=limited(cpus="0.1") | {"x-vx11": {"ready_timeout": "60s"}}
    ),
    Seed("threads", ("process_limit", "SERVICE"), ("spawns",), entry=limited(pids=12)),
    Seed("forks", ("process_limit", "SERVICE"), ("forks",), entry=limited(pids=12), held_out=True),
    Seed(
        "sync",
        ("io_limit", "SERVICE"),
        ("syncs", "{volume:data}"),
        entry={"volumes": ["data:/data"]},
        params={"resources": {"iops": 30}},
    ),
    Seed("sums", ("wrong_answer", "SERVICE"), ("miscounts",)),
    Seed("moved", ("wrong_answer", "SERVICE"), ("has_moved",), held_out=True),
    Seed("busy", ("wrong_answer", "SERVICE"), ("is_busy",), held_out=True),
    Seed("index", ("bug", "SERVICE"), ("indexes",)),
    Seed("lookup", ("bug", "SERVICE"), ("looks_up",), held_out=True),
    Seed("no-entry", ("refuses_token", "SERVICE"), ("refuses", "401")),
    Seed("forbidden", ("refuses_token", "SERVICE"), ("refuses", "403"), held_out=True),
    Seed("short", ("ttl", "SERVICE"), suite=LONG_WORK, params={"ttl": "2s"}),
    Seed("parted", ("injected", "SERVICE"), actions=[{"force_failure": "network_partition"}]),
    Seed("frozen", ("injected", "SERVICE"), actions=[{"force_failure": "pause"}]),
    Seed("ended", ("injected", "SERVICE"), actions=[{"force_failure": "kill"}], held_out=True),
    Seed("unlisted", ("not_allowed", "SERVICE")),
    Seed("greedy", ("request", "SERVICE"), entry={"x-vx11": {"max_ttl": "10m"}}, params={"ttl": "30m"}),
    Seed("stranger", ("permit", "the token"), tasks=[{WINDOW: {"service": "SERVICE", "token": "none-that-is-known"}}]),
    Seed("misspelt", ("suite_mistake", "misspelt"), suite=MISSPELT),
    Seed("fixture", ("suite_mistake", "fixture"), suite=LACKS_FIXTURE, held_out=True),
    Seed("apart", ("suite_mistake", "apart"), suite=TAKES_WRONG, held_out=True),
    Seed("silent", ("not_recorded", "work_is_done"), suite=SAYS_NOTHING, more={"asserts": [{"work_is_done": True}]}),
    Seed("tight", ("bound", "share_used"), suite=COUNTS, more={"asserts": [{"share_used": "< 100%"}]}),
    Seed("slower", ("slower", "SERVICE"), ("lags", "0.9"), suite=TIMES, more={"asserts": [{"work_ms": "< 500ms"}]}),
    Seed("orphan", ("core_died", "madre"), suite=ENDS_MADRE),
    Seed("task", ("task", "task"), tasks=[{WINDOW: {"service": "SERVICE"}}, {"ansible.builtin.command": "false"}]),
    Seed(
        "leaves",
        ("leak", "leaves"),
        opens=False,
        tasks=[{"ansible.builtin.shell": "setsid sleep 60 > /dev/null 2>&1 & exit 0"}],
    ),
    Seed(
        "pause",
        ("waits", "pause"),
        opens=False,
        tasks=[{"ansible.builtin.pause": {"seconds": 60}}],
        more={"timeout": "5s"},
    ),
)
NAMES = {seed.name: f"svc-{number:02}" for number, seed in enumerate(SEEDS, start=1)}
UNLISTED = "unlisted"
WITH_HISTORY, EARLIER = "slower", 3


def truth(seed: Seed) -> Truth:
    """The cause of a seed's failure, and what is to be suspected."""
    cause, suspect = seed.truth
    return cause, suspect.replace("SERVICE", NAMES[seed.name])


def write(folder: Path, seeds: Sequence[Seed] = SEEDS) -> Path:
    """Writes the bundle; answers its folder."""
    (folder / "suites").mkdir(parents=True, exist_ok=True)
    (folder / "services").mkdir(exist_ok=True)
    for name in ("_http.py", "_body.py"):
        shutil.copyfile(SERVICES / name, folder / "services" / name)
    shutil.copyfile(FAULTY, folder / "services" / "program.py")
    catalogue = {"services": _services(seeds), "volumes": {"data": {}}}
    (folder / "catalogue.yml").write_text(_dump(catalogue), encoding="utf-8")
    cases = [_case(folder, seed) for seed in seeds]
    (folder / "matrix.yml").write_text(_dump({"test_matrix": {"cases": cases}}), encoding="utf-8")
    names = [name for name in catalogue["services"] if name != NAMES[UNLISTED]]
    allowlist.update(folder / "allowlist.yml", compose.load(folder / "catalogue.yml"), names)
    return folder


def run_to_its_failures(folder: Path, run: Callable[[Path, Path, list[str]], object]) -> None:
    """Runs the one that has a history before it has its fault, then all of them, in one evidence root.

    Args:
        run: takes bundle, evidence root and ids of cases, none for all.
    """
    healthy = [replace(seed, kind=("works",)) for seed in SEEDS if seed.name == WITH_HISTORY]
    for _ in range(EARLIER):
        run(write(folder / "bundle", healthy), folder / "evidence", [WITH_HISTORY])
    run(write(folder / "bundle"), folder / "evidence", [])


def _services(seeds: Sequence[Seed]) -> dict[str, Any]:
    found = {}
    for seed in seeds:
        found[NAMES[seed.name]] = _entry(seed.kind, seed.entry)
        for name, about in seed.others.items():
            found[name] = _entry(about["kind"], {key: value for key, value in about.items() if key != "kind"})
    return found


def _entry(kind: Sequence[str], more: Mapping[str, Any]) -> dict[str, Any]:
    entry = {
        "image": "vx11/e2e-services:0.1.0",
        "ports": ["8080"],
        "stop_grace_period": "1s",
        "environment": {"PYTHONDONTWRITEBYTECODE": "1"},
        **{key: value for key, value in more.items() if key != "x-vx11"},
    }
    process = {"command": ["{python}", "services/program.py", *kind]}
    return entry | {"x-vx11": {"ready": READY, **more.get("x-vx11", {}), "process": process}}


def _case(folder: Path, seed: Seed) -> dict[str, Any]:
    service = NAMES[seed.name]
    case: dict[str, Any] = {"id": seed.name, "services": [service, *seed.others], "timeout": "60s"}
    if seed.tasks:
        text = _dump([PLAY | {"tasks": list(seed.tasks)}]).replace("SERVICE", service)
        (folder / f"{seed.name}.yml").write_text(text, encoding="utf-8")
        return case | {"playbook": f"{seed.name}.yml", **seed.more}
    suite = seed.name.replace("-", "_")
    (folder / "suites" / f"{suite}.py").write_text(HEAD + seed.suite.replace("SERVICE", service), encoding="utf-8")
    opening = {"open_window": service, "params": {"ttl": "60s", **seed.params}}
    actions = [opening, *seed.actions, {"e2e_test": suite}]
    return case | {"actions": actions, **seed.more}


def _dump(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False)
