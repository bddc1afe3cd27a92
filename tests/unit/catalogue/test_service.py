"""Each supported key of a Compose entry, in its short and its long form, and what is wrong with others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vx11.catalogue import compose
from vx11.catalogue.limits import Limits
from vx11.catalogue.service import (
    BlkioConfig,
    Build,
    DeviceRate,
    Entry,
    HttpReady,
    Mount,
    Port,
    Process,
    Ready,
    TcpReady,
    Ulimit,
    Vx11,
)
from vx11.errors import InputError

Write = Callable[[str, str], Path]
ReadEntry = Callable[[str], Entry]


@pytest.fixture
def read_entry(write: Write) -> ReadEntry:
    """Reads the entry of a service `web` from its lines; the volume `data` is declared."""

    def read(lines: str) -> Entry:
        write("web.env", "FROM_FILE=1\n")
        body = "".join(f"    {line}\n" for line in lines.splitlines())
        path = write("catalogue.yml", f"volumes: {{data: }}\nservices:\n  web:\n{body}")
        return compose.load(path, {}).services["web"].entry

    return read


@pytest.mark.parametrize(
    ("lines", "key", "value"),
    [
        ("image: a/b:1", "image", "a/b:1"),
        ("build: folder", "build", Build(context="folder")),
        (
            "build: {context: folder, dockerfile: D, args: [A, B=2], target: t}",
            "build",
            Build(context="folder", dockerfile="D", args={"A": None, "B": "2"}, target="t"),
        ),
        (
            "build: {args: {A: 1, B: }}",
            "build",
            Build(context=".", dockerfile="Dockerfile", args={"A": "1", "B": None}),
        ),
        ("command: sh -c 'echo \"a b\"'", "command", ("sh", "-c", 'echo "a b"')),
        ("command: [sh, -c, echo a b]", "command", ("sh", "-c", "echo a b")),
        ("entrypoint: /run me", "entrypoint", ("/run", "me")),
        ("entrypoint: [/run, me]", "entrypoint", ("/run", "me")),
        (
            "environment: {TEXT: a, NUMBER: 5, FLOAT: 1.5, YES: true, ON: on, TIME: 12:30:45, PASSED: }",
            "environment",
            {
                "TEXT": "a",
                "NUMBER": "5",
                "FLOAT": "1.5",
                "YES": "true",
                "ON": "on",
                "TIME": "12:30:45",
                "PASSED": None,
            },
        ),
        ("environment: [A=1, B=x=y, C=, D]", "environment", {"A": "1", "B": "x=y", "C": "", "D": None}),
        ("env_file: web.env", "env_file", ("web.env",)),
        ("env_file: [web.env]", "env_file", ("web.env",)),
        ("ports: [8080]", "ports", (Port(target=8080),)),
        ('ports: ["8080"]', "ports", (Port(target=8080),)),
        ('ports: ["80:8080"]', "ports", (Port(target=8080, published=80),)),
        ("ports: [22:22]", "ports", (Port(target=22, published=22),)),
        ('ports: ["127.0.0.1:80:8080/tcp"]', "ports", (Port(target=8080, published=80),)),
        ('ports: ["127.0.0.1::8080"]', "ports", (Port(target=8080),)),
        ('ports: ["53:5353/udp"]', "ports", (Port(target=5353, published=53, protocol="udp"),)),
        (
            "ports: [{target: 8080, published: 80, protocol: tcp, app_protocol: https}]",
            "ports",
            (Port(target=8080, published=80, app_protocol="https"),),
        ),
        ('ports: [{target: 8080, published: "80"}]', "ports", (Port(target=8080, published=80),)),
        ('expose: [8080, "9090"]', "expose", (8080, 9090)),
        ('volumes: ["data:/var/lib/x"]', "volumes", (Mount(type="volume", source="data", target="/var/lib/x"),)),
        ('volumes: ["data:/x:rw"]', "volumes", (Mount(type="volume", source="data", target="/x"),)),
        ('volumes: ["./c:/x:ro"]', "volumes", (Mount(type="bind", source="./c", target="/x", read_only=True),)),
        (
            "volumes: [{type: volume, source: data, target: /x, read_only: true}]",
            "volumes",
            (Mount(type="volume", source="data", target="/x", read_only=True),),
        ),
        ("volumes: [{type: tmpfs, target: /x}]", "volumes", (Mount(type="tmpfs", target="/x"),)),
        ("tmpfs: /run", "tmpfs", ("/run",)),
        ("tmpfs: [/run, '/tmp:size=64m']", "tmpfs", ("/run", "/tmp:size=64m")),
        (
            "blkio_config: {device_read_iops: [{path: /dev/sda, rate: 10}], device_write_iops: [{path: /d, rate: 20}]}",
            "blkio_config",
            BlkioConfig(
                device_read_iops=(DeviceRate(path="/dev/sda", rate=10),),
                device_write_iops=(DeviceRate(path="/d", rate=20),),
            ),
        ),
        ("user: 1000", "user", "1000"),
        ('user: "65534:65534"', "user", "65534:65534"),
        ("working_dir: /srv", "working_dir", "/srv"),
        ("read_only: true", "read_only", True),
        ("read_only: yes", "read_only", True),
        ("cap_drop: [ALL]", "cap_drop", ("ALL",)),
        ("cap_add: [NET_BIND_SERVICE]", "cap_add", ("NET_BIND_SERVICE",)),
        ('security_opt: ["no-new-privileges:true"]', "security_opt", ("no-new-privileges:true",)),
        ("init: true", "init", True),
        ("ulimits: {nofile: 1024}", "ulimits", {"nofile": Ulimit(soft=1024, hard=1024)}),
        ("ulimits: {nofile: {soft: 10, hard: 20}}", "ulimits", {"nofile": Ulimit(soft=10, hard=20)}),
        ("stop_signal: SIGQUIT", "stop_signal", "SIGQUIT"),
        ("stop_signal: SIGRTMIN+3", "stop_signal", "SIGRTMIN+3"),
        ("stop_grace_period: 1m30s", "stop_grace_period", 90.0),
        ("stop_grace_period: 2", "stop_grace_period", 2.0),
        ("labels: {a: 1}", "labels", {"a": "1"}),
        ("labels: [a=1, b]", "labels", {"a": "1", "b": None}),
        ("extra_hosts: {db: 10.0.0.1}", "extra_hosts", {"db": "10.0.0.1"}),
        (
            'extra_hosts: ["db=10.0.0.1", "old:10.0.0.2", "six:::1", "self:host-gateway"]',
            "extra_hosts",
            {"db": "10.0.0.1", "old": "10.0.0.2", "six": "::1", "self": "host-gateway"},
        ),
        ("hostname: web1", "hostname", "web1"),
        ("restart: always", "restart", "always"),
        ("privileged: true\nx-vx11: {unsafe: [privileged]}", "privileged", True),
        ("devices: [/dev/x]\nx-vx11: {unsafe: [devices]}", "devices", ("/dev/x",)),
        ("network_mode: host\nx-vx11: {unsafe: [network_mode]}", "network_mode", "host"),
        ("pid: host\nx-vx11: {unsafe: [pid]}", "pid", "host"),
    ],
)
def test_a_supported_key(read_entry: ReadEntry, lines: str, key: str, value: object) -> None:
    entry = read_entry(lines if lines.startswith(("image", "build")) else f"image: x\n{lines}")
    assert getattr(entry, key) == value


def test_what_is_not_stated_has_the_defaults_of_the_design(read_entry: ReadEntry) -> None:
    entry = read_entry("image: x")
    assert (entry.stop_signal, entry.stop_grace_period) == (None, 10.0)
    assert entry.limits() == Limits()
    assert entry.vx11 == Vx11(ttl=300.0, max_ttl=3600.0, max_hold=86400.0, ready_timeout=10.0, ready=None, process=None)


@pytest.mark.parametrize(
    ("lines", "limits"),
    [
        ("cpus: 0.5", Limits(cpu=0.5)),
        ('cpus: "0.5"', Limits(cpu=0.5)),
        ("mem_limit: 256m", Limits(memory=268435456)),
        ("mem_limit: 1048576", Limits(memory=1048576)),
        ("pids_limit: 20", Limits(pids=20)),
        (
            "deploy: {resources: {limits: {cpus: '1.5', memory: 1g, pids: 7}}}",
            Limits(cpu=1.5, memory=1073741824, pids=7),
        ),
        (
            "deploy: {resources: {limits: {cpus: 2}}}\ncpus: 0.5\nmem_limit: 1m",
            Limits(cpu=2.0, memory=1048576),
        ),
        (
            "blkio_config: {device_read_iops: [{path: /a, rate: 30}, {path: /b, rate: 10}]}",
            Limits(read_iops=10),
        ),
    ],
)
def test_limits_come_from_deploy_before_the_older_keys(read_entry: ReadEntry, lines: str, limits: Limits) -> None:
    assert read_entry(f"image: x\n{lines}").limits() == limits


@pytest.mark.parametrize(
    ("lines", "command"),
    [
        (
            "healthcheck: {test: curl -f http://localhost || exit 1}",
            ("/bin/sh", "-c", "curl -f http://localhost || exit 1"),
        ),
        ("healthcheck: {test: [CMD, curl, -f, http://x]}", ("curl", "-f", "http://x")),
        ("healthcheck: {test: [CMD-SHELL, 'curl $$X || exit 1']}", ("/bin/sh", "-c", "curl $X || exit 1")),
        ("healthcheck: {test: [NONE]}", None),
        ("healthcheck: {test: NONE}", None),
        ("healthcheck: {test: [CMD, a], disable: true}", None),
        ("healthcheck: {interval: 5s, timeout: 2s, retries: 3, start_period: 1m, start_interval: 1s}", None),
    ],
)
def test_the_program_of_a_health_check(read_entry: ReadEntry, lines: str, command: tuple[str, ...] | None) -> None:
    entry = read_entry(f"image: x\n{lines}")
    assert entry.healthcheck
    assert entry.healthcheck.command() == command


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        ("{ttl: 30s, max_ttl: 1h30m, max_hold: 2h}", Vx11(ttl=30.0, max_ttl=5400.0, max_hold=7200.0)),
        # A service's own ttl is only compared when it states one: the default is cut to max_ttl at the opening.
        ("{max_ttl: 10s}", Vx11(max_ttl=10.0)),
        ("{ready: {http: {port: 8080, path: /health}}}", Vx11(ready=Ready(http=HttpReady(port=8080, path="/health")))),
        ("{ready: {http: {port: 8080}}}", Vx11(ready=Ready(http=HttpReady(port=8080, path="/")))),
        ("{ready: {tcp: {port: 8080}}}", Vx11(ready=Ready(tcp=TcpReady(port=8080)))),
        (
            "{ready: {log: up and running}, ready_timeout: 1m}",
            Vx11(ready=Ready(log="up and running"), ready_timeout=60),
        ),
        (
            "{process: {command: '{python} -m http.server'}}",
            Vx11(process=Process(command=("{python}", "-m", "http.server"))),
        ),
        ("{process: {command: [a, b c]}}", Vx11(process=Process(command=("a", "b c")))),
        ("{peers: [web]}", Vx11(peers=("web",))),
        ("{public: true}", Vx11(public=True)),
        ("{operator: true}", Vx11(operator=True)),
    ],
)
def test_what_vx11_adds(read_entry: ReadEntry, lines: str, value: Vx11) -> None:
    assert read_entry(f"image: x\nports: [8080]\nx-vx11: {lines}").vx11 == value


def test_a_process_alone_is_something_to_run(read_entry: ReadEntry) -> None:
    assert read_entry("x-vx11: {process: {command: [a]}}").image is None


def test_extensions_are_left_alone(read_entry: ReadEntry) -> None:
    assert read_entry("image: x\nx-mine: {a: 1}").image == "x"


def test_ports_of_expose_join_the_others_once_and_in_order(read_entry: ReadEntry) -> None:
    entry = read_entry('image: x\nports: ["80:8080", 9090]\nexpose: [8080, 7070, 7070]')
    assert [port.target for port in entry.container_ports()] == [8080, 9090, 7070]
    assert entry.container_ports()[0].published == 80


UNSUPPORTED = [
    "networks: [front]",
    "container_name: web1",
    "links: [other]",
    "ipc: host",
    "userns_mode: host",
    "cgroup_parent: /x",
    "volumes_from: [other]",
    "extends: {service: other}",
    "logging: {driver: none}",
    "secrets: [s]",
    "scale: 2",
    "profiles: [p]",
    "runtime: other",
    "device_cgroup_rules: ['c 1:3 mr']",
    "comand: [typing, error]",
    "vx11: {ttl: 5}",
]


@pytest.mark.parametrize("lines", UNSUPPORTED)
def test_a_key_that_is_not_supported_is_an_error(read_entry: ReadEntry, lines: str) -> None:
    key = lines.partition(":")[0]
    with pytest.raises(InputError) as refused:
        read_entry(f"image: x\n{lines}")
    (problem,) = refused.value.problems
    assert problem.message == f"services.web.{key}: unknown key (or not supported; see docs/catalogue.md)"
    assert problem.line == 5


@pytest.mark.parametrize(
    ("lines", "key", "message"),
    [
        ("image: [a]", "image", "has to be text"),
        ("ports: [0]", "ports[0].target", "greater than or equal to 1"),
        ("ports: [70000]", "ports[0].target", "less than or equal to 65535"),
        ("ports: [web]", "ports[0].target", "has to be a whole number"),
        ('ports: ["8080/sctp"]', "ports[0].protocol", "'tcp' or 'udp'"),
        ('ports: ["8000-8010:8000-8010"]', "ports[0]", "a range of ports is not supported; list each port"),
        ('ports: ["0.0.0.0:80:80"]', "ports[0]", "ports are published on 127.0.0.1 alone; leave the address out"),
        ("ports: [{target: 80, mode: host}]", "ports[0].mode", "unknown key"),
        ("expose: [0]", "expose[0]", "greater than or equal to 1"),
        ("volumes: [/data]", "volumes[0]", "'/data' is not SOURCE:TARGET or SOURCE:TARGET:ro"),
        ('volumes: ["data:/x:z"]', "volumes[0]", "is not SOURCE:TARGET"),
        ('volumes: ["~/x:/x"]', "volumes[0]", "write the whole path instead of ~"),
        ("volumes: [{type: bind, source: ~/x, target: /x}]", "volumes[0]", "write the whole path instead of ~"),
        ("volumes: [{type: bind, target: /x}]", "volumes[0]", "a bind needs a source"),
        ("volumes: [{type: npipe, source: a, target: /x}]", "volumes[0].type", "'volume', 'bind' or 'tmpfs'"),
        ("command: 'sh -c \"open'", "command", "No closing quotation"),
        ("cpus: 0", "cpus", "greater than 0"),
        ("mem_limit: 0", "mem_limit", "greater than 0"),
        ("mem_limit: lots", "mem_limit", "'lots' is not a size"),
        ("pids_limit: -1", "pids_limit", "greater than 0"),
        ("deploy: {resources: {limits: {memory: 0}}}", "deploy.resources.limits.memory", "greater than 0"),
        ("deploy: {resources: {limits: {pids: -1}}}", "deploy.resources.limits.pids", "greater than 0"),
        ("deploy: {resources: {limits: {cpus: -1}}}", "deploy.resources.limits.cpus", "greater than 0"),
        ("deploy: {replicas: 3}", "deploy.replicas", "unknown key"),
        ("stop_grace_period: a while", "stop_grace_period", "'a while' is not a duration"),
        ("healthcheck: {test: [curl, x]}", "healthcheck.test", "starts with CMD, CMD-SHELL or NONE"),
        ("healthcheck: {every: 5s}", "healthcheck.every", "unknown key"),
        ("network_mode: bridge", "network_mode", "has to be 'host'"),
        ("extra_hosts: [alone]", "extra_hosts", "each item is NAME=ADDRESS"),
        ("x-vx11: {ttl: 0 or so}", "x-vx11.ttl", "'0 or so' is not a duration"),
        ("x-vx11: {ttl: 2h}", "x-vx11", "ttl (7200 s) is longer than max_ttl (3600 s)"),
        ("x-vx11: {ready_timeout: 0}", "x-vx11.ready_timeout", "greater than 0"),
        ("x-vx11: {ready: {}}", "x-vx11.ready", "state exactly one of http, tcp, log"),
        ("x-vx11: {ready: {log: a, tcp: {port: 1}}}", "x-vx11.ready", "state exactly one of http, tcp, log"),
        ("x-vx11: {process: {command: []}}", "x-vx11.process.command", "at least 1 item"),
        ("x-vx11: {tttl: 5}", "x-vx11.tttl", "unknown key"),
    ],
)
def test_a_wrong_value_names_file_line_service_and_key(
    read_entry: ReadEntry, lines: str, key: str, message: str
) -> None:
    with pytest.raises(InputError) as refused:
        read_entry(f"image: x\n{lines}" if not lines.startswith("image") else f"read_only: false\n{lines}")
    (problem,) = refused.value.problems
    assert problem.path
    assert problem.path.name == "catalogue.yml"
    assert problem.message.startswith(f"services.web.{key}: ")
    assert message in problem.message
    assert problem.line == 5


def test_an_entry_with_nothing_to_run_is_an_error(read_entry: ReadEntry) -> None:
    with pytest.raises(InputError, match=r":3: services\.web: nothing to run: state image, build, or x-vx11"):
        read_entry("read_only: true")


@pytest.mark.parametrize("raw", ["text", "5", "[a]", ""])
def test_an_entry_that_is_no_mapping_is_an_error(write: Write, raw: Any) -> None:
    path = write("catalogue.yml", f"services:\n  web: {raw}\n")
    with pytest.raises(InputError, match=r"catalogue\.yml:2: services\.web: "):
        compose.load(path, {})
