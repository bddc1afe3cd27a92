"""The core as it is installed: units of systemd in one slice, for ordinary users, with the seven rules kept."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
import yaml

from tests.hosts.core import for_host
from tests.hosts.host import TestHost, until
from tests.hosts.image import build_image
from tests.hosts.installed import COLLECTION, MATRICES, InstalledCore
from vx11.catalogue import compose
from vx11.client import Madre
from vx11.conductor.matrix import CATALOGUE
from vx11.engines.docker import DockerEngine, connect
from vx11.evidence import verify
from vx11.evidence.keys import PublicKeys

pytestmark = [pytest.mark.docker, pytest.mark.host]
LIMIT = 60.0
CHECKOUT = Path(__file__).resolve().parents[2]
WAITS = "import time; print('up', flush=True); time.sleep(600)"
# Says which of the places that it is told can be connected to.
KNOCK = """
import json, socket, sys
def answers(place):
    try:
        socket.create_connection(tuple(place), 1).close()
    except OSError:
        return False
    return True
print(json.dumps([place for place in json.loads(sys.argv[1]) if answers(place)]))
"""
# Says what a page says to who has a token; nothing where there is nobody.
ASK = """
import sys, urllib.request
asked = urllib.request.Request(sys.argv[1], headers={'Authorization': f'Bearer {sys.argv[2]}'})
try:
    print(urllib.request.urlopen(asked, timeout=10).read().decode())
except OSError:
    pass
"""
DROP_INS = "/etc/systemd/system"


@pytest.fixture(scope="module")
def core(
    host: TestHost,
    make_bundle: Callable[..., Path],
    web: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[InstalledCore]:
    """A host with its core, and a service that can be opened."""
    bundle = make_bundle({"web": web})
    service = compose.load(bundle / CATALOGUE).services["web"]
    client = connect()
    DockerEngine("hosts", tmp_path_factory.mktemp("images"), client).prepare(service)
    client.close()
    host.load_image(str(service.entry.image))
    found = InstalledCore(host, bundle)
    try:
        found.start()
        yield found
    finally:
        found.remove()


@pytest.fixture
def window(core: InstalledCore) -> Iterator[dict[str, Any]]:
    """An open window."""
    with core.madre() as madre:
        yield madre.post("/api/v1/windows/open", service="web", ttl=300)
        madre.post("/api/v1/windows/close", service="web")


def deviations(core: InstalledCore) -> set[tuple[int, str]]:
    """Which rules it does not keep to, and by what question."""
    found = [one for one in core.check("--idle", "1s")["findings"] if not one["holds"]]
    return {(one["rule"], one["question"]) for one in found}


def test_it_keeps_to_its_rules(core: InstalledCore) -> None:
    found = core.check()
    assert [one for one in found["findings"] if not one["holds"]] == []
    assert {one["rule"] for one in found["findings"]} == set(range(1, 8))


def test_a_window_is_opened_used_and_closed_through_its_only_port(core: InstalledCore) -> None:
    token = core.service_token("web")
    with core.madre() as madre:
        opened = madre.post("/api/v1/windows/open", service="web", ttl=60)
        assert opened["endpoints"] == [f"{core.url}/svc/web/"]
        answer = httpx.get(f"{opened['endpoints'][0]}health", headers={"X-VX11-Token": token}, timeout=20)
        assert answer.status_code == 200
        assert madre.post("/api/v1/windows/close", service="web")["state"] == "closed"
        assert madre.solo_madre(dry_run=True)["solo_madre"]
    assert httpx.get(f"{core.url}/svc/web/health", headers={"X-VX11-Token": token}, timeout=20).status_code == 503


def test_what_the_catalogue_gets_the_entry_leads_to(host: TestHost, core: InstalledCore) -> None:
    path = "/etc/vx11/catalogue.yml"
    before = host.read(path)
    services = yaml.safe_load(before)["services"]
    url, headers = f"{core.url}/svc/other/", {"X-VX11-Token": core.service_token("other")}
    assert httpx.get(url, headers=headers, timeout=20).status_code == 404
    try:
        host.put(path, yaml.safe_dump({"services": services | {"other": services["web"]}}))
        until(lambda: httpx.get(url, headers=headers, timeout=20).status_code == 503, LIMIT, core.words)
    finally:
        host.put(path, before)
    until(lambda: httpx.get(url, headers=headers, timeout=20).status_code == 404, LIMIT, core.words)


@contextmanager
def deviating(host: TestHost, make: str, undo: str) -> Iterator[None]:
    """Something is wrong on the host for as long as the block runs."""
    host.run(make)
    try:
        yield
    finally:
        host.run(undo)


def with_drop_in(unit: str, lines: str, restart: str) -> tuple[str, str]:
    """What overrides a unit, and what takes that back."""
    folder = f"{DROP_INS}/{unit}.d"
    make = f"mkdir -p {folder}; printf '{lines}' > {folder}/test.conf; systemctl daemon-reload; {restart}"
    return make, f"rm -r {folder}; systemctl daemon-reload; {restart}"


RUNS = "docker run -d --name stray vx11/e2e-services:0.1.0 python3 -c 'import time; time.sleep(600)'"
MADRE = "systemctl restart vx11-madre"
OTHER = "sed -i 's/^    command:/    hostname: b\\n&/' catalogue.yml"
# So that nothing is reloaded while it is looked at.
UNWATCHED, WATCHED = (f"systemctl {how} vx11-tentaculo-link.path" for how in ("stop", "start"))
LISTENS = (
    "systemd-run -q --unit=stray --slice={slice} python3 -c "
    "\"import socket; socket.create_server(('0.0.0.0', 8123)).accept()\""
)


@pytest.mark.parametrize(
    ("make", "undo", "expected"),
    [
        (RUNS, "docker rm -f stray", {(1, "nothing runs that is neither core nor window")}),
        (
            "systemctl stop vx11-watchdog",
            "systemctl start vx11-watchdog",
            {(1, "the parts that always run do so")},
        ),
        (
            LISTENS.format(slice="system.slice"),
            "systemctl stop stray",
            {(5, "nothing else of the host listens where others can reach it")},
        ),
        (
            "systemctl stop vx11-network",
            "systemctl start vx11-network",
            {(5, "windows are reached from outside through tentaculo_link alone")},
        ),
        (
            "systemctl set-property --runtime vx11.slice CPUQuota=150%",
            "systemctl revert vx11.slice; systemctl set-property --runtime vx11.slice CPUQuota=50%",
            {(3, "as a group it is throttled")},
        ),
        (
            *with_drop_in("vx11-madre.service", "[Service]\\nReadWritePaths=/var/lib\\n", MADRE),
            {(4, "madre has no storage but the log, which madre alone writes")},
        ),
        (
            *with_drop_in("vx11-madre.service", "[Service]\\nCapabilityBoundingSet=CAP_SYS_CHROOT\\n", MADRE),
            {(3, "madre has the rights that it needs and no others")},
        ),
        (
            f"{UNWATCHED}; cd /etc/vx11; cp -p gateway.key gateway.kept; cat key > gateway.key",
            f"mv /etc/vx11/gateway.kept /etc/vx11/gateway.key; {WATCHED}",
            {(6, "no core service can open windows")},
        ),
        (
            f"{UNWATCHED}; cd /etc/vx11; cp -p catalogue.yml kept.yml; {OTHER}",
            f"mv /etc/vx11/kept.yml /etc/vx11/catalogue.yml; {WATCHED}",
            {(7, "what may be opened is what was allowed")},
        ),
    ],
    ids=["stray", "watchdog", "port", "firewall", "quota", "storage", "rights", "key", "catalogue"],
)
def test_what_deviates_is_found(
    host: TestHost, core: InstalledCore, make: str, undo: str, expected: set[tuple[int, str]]
) -> None:
    with deviating(host, make, undo):
        until(core.answers, LIMIT, core.words)
        assert deviations(core) == expected
    core.until_ready()


def metric(host: TestHost, core: InstalledCore, name: str) -> float:
    """A figure of madre's, asked for where she listens; -1 where she does not answer."""
    said = host.run(["python3", "-c", ASK, "http://127.0.0.1:8001/metrics", core.token("metrics:read")])
    return next((float(line.split()[1]) for line in said.splitlines() if line.startswith(f"{name} ")), -1.0)


def test_a_deviation_is_an_alert_and_nothing_is_repaired(host: TestHost, core: InstalledCore) -> None:
    assert metric(host, core, "vx11_solo_madre_deviations") == 0
    with deviating(host, RUNS, "docker rm -f stray"):
        host.run(MADRE)
        core.until_ready()
        assert metric(host, core, "vx11_solo_madre_deviations") == 1
        assert host.run("docker ps -q --filter name=stray").strip()
    with deviating(host, "systemctl stop vx11-tentaculo-link", "systemctl start vx11-tentaculo-link"):
        until(lambda: metric(host, core, "vx11_entry_problems") == 1, LIMIT, core.words)
    until(lambda: metric(host, core, "vx11_entry_problems") == 0, LIMIT, core.words)


def knocks(host: TestHost, places: list[tuple[str, int]], *, route: str = "") -> list[list[Any]]:
    """Which of these places a neighbour of the host can connect to, who sends what is for `route` to the host."""
    client = docker.from_env()
    try:
        routed = f"ip route add {route} via {host.address}; " if route else ""
        said = client.containers.run(
            build_image(client),
            ["sh", "-ec", f'{routed}exec python3 -c "$0" "$1"', KNOCK, json.dumps(places)],
            network=host.name,
            cap_add=["NET_ADMIN"],
            remove=True,
        )
    finally:
        client.close()
    found: list[list[Any]] = json.loads(said)
    return found


def test_nothing_but_its_port_answers_from_outside(host: TestHost, core: InstalledCore, window: dict[str, Any]) -> None:
    """From a neighbour, in a network namespace of his own: at the host's address, and at the container's own."""
    listening = host.run("ss -Hltn | awk '{print $4}' | sed 's/.*://'").split()
    ports = sorted({int(port) for port in listening})
    assert {22, 8000, 8001} <= set(ports)
    places = [(host.address, port) for port in ports]
    inside = host.run(
        "docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' $(docker ps -q)"
    ).strip()
    found = knocks(host, [*places, (inside, 8080)], route=f"{inside}/32")
    assert found == [[host.address, 22], [host.address, 8000]]


def test_windows_are_open_to_neighbours_without_the_rule(
    host: TestHost, core: InstalledCore, window: dict[str, Any]
) -> None:
    """So that the test above can fail."""
    inside = host.run(
        "docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' $(docker ps -q)"
    ).strip()
    with deviating(host, "systemctl stop vx11-network", "systemctl start vx11-network"):
        assert knocks(host, [(inside, 8080)], route=f"{inside}/32") == [[inside, 8080]]


def test_only_madre_and_the_watchdog_reach_the_engine(host: TestHost, core: InstalledCore) -> None:
    tried = "socket.socket(socket.AF_UNIX).connect('/run/docker.sock')"
    for user in ("vx11-link", "vx11-collector"):
        said = host.run(f'runuser -u {user} -- python3 -c "import socket; {tried}" 2>&1 || true')
        assert "PermissionError" in said
    groups = {name: host.run(f"id -nG {name}").split() for name in ("vx11", "vx11-link", "vx11-collector")}
    assert all("docker" not in found for found in groups.values())


def test_evidence_is_handed_out_on_demand(host: TestHost, core: InstalledCore, tmp_path: Path) -> None:
    assert host.run("systemctl list-units --no-legend 'vx11-evidence-collector@*'").strip() == ""
    read = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect('/run/vx11/collector.sock');"
    host.run(f"python3 -c \"{read} open('/tmp/collected', 'wb').write(b''.join(iter(lambda: s.recv(65536), b'')))\"")
    with tarfile.open(fileobj=io.BytesIO(host.read("/tmp/collected"))) as archive:
        archive.extractall(tmp_path, filter="data")
    found = verify.chain(tmp_path / "evidence.jsonl", PublicKeys())
    assert (found.records > 0, found.findings) == (True, ())
    until(
        lambda: not host.run("systemctl list-units --no-legend 'vx11-evidence-collector@*'").strip(), LIMIT, core.words
    )


MATRIX = """
test_matrix:
  base_asserts: [system_returns_to_solo_madre]
  cases:
    - id: opens
      services: [web]
      actions:
        - open_window: web
        - wait: 3s
        - close_window: web
      asserts: [{concurrent_windows: 1}]
"""


# What pip puts beside a Python that Ansible is installed for; a test host only imports it.
PLAYBOOK = "/usr/bin/ansible-playbook"
PROGRAM = "#!/usr/bin/python3\nimport ansible.cli.playbook\nansible.cli.playbook.main()\n"


def test_tests_run_outside_of_the_core_and_with_no_rights(
    host: TestHost, core: InstalledCore, make_bundle: Callable[..., Path], make_entry: Callable[..., dict[str, Any]]
) -> None:
    bundle = for_host(make_bundle({"web": make_entry(WAITS, ports=[], vx11={"ready": {"log": "up"}})}))
    (bundle / "matrix.yml").write_text(MATRIX, encoding="utf-8")
    core.put_folder(bundle, [path.name for path in bundle.iterdir()], f"{MATRICES}/mini")
    core.put_folder(CHECKOUT, ["galaxy.yml", "meta", "playbooks", "plugins"], COLLECTION)
    host.put(PLAYBOOK, PROGRAM, mode=0o755)
    token = core.token("tests:run", "tests:read", "power:write")
    with Madre(core.url, token) as madre:
        asked = madre.post("/api/v1/tests/execute", matrix_id="mini", evidence_path="nightly")
        path = f"/api/v1/tests/results/{asked['test_id']}"
        until(lambda: madre.call("GET", path)["state"] == "running", LIMIT, core.words)
        (pid,) = host.run("systemctl show -P MainPID 'vx11-tests@*'").split()
        assert "vx11.slice" not in host.run(f"cat /proc/{pid}/cgroup")
        assert "vx11tests.slice" in host.run(f"cat /proc/{pid}/cgroup")
        rights = host.run(f"grep -E '^(Uid|Groups|CapEff|CapBnd|NoNewPrivs)' /proc/{pid}/status").split("\n")
        assert rights[0].split()[1] == host.run("id -u vx11-tests").strip()
        assert [line.split()[1:] for line in rights[2:5]] == [["0000000000000000"]] * 2 + [["1"]]
        until(lambda: madre.call("GET", path)["state"] not in ("accepted", "running"), LIMIT, core.words)
        found = madre.call("GET", path)
    assert [(case["case"], case["verdict"], case["message"]) for case in found["cases"]] == [("opens", "passed", "")]
    assert (found["state"], found["passed"]) == ("finished", True)
    host.run(["rm", PLAYBOOK])


def test_the_core_outlives_its_engine_and_a_reboot(host: TestHost, core: InstalledCore) -> None:
    host.reboot()
    core.until_ready()
    assert deviations(core) == set()
    host.run("systemctl restart docker")
    core.until_ready()
    with core.madre() as madre:
        assert madre.post("/api/v1/windows/open", service="web", ttl=60)["state"] == "open"
        assert madre.solo_madre()["solo_madre"]
